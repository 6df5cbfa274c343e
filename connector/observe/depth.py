"""How many requests are under way, and how many wait: `tierlake_queue_depth`."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["State", "depths", "within"]

State: TypeAlias = Literal["running", "waiting"]

_depths: dict[State, int] = {"running": 0, "waiting": 0}
_lock = threading.Lock()


def add(state: State, amount: int) -> None:
    """Change a depth by an amount."""
    with _lock:
        _depths[state] += amount


@contextmanager
def within(state: State) -> Iterator[None]:
    """Count one request in this state while the context lasts."""
    add(state, 1)
    try:
        yield
    finally:
        add(state, -1)


def depths() -> Mapping[State, int]:
    """The requests in each state."""
    return dict(_depths)
