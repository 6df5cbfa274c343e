"""Where a Parquet file has its column chunks, as its footer says.

pyarrow reads the footer. It is imported here on first use: only a process that reads Parquet needs it.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.connector.transfer.window_parts import Range

MAGIC = b"PAR1"
END_BYTES = 8
"""The length of the footer, and the magic bytes."""
_FOOTERS_MAX_BYTES = 64 * 2**20
"""A longer footer is left alone: it would take seconds to read it twice."""


def footer_range(end: bytes, size: int) -> Range | None:
    """Where the footer is; None if the file does not end like a Parquet file, or its footer is encrypted.

    Args:
        end: The last `END_BYTES` bytes of the file.
        size: The file's size in bytes.
    """
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or not 0 < length <= min(size - END_BYTES - len(MAGIC), _FOOTERS_MAX_BYTES):
        return None
    return size - END_BYTES - length, size


class RowGroups:
    """The column chunks of a file, by row group.

    Args:
        metadata: The footer, as pyarrow has it.
        end: Where the footer begins: no chunk reaches beyond it.
    """

    def __init__(self, metadata: Any, end: int) -> None:
        self._metadata, self._end = metadata, end
        self.count: int = metadata.num_row_groups
        self._columns: int = metadata.num_columns
        self._starts = [self._first(number) for number in range(self.count)]
        self._last: tuple[int, list[tuple[int, int, int]]] = (-1, [])

    @classmethod
    def of(cls, footer: memoryview, start: int) -> RowGroups | None:
        """The chunks that a footer names; None if it is no footer that pyarrow can read.

        Args:
            footer: The bytes from the footer's beginning to the end of the file.
            start: The position of the first one.
        """
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            return None
        try:
            groups = cls(pq.read_metadata(pa.BufferReader(pa.py_buffer(footer))), start)
        except (pa.ArrowException, OSError, ValueError):
            return None
        return groups if groups.count and groups._starts == sorted(groups._starts) else None

    def chunk(self, group: int, column: int) -> Range | None:
        """The range of a column chunk; None if it is not in the file."""
        chunk = self._metadata.row_group(group).column(column)
        start, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
        if dictionary is not None and 0 < dictionary < start:
            start = dictionary
        end = start + chunk.total_compressed_size
        is_inside = len(MAGIC) <= start < end <= self._end and not chunk.file_path
        return (start, end) if is_inside else None

    def between(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """Row group, column, start and end of each chunk that overlaps a range, in order of row groups."""
        first = max(bisect.bisect_right(self._starts, start) - 1, 0)
        for group in range(first, bisect.bisect_left(self._starts, stop)):
            for begin, end, column in self._chunks(group):
                if begin < stop and start < end:
                    yield group, column, begin, end

    def _chunks(self, group: int) -> list[tuple[int, int, int]]:
        if self._last[0] != group:
            ranges = ((self.chunk(group, column), column) for column in range(self._columns))
            self._last = group, sorted((*chunk, column) for chunk, column in ranges if chunk is not None)
        return self._last[1]

    def _first(self, group: int) -> int:
        chunk = self.chunk(group, 0) if self._columns else None
        return chunk[0] if chunk is not None else -1
