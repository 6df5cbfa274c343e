"""The bytes of one file that are in memory or on their way there.

A `Window` answers reads. It fetches what a read needs, and in the same step what a forecast expects to be read next.
What is read is right whether or not the forecast was: bytes that are not held are fetched as they are asked for. How
much is fetched ahead is a credit: it grows as reads confirm the forecast, and shrinks by what was fetched in vain.
"""

from __future__ import annotations

import atexit
import bisect
import io
import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from s3fs.utils import FileExpired

from tierlake.connector.observe import count
from tierlake.connector.transfer.window_parts import RANGE_BYTES, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.connector.transfer.memory import Lease, ReadMemory
    from tierlake.connector.transfer.window_parts import Forecast, Source

AT_ONCE = 64
"""The maximum number of ranges of a file that are fetched at a time."""
_WASTE_FACTOR = 8
"""How many bytes of credit one byte costs that was fetched in vain."""
_PATIENCE = 64
"""How many reads a part that was fetched ahead waits to be read, beyond two for each part that is held."""
_TOUCHED_MAX = 8
"""How many parts that were read in part are kept after a jump."""
_SMALL_BYTES = 2**16
"""A read may be widened by this much whatever the credit."""
_CHECK_SECONDS = 5.0
"""How often a read that waits looks whether the source still works."""
_EXIT_SECONDS = 2.0

_windows: weakref.WeakSet[Window] = weakref.WeakSet()


class Window:
    """The bytes of one file that are in memory or on their way there. Several threads may use it.

    Args:
        source: Fetches ranges.
        size: The file's size in bytes.
        forecast: Expects what will be read next.
        memory: The account of the process.
        limit: The limit for what the process holds.

    Attributes:
        hits: How many parts of reads were held.
        misses: How many were not.
        requested: How many bytes were requested.
    """

    def __init__(self, source: Source, size: int, forecast: Forecast, memory: ReadMemory, limit: int) -> None:
        self._source, self._size, self._forecast = source, size, forecast
        self._memory, self._limit = memory, limit
        self._credit = min(forecast.credit, limit)
        self._parts: list[Part] = []
        self._whole: Part | None = None
        self._reads = self._under_way = self._expected = 0
        self._is_closed = False
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self.hits = self.misses = self.requested = 0
        _windows.add(self)

    # -- what a file calls -------------------------------------------------------------------------

    def hold(self, start: int, data: memoryview) -> None:
        """Hold bytes: those at the end, or all of them, until the file is closed.

        Args:
            start: The position of the first one.
            data: The bytes.
        """
        part = Part(self, start, start + len(data), self._memory.require(len(data)))
        part.pinned, part.data = part.end == self._size, data
        self._whole = part if part.size == self._size else None
        with self._changed:
            self._insert(part)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes of a range, copied."""
        data, _ = self._bytes(start, stop)
        return data if isinstance(data, bytes) else bytes(data)

    def buffer(self, start: int, stop: int) -> memoryview:
        """The bytes of a range, without a copy where they were fetched together.

        The memory counts as held while the view lives.
        """
        data, lease = self._bytes(start, stop)
        view = memoryview(data)
        return (lease or self._memory.require(len(view))).kept_by(view)

    def close(self, *, wait_seconds: float = 0) -> None:
        """Drop all bytes, and stop fetching.

        Args:
            wait_seconds: How long to wait until nothing is under way any more.
        """
        self._whole = None
        if self._pid != os.getpid():  # the parent fetches, and its lock may be held
            self._is_closed, self._parts = True, []
            return
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            parts, self._parts = self._parts, []
            under_way = self._cancelled(parts)
            self._changed.notify_all()
        count("cache_count", self.hits, cache="parquet", result="hit")
        count("cache_count", self.misses, cache="parquet", result="miss")
        if under_way:
            self._source.cancel(under_way, wait_seconds=wait_seconds)
        self._source.close()

    def __del__(self) -> None:
        """Stop fetching for a file that nobody closed."""
        if hasattr(self, "_changed"):
            self.close()

    # -- a read ------------------------------------------------------------------------------------

    def _bytes(self, start: int, stop: int) -> tuple[bytes | memoryview, Lease | None]:
        """The bytes of a range; if they are a view of something held, also the memory that it takes."""
        start, stop = max(start, 0), min(stop, self._size)
        if start >= stop:
            return b"", None
        if (whole := self._whole) is not None:
            return whole.view(start, stop), whole.lease
        if self._pid != os.getpid():
            self._forget_parent()
        with self._changed:
            if self._is_closed:
                raise ValueError("I/O operation on closed file.")
            pieces = self._covering(start, stop)
            begun = self._begun(pieces, under_way=0)
            ahead = self._fetched_ahead(is_miss=bool(begun))
        try:
            if begun or ahead:
                self._begin([*begun, *ahead])
            return self._joined(pieces, begun, start, stop)
        finally:
            with self._changed:
                for part in pieces:
                    part.readers -= 1

    def _begin(self, parts: list[Part]) -> None:
        try:
            self._source.begin(parts)
        except BaseException as error:
            for part in parts:
                if not part.is_settled:
                    part.settle(None, error)
            raise

    def _covering(self, start: int, stop: int) -> list[Part]:
        """The parts that have a range, in order; those that are not held are new, and not begun."""
        self._reads += 1
        expected = self._forecast.observe(start, stop, self._held)
        if expected is None:
            self._after_a_jump()
        else:
            most = min(self._forecast.credit_max, self._limit)
            self._credit = min(self._credit + expected * self._forecast.growth, most)
        pieces: list[Part] = []
        for first, last, part in self._split(start, stop):
            if part is not None:
                self.hits += 1
                pieces.append(part)
                continue
            self.misses += 1
            end = self._end_of_miss(first, last)
            pieces += [
                Part(self, begin, min(begin + RANGE_BYTES, end)) for begin in range(first, max(end, last), RANGE_BYTES)
            ]
        for part in pieces:
            part.readers += 1
        return pieces

    def _end_of_miss(self, first: int, last: int) -> int:
        """The end of the range to fetch for bytes that are not held."""
        allowed = max(self._credit - self._expected, min(_SMALL_BYTES, self._limit))
        end = min(self._forecast.widened(first, last), last + allowed, self._size)
        at = bisect.bisect_left(self._parts, last, key=_start)
        return min(end, self._parts[at].start) if at < len(self._parts) else end

    def _begun(self, pieces: list[Part], *, under_way: int) -> list[Part]:
        """New parts to fetch now: one whatever it takes, more as far as there is memory."""
        begun: list[Part] = []
        for part in pieces:
            if part.lease is not None:
                continue
            if begun or under_way:
                at_once = len(begun) + under_way
                part.lease = self._memory.acquire(part.size, self._limit) if at_once < AT_ONCE else None
                if part.lease is None:
                    break
            else:
                part.lease = self._memory.require(part.size)
            self.requested += part.size
            begun.append(part)
        return begun

    def _joined(
        self, pieces: list[Part], begun: list[Part], start: int, stop: int
    ) -> tuple[bytes | memoryview, Lease | None]:
        if len(pieces) == 1:
            part = self._settled(pieces[0], start, stop)
            view = part.view(start, stop)
            self._note_read(part, stop - start)
            return view, part.lease
        joined = io.BytesIO()  # its buffer becomes the result without a copy
        joined.seek(stop - start - 1)
        joined.write(b"\0")
        under_way = set(begun)
        try:
            with joined.getbuffer() as target:
                while pieces:
                    each = pieces[0]
                    first, last = max(each.start, start), min(each.end, stop)
                    part = self._settled(each, first, last)
                    target[first - start : last - start] = part.view(first, last)
                    self._note_read(part, last - first)
                    under_way.discard(each)
                    with self._changed:
                        each.readers -= 1
                        del pieces[0], part, each  # their memory is free now
                        more = self._begun(pieces, under_way=len(under_way))
                    if more:
                        under_way.update(more)
                        self._begin(more)
        finally:
            if under_way:
                self._source.cancel(list(under_way))
        return joined.getvalue(), None

    def _settled(self, part: Part, start: int, stop: int) -> Part:
        """A part with its bytes; one that failed ahead of its time is fetched again, as far as it is needed.

        Raises:
            BaseException: The error with which the bytes failed.
        """
        with self._changed:
            while not part.is_settled:
                if self._is_closed:
                    raise ValueError("I/O operation on closed file.")
                self._source.check()
                self._changed.wait(_CHECK_SECONDS)
            if part.error is None:
                return part
            if not part.ahead or isinstance(part.error, FileExpired):
                raise part.error
            again = Part(self, start, stop, self._memory.require(stop - start))
            self.requested += stop - start
        self._begin([again])
        return self._settled(again, start, stop)

    def _note_read(self, part: Part, count: int) -> None:
        with self._changed:
            part.asked = self._reads
            read = min(count, part.unread)
            part.unread -= read
            if part.ahead:
                self._expected -= read
            elif part.unread and not part.pinned and self._insert(part):  # it was widened: the rest is ahead
                part.ahead = True
                self._expected += part.unread
            if self._forecast.streams:
                at = bisect.bisect_left(self._parts, part.start, key=_start)
                self._drop([p for p in self._parts[: max(at - 1, 0)] if p.asked < self._reads - 1], is_waste=False)
            elif not part.unread and not part.pinned:
                self._remove(part)

    # -- fetching ahead ----------------------------------------------------------------------------

    def _fetched_ahead(self, *, is_miss: bool) -> list[Part]:
        """New parts for what the forecast expects, within the credit and the memory."""
        if not self._source.is_parallel:
            return []
        if is_miss:
            self._drop([part for part in self._parts if self._is_vain(part)])
        begun: list[Part] = []
        while self._under_way < AT_ONCE and (expected := self._forecast.peek()) is not None:
            missing = [(first, last) for first, last, part in self._split(*expected) if part is None]
            if self._expected + sum(last - first for first, last in missing) > self._credit:
                break
            leases = [self._memory.acquire(last - first, self._limit) for first, last in missing]
            if None in leases:
                break
            self._forecast.take()
            for (first, last), lease in zip(missing, leases, strict=True):
                part = Part(self, first, last, lease, ahead=True)
                part.asked = self._reads
                self._insert(part)
                self._under_way += 1
                self._expected += part.size
                self.requested += part.size
                begun.append(part)
        return begun

    def _is_vain(self, part: Part) -> bool:
        """Whether a part that was fetched ahead has waited too long, or was passed."""
        too_long = self._reads - part.asked > _PATIENCE + 2 * len(self._parts)
        return part.ahead and (too_long or self._forecast.is_passed(part.start))

    def _after_a_jump(self) -> None:
        """Drop what was expected where the reads were before, but for the parts that were read last."""
        self._drop([part for part in self._parts if part.ahead and part.unread == part.size])
        touched = sorted((part for part in self._parts if not part.pinned), key=_asked)
        self._drop(touched[: max(len(touched) - _TOUCHED_MAX, 0)])
        self._credit = min(self._forecast.credit, self._limit)

    def _drop(self, parts: list[Part], *, is_waste: bool = True) -> None:
        dropped = [part for part in parts if not part.readers and not part.pinned]
        for part in dropped:
            self._remove(part)
            if part.ahead:
                self._expected -= part.unread
                if is_waste:
                    self._credit = max(self._credit - _WASTE_FACTOR * part.unread, 0)
        if under_way := self._cancelled(dropped):
            self._source.cancel(under_way)

    @staticmethod
    def _cancelled(parts: list[Part]) -> list[Part]:
        """Mark parts as not needed any more, and return those that are under way."""
        for part in parts:
            part.cancelled = True
        return [part for part in parts if not part.is_settled]

    def settle(self, part: Part, data: memoryview | None, error: BaseException | None) -> None:
        """Take the bytes of a part, or the error in their place."""
        with self._changed:
            if part.is_settled:
                return
            part.data, part.error = data, error
            if part.ahead:
                self._under_way -= 1
                if error is not None and not part.cancelled:  # whoever needs the bytes fetches them again
                    self._remove(part)
                    self._expected -= part.unread
            self._changed.notify_all()

    # -- the parts, by position --------------------------------------------------------------------

    def _held(self, start: int, stop: int) -> memoryview | None:
        for _, last, part in self._split(start, stop):
            return part.view(start, stop) if part is not None and last == stop and part.data is not None else None
        return None

    def _split(self, start: int, stop: int) -> Iterator[tuple[int, int, Part | None]]:
        """A range, cut where parts that are held begin and end; None where none is."""
        at = max(bisect.bisect_right(self._parts, start, key=_start) - 1, 0)
        for part in self._parts[at:]:
            if part.start >= stop:
                break
            if part.end <= start:
                continue
            if part.start > start:
                yield start, part.start, None
                start = part.start
            last = min(part.end, stop)
            yield start, last, part
            start = last
        if start < stop:
            yield start, stop, None

    def _insert(self, part: Part) -> bool:
        """Hold a part, unless some of its range is held already."""
        if self._is_closed or any(other is not None for _, _, other in self._split(part.start, part.end)):
            return False
        bisect.insort(self._parts, part, key=_start)
        return True

    def _remove(self, part: Part) -> None:
        with suppress(ValueError):
            self._parts.remove(part)

    # -- a child process ---------------------------------------------------------------------------

    def _forget_parent(self) -> None:
        """Go on in a child process with what is held: what the parent was fetching does not arrive here."""
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._parts = [part for part in self._parts if part.data is not None]
        self._under_way = 0
        self._expected = sum(part.unread for part in self._parts if part.ahead)


def _start(part: Part) -> int:
    return part.start


def _asked(part: Part) -> int:
    return part.asked


@atexit.register
def _end() -> None:
    """Stop fetching before the interpreter ends: the event loop would warn of what it was doing."""
    for window in list(_windows):
        window.close(wait_seconds=_EXIT_SECONDS)
