"""Work of a sink that may block, in a thread of its own behind a queue with a bound.

To put something there takes a microsecond, in any thread and in a finalizer too. The thread begins with the first item,
and anew in a forked child, where what waits is left to the parent.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from tierlake.connector.observe import hooks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BackgroundQueue"]

_AT_ONCE: Final = 256
_GATHERED_SECONDS: Final = 0.1
"""For so long items are gathered: a thread that wakes for each of them takes time from those who put them."""


class BackgroundQueue:
    """Items for a thread.

    Args:
        name: The sink's, for the count of what there was no room for.
        work: Takes items in their order, in the thread; what it raises costs these items.
        items_max: The items that may wait.
    """

    def __init__(self, name: str, work: Callable[[list[Any]], None], items_max: int) -> None:
        self._name, self._work, self._items_max = name, work, items_max
        self._begin_anew()
        _all.add(self)

    def _begin_anew(self) -> None:
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()  # takes a put within a put
        self._starting = threading.Lock()
        self._urgent = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._lost = 0

    def put(self, item: Any) -> None:
        """Add an item; without room for it, it is dropped and counted."""
        if self._is_closed:
            return
        if self._items.qsize() >= self._items_max:
            self._lost += 1
            hooks.drop(self._name)
            return
        self._items.put(item)
        if self._thread is None:
            self._start()

    def lost(self) -> int:
        """How many items there was no room for since the last call."""
        amount, self._lost = self._lost, 0
        return amount

    def is_own_thread(self) -> bool:
        """Whether this is the queue's thread."""
        return threading.current_thread() is self._thread

    def flush(self, seconds: float) -> None:
        """Wait until the work on the items so far is done, for so many seconds at most."""
        if self._thread is None or not self._thread.is_alive() or self.is_own_thread():
            return
        done = threading.Event()
        self._items.put(done)
        self._urgent.set()
        done.wait(seconds)

    def close(self) -> None:
        """Take no more items; the work on those that wait is still done."""
        self._is_closed = True
        self._items.put(None)
        self._urgent.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of a closed queue's thread."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # whoever has it is starting the thread
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"tierlake-{self._name}", daemon=True)
                thread.start()
                self._thread = thread
        finally:
            self._starting.release()

    def _run(self) -> None:
        items, urgent = self._items, self._urgent
        while True:
            batch = [items.get()]
            if items.qsize() < _AT_ONCE:
                urgent.wait(_GATHERED_SECONDS)
                urgent.clear()
            while len(batch) < _AT_ONCE:
                try:
                    batch.append(items.get_nowait())
                except queue.Empty:
                    break
            own = [item for item in batch if item is not None and not isinstance(item, threading.Event)]
            try:
                if own:
                    self._work(own)
            except Exception:  # noqa: BLE001 -- these items are lost, and the next ones go on
                hooks.drop(self._name, len(own))
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()
            if None in batch:
                return


_all: Final[weakref.WeakSet[BackgroundQueue]] = weakref.WeakSet()


def _begin_anew() -> None:
    for one in _all:
        one._begin_anew()  # noqa: SLF001 -- of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
