"""Small files that a scan is about to open, fetched whole while it reads those before them.

A scan lists a folder and opens its files in the listing's order, a few at a time, so each round trip is waited for.
Once two files of a listing were opened in that order, the next ones are fetched: as many as were opened, at most 64.
A scan that ends early, such as one of a few partitions, has then fetched at most twice what it opened.

What is fetched ahead may be older than the `open` that gets it. A file of a table never changes its rows, so that does
no harm there. Any other object is only used if its request began within the last `view_freshness` seconds, which is
how old a listing may be too, and if no write is known since; otherwise `open` makes its own request. With
`view_freshness=0` only files of tables are fetched ahead. What nobody opens is dropped after 10 seconds. No more files
are fetched than the scan opened within half of these times, so a slow scan does not fetch what it will not use.

Nothing here fails: an error of a request is raised by the request that `open` then makes itself.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from concurrent.futures import Future  # noqa: TID251 -- a value that is set once; nothing runs in threads
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.recent import Recent
from tierlake.connector.transfer.memory import PROCESS
from tierlake.connector.transfer.ranges import Piece, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tierlake.connector.client.store import Store
    from tierlake.connector.transfer.contents import Known
    from tierlake.connector.transfer.memory import ReadMemory

SMALL_BYTES = 2 * 2**20
"""Larger files are left to `open`, which reads what is needed of them."""
FILES_MAX = 64
"""The largest number of files that are fetched ahead at a time."""
IDLE_SECONDS = 10.0
_LISTED_MAX, _LISTED_SECONDS = 50_000, 600.0
"""Bounds of the remembered listings: the number of all their files, and how long one is kept unused."""
_FILES_MIN = 3
_RUNS_MAX = 4
"""The number of scans of one listing that are told apart."""
_REACH = 16
"""How far from a scan's last file the next one may be: scans open files in several threads."""


@dataclass
class _Run:
    """A scan of a listing.

    Args:
        first: The position of its first file.
        last: The position of its last file so far.
    """

    first: int
    last: int
    opened: int = 0
    requested: int = -1
    times: deque[float] = field(default_factory=lambda: deque(maxlen=FILES_MAX))

    @property
    def is_dense(self) -> bool:
        """Whether it opens the files one after another."""
        return self.opened > 1 and 3 * self.opened > 2 * (self.last - self.first + 1)


@dataclass(eq=False)
class _Listing:
    """The files of a listing, in its order.

    Args:
        files: Names and sizes.
        is_committed: Whether they are files of a table.
    """

    files: list[tuple[str, int]]
    is_committed: bool
    runs: list[_Run] = field(default_factory=list)
    _positions: dict[str, int] | None = None

    def position(self, path: str) -> int | None:
        """The position of a file; the names are looked through once."""
        if self._positions is None:
            self._positions = {name: number for number, (name, _) in enumerate(self.files)}
        return self._positions.get(path)

    def __len__(self) -> int:
        return len(self.files)

    def run(self, position: int) -> _Run:
        """The scan that opens a file."""
        for run in self.runs:
            if run.first - _REACH <= position <= run.last + _REACH:
                run.first, run.last = min(run.first, position), max(run.last, position)
                break
        else:
            self.runs[_RUNS_MAX - 1 :] = []
            run = _Run(position, position)
            self.runs.insert(0, run)
        run.opened += 1
        return run


@dataclass(eq=False)
class _Fetched:
    """A file that is fetched ahead.

    Args:
        at: When its request began.
        size: Its size in the listing.
        is_committed: Whether it is a file of a table.
    """

    at: float
    size: int
    is_committed: bool
    is_used: bool = False
    future: Future[Piece] = field(default_factory=Future)


class Ahead:
    """What one filesystem fetches ahead; a source of `connector.transfer.contents.Contents`.

    Args:
        store: The store; its settings say how old a content may be, and how much memory there is.
        clock: Monotonic seconds.
        memory: The account of the process.
    """

    def __init__(
        self, store: Store, *, clock: Callable[[], float] = time.monotonic, memory: ReadMemory = PROCESS
    ) -> None:
        self._store, self._clock, self._memory = store, clock, memory
        self._freshness = store.settings.view_freshness
        self._limit = store.settings.read_memory_bytes // 2
        self._listings = Recent[str, _Listing](_LISTED_MAX, seconds=_LISTED_SECONDS, size=len, clock=clock)
        self._fetched: dict[str, _Fetched] = {}
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pid = os.getpid()
        self._is_swept = False

    def listed(self, path: str, entries: Sequence[Mapping[str, Any]], *, is_committed: bool) -> None:
        """Remember the order of a listing.

        Args:
            path: `bucket/prefix` of what was listed.
            entries: Its entries, sorted by name.
            is_committed: Whether they are files of a table, which do not change.
        """
        if not (is_committed or self._freshness) or not self._limit or os.getpid() != self._pid:
            return
        if _FILES_MIN <= len(entries) <= _LISTED_MAX:
            files = [(entry["name"], entry["size"]) for entry in entries if entry["type"] == "file"]
            self._listings[f"{path.rstrip('/')}/"] = _Listing(files, is_committed)

    def __call__(self, path: str, version_id: str | None) -> Known:
        """The content of a file that is opened now, if it was fetched ahead; fetches those after it.

        Args:
            path: `bucket/key`.
            version_id: A version, of which nothing is known.
        """
        if version_id is not None or not len(self._listings) or os.getpid() != self._pid:
            return None
        with self._lock:
            now = self._clock()
            known = self._used(path, now)
            chosen = self._next(path, now)
        if chosen:
            self._start(chosen)
        return known.future if known is not None else None

    def forget(self, path: str | None) -> None:
        """Drop what is known of an object that was written, or of a folder; None is everything."""
        if not self._fetched or os.getpid() != self._pid:
            return
        with self._lock:
            folder = None if not path else f"{path.rstrip('/')}/"
            for name in [name for name in self._fetched if folder is None or f"{name}/".startswith(folder)]:
                del self._fetched[name]

    def sweep(self) -> None:
        """Drop what nobody opened for some seconds."""
        with self._lock:
            oldest = self._clock() - IDLE_SECONDS
            for name in [name for name, one in self._fetched.items() if one.at <= oldest]:
                del self._fetched[name]

    @property
    def count(self) -> int:
        """The number of files that are fetched ahead, or being fetched, and were not opened."""
        return len(self._fetched)

    # -- under the lock --------------------------------------------------------------------------------

    def _used(self, path: str, now: float) -> _Fetched | None:
        known = self._fetched.get(path)
        if known is None:
            return None
        limit = self._seconds(is_committed=known.is_committed)
        known.is_used = True
        if known.future.done() or now - known.at > limit:
            del self._fetched[path]
        return known if now - known.at <= limit else None

    def _seconds(self, *, is_committed: bool) -> float:
        """How long a content is of use."""
        return IDLE_SECONDS if is_committed else min(self._freshness, IDLE_SECONDS)

    def _next(self, path: str, now: float) -> list[tuple[str, _Fetched]]:
        """The files to fetch now that a file is opened."""
        roots = [root for root in self._listings if path.startswith(root)]
        found = ((one, one.position(path)) for one in map(self._listings.__getitem__, reversed(roots)))
        listing, position = next(((one, where) for one, where in found if where is not None), (None, None))
        if listing is None or position is None:
            return []
        run = listing.run(position)
        run.times.append(now)
        if not run.is_dense:
            return []
        count = min(run.opened, FILES_MAX)
        if run.requested - run.last > 3 * count // 4:
            return []  # a few requests at once cost less than one each time
        seconds = self._seconds(is_committed=listing.is_committed)
        count = min(count, sum(now - at <= seconds / 2 for at in run.times) - 1)
        chosen = []
        for number in range(max(run.last, run.requested) + 1, min(run.last + count + 1, len(listing))):
            if len(self._fetched) >= FILES_MAX:
                break
            run.requested = number
            name, size = listing.files[number]
            if 0 < size <= SMALL_BYTES and name not in self._fetched:
                self._fetched[name] = one = _Fetched(now, size, listing.is_committed)
                chosen.append((name, one))
        return chosen

    # -- on the event loop -----------------------------------------------------------------------------

    def _start(self, chosen: list[tuple[str, _Fetched]]) -> None:
        try:
            if self._store.loop is not None:
                self._store.loop.call_soon_threadsafe(self._begin, chosen)
                return
        except RuntimeError:  # the loop has ended
            pass
        for name, one in chosen:
            self._drop(name, one)
            one.future.cancel()

    def _begin(self, chosen: list[tuple[str, _Fetched]]) -> None:
        loop = asyncio.get_running_loop()
        for name, one in chosen:
            task = loop.create_task(self._fetch(name, one))
            self._tasks.add(task)  # a task that nobody holds may vanish
            task.add_done_callback(self._tasks.discard)
        if not self._is_swept:
            self._is_swept = True
            loop.call_later(IDLE_SECONDS, self._sweep_again)

    def _sweep_again(self) -> None:
        self.sweep()
        self._is_swept = bool(self._fetched)
        if self._is_swept:
            asyncio.get_running_loop().call_later(IDLE_SECONDS / 2, self._sweep_again)

    async def _fetch(self, name: str, one: _Fetched) -> None:
        bucket, _, key = name.partition("/")
        try:
            lease = self._memory.acquire(one.size, self._limit)
            if lease is None:
                raise MemoryError("Nothing is fetched ahead while the memory is in use")  # noqa: TRY301 -- as any other
            try:
                piece = await fetch(self._store, {"Bucket": bucket, "Key": key}, 0, SMALL_BYTES)
            finally:
                lease.release()
            data = memoryview(piece.data)
            if piece.start or len(data) != piece.size:
                raise ValueError("The object is larger than listed")  # noqa: TRY301 -- likewise
            kept = self._memory.require(len(data)).kept_by(data)
            one.future.set_result(replace(piece, data=kept))
        except BaseException as error:
            self._drop(name, one)
            one.future.set_exception(error if isinstance(error, Exception) else RuntimeError("The loop has ended"))
            if not isinstance(error, Exception):
                raise
        else:
            if one.is_used:
                self._drop(name, one)

    def _drop(self, name: str, one: _Fetched) -> None:
        with self._lock:
            if self._fetched.get(name) is one:
                del self._fetched[name]
