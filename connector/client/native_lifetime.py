"""When obstore may be used: neither in the forked child of a process that had it, nor once the interpreter ends.

Rust's threads do not survive a fork. A thread of theirs that returns a result while the interpreter is torn down kills
the process (seen: signals 6 and 11). So the end of the process waits until nothing is under way, and aiobotocore
makes what requests there are then.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

_PATIENCE_SECONDS = 2.0
_CANCELLED_SECONDS = 0.2
_STEP_SECONDS = 0.005


class UnusableError(Exception):
    """The process ends, or is a forked child: aiobotocore has to make the request."""


class _Lifetime:
    """What is under way, and whether more may follow."""

    def __init__(self) -> None:
        self.is_over = False
        self.was_used = False
        self.running: set[Future[Any]] = set()

    def end(self) -> None:
        """Wait until nothing is under way; what takes too long is cancelled."""
        self.is_over = True
        if not self.was_used:
            return
        self._wait(_PATIENCE_SECONDS)
        for future in list(self.running):
            loop = future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(future.cancel)
        self._wait(_CANCELLED_SECONDS)
        time.sleep(_STEP_SECONDS)  # a thread that has just handed its result over may still hold the interpreter

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until:
            time.sleep(_STEP_SECONDS)

    def forked(self) -> None:
        """Leave all to aiobotocore in a child whose parent had obstore's threads."""
        self.running.clear()
        if "obstore" in sys.modules:
            self.is_over = True


_lifetime = _Lifetime()
atexit.register(_lifetime.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lifetime.forked)


def is_usable() -> bool:
    """Whether a request may be made by obstore now."""
    return not _lifetime.is_over


async def result_of(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The result of obstore's work, which the end of the process waits for.

    Args:
        work: A function of obstore that returns a future.
        *arguments: Its arguments.
        **options: Its keyword arguments.

    Raises:
        UnusableError: Nothing may be begun any more.
    """
    if _lifetime.is_over:
        raise UnusableError
    _lifetime.was_used = True
    future: Future[Any] = work(*arguments, **options)
    _lifetime.running.add(future)
    try:
        return await future
    finally:
        _lifetime.running.discard(future)
