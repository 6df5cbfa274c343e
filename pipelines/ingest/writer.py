"""Rows into Parquet files, one partition at a time, in bounded memory.

Rows wait in memory by partition. Where they exceed the budget, all move to spools on local disk. A spool is encoded a
row group at a time, at the end or when it is large enough for a file. Files are uploaded at once where only a commit
makes them visible, and with the commit where writing is the commit (plain Parquet).
"""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tierlake.pipelines.ingest.duplicates import last_of_each, unique_batches
from tierlake.pipelines.ingest.spill import append_rows, gathered, spooled_batches
from tierlake.pipelines.model.stored_types import nullable_schema
from tierlake.pipelines.parquet.statistics import footer_stats, holds_floats, leaves_with_nan
from tierlake.pipelines.runtime.parallel import ThreadQueue
from tierlake.pipelines.sources.limits import SourceLimits
from tierlake.pipelines.tables.footers import footer_bytes
from tierlake.pipelines.tables.snapshot import LiveFile, StagedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import WriteSpec
    from tierlake.pipelines.tables.protocol import Table

__all__ = ["PartitionedWriter", "WriterLimits"]

_SPOOLED_FILES = 2  # Parquet is smaller than a spool


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Bounds of a writer.

    Attributes:
        memory_bytes: Rows held in memory, as Arrow counts them, before partitions are spooled to disk.
        uploads: Files encoded and uploaded at the same time.
        source: Limits of each file of a source.
    """

    memory_bytes: int = 256 << 20
    uploads: int = 8
    source: SourceLimits = field(default_factory=SourceLimits)


class PartitionedWriter:
    """Writes the files of one change; use as a context manager, which removes the spool folder."""

    def __init__(
        self,
        fs: LakeFileSystem,
        table: Table,
        spec: WriteSpec,
        schema: pa.Schema,
        token: str,
        limits: WriterLimits | None = None,
        unique_by: Sequence[str] = (),
    ) -> None:
        """Prepare to write files of `schema` (without partition columns) below the table's root.

        Args:
            fs: May write below the root.
            table: Names the files and decides when they may be uploaded.
            spec: The encoding of the files.
            schema: Columns of the files.
            token: The run's token, for file names.
            limits: Bounds on memory and concurrency.
            unique_by: Only the last of a partition's rows that are equal in these columns is written.
        """
        self._unique_by = tuple(unique_by)
        self.duplicates = 0
        self._spooled_rows = 0
        self._rows_of_spools: list[int] = []
        self._fs = fs
        self._table = table
        self._spec = spec
        self._schema = nullable_schema(schema)
        self._is_cast = not self._schema.equals(schema)
        self._has_floats = any(holds_floats(field.type) for field in schema)
        self._token = token
        self._limits = limits or WriterLimits()
        self._waiting: dict[PartitionKey, list[pa.Table]] = defaultdict(list)
        self._waiting_bytes: dict[PartitionKey, int] = defaultdict(int)
        self._total_bytes = 0
        self._spools: dict[PartitionKey, Path] = {}
        self._with_nan: dict[PartitionKey, frozenset[int]] = defaultdict(frozenset)
        self._numbers: dict[PartitionKey, Iterator[int]] = defaultdict(itertools.count)
        self._folder = tempfile.TemporaryDirectory(prefix="tierlake-")
        self._encoding = ThreadQueue[list[StagedFile]](self._limits.uploads, "tierlake-upload")
        self._paths = itertools.count()

    def __enter__(self) -> Self:
        """Open nothing before the first rows."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop uploads that have not begun and remove the spool folder."""
        self._encoding.__exit__(kind, error, trace)
        self._folder.cleanup()

    def add(self, key: PartitionKey, table: pa.Table) -> None:
        """Take rows of one partition, already in the writer's schema."""
        rows = table.cast(self._schema) if self._is_cast else table
        size = rows.nbytes
        if self._has_floats:
            self._with_nan[key] |= leaves_with_nan(rows)
        self._waiting[key].append(rows)
        self._waiting_bytes[key] += size
        self._total_bytes += size
        if self._total_bytes > self._limits.memory_bytes:
            self._spool_all()

    def finish(self) -> tuple[StagedFile, ...]:
        """Write the remaining rows and wait for all files.

        Returns:
            The files, to be named by a commit.
        """
        for key in sorted(self._waiting):
            if key in self._spools:
                self._spool(key)
            else:
                rows = self._take(key)
                kept = last_of_each(rows, self._unique_by) if self._unique_by else rows
                self.duplicates += rows.num_rows - kept.num_rows
                self._encoding.submit(self._encode, key, [self._sorted(kept)], self._with_nan[key])
        for key in sorted(self._spools):
            self._close(key)
        staged = [file for files in self._encoding.results() for file in files]
        self.duplicates += self._spooled_rows - sum(self._rows_of_spools)
        return tuple(staged)

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _take(self, key: PartitionKey) -> pa.Table:
        rows = pa.concat_tables(self._waiting.pop(key))
        self._total_bytes -= self._waiting_bytes.pop(key)
        return rows

    def _sorted(self, rows: pa.Table) -> pa.Table:
        return rows.sort_by([(name, "ascending") for name in self._spec.sort_by]) if self._spec.sort_by else rows

    def _new_path(self) -> Path:
        return Path(self._folder.name) / str(next(self._paths))

    def _spool_all(self) -> None:
        """Move the rows of all partitions to spools: they share the memory of their batches."""
        for key in list(self._waiting):
            self._spool(key)
        pa.default_memory_pool().release_unused()

    def _spool(self, key: PartitionKey) -> None:
        rows = self._take(key)
        path = self._spools.setdefault(key, self._new_path())
        append_rows(path, rows)
        self._spooled_rows += rows.num_rows
        is_enough = path.stat().st_size >= _SPOOLED_FILES * self._table.file_size(self._spec.target_file_size)
        if is_enough and not self._unique_by:
            self._close(key)

    def _close(self, key: PartitionKey) -> None:
        """Queue a spool for encoding; wait where many are queued already, or the disk fills up."""
        self._encoding.wait_for_room()
        self._encoding.submit(self._encode_spool, key, self._spools.pop(key), self._with_nan[key])

    def _encode_spool(self, key: PartitionKey, spooled: Path, with_nan: frozenset[int]) -> list[StagedFile]:
        batches = unique_batches(spooled, self._unique_by) if self._unique_by else spooled_batches(spooled)
        with closing(batches):
            share = max(1, self._limits.memory_bytes // (2 * self._limits.uploads))
            row_groups = gathered(batches, rows=self._spec.row_group_rows, size=share)
            staged = self._encode(key, map(self._sorted, row_groups), with_nan)
        spooled.unlink()
        self._rows_of_spools.append(sum(file.file.rows or 0 for file in staged))
        return staged

    def _encode(self, key: PartitionKey, row_groups: Iterable[pa.Table], with_nan: frozenset[int]) -> list[StagedFile]:
        """Write Parquet files, a new one whenever one is large enough, and upload each."""
        staged: list[StagedFile] = []
        waiting = iter(row_groups)
        for first in waiting:
            path = self._new_path()
            with _LocalFile(path, self._schema, self._spec, first.num_rows, with_nan) as file:
                for rows in itertools.chain([first], waiting):
                    file.write(rows)
                    if file.size >= self._table.file_size(self._spec.target_file_size):
                        break
                footer = file.end()
            staged.append(self._stage(key, path, footer))
        return staged

    def _stage(self, key: PartitionKey, local: Path, footer: pq.FileMetaData) -> StagedFile:
        file = LiveFile(
            path=self._table.path_for(key, self._token, next(self._numbers[key]), f"{self._spec.compression}.parquet"),
            size=local.stat().st_size,
            key=key,
            rows=footer.num_rows,
            modified=datetime.now(UTC),
            stats=footer_stats(footer),
        )
        one = StagedFile(file, str(local), footer=footer_bytes(footer, file.size))
        staged = self._table.stage(self._fs, one, self._token)
        if staged.local is None:
            local.unlink()
        return staged


class _LocalFile:
    """A Parquet file that is being written on local disk; a context manager, which leaves no file open."""

    def __init__(
        self, path: Path, schema: pa.Schema, spec: WriteSpec, first_rows: int, with_nan: frozenset[int]
    ) -> None:
        self._row_group_rows = spec.row_group_rows
        self._footers: list[pq.FileMetaData] = []
        ordering = [(name, "ascending") for name in spec.sort_by]
        # a filter is sized for as many distinct values as a row group has rows
        distinct = max(1, min(first_rows, spec.row_group_rows))
        with ExitStack() as opened:
            self._sink = opened.enter_context(pa.OSFile(str(path), "wb"))
            self._writer = pq.ParquetWriter(
                self._sink,
                schema,
                compression=spec.compression,
                compression_level=spec.compression_level,
                write_page_index=spec.page_index,
                # readers skip row groups by bounds, which ignore NaN
                write_statistics=(_leaves_without(schema, with_nan) or False) if with_nan else True,
                sorting_columns=pq.SortingColumn.from_ordering(schema, ordering) if ordering else None,
                bloom_filter_options={name: {"ndv": distinct} for name in spec.bloom_filters} or None,
                metadata_collector=self._footers,
            )
            opened.callback(self._abandon)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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


def _leaves_without(schema: pa.Schema, numbers: frozenset[int]) -> list[str]:
    """The other leaf columns, as Parquet names them."""
    sink = pa.BufferOutputStream()
    pq.write_metadata(schema, sink)
    leaves = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    paths = [leaves.column(number).path for number in range(len(leaves))]
    left_out = {paths[number] for number in numbers}
    return [path for path in paths if path not in left_out]
