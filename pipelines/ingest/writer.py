"""Rows into Parquet files, one partition at a time, in bounded memory.

Rows wait in memory by partition. Where they exceed the budget, all move to spools on local disk. A partition that is
small enough is encoded in memory, on all processors, and sent in the background, many at once. A larger one is encoded
a row group at a time into a file on local disk, at the end or when its spool is large enough for a file. Files are
uploaded at once where only a commit makes them visible, and with the commit where writing is the commit (plain
Parquet).
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import pyarrow as pa

from tierlake.pipelines.ingest.duplicates import last_of_each, unique_batches
from tierlake.pipelines.ingest.parquet_file import FileEncoder, LocalFile
from tierlake.pipelines.ingest.partitioner import Run
from tierlake.pipelines.ingest.spill import SpoolFolder, append_rows, gathered, spooled_batches
from tierlake.pipelines.model.stored_types import nullable_schema
from tierlake.pipelines.parquet.statistics import footer_stats, holds_floats, leaves_with_nan
from tierlake.pipelines.runtime.parallel import ThreadQueue, in_threads, processors
from tierlake.pipelines.sources.limits import SourceLimits
from tierlake.pipelines.tables.footers import footer_bytes
from tierlake.pipelines.tables.snapshot import LiveFile, StagedFile
from tierlake.pipelines.tables.staging import uploaded

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    import pyarrow.parquet as pq

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import WriteSpec
    from tierlake.pipelines.tables.protocol import Table

__all__ = ["PartitionedWriter", "WriterLimits"]

_SPOOLED_FILES = 2  # Parquet is smaller than a spool
_SMALL_BYTES: Final = 8 << 20
"""A partition of at most so many bytes, as Arrow counts them, is encoded in memory and sent in one request."""
_SENT_SHARE: Final = 8
"""One part in so many of the memory is for encoded files that are being sent."""


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """Bounds of a writer.

    Attributes:
        memory_bytes: Rows held in memory, as Arrow counts them, before partitions are spooled to disk, together with
            small files that are being sent. A batch that is larger is spooled at once. The batches that are being read
            and sorted come on top: two of 16 MiB.
        uploads: Large files encoded and uploaded at the same time.
        requests: Small files sent at the same time.
        source: Limits of each file of a source.
    """

    memory_bytes: int = 192 << 20
    uploads: int = 8
    requests: int = 32
    source: SourceLimits = field(default_factory=SourceLimits)


@dataclass(frozen=True, slots=True)
class _Closed:
    """A partition's rows on their way into files.

    Attributes:
        key: The partition.
        spooled: The spool with the first of them.
        waiting: The others, in memory.
        rows: The number of all.
        held_bytes: The size of those in memory.
        with_nan: Leaf columns with a NaN, by number.
    """

    key: PartitionKey
    spooled: Path | None
    waiting: pa.Table | None
    rows: int
    held_bytes: int
    with_nan: frozenset[int]


class _Sent(NamedTuple):
    """A file, and how to wait for the request that sends it, if one does."""

    file: StagedFile
    wait: Callable[[], None] | None = None

    def staged(self) -> StagedFile:
        """The file, once it is where it belongs."""
        if self.wait is not None:
            self.wait()
        return self.file


class _Written(NamedTuple):
    """The files of a partition, and the rows among which their rows were chosen."""

    rows: int
    files: list[_Sent]


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
        self._fs = fs
        self._table = table
        self._spec = spec
        self._schema = nullable_schema(schema)
        self._encoder = FileEncoder(self._schema, spec)
        self._is_cast = not self._schema.equals(schema)
        self._has_floats = any(holds_floats(field.type) for field in schema)
        self._token = token
        self._metadata = table.upload_metadata(token)
        self._limits = limits or WriterLimits()
        self._waiting: dict[PartitionKey, list[pa.Table]] = defaultdict(list)
        self._waiting_bytes: dict[PartitionKey, int] = defaultdict(int)
        self._held_bytes = 0
        self._lock = threading.Lock()
        self._spools: dict[PartitionKey, Path] = {}
        self._spooled_bytes: dict[PartitionKey, int] = defaultdict(int)
        self._spooled_rows: dict[PartitionKey, int] = defaultdict(int)
        self._with_nan: dict[PartitionKey, frozenset[int]] = defaultdict(frozenset)
        self._numbers: dict[PartitionKey, Iterator[int]] = defaultdict(itertools.count)
        self._folder = SpoolFolder()
        uploads = self._limits.uploads
        self._large = ThreadQueue[_Written](uploads, "tierlake-upload")
        self._small = ThreadQueue[_Written](min(uploads, processors()), "tierlake-encode")
        self._sender = fs.sender(
            at_once=self._limits.requests, max_bytes=max(1, self._limits.memory_bytes // _SENT_SHARE)
        )

    def __enter__(self) -> Self:
        """Open nothing before the first rows."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave out what has not begun, wait for the rest and remove the spool folder."""
        self._small.__exit__(kind, error, trace)
        self._large.__exit__(kind, error, trace)
        self._sender.__exit__(kind, error, trace)
        self._folder.close()

    @property
    def held_bytes(self) -> int:
        """The size of the rows in memory, and of the encoded files that are being sent."""
        return self._held_bytes + self._sender.held_bytes

    def add(self, key: PartitionKey, table: pa.Table) -> None:
        """Take rows of one partition, already in the writer's schema."""
        self.add_runs(table, [Run(key, 0, table.num_rows)])

    def add_runs(self, table: pa.Table, runs: Sequence[Run]) -> None:
        """Take rows that are sorted by partition, already in the writer's schema.

        Args:
            table: The rows.
            runs: Where those of each partition are.
        """
        rows = table.cast(self._schema) if self._is_cast else table
        size = rows.nbytes
        if self._held_bytes + size > self._rows_bytes:
            self._spool_all()
        has_nan = self._has_floats and bool(leaves_with_nan(rows))
        for run in runs:
            part = rows.slice(run.start, run.rows)
            if has_nan:
                self._with_nan[run.key] |= leaves_with_nan(part)
            share = size * run.rows // max(1, rows.num_rows)
            self._waiting[run.key].append(part)
            self._waiting_bytes[run.key] += share
            self._hold(share)
        if self._held_bytes > self._rows_bytes:
            self._spool_all()

    def finish(self) -> tuple[StagedFile, ...]:
        """Write the remaining rows and wait for all files.

        Returns:
            The files, to be named by a commit.
        """
        for key in sorted({*self._waiting, *self._spools}):
            self._close(key)
        staged: list[StagedFile] = []
        for written in itertools.chain(self._small.as_they_come(), self._large.as_they_come()):
            # where one cannot be sent, those that wait are not encoded any more
            files = [sent.staged() for sent in written.files]
            self.duplicates += written.rows - sum(one.file.rows or 0 for one in files)
            staged += files
        return tuple(staged)

    # -- rows that wait -----------------------------------------------------------------------------------------------

    @property
    def _rows_bytes(self) -> int:
        memory = self._limits.memory_bytes
        return max(1, memory - memory // _SENT_SHARE)

    def _hold(self, size: int) -> None:
        with self._lock:
            self._held_bytes += size

    def _take(self, key: PartitionKey) -> tuple[pa.Table | None, int]:
        """The rows of a partition in memory, and their size."""
        waiting = self._waiting.pop(key, None)
        return pa.concat_tables(waiting) if waiting else None, self._waiting_bytes.pop(key, 0)

    def _spool_all(self) -> None:
        """Move the rows of all partitions to spools: they share the memory of their batches."""
        moves: list[tuple[Path, pa.Table]] = []
        moved_bytes = 0
        for key in list(self._waiting):
            rows, size = self._take(key)
            if rows is None:
                continue
            path = self._spools.setdefault(key, self._spools.get(key) or self._folder.new_path())
            moves.append((path, rows))
            moved_bytes += size
            self._spooled_bytes[key] += size
            self._spooled_rows[key] += rows.num_rows
        in_threads(lambda move: append_rows(*move), moves, at_once=processors(), name="tierlake-spool")
        moves.clear()
        self._hold(-moved_bytes)
        pa.default_memory_pool().release_unused()
        if self._unique_by:
            return
        enough = _SPOOLED_FILES * self._table.file_size(self._spec.target_file_size)
        for key in [key for key, path in self._spools.items() if path.stat().st_size >= enough]:
            self._close(key)

    # -- rows into files ----------------------------------------------------------------------------------------------

    @property
    def _group_bytes(self) -> int:
        """The most bytes of a row group that is made of spooled rows."""
        return max(1, self._limits.memory_bytes // (2 * self._limits.uploads))

    def _close(self, key: PartitionKey) -> None:
        """Queue a partition's rows for encoding; wait where many large ones are queued, or the disk fills up."""
        rows, size = self._take(key)
        total_bytes = self._spooled_bytes.pop(key, 0) + size
        closed = _Closed(
            key=key,
            spooled=self._spools.pop(key, None),
            waiting=rows,
            rows=self._spooled_rows.pop(key, 0) + (rows.num_rows if rows is not None else 0),
            held_bytes=size,
            with_nan=self._with_nan[key],
        )
        if total_bytes <= min(_SMALL_BYTES, self._group_bytes, self._table.file_size(self._spec.target_file_size)):
            self._small.submit(self._encode_small, closed)
        else:
            self._large.wait_for_room()
            self._large.submit(self._encode_large, closed)

    def _encode_small(self, closed: _Closed) -> _Written:
        """Write one file, in memory."""
        tables = [] if closed.waiting is None else [closed.waiting]
        if closed.spooled is not None:
            with closing(spooled_batches(closed.spooled)) as batches:
                tables.insert(0, pa.Table.from_batches(batches, self._schema))
            closed.spooled.unlink()
        rows = self._sorted(self._unique(pa.concat_tables(tables)))
        content, footer = self._encoder.encoded(rows, closed.with_nan)
        file = self._file(closed.key, content.size, footer)
        kept = footer_bytes(footer, file.size)
        if self._metadata is None:
            local = self._folder.new_path()
            local.write_bytes(content)
            sent = _Sent(StagedFile(file, str(local), footer=kept))
        else:
            path = f"{self._table.root}/{file.path}"
            sending = self._sender.send(path, content.to_pybytes(), self._metadata)
            sent = _Sent(StagedFile(file, footer=kept), sending)
        self._hold(-closed.held_bytes)
        return _Written(closed.rows, [sent])

    def _encode_large(self, closed: _Closed) -> _Written:
        """Write Parquet files on local disk, a new one whenever one is large enough, and upload each."""
        if closed.spooled is None:
            rows = closed.waiting if closed.waiting is not None else self._schema.empty_table()
            staged = self._encode(closed, [self._sorted(self._unique(rows))])
        else:
            with closing(self._batches(closed, closed.spooled)) as batches:
                row_groups = gathered(batches, rows=self._spec.row_group_rows, size=self._group_bytes)
                staged = self._encode(closed, map(self._sorted, row_groups))
            closed.spooled.unlink()
        self._hold(-closed.held_bytes)
        return _Written(closed.rows, [_Sent(one) for one in staged])

    def _batches(self, closed: _Closed, spooled: Path) -> Generator[pa.RecordBatch]:
        """The rows of a spool, then those in memory; only the last of equal ones where that is wanted."""
        if self._unique_by:
            if closed.waiting is not None:
                append_rows(spooled, closed.waiting)
            yield from unique_batches(spooled, self._unique_by)
            return
        yield from spooled_batches(spooled)
        if closed.waiting is not None:
            yield from closed.waiting.to_batches()

    def _unique(self, rows: pa.Table) -> pa.Table:
        return last_of_each(rows, self._unique_by) if self._unique_by else rows

    def _sorted(self, rows: pa.Table) -> pa.Table:
        return rows.sort_by([(name, "ascending") for name in self._spec.sort_by]) if self._spec.sort_by else rows

    def _encode(self, closed: _Closed, row_groups: Iterable[pa.Table]) -> list[StagedFile]:
        staged: list[StagedFile] = []
        waiting = iter(row_groups)
        for first in waiting:
            local = self._folder.new_path()
            with LocalFile(local, self._encoder, first.num_rows, closed.with_nan) as file:
                for rows in itertools.chain([first], waiting):
                    file.write(rows)
                    if file.size >= self._table.file_size(self._spec.target_file_size):
                        break
                footer = file.end()
            written = self._file(closed.key, local.stat().st_size, footer)
            one = StagedFile(written, str(local), footer=footer_bytes(footer, written.size))
            if self._metadata is not None:
                one = uploaded(self._fs, self._table.root, one, self._metadata)
                local.unlink()
            staged.append(one)
        return staged

    def _file(self, key: PartitionKey, size: int, footer: pq.FileMetaData) -> LiveFile:
        number = next(self._numbers[key])
        return LiveFile(
            path=self._table.path_for(key, self._token, number, f"{self._spec.compression}.parquet"),
            size=size,
            key=key,
            rows=footer.num_rows,
            modified=datetime.now(UTC),
            stats=footer_stats(footer),
        )
