"""The garbage collector, paused while many values are built that all stay.

It looks for cycles again and again as the number of objects grows. Where 50,000 partitions become values, that is half
of the work, and there are no cycles.
"""

from __future__ import annotations

import gc
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["collector_paused"]


class _Pauses:
    """The pauses of all threads: the collector is one for the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._was_enabled = False

    def begin(self) -> None:
        with self._lock:
            if not self._number:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._number += 1

    def end(self) -> None:
        with self._lock:
            self._number -= 1
            if not self._number and self._was_enabled:
                gc.enable()

    def forget(self) -> None:
        """End the pauses of other threads, which a forked child does not have."""
        if self._number and self._was_enabled:
            gc.enable()
        self._lock, self._number = threading.Lock(), 0  # another thread may have held the lock


_pauses = _Pauses()
os.register_at_fork(after_in_child=_pauses.forget)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No search for cycles inside; for work that makes no requests, so that it is short."""
    _pauses.begin()
    try:
        yield
    finally:
        _pauses.end()
