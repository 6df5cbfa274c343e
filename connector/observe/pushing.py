"""Sends something again and again from a thread of its own, and once more at the end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from tierlake.connector.observe import hooks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pushing"]

_NAME: Final = "tierlake-metrics"


class Pushing:
    """A thread that pushes.

    Args:
        name: A word for what takes the pushes, for the count of those that failed.
        push: Pushes once; what it raises is counted.
        seconds: From one push to the next.
    """

    def __init__(self, name: str, push: Callable[[], object], seconds: float) -> None:
        self._name, self._push, self._seconds = name, push, seconds
        self._changed = threading.Condition()
        self._requested = self._finished = 0
        self._is_over = False
        threading.Thread(target=self._run, name=_NAME, daemon=True).start()

    def flush(self, seconds: float) -> None:
        """Push now, and wait for so many seconds at most."""
        with self._changed:
            self._requested += 1
            request = self._requested
            self._changed.notify_all()
            is_finished = self._changed.wait_for(lambda: self._finished >= request, seconds)
        if not is_finished:
            hooks.drop(self._name)

    def close(self) -> None:
        """Push no more, without a last time."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _run(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Wait until it is time, and push; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._requested > self._finished, self._seconds)
            if self._is_over:
                return False
            request = self._requested
        try:
            self._push()
        except Exception:  # noqa: BLE001 -- whatever a library raises, the next push may succeed
            hooks.drop(self._name)
        with self._changed:
            self._finished = request
            self._changed.notify_all()
        return True
