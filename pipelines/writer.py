"""Rows into Parquet files, one partition at a time, in bounded memory.

Rows wait in memory by partition. Where they exceed the budget, the largest partitions move to spool files on local
disk, a row group at a time. A file that reaches the target size is finished; the rest is finished at the end. Files
go to the store at once where a commit has to name them before anybody sees them, and with the commit where writing is
the commit (plain Parquet).
"""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.stats import footer_stats
from pipelines.tables.protocol import LiveFile, StagedFile
from pipelines.unique import last_of_each, unique_batches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from connector.filesystem import LakeFileSystem
    from pipelines.layout import PartitionKey
    from pipelines.spec import WriteSpec
    from pipelines.tables.protocol import Table

__all__ = ["PartitionedWriter", "WriterLimits"]

_PART_BYTES, _PARTS_AT_ONCE, _MOST_PARTS = 8 << 20, 2, 9000  # of an upload: they are in memory, for each that runs


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Bounds of a writer.

    Attributes:
        memory_bytes: rows held in memory, as Arrow counts them, before partitions are spooled to disk.
        row_group_rows: rows of a row group at the most.
        uploads: files encoded and uploaded at the same time.
    """

    memory_bytes: int = 256 << 20
    row_group_rows: int = 1 << 20
    uploads: int = 8


@dataclass(slots=True)
class _Spool:
    path: Path
    writer: pq.ParquetWriter


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
            fs: may write below the root.
            table: names the files and says when they may be uploaded.
            spec: encoding of the files.
            schema: columns of the files.
            token: goes into file names, so that a file tells the run that wrote it.
            limits: bounds on memory and concurrency.
            unique_by: of the rows of a partition that are equal in these columns, only the last is written.
        """
        self._unique_by = tuple(unique_by)
        self.duplicates = 0
        self._fs = fs
        self._table = table
        self._spec = spec
        self._schema = schema
        self._token = token
        self._limits = limits or WriterLimits()
        self._waiting: dict[PartitionKey, list[pa.Table]] = defaultdict(list)
        self._waiting_bytes: dict[PartitionKey, int] = defaultdict(int)
        self._total_bytes = 0
        self._spools: dict[PartitionKey, _Spool] = {}
        self._numbers: dict[PartitionKey, int] = defaultdict(int)
        self._folder = tempfile.TemporaryDirectory(prefix="tierlake-")
        self._pool = ThreadPoolExecutor(self._limits.uploads, thread_name_prefix="tierlake-upload")
        self._spool_numbers = itertools.count()
        self._staged: list[Future[StagedFile]] = []

    def __enter__(self) -> Self:
        """Nothing is opened before the first rows come."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop uploads that have not begun and remove the spool folder."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for spool in self._spools.values():
            spool.writer.close()
        self._folder.cleanup()

    def add(self, key: PartitionKey, rows: pa.Table) -> None:
        """Take rows of one partition, already in the writer's schema."""
        size = rows.nbytes
        self._waiting[key].append(rows)
        self._waiting_bytes[key] += size
        self._total_bytes += size
        while self._total_bytes > self._limits.memory_bytes:
            self._spool(max(self._waiting_bytes, key=lambda waiting: self._waiting_bytes[waiting]))

    def finish(self) -> tuple[StagedFile, ...]:
        """Write what is left and wait for all files.

        Returns:
            The files, to be named by a commit.
        """
        for key in sorted(self._waiting):
            if key in self._spools:
                self._spool(key)
            elif self._waiting[key]:
                rows = self._sorted(self._unique(self._take(key)))
                self._staged.append(self._pool.submit(self._encode, key, rows, self._next_number(key)))
        for key in sorted(self._spools):
            if self._unique_by:
                self._respool(key)
            if key in self._spools:
                self._close(key)
        return tuple(future.result() for future in self._staged)

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _take(self, key: PartitionKey) -> pa.Table:
        rows = pa.concat_tables(self._waiting.pop(key))
        self._total_bytes -= self._waiting_bytes.pop(key)
        return rows

    def _sorted(self, rows: pa.Table) -> pa.Table:
        return rows.sort_by([(name, "ascending") for name in self._spec.sort_by]) if self._spec.sort_by else rows

    def _unique(self, rows: pa.Table) -> pa.Table:
        if not self._unique_by:
            return rows
        kept = last_of_each(rows, self._unique_by)
        self.duplicates += rows.num_rows - kept.num_rows
        return kept

    def _respool(self, key: PartitionKey) -> None:
        """Write a partition's spool again without duplicates; only now are all its rows there."""
        spool = self._spools.pop(key)
        spool.writer.close()
        before = pq.read_metadata(spool.path).num_rows
        unique_by, self._unique_by = self._unique_by, ()
        for rows in unique_batches(spool.path, unique_by):
            before -= rows.num_rows
            if rows.num_rows:
                self.add(key, rows)
        self._unique_by = unique_by
        self.duplicates += before
        spool.path.unlink()
        self._spool(key)

    def _next_number(self, key: PartitionKey) -> int:
        number = self._numbers[key]
        self._numbers[key] += 1
        return number

    def _new_spool(self) -> Path:
        return Path(self._folder.name) / f"{next(self._spool_numbers)}.parquet"

    def _spool(self, key: PartitionKey) -> None:
        if not self._waiting.get(key):
            return
        taken = self._take(key)
        rows = taken if self._unique_by else self._sorted(taken)
        spool = self._spools.get(key)
        if spool is None:
            path = self._new_spool()
            spool = self._spools[key] = _Spool(path, self._parquet(path))
        spool.writer.write_table(rows, row_group_size=self._limits.row_group_rows)
        if self._table.can_append and not self._unique_by and spool.path.stat().st_size >= self._spec.target_file_size:
            self._close(key)

    def _close(self, key: PartitionKey) -> None:
        spool = self._spools.pop(key)
        spool.writer.close()
        self._staged.append(self._pool.submit(self._stage, key, spool.path, self._next_number(key)))

    def _encode(self, key: PartitionKey, rows: pa.Table, number: int) -> StagedFile:
        path = self._new_spool()
        with self._parquet(path) as writer:
            writer.write_table(rows, row_group_size=self._limits.row_group_rows)
        return self._stage(key, path, number)

    def _parquet(self, path: Path) -> pq.ParquetWriter:
        return pq.ParquetWriter(
            path,
            self._schema,
            compression=self._spec.compression,
            compression_level=self._spec.compression_level,
        )

    def _stage(self, key: PartitionKey, spooled: Path, number: int) -> StagedFile:
        footer = pq.read_metadata(spooled)
        file = LiveFile(
            path=self._table.path_for(key, self._token, number, f"{self._spec.compression}.parquet"),
            size=spooled.stat().st_size,
            key=key,
            rows=footer.num_rows,
            modified=datetime.now(UTC),
            stats=footer_stats(footer),
        )
        staged = StagedFile(file, str(spooled))
        if self._table.is_published_by_writing:
            return staged
        part_bytes = max(_PART_BYTES, file.size // _MOST_PARTS)
        self._fs.put_file(
            str(spooled), f"{self._table.root}/{file.path}", chunksize=part_bytes, max_concurrency=_PARTS_AT_ONCE
        )
        spooled.unlink()
        return replace(staged, local=None)
