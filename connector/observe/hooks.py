"""Where events go: any number of sinks, none by default.

    class Pager:
        name = "pager"

        def take(self, event):
            if isinstance(event, ErrorEvent): ...

        def flush(self, seconds): ...
        def close(self): ...

    observe.add(Pager())

A sink's `take` returns at once: what may block does so in a thread of the sink's own. A sink that raises loses the
event, which is counted, and the work goes on.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.observe.events import Event

__all__ = ["Sink", "add", "changes", "drop", "dropped", "emit", "flush", "is_on", "remove", "sinks"]


@runtime_checkable
class Sink(Protocol):
    """Takes events.

    Attributes:
        name: A word for it, for the count of what it could not take.
    """

    name: str

    def take(self, event: Event) -> None:
        """Take an event, in whatever thread it happened; returns at once."""

    def flush(self, seconds: float) -> None:
        """Wait until all events so far are where they belong, for so many seconds at most."""

    def close(self) -> None:
        """Give back what it holds; it takes no more events."""


_sinks: tuple[Sink, ...] = ()
_changes = 0
_dropped: Counter[str] = Counter()
_lock = threading.RLock()  # a finalizer may emit while its thread is in here


def _begin_anew() -> None:
    """In a child process, which has not dropped what its parent has."""
    global _lock  # noqa: PLW0603 -- another thread of the parent may have held it
    _lock = threading.RLock()
    _dropped.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def is_on() -> bool:
    """Whether anybody takes events; nothing is measured otherwise."""
    return bool(_sinks)


def changes() -> int:
    """How often a sink has been added or removed: what is remembered from one time holds until it differs."""
    return _changes


def sinks() -> tuple[Sink, ...]:
    """The sinks."""
    return _sinks


def add(sink: Sink) -> None:
    """Give events to a sink from now on."""
    global _changes, _sinks  # noqa: PLW0603 -- read without a lock by every request
    with _lock:
        _sinks = (*_sinks, sink)
        _changes += 1


def remove(sink: Sink) -> None:
    """Give no more events to a sink; one that is not there is no error."""
    global _changes, _sinks  # noqa: PLW0603 -- as above
    with _lock:
        _sinks = tuple(one for one in _sinks if one is not sink)
        _changes += 1


def emit(event: Event) -> None:
    """Give an event to all sinks; never raises."""
    for sink in _sinks:
        try:
            sink.take(event)
        except Exception:  # noqa: BLE001 -- whatever a sink does, the work goes on
            drop(_name_of(sink))


def _name_of(sink: object) -> str:
    """A sink's name; one that a program wrote may have forgotten it."""
    return str(getattr(sink, "name", type(sink).__name__))


def drop(sink: str, amount: int = 1) -> None:
    """Count events that a sink could not take."""
    with _lock:
        _dropped[sink] += amount


def dropped() -> Mapping[str, int]:
    """How many events each sink could not take, by its name."""
    return dict(_dropped)


def flush(seconds: float = 2.0) -> None:
    """Wait until the events so far are where they belong.

    Args:
        seconds: The longest wait, for all sinks together.
    """
    deadline = time.monotonic() + seconds
    for number, sink in enumerate(taking := _sinks):
        try:
            sink.flush(max(deadline - time.monotonic(), 0) / (len(taking) - number))
        except Exception:  # noqa: BLE001 -- as in `emit`
            drop(_name_of(sink))
