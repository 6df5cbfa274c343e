"""The memory for bytes that are fetched before they are read: one account for the whole process.

All open files, and whatever else fetches ahead, take their memory here. Each of them has a limit, the setting
`read_memory_bytes`, for what the whole process holds: with two settings, the process never holds more than the larger
one, and whoever has the smaller one fetches ahead only while the process holds less than that.

Nobody waits for memory. What is needed at once is taken without a limit; what would only be needed later is left until
memory is free.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import TypeVar

HolderT = TypeVar("HolderT")


class Lease:
    """Some bytes of memory, returned by `release`, or when nobody refers to the lease any more.

    Args:
        memory: The memory.
        size: The bytes.
    """

    __slots__ = ("__weakref__", "_memory", "_sizes")

    def __init__(self, memory: ReadMemory, size: int) -> None:
        self._memory = memory
        self._sizes = [size]

    def release(self) -> None:
        """Return the memory; a second call does nothing."""
        try:
            self._memory._returned.append(self._sizes.pop())  # noqa: SLF001 -- one idea; both steps are atomic
        except IndexError:
            return

    def kept_by(self, holder: HolderT) -> HolderT:
        """Keep the lease while an object lives, such as a view of the bytes that was handed out.

        Args:
            holder: The object.

        Returns:
            The same object.
        """
        weakref.finalize(holder, _ended, self).atexit = False
        return holder

    def __del__(self) -> None:
        """Return the memory that nobody holds any more; runs in any thread, and takes no lock."""
        self.release()


def _ended(lease: Lease) -> None:
    """Drop the reference to a lease."""


class ReadMemory:
    """An account of memory.

    Attributes:
        peak: The most that was held at any time, in bytes.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._used = 0
        self._returned: deque[int] = deque()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """The bytes that are held now."""
        with self._lock:
            return self._settled()

    def acquire(self, size: int, limit: int) -> Lease | None:
        """Take memory, unless the process would then hold more than a limit.

        Args:
            size: The bytes.
            limit: The limit for all that the process holds, in bytes.

        Returns:
            The lease; None if the memory is spent.
        """
        with self._lock:
            if self._settled() + size > limit:
                return None
            return self._lease(size)

    def require(self, size: int) -> Lease:
        """Take memory for bytes that are needed at once, whatever is held already.

        Args:
            size: The bytes.
        """
        with self._lock:
            self._settled()
            return self._lease(size)

    def _lease(self, size: int) -> Lease:
        self._used += size
        self.peak = max(self.peak, self._used)
        return Lease(self, size)

    def _settled(self) -> int:
        while self._returned:
            self._used -= self._returned.popleft()
        return self._used

    def replace_lock(self) -> None:
        """Use another lock, in a child process: another thread of the parent may hold the old one."""
        self._lock = threading.Lock()


PROCESS = ReadMemory()
"""The account of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS.replace_lock)
