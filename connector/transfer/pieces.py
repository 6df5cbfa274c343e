"""Pieces of many objects at once: a bounded number of requests, and of bytes that wait for their reader.

    with Pieces(store, groups, memory_bytes=256 << 20) as pieces:
        while (taken := pieces.take()) is not None:     # in as many threads as there is work for
            ...
            pieces.release(taken)

A group is fetched as a whole, groups in their order, and taken as soon as it is complete. The next one begins when the
bytes of all groups that are neither complete nor released leave room for it, so that a reader that is slower than the
store holds it back. A group that is larger than the memory is fetched alone. Open files take of the same memory, the
one account of the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from s3fs.utils import FileExpired

from tierlake.connector.client.concurrency import running_loop
from tierlake.connector.transfer import memory
from tierlake.connector.transfer.ranges import fetch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tierlake.connector.client.store import Store
    from tierlake.connector.transfer.memory import Lease
    from tierlake.connector.transfer.ranges import Piece

__all__ = ["REQUESTS_AT_ONCE", "Failed", "Group", "Pieces", "Span", "Taken"]

REQUESTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of one object.

    Attributes:
        path: `bucket/key`.
        start: The first byte; a negative one counts from the end, and takes no `end`. None is the beginning.
        end: The byte after the last; None is the end of the object.
    """

    path: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Spans that are needed together.

    Attributes:
        spans: The spans.
        size: Their bytes, as far as they are known beforehand.
        etag: The ETag that the objects must have, if another request of the same read told it.
    """

    spans: tuple[Span, ...]
    size: int
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A span that could not be fetched.

    Attributes:
        span: The span.
        error: Why.
    """

    span: Span
    error: Exception


@dataclass(frozen=True, slots=True)
class Taken:
    """A group at its end.

    Attributes:
        number: Its place among the groups.
        pieces: The pieces, in the order of its spans; none after a failure.
        failure: The first span that failed.
    """

    number: int
    pieces: tuple[Piece, ...] = ()
    failure: Failed | None = None


class Pieces:
    """The groups of one read, as they become complete; use as a context manager, which ends all requests."""

    def __init__(
        self,
        store: Store,
        groups: Sequence[Group],
        *,
        memory_bytes: int,
        at_once: int = REQUESTS_AT_ONCE,
        one_generation: bool = True,
    ) -> None:
        """Prepare to fetch.

        Args:
            store: The store.
            groups: What to fetch, in this order.
            memory_bytes: The limit for what the whole process holds, while this read holds anything.
            at_once: The most requests at once.
            one_generation: The read fails with `FileExpired` where an object's ETag changes. False is for objects whose
                bytes never change, though they may be copied onto themselves.
        """
        self._store = store
        self._groups = groups
        self._memory_bytes = memory_bytes
        self._complete: queue.SimpleQueue[Taken | None] = queue.SimpleQueue()
        self._begun = asyncio.Semaphore(at_once)
        self._requests = asyncio.Semaphore(at_once)
        self._room = asyncio.Event()
        self._leases: dict[int, Lease] = {}
        self._etags: dict[str, str] | None = {} if one_generation else None
        self._loop = running_loop(store.loop)
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Begin."""
        asyncio.run_coroutine_threadsafe(self._fetch_all(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        """End all requests; what was not taken is dropped."""
        self.stop()
        self._ended.wait()

    def take(self) -> Taken | None:
        """The next complete group, in whatever order they come; None at the end."""
        taken = None if self._is_stopped else self._complete.get()
        if taken is None:
            self._complete.put(None)  # for the next thread
        return taken

    def release(self, taken: Taken) -> None:
        """Make room: the bytes of a group are no longer needed."""
        self._loop.call_soon_threadsafe(self._make_room, taken.number)

    def stop(self) -> None:
        """Cancel all requests; every further `take` returns None."""
        if not self._is_stopped:
            self._is_stopped = True
            self._loop.call_soon_threadsafe(self._cancel)

    # -- on the event loop --------------------------------------------------------------------------------------------

    def _make_room(self, number: int) -> None:
        if number in self._leases:
            self._leases.pop(number).release()
        self._room.set()

    async def _memory_for(self, size: int) -> Lease:
        """The memory of a group: this read's only one is fetched whatever the process holds."""
        while (lease := memory.PROCESS.acquire(size, self._memory_bytes)) is None and self._leases:
            self._room.clear()
            await self._room.wait()
        return lease or memory.PROCESS.require(size)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _fetch_all(self) -> None:
        self._task = asyncio.current_task()
        tasks: set[asyncio.Task[None]] = set()
        try:
            for number, group in enumerate(() if self._is_stopped else self._groups):
                await self._begun.acquire()
                self._leases[number] = await self._memory_for(group.size)
                task = asyncio.create_task(self._fetch_group(number, group))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            while tasks:
                await asyncio.wait(tasks)
        finally:
            await _cancelled(tasks)
            self._complete.put(None)
            self._ended.set()
            for lease in self._leases.values():
                lease.release()

    async def _fetch_group(self, number: int, group: Group) -> None:
        tasks = [asyncio.create_task(self._fetch(span, group.etag)) for span in group.spans]
        try:
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for span, task in zip(group.spans, tasks, strict=True):
                if task.done() and isinstance(error := task.exception(), Exception):
                    self._complete.put(Taken(number, failure=Failed(span, error)))
                    return
            self._complete.put(Taken(number, tuple(task.result() for task in tasks)))
        finally:
            await _cancelled(tasks)
            self._begun.release()

    async def _fetch(self, span: Span, etag: str | None) -> Piece:
        async with self._requests:
            bucket, _, key = span.path.partition("/")
            condition = etag if self._etags is not None else None
            piece = await fetch(self._store, {"Bucket": bucket, "Key": key}, span.start, span.end, etag=condition)
        if self._etags is not None and self._etags.setdefault(span.path, piece.etag) != piece.etag:
            raise FileExpired(filename=span.path, e_tag=piece.etag)
        return piece


async def _cancelled(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
