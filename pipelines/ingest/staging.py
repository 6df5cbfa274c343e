"""Rows become files that a commit can name: what ingest does between reading and committing, on one machine or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.ingest.partitioner import Partitioner
from tierlake.pipelines.ingest.rejects import Rejects
from tierlake.pipelines.ingest.writer import PartitionedWriter, WriterLimits
from tierlake.pipelines.runtime.parallel import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tierlake.pipelines.ingest.conversion import Intake
    from tierlake.pipelines.ingest.partitioner import Run
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.sources import SourceBatch
    from tierlake.pipelines.tables.snapshot import StagedFile

__all__ = ["SortedOut", "Staged", "Staging", "open_writer", "sorted_out", "stage"]

_ROWS, _BYTES = 1 << 17, 16 << 20
_SORTED_AT_ONCE = 1


@dataclass(frozen=True, slots=True)
class Staging:
    """How the rows of one ingest become files.

    Attributes:
        intake: How rows are fitted to the table.
        columns: The columns of the files.
        token: The run's token, for file names.
        source: The source of the rows, as text.
        keys: The only partitions that rows may belong to; None means any.
        without: Partitions whose rows are in the table already, and are left out.
        unique_by: Only the last of a partition's rows that are equal in these columns is kept.
        limits: Bounds on memory and concurrency.
    """

    intake: Intake
    columns: pa.Schema
    token: str
    source: str
    keys: frozenset[PartitionKey] | None = None
    without: frozenset[PartitionKey] = frozenset()
    unique_by: tuple[str, ...] = ()
    limits: WriterLimits = field(default_factory=WriterLimits)

    def shared_by(self, threads: int) -> Staging:
        """The staging for one of several threads that share the memory of a process."""
        memory = max(1, self.limits.memory_bytes // max(1, threads))
        return replace(self, limits=replace(self.limits, memory_bytes=memory))


@dataclass(frozen=True, slots=True)
class Staged:
    """The files that were written.

    Attributes:
        files: Files to be named by a commit.
        rows: The number of rows in them.
        duplicates: Rows left out because a later one had their key.
        rejected: The number of bad rows for each reason.
        rejects_path: The file that keeps them; None where there are none.
        leftovers: Files below the root that are not needed after the commit.
    """

    files: tuple[StagedFile, ...] = ()
    rows: int = 0
    duplicates: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejects_path: str | None = None
    leftovers: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(file.file.size for file in self.files)

    @property
    def bad_rows(self) -> int:
        """The number of rejected rows."""
        return sum(self.rejected.values())

    @classmethod
    def together(cls, parts: Sequence[Staged], rejects_pattern: str) -> Staged:
        """The files of several workers together; a pattern stands for several files of rejects."""
        paths = sorted({part.rejects_path for part in parts if part.rejects_path})
        return cls(
            files=tuple(file for part in parts for file in part.files),
            rows=sum(part.rows for part in parts),
            duplicates=sum(part.duplicates for part in parts),
            rejected=dict(sum((Counter(part.rejected) for part in parts), Counter())),
            rejects_path=paths[0] if len(paths) == 1 else rejects_pattern if paths else None,
        )


def stage(
    handle: Handle,
    staging: Staging,
    batches: Iterable[SourceBatch],
    writer: PartitionedWriter,
    *,
    on_rows: Callable[[int], None] | None = None,
    check: Callable[[int, Mapping[str, int], str | None], None] | None = None,
) -> Staged:
    """Write rows to files, and the bad ones to `_lake/rejects/`.

    Args:
        handle: The dataset.
        staging: How the files are written.
        batches: The rows.
        writer: Writes the files. The caller closes it; where writing is the commit, after the commit.
        on_rows: Called with the number of rows read so far.
        check: Called with the rows read, the reasons of the bad ones and their reject file, before the last files are
            written; raises to abort.
    """
    rejects = Rejects(handle.fs, handle.table.root, staging.source, is_text=staging.intake.is_text)
    rows = 0
    with tracing.span("ingest.read"), ExitStack() as reading:
        if isinstance(batches, Generator):  # it may have a file open
            reading.enter_context(closing(batches))
        partitioner = Partitioner(handle.spec.partition, handle.table.root)
        sorting = reading.enter_context(closing(sorted_out(batches, partitioner, staging)))
        for part in sorting:
            for table in part.bad:
                rejects.add(table)
            if part.runs:
                writer.add_runs(part.rows, part.runs)
                rows += sum(run.rows for run in part.runs)
            if on_rows:
                on_rows(rows + rejects.count)
    rejects.write()
    if check:
        check(rows + rejects.count, rejects.reasons, rejects.path)
    with tracing.span("ingest.write"):
        files = writer.finish()
    return Staged(files, rows - writer.duplicates, writer.duplicates, dict(rejects.reasons), rejects.path)


@dataclass(frozen=True, slots=True)
class SortedOut:
    """Some rows of a source, sorted out.

    Attributes:
        rows: Rows sorted by partition.
        runs: Where those are that will be written.
        bad: Rows without a partition.
    """

    rows: pa.Table
    runs: tuple[Run, ...]
    bad: tuple[pa.Table, ...]


def sorted_out(batches: Iterable[SourceBatch], partitioner: Partitioner, staging: Staging) -> Generator[SortedOut]:
    """Rows by partition, and those that have none; sorted while the next ones are read.

    Args:
        batches: The rows.
        partitioner: The dataset's partitioner.
        staging: Its `keys` and `without` leave rows out.

    Yields:
        Rows of some batches.

    Raises:
        SchemaMismatch: A row lies outside the partitions that the source covers.
    """

    def sort(gathered: tuple[pa.Table | None, list[pa.Table]]) -> SortedOut:
        rows, unread = gathered
        if rows is None:
            return SortedOut(pa.table({}), (), tuple(unread))
        taken = staging.intake.take(rows, partitioner)
        runs = tuple(run for run in taken.assigned.runs() if run.key not in staging.without)
        outside = [run.key for run in runs if staging.keys is not None and run.key not in staging.keys]
        if outside:
            message = f"the source has rows of {outside[0]}, outside the partitions that it was said to cover"
            raise SchemaMismatch(message, hint="pass those keys too, or leave `keys` out")
        return SortedOut(taken.assigned.good, runs, (*unread, *([taken.bad] if taken.bad is not None else ())))

    with closing(_gathered(batches)) as reading:
        yield from ahead(sort, reading, at_once=_SORTED_AT_ONCE, name="tierlake-sort")


def _gathered(batches: Iterable[SourceBatch]) -> Generator[tuple[pa.Table | None, list[pa.Table]]]:
    """Combine small batches, since each is split into as many pieces as it has partitions."""
    waiting: list[pa.RecordBatch] = []
    bad: list[pa.Table] = []
    rows = size = 0
    for batch in batches:
        part, new = batch.rows, [batch.bad] if batch.bad is not None else []
        more_rows = part.num_rows + sum(table.num_rows for table in new)
        more_bytes = part.nbytes + sum(table.nbytes for table in new)
        is_full = rows + more_rows > _ROWS or size + more_bytes > _BYTES
        if (waiting or bad) and (is_full or (waiting and part.num_rows and part.schema != waiting[0].schema)):
            yield pa.Table.from_batches(waiting) if waiting else None, bad
            waiting, bad, rows, size = [], [], 0, 0
        waiting += [part] if part.num_rows else []
        bad += new
        rows, size = rows + more_rows, size + more_bytes
    if waiting or bad:
        yield pa.Table.from_batches(waiting) if waiting else None, bad


def open_writer(handle: Handle, staging: Staging) -> PartitionedWriter:
    """The writer for `stage`."""
    return PartitionedWriter(
        handle.fs,
        handle.table,
        handle.spec.write,
        staging.columns,
        staging.token,
        staging.limits,
        staging.unique_by,
    )
