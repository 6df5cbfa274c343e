"""Parquet files as a dataset's description has them: encoded at once in memory, or row group by row group on disk."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from tierlake.pipelines.model.spec import WriteSpec

__all__ = ["FileEncoder", "LocalFile"]


class FileEncoder:
    """Encodes the files of one change."""

    def __init__(self, schema: pa.Schema, spec: WriteSpec) -> None:
        """Take what all files share.

        Args:
            schema: The columns of the files.
            spec: How they are written.
        """
        self.schema = schema
        self._spec = spec
        ordering = [(name, "ascending") for name in spec.sort_by]
        self._shared: dict[str, Any] = {
            "compression": spec.compression,
            "compression_level": spec.compression_level,
            "write_page_index": spec.page_index,
            "sorting_columns": pq.SortingColumn.from_ordering(schema, ordering) if ordering else None,
        }

    @property
    def row_group_rows(self) -> int:
        """The most rows of a row group."""
        return self._spec.row_group_rows

    def encoded(self, rows: pa.Table, with_nan: frozenset[int]) -> tuple[pa.Buffer, pq.FileMetaData]:
        """A whole file in memory.

        Args:
            rows: Its rows, in the order in which they are written.
            with_nan: Leaf columns with a NaN, by number.

        Returns:
            The file, and its footer.
        """
        sink = pa.BufferOutputStream()
        footers: list[pq.FileMetaData] = []
        with self.writer(sink, rows.num_rows, with_nan, footers) as writer:
            writer.write_table(rows, row_group_size=self.row_group_rows)
        return sink.getvalue(), footers[0]

    def writer(
        self, sink: pa.NativeFile, first_rows: int, with_nan: frozenset[int], footers: list[pq.FileMetaData]
    ) -> pq.ParquetWriter:
        """Arrow's writer of a file.

        Args:
            sink: Where the file goes.
            first_rows: Rows of its first row group.
            with_nan: Leaf columns with a NaN, by number.
            footers: Gets the footer at the end.
        """
        # a filter is sized for as many distinct values as a row group has rows
        distinct = max(1, min(first_rows, self.row_group_rows))
        return pq.ParquetWriter(
            sink,
            self.schema,
            **self._shared,
            # readers skip row groups by bounds, which ignore NaN
            write_statistics=(self._leaves_without(with_nan) or False) if with_nan else True,
            bloom_filter_options={name: {"ndv": distinct} for name in self._spec.bloom_filters} or None,
            metadata_collector=footers,
        )

    @cached_property
    def _leaves(self) -> tuple[str, ...]:
        """The leaf columns, as Parquet names them."""
        sink = pa.BufferOutputStream()
        pq.write_metadata(self.schema, sink)
        leaves = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
        return tuple(leaves.column(number).path for number in range(len(leaves)))

    def _leaves_without(self, numbers: frozenset[int]) -> list[str]:
        left_out = {self._leaves[number] for number in numbers}
        return [path for path in self._leaves if path not in left_out]


class LocalFile:
    """A Parquet file that is being written on local disk; a context manager, which leaves no file open."""

    def __init__(self, path: Path, encoder: FileEncoder, first_rows: int, with_nan: frozenset[int]) -> None:
        """Begin a file; see `FileEncoder.writer`."""
        self._row_group_rows = encoder.row_group_rows
        self._footers: list[pq.FileMetaData] = []
        with ExitStack() as opened:
            self._sink = opened.enter_context(pa.OSFile(str(path), "wb"))
            self._writer = encoder.writer(self._sink, first_rows, with_nan, self._footers)
            opened.callback(self._abandon)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        """Its file is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._opened.close()

    def _abandon(self) -> None:
        """End an unfinished file after a failure: otherwise the writer would try that later, with its file closed."""
        with suppress(pa.ArrowException, OSError):
            self._writer.close()
        self._writer.is_open = False

    @property
    def size(self) -> int:
        """The number of bytes so far."""
        return int(self._sink.tell())

    def write(self, rows: pa.Table) -> None:
        """Add rows, in one row group or more."""
        self._writer.write_table(rows, row_group_size=self._row_group_rows)

    def end(self) -> pq.FileMetaData:
        """Write the footer, and return it."""
        self._writer.close()
        return self._footers[0]
