"""What is read next of a Parquet file: the column chunks of the next row groups, for the columns that were read.

Readers ask for whole chunks, or for ranges of neighbouring ones, roughly in order of row groups; pyarrow does so from
several threads. The first read of a column shows that it is wanted, and from then on all its chunks are expected, but
for those of row groups that the reader has left behind. Other reads, such as those of indexes and filters, say nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tierlake.connector.transfer.row_groups import END_BYTES, RowGroups, footer_range
from tierlake.connector.transfer.window_parts import RANGE_BYTES

if TYPE_CHECKING:
    from tierlake.connector.transfer.window_parts import Held, Range

_HOLE_BYTES = 2**13
"""Chunks with a hole of at most this size between them are fetched together, as pyarrow does."""
_HOLE_SHARE = 32
"""So are those with a hole of one part in so many of the bytes before it."""
_ROW_GROUPS_BEHIND = 16
"""Reads in several threads are out of order by fewer row groups than this."""
_CHUNKS_FIRST = 16
"""How many chunks of a column are fetched ahead, at the least, after its first one is read."""
_ROW_GROUPS_BEFORE = 4
"""A column that is read for the first time is expected from so many row groups before."""


class ColumnForecast:
    """Expects the next row groups' chunks of the columns that were read.

    Args:
        size: The file's size in bytes.
    """

    credit = RANGE_BYTES
    credit_max = 2**62
    growth = 4
    streams = False

    def __init__(self, size: int) -> None:
        self._size = size
        self._groups: RowGroups | None = None
        self._footer: Range | None = None
        self._is_plain = self._is_footer_taken = False
        self._first: int | None = None
        self._next: dict[int, int] = {}
        self._newest: dict[int, int] = {}
        self._seen: set[tuple[int, int]] = set()
        self._planned: dict[int, tuple[int, int, int]] = {}
        self._queue: deque[Range] = deque()
        self._chunk_end: int | None = None

    # -- reads -------------------------------------------------------------------------------------

    def observe(self, start: int, stop: int, held: Held) -> int:
        """Take note of a read: each chunk whose beginning is read shows a column that is wanted."""
        self._chunk_end = None
        groups = self._learn(held)
        if groups is None:
            return 0
        planned = self._planned.pop(start, None)
        if planned is not None and planned[0] == stop:
            return self._note_chunk(*planned[1:], stop - start)
        expected = 0
        for group, column, begin, end in groups.between(start, stop):
            count = min(stop, end) - max(start, begin)
            if start <= begin:
                expected += self._note_chunk(group, column, count)
                self._planned.pop(begin, None)
                self._chunk_end = end
            elif column in self._next:  # the rest of a chunk
                expected += count
        return expected

    def _note_chunk(self, group: int, column: int, count: int) -> int:
        """How many bytes of a chunk that is read were expected; a new column is worth some chunks more."""
        self._first = group if self._first is None else min(self._first, group)
        is_new, is_expected = column not in self._next, (group, column) not in self._seen
        self._seen.add((group, column))
        self._newest[column] = max(self._newest.get(column, group), group)
        begin = self._next.get(column, max(self._first, group - _ROW_GROUPS_BEFORE))
        self._next[column] = max(begin, group - _ROW_GROUPS_BEHIND)
        return _CHUNKS_FIRST // self.growth * count if is_new else count if is_expected else 0

    def widened(self, start: int, stop: int) -> int:  # noqa: ARG002 -- as in `Forecast`
        """The end of the chunk whose first bytes are read."""
        return max(stop, self._chunk_end or 0)

    def _learn(self, held: Held) -> RowGroups | None:
        if self._groups is not None or self._is_plain:
            return self._groups
        if self._footer is None:
            end = held(max(self._size - END_BYTES, 0), self._size)
            if end is None:
                return None
            self._footer = footer_range(bytes(end), self._size)
            self._is_plain = self._footer is None
        if self._footer is not None and (footer := held(*self._footer)) is not None:
            self._groups = RowGroups.of(footer, self._footer[0])
            self._is_plain = self._groups is None
        return self._groups

    # -- what comes next ---------------------------------------------------------------------------

    def peek(self) -> Range | None:
        """The next row group's chunks, merged where they are close; before that, the footer."""
        if self._groups is None:
            return None if self._is_plain or self._is_footer_taken else self._footer
        while len(self._queue) < 2 and self._plan(self._groups):  # noqa: PLR2004 -- the last one may still grow
            pass
        return self._queue[0] if self._queue else None

    def take(self) -> None:
        """Expect what comes after the range that `peek` returns."""
        if self._queue:
            self._queue.popleft()
        else:
            self._is_footer_taken = True

    def _plan(self, groups: RowGroups) -> bool:
        """Queue the wanted chunks of one more row group; False after the last one."""
        group = min(self._next.values(), default=groups.count)
        if group >= groups.count:
            return False
        chunks = []
        for column, following in self._next.items():
            if following == group:
                self._next[column] = group + 1
                chunk = groups.chunk(group, column) if (group, column) not in self._seen else None
                if chunk is not None:
                    chunks.append((*chunk, column))
        for start, end, column in sorted(chunks):
            self._planned[start] = (end, group, column)
            self._add(start, end)
        return True

    def _add(self, start: int, end: int) -> None:
        if self._queue:
            first, last = self._queue[-1]
            hole = max(_HOLE_BYTES, (last - first) // _HOLE_SHARE)
            if 0 <= start - last <= hole and end - first <= RANGE_BYTES:
                self._queue[-1] = first, end
                return
        self._queue.extend((begin, min(begin + RANGE_BYTES, end)) for begin in range(start, end, RANGE_BYTES))

    def is_passed(self, start: int) -> bool:
        """Whether the reader has left the row group of a chunk far behind."""
        planned = self._planned.get(start)
        if planned is None:
            return False
        _, group, column = planned
        return group < self._newest.get(column, group) - _ROW_GROUPS_BEHIND
