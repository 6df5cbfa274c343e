"""Counts and figures, from wherever something happens; a call costs next to nothing while nobody observes."""

from __future__ import annotations

from tierlake.connector.observe import hooks
from tierlake.connector.observe.events import Count, Gauge

__all__ = ["count", "gauge"]


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Count something.

    Args:
        name: A metric of `tierlake.connector.observe.metrics`, without the prefix `tierlake_`.
        amount: How many.
        **labels: The metric's labels.
    """
    if hooks.is_on() and amount:
        hooks.emit(Count(name, amount, labels))


def gauge(name: str, value: float, **labels: str) -> None:
    """Say a figure as it is now; see `count`."""
    if hooks.is_on():
        hooks.emit(Gauge(name, value, labels))
