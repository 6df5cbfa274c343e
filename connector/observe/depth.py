"""How many requests are under way, and how many wait: `tierlake_queue_depth`."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["State", "depths", "within"]

State: TypeAlias = Literal["running", "waiting"]

_depths: dict[State, int] = {"running": 0, "waiting": 0}
_lock = threading.Lock()


def _begin_anew() -> None:
    """A child process has none of its parent's requests, and not the thread that may have held the lock."""
    global _lock  # noqa: PLW0603 -- replaced in a child alone
    _lock = threading.Lock()
    _depths["running"] = _depths["waiting"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


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
