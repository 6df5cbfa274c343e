"""Column chunks of Parquet files: where their bytes are, the ranges to fetch, and a file of these ranges alone."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import pyarrow.parquet as pq

    from tierlake.connector.transfer.ranges import Piece

__all__ = ["PiecesFile", "chunks_of", "leaves_of", "size_of", "spans_of"]

_RANGE_BYTES = 8 << 20
"""Larger ranges are fetched in several parts."""
_LARGEST_GAP_BYTES = 1 << 20
_WASTED_SHARE = 0.03
"""So much of the chunks' bytes may be fetched between them, to save requests."""


def leaves_of(footer: pq.FileMetaData, names: Collection[str]) -> list[int]:
    """The numbers of the leaves of some columns.

    Args:
        footer: The file's footer.
        names: Top-level columns. A dot may be part of a name, so a few leaves too many may be among them.
    """
    requested, schema = frozenset(names), footer.schema
    return [number for number in range(footer.num_columns) if _is_below(schema.column(number).path, requested)]


def _is_below(path: str, names: Collection[str]) -> bool:
    return path in names or any(path[:place] in names for place, letter in enumerate(path) if letter == ".")


def chunks_of(footer: pq.FileMetaData, group: int, leaves: Collection[int], size: int) -> list[tuple[int, int]] | None:
    """The bytes of some columns in a row group; None where the footer makes no sense.

    Args:
        footer: The file's footer.
        group: The row group.
        leaves: The columns' leaves.
        size: The file's bytes.
    """
    row_group = footer.row_group(group)
    chunks = []
    for column in map(row_group.column, leaves):
        start = column.data_page_offset
        if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < start:
            start = column.dictionary_page_offset
        end = start + column.total_compressed_size
        if not 0 <= start <= end <= size:
            return None
        chunks.append((start, end))
    return chunks


def size_of(footer: pq.FileMetaData, group: int, leaves: Collection[int]) -> tuple[int, int]:
    """The rows of a row group, and the size of some of its columns before compression; arguments of `chunks_of`."""
    row_group = footer.row_group(group)
    return row_group.num_rows, sum(row_group.column(leaf).total_uncompressed_size for leaf in leaves)


def spans_of(chunks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges to fetch for some chunks: neighbours together, also over small gaps, and large ones in parts.

    Args:
        chunks: First byte and end of each.
    """
    sorted_chunks = sorted(chunk for chunk in chunks if chunk[0] < chunk[1])
    if not sorted_chunks:
        return []
    gaps = sorted(
        (max(0, after[0] - before[1]), number)
        for number, (before, after) in enumerate(itertools.pairwise(sorted_chunks))
    )
    left = int(_WASTED_SHARE * sum(end - start for start, end in sorted_chunks))
    closed: set[int] = set()
    for gap, number in gaps:
        left -= gap
        if left < 0 or gap > _LARGEST_GAP_BYTES:
            break
        closed.add(number)
    spans = [sorted_chunks[0]]
    for number, (start, end) in enumerate(sorted_chunks[1:]):
        if number in closed:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return [part for span in spans for part in _parts(*span)]


def _parts(start: int, end: int) -> list[tuple[int, int]]:
    count = -(-(end - start) // _RANGE_BYTES)
    places = [start + (end - start) * number // count for number in range(count + 1)]
    return list(itertools.pairwise(places))


class PiecesFile:
    """A file of which some pieces are in memory, as Arrow takes one from Python; reading anything else fails."""

    closed = False

    def __init__(self, pieces: Sequence[Piece], size: int) -> None:
        """Hold `pieces` of a file of `size` bytes."""
        self._views = sorted(((piece.start, memoryview(piece.data)) for piece in pieces), key=lambda one: one[0])
        self._starts = [start for start, _ in self._views]
        self._size = size
        self._position = 0

    def read_buffer(self, size: int = -1) -> pa.Buffer:
        """The next bytes, not copied where they are of one piece; Arrow calls it where a file has it.

        Raises:
            OSError: They were not fetched.
        """
        start = self._position
        end = self._size if size < 0 else min(start + size, self._size)
        self._position = end
        parts = []
        place = start
        number = bisect.bisect_right(self._starts, start) - 1
        while place < end:
            first, view = self._views[number] if 0 <= number < len(self._views) else (self._size, memoryview(b""))
            part = view[place - first : end - first] if first <= place else view[:0]
            if not part:
                raise OSError(f"bytes {place} to {end} were not fetched")
            parts.append(part)
            place, number = place + len(part), number + 1
        return pa.py_buffer(parts[0] if len(parts) == 1 else b"".join(parts))

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data: bytes = self.read_buffer(size).to_pybytes()
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Move to a position."""
        self._position = position + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def close(self) -> None:
        """Drop the bytes."""
        self._views, self._starts, self.closed = [], [], True
