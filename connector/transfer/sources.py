"""What fetches the parts of an open file: requests to the store, or the function that fsspec hands to a cache."""

from __future__ import annotations

import asyncio
import queue
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from s3fs.utils import FileExpired

from tierlake.connector.client.concurrency import blocking, running_loop
from tierlake.connector.errors import RequestRefused, ServerError
from tierlake.connector.observe import hooks, tracing
from tierlake.connector.transfer.ranges import BEYOND_THE_END, Piece, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tierlake.connector.client.store import Store
    from tierlake.connector.transfer.window_parts import Part

_THREADS = 16


class ObjectSource:
    """Fetches ranges of one generation of an object on the filesystem's event loop.

    The first response tells the ETag, if it is not known; all others must have the same one.

    Args:
        store: The store.
        loop: Returns the event loop; raises in a child process, where no thread runs it.
        target: Bucket, key and, for a certain version, its id.
        size: The object's size in bytes.
        etag: Its ETag; empty if no response told it yet.
        options: Further parameters of each request.
        is_conditional: Whether requests have the ETag as a condition; otherwise only the responses are checked.
    """

    is_parallel = True

    def __init__(
        self,
        store: Store,
        loop: Callable[[], asyncio.AbstractEventLoop],
        target: Mapping[str, str],
        size: int,
        etag: str,
        *,
        options: Mapping[str, Any],
        is_conditional: bool,
    ) -> None:
        self.etag = etag
        self._store, self._loop, self._target, self._size = store, loop, target, size
        self._options, self._is_conditional = options, is_conditional
        self._around = tracing.scope() if hooks.is_on() else None

    def begin(self, parts: Sequence[Part]) -> None:
        """Start all requests in one step on the event loop."""
        self.check()
        with tracing.unless_within(self._around):  # Arrow's threads have no span of their own
            self._loop().call_soon_threadsafe(self._start, list(parts))

    def check(self) -> None:
        """Refuse to wait for an event loop that does not run, or that this thread runs.

        Raises:
            NotImplementedError: This is the loop's own thread.
            RuntimeError: No thread runs the loop, or this is a child process.
        """
        running_loop(self._loop())

    def read(self, start: int, end: int) -> bytes:
        """The bytes of a range, by a request of its own."""
        with tracing.unless_within(self._around):
            return bytes(blocking(self._loop(), self._fetched(start, end)))

    def cancel(self, parts: Sequence[Part], *, wait_seconds: float = 0) -> None:
        """Cancel the requests of parts."""
        ended = threading.Event()
        with suppress(RuntimeError):  # the loop has ended, and its requests with it
            self._loop().call_soon_threadsafe(_cancel, list(parts), ended)
            if wait_seconds:
                ended.wait(wait_seconds)

    def close(self) -> None:
        """Do nothing: the connections belong to the store."""

    def _start(self, parts: list[Part]) -> None:
        loop = asyncio.get_running_loop()
        for part in parts:
            if part.cancelled:
                part.settle(None, asyncio.CancelledError())
            else:
                part.task = loop.create_task(self._fetch(part))

    async def _fetch(self, part: Part) -> None:
        try:
            data = await self._fetched(part.start, part.end)
        except asyncio.CancelledError as error:
            part.settle(None, error)
            raise
        except BaseException as error:  # noqa: BLE001 -- raised by the read that needs the part
            part.settle(None, error)
        else:
            part.settle(data)

    async def _fetched(self, start: int, end: int) -> memoryview:
        condition = self.etag if self._is_conditional and self.etag else None
        try:
            piece = await fetch(self._store, self._target, start, end, etag=condition, **self._options)
        except RequestRefused as error:
            if error.server_code in BEYOND_THE_END:  # it is shorter now
                raise self._expired() from error
            raise
        if not self.etag:
            self.etag = piece.etag
        if piece.etag != self.etag or piece.size != self._size:
            raise self._expired()
        return _cut(piece, start, end)

    def _expired(self) -> FileExpired:
        return FileExpired(filename=f"{self._target['Bucket']}/{self._target['Key']}", e_tag=self.etag)


def _cut(piece: Piece, start: int, end: int) -> memoryview:
    """The requested bytes of a response, which may have more of them.

    Raises:
        ServerError: It has fewer.
    """
    data = memoryview(piece.data)[start - piece.start : end - piece.start] if piece.start <= start else memoryview(b"")
    if len(data) != end - start:
        raise ServerError(f"The server sent {len(data)} of the {end - start} bytes that were requested")
    return data


def _cancel(parts: list[Part], ended: threading.Event) -> None:
    tasks = [part.task for part in parts if isinstance(part.task, asyncio.Task)]
    for task in tasks:
        task.cancel()
    asyncio.gather(*tasks, return_exceptions=True).add_done_callback(lambda _: ended.set())


class FetcherSource:
    """Fetches ranges by the function that fsspec hands to a cache.

    If the function is a method of a file on an asynchronous filesystem, it may be called from several threads.
    Otherwise it is called in the thread of the read alone.

    Args:
        fetcher: Returns the bytes of a range.
    """

    def __init__(self, fetcher: Callable[[int, int], bytes]) -> None:
        self._fetcher = fetcher
        filesystem = getattr(getattr(fetcher, "__self__", None), "fs", None)
        self.is_parallel = bool(getattr(filesystem, "async_impl", False))
        self._waiting: queue.SimpleQueue[Part | None] = queue.SimpleQueue()
        self._threads = 0

    def begin(self, parts: Sequence[Part]) -> None:
        """Fetch the first part that is needed in this thread, and all others in threads beside it."""
        if not self.is_parallel:
            for part in parts:
                _fetch(self._fetcher, part)
            return
        here = next((part for part in parts if not part.ahead), None)
        others = [part for part in parts if part is not here]
        for part in others:
            self._waiting.put(part)
        for _ in range(min(len(others), _THREADS - self._threads)):
            self._threads += 1
            threading.Thread(target=_work, args=(weakref.ref(self), self._waiting), daemon=True).start()
        if here is not None:
            _fetch(self._fetcher, here)

    def check(self) -> None:
        """Do nothing: each call of the function ends."""

    def cancel(self, parts: Sequence[Part], *, wait_seconds: float = 0) -> None:
        """Do nothing: a part that is cancelled before a thread takes it is not fetched."""

    def close(self) -> None:
        """End the threads."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def fetch(self, part: Part) -> None:
        """Fetch a part in this thread."""
        _fetch(self._fetcher, part)


def _fetch(fetcher: Callable[[int, int], bytes], part: Part) -> None:
    if part.cancelled:
        part.settle(None, InterruptedError("not needed any more"))
        return
    try:
        data = memoryview(fetcher(part.start, part.end))
        if len(data) != part.size:
            raise EOFError(f"{len(data)} of {part.size} bytes were fetched")  # noqa: TRY301 -- settled as any other
    except BaseException as error:  # noqa: BLE001 -- raised by the read that needs the part
        part.settle(None, error)
    else:
        part.settle(data)


def _work(source: weakref.ref[FetcherSource], waiting: queue.SimpleQueue[Part | None]) -> None:
    while (part := waiting.get()) is not None:
        own = source()
        if own is not None:
            own.fetch(part)
        del own, part
