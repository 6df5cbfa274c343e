"""Ingest: from any source into the table's partitions, as one commit.

Read, sort by partition, write files, commit. A crash before the commit leaves files that no reader sees; the same run
key again is one commit.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.types as pat

from pipelines import units
from pipelines.contention import turns
from pipelines.errors import CommitConflict, SchemaMismatch, UnsupportedByTable
from pipelines.maintenance import ORPHAN_AGE, delete_for_good
from pipelines.partitioning import Partitioner
from pipelines.rejects import check_tolerable
from pipelines.schema import check_storable, declared_schema, merged_schema, storable_schema
from pipelines.sharing import stage_on_workers
from pipelines.sources import RowStream, open_source, plain_batches
from pipelines.sources.splits import split
from pipelines.staging import Staging, open_writer, sorted_out, stage
from pipelines.tables.protocol import Change
from pipelines.tables.runs import run_token
from pipelines.writer import WriterLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.handle import Handle
    from pipelines.layout import PartitionKey
    from pipelines.tables.protocol import Commit, Snapshot, StagedFile
    from pipelines.workers import Workers

__all__ = ["IngestMode", "IngestResult", "Rehearsal", "ingest", "rehearse"]

IngestMode = Literal["replace", "append"]


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What an ingest did.

    Attributes:
        rows: rows committed.
        rejected: rows kept in `_lake/rejects/`.
        rejects_path: where, or None.
        partitions: keys that were written or emptied.
        files: files committed.
        bytes: their size.
        version: the table's version after the commit.
        run_key: the run's identity.
        committed: False where this run key had been committed before; then the counts are 0.
        duplicates: rows left out because a later row of the source had their key.
    """

    rows: int
    rejected: int
    rejects_path: str | None
    partitions: tuple[PartitionKey, ...]
    files: int
    bytes: int
    version: int
    run_key: str
    committed: bool
    duplicates: int = 0

    def __str__(self) -> str:
        """One line for people."""
        if not self.committed:
            return f"run {self.run_key} had been committed before: nothing changed"
        told = f", {self.duplicates:,} duplicates left out" if self.duplicates else ""
        told += f", {self.rejected:,} rejected (lake://{self.rejects_path})" if self.rejected else ""
        return (
            f"{self.rows:,} rows in {len(self.partitions):,} partitions ({self.files:,} files, "
            f"{units.size(self.bytes)}), version {self.version}{told}"
        )


def ingest(  # noqa: PLR0913 - the user's own options
    handle: Handle,
    source: object,
    *,
    mode: IngestMode = "replace",
    run_key: str | None = None,
    keys: Sequence[PartitionKey] | None = None,
    details: Mapping[str, object] | None = None,
    limits: WriterLimits | None = None,
    storage_options: Mapping[str, object] | None = None,
    on_rows: Callable[[int], None] | None = None,
    unique_by: Sequence[str] = (),
    workers: Workers | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> IngestResult:
    """Write a source's rows and commit them.

    Args:
        handle: the dataset.
        source: see `pipelines.sources`.
        mode: `replace` the partitions that the source touches, or `append` to them.
        run_key: identity of the run; a second ingest with it does nothing. A fresh one by default. The table forgets it
            when one of its partitions expires: an append under it then adds what is missing, and nothing twice.
        keys: the partitions that the source covers: rows outside are refused, and a partition without rows is emptied.
        details: more JSON values for the commit's metadata.
        limits: bounds on memory and concurrency.
        storage_options: for a source path, passed to its filesystem.
        on_rows: called with the number of rows of each batch read.
        unique_by: of the source's rows in one partition that are equal in these columns, keep the last.
        workers: a cluster that reads and writes in this process's stead; the commit is made here.
        clock: seconds that pass, for the age of files that wait for their commit.

    Raises:
        SchemaMismatch: the data does not fit the table.
        RejectedTooMany: more bad rows than the spec allows; they are kept, nothing is committed.
        UnsupportedByTable: append to a plain table.
        CommitConflict: others kept changing the same partitions, or a vacuum took files that had waited for a day.
    """
    if mode == "append" and not handle.table.can_append:
        message = f"lake://{handle.table.root} is plain Parquet: a partition is one object, and append would rewrite it"
        raise UnsupportedByTable(message, hint="use mode='replace', or a dataset with format: delta")
    key = run_key or uuid.uuid4().hex
    if run_key is not None and handle.table.is_committed(run_key):
        version = handle.table.snapshot().version
        return IngestResult(0, 0, None, (), 0, 0, version, key, committed=False)
    snapshot = handle.table.snapshot()
    declared = declared_schema(handle.spec.columns) if handle.spec.columns else None
    known = _source_types(snapshot, declared, handle)
    bounds = limits or WriterLimits()
    pieces = None
    if workers is None:
        stream = open_source(source, known, storage_options, bounds.source)
    else:
        pieces = split(source, known, storage_options, threads=workers.threads, limits=bounds.source)
        stream = RowStream(pieces.schema, iter(()), pieces.name)
    partitioner = Partitioner(handle.spec.partition)
    schema, columns = _schemas(handle, stream.schema, snapshot, declared, partitioner)
    staging = Staging(
        columns=columns,
        token=run_token(key),
        source=stream.name[:200],
        keys=frozenset(keys) if keys is not None else None,
        without=handle.table.left_of(key, snapshot) if run_key and mode == "append" else frozenset(),
        unique_by=_unique_columns(unique_by, schema, partitioner),
        limits=bounds,
    )
    check = partial(check_tolerable, handle.spec.rejects)
    started = clock()
    with ExitStack() as stack:
        if workers and pieces:
            staged = stage_on_workers(workers, handle, staging, pieces, known, on_rows=on_rows, check=check)
        else:
            writer = stack.enter_context(open_writer(handle, staging))
            staged = stage(handle, staging, plain_batches(stream), writer, on_rows=on_rows, check=check)
        _look_again(handle, staged.files, age=timedelta(seconds=clock() - started))
        metadata = {
            "rows": staged.rows,
            "rejected": staged.bad_rows,
            "bytes": staged.bytes,
            "source": staging.source,
            **(details or {}),
        }
        commit, touched = _commit(handle, snapshot, staged.files, schema, mode, key, keys, metadata)
        delete_for_good(handle, staged.leftovers)
    return IngestResult(
        rows=staged.rows,
        rejected=staged.bad_rows,
        rejects_path=staged.rejects_path,
        partitions=touched,
        files=len(staged.files),
        bytes=staged.bytes,
        version=commit.version,
        run_key=key,
        committed=True,
        duplicates=staged.duplicates,
    )


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What an ingest would do.

    Attributes:
        partitions: rows by partition, as `ls` prints its key.
        rejected: rows that it would reject.
    """

    partitions: Mapping[str, int]
    rejected: int

    def __str__(self) -> str:
        """For people."""
        rows = ((key, units.count(rows)) for key, rows in sorted(self.partitions.items()))
        footer = (f"{len(self.partitions):,} partitions", units.count(sum(self.partitions.values())))
        table = units.table_text(["key", ">rows"], rows, footer=footer)
        return f"{table}\nwould be written; {self.rejected:,} rows would be rejected"


def rehearse(handle: Handle, source: object, storage_options: Mapping[str, object] | None = None) -> Rehearsal:
    """Read a source as `ingest` does and sort its rows, but write nothing.

    Args:
        handle: the dataset.
        source: see `pipelines.sources`.
        storage_options: for a source path, passed to its filesystem.

    Raises:
        SchemaMismatch: the data does not fit the table.
        SourceError: the source cannot be read.
    """
    snapshot = handle.table.snapshot()
    declared = declared_schema(handle.spec.columns) if handle.spec.columns else None
    stream = open_source(source, _source_types(snapshot, declared, handle), storage_options)
    partitioner = Partitioner(handle.spec.partition)
    _, columns = _schemas(handle, stream.schema, snapshot, declared, partitioner)
    rows: Counter[str] = Counter()
    rejected = 0
    for parts, bad in sorted_out(plain_batches(stream), partitioner, Staging(columns, token="", source=stream.name)):
        for key, part in parts:
            rows[str(key)] += part.num_rows
        rejected += bad.num_rows
    return Rehearsal(rows, rejected)


def _schemas(
    handle: Handle, source: pa.Schema, snapshot: Snapshot, declared: pa.Schema | None, partitioner: Partitioner
) -> tuple[pa.Schema, pa.Schema]:
    """The table's schema after this ingest, and the columns of its files."""
    partitioner.check(source)
    schema = _table_schema(source, snapshot, declared, partitioner)
    check_storable(schema)
    columns = partitioner.stored_columns(_data_columns(schema, handle))
    _check_written(handle, columns)
    return schema, columns


def _check_written(handle: Handle, columns: pa.Schema) -> None:
    write = handle.spec.write
    for option, names in (("sort_by", write.sort_by), ("bloom_filters", write.bloom_filters)):
        unknown = [name for name in names if name not in columns.names]
        if unknown:
            message = f"write.{option} names {unknown[0]}, which is no column of the files of {handle.spec.uri}"
            raise SchemaMismatch(message, hint=f"they have: {', '.join(columns.names)}")
    for name in write.bloom_filters:
        kind = columns.field(name).type
        if pat.is_nested(kind) or pat.is_boolean(kind):
            message = f"write.bloom_filters names {name}, and Parquet has no Bloom filter of {kind}"
            raise SchemaMismatch(message, hint="leave it out")


def _look_again(handle: Handle, staged: Sequence[StagedFile], age: timedelta) -> None:
    """Files that waited for half the age at which a vacuum takes orphans may be gone: see before they are named."""
    if age < ORPHAN_AGE / 2 or handle.table.is_published_by_writing:
        return
    handle.fs.invalidate_cache()
    gone = [file.file.path for file in staged if not handle.fs.exists(f"{handle.table.root}/{file.file.path}")]
    if gone:
        message = f"lake://{handle.table.root}: {len(gone)} of the files written were deleted before their commit"
        raise CommitConflict(message, hint=f"the ingest took {age}; run it again, in smaller pieces")


def _unique_columns(unique_by: Sequence[str], schema: pa.Schema, partitioner: Partitioner) -> tuple[str, ...]:
    """Without partition columns, which are equal in a partition anyway."""
    unknown = [name for name in unique_by if name not in schema.names]
    kept = tuple(name for name in unique_by if name not in partitioner.columns)
    if unknown or (unique_by and not kept):
        why = f"no column {unknown[0]}" if unknown else "they are all partition columns"
        hint = f"there are: {', '.join(name for name in schema.names if name not in partitioner.columns)}"
        raise SchemaMismatch(f"rows cannot be told apart by {', '.join(unique_by)}: {why}", hint=hint)
    return kept


def _source_types(snapshot: Snapshot, declared: pa.Schema | None, handle: Handle) -> pa.Schema | None:
    known = snapshot.schema if snapshot.schema is not None and len(snapshot.schema) else declared
    if known is None:
        return None
    columns = _data_columns(known, handle)
    time = handle.spec.partition.time
    if time is None or time.column not in columns.names or not getattr(columns.field(time.column).type, "tz", None):
        return columns
    # an instant is read as text: one that is none is a bad row then, and not the end of the whole file
    return columns.set(columns.get_field_index(time.column), pa.field(time.column, pa.string()))


def _data_columns(schema: pa.Schema, handle: Handle) -> pa.Schema:
    """Without a time key that is computed, which no source has."""
    partition = handle.spec.partition
    computed = set(partition.columns) - set(partition.carried)
    return pa.schema([field for field in schema if field.name not in computed])


def _table_schema(
    source: pa.Schema, snapshot: Snapshot, declared: pa.Schema | None, partitioner: Partitioner
) -> pa.Schema:
    """The table's schema after this ingest, partition columns included and first."""
    incoming = storable_schema(partitioner.typed(source))
    keys = pa.schema([_key_field(name, snapshot.schema, incoming) for name in partitioner.columns])
    stored = pa.schema([field for field in incoming if field.name not in keys.names])
    if snapshot.schema is not None and any(name not in keys.names for name in snapshot.schema.names):
        return merged_schema(snapshot.schema, pa.schema([*keys, *stored]))
    if declared is not None:
        stored = merged_schema(pa.schema([field for field in declared if field.name not in keys.names]), stored)
    return pa.schema([*keys, *stored])


def _key_field(name: str, table: pa.Schema | None, incoming: pa.Schema) -> pa.Field:
    """Keys are text in tables of ours; where others gave them a type, the data's has to fit it."""
    stored = table.field(name).type if table is not None and name in table.names else pa.string()
    return pa.field(name, incoming.field(name).type if stored != pa.string() and name in incoming.names else stored)


def _commit(
    handle: Handle,
    snapshot: Snapshot,
    staged: tuple[StagedFile, ...],
    schema: pa.Schema,
    mode: IngestMode,
    run_key: str,
    keys: Sequence[PartitionKey] | None,
    details: Mapping[str, object],
) -> tuple[Commit, tuple[PartitionKey, ...]]:
    covered = {file.file.key for file in staged} | set(keys or ())
    conflict: CommitConflict | None = None
    for _ in turns():
        live = snapshot.by_partition()
        removes = () if mode == "append" else tuple(file for key in sorted(covered) for file in live.get(key, ()))
        change = Change(
            operation="append" if mode == "append" else "ingest",
            base=snapshot,
            adds=staged,
            removes=removes,
            covers=frozenset() if mode == "append" else frozenset(covered),
            schema=schema,
            run_key=run_key,
            details={**details, "partitions": len(covered)},
        )
        try:
            return handle.table.commit(change), tuple(sorted(covered))
        except CommitConflict as lost:
            # to replace means to replace what is there at the commit: look again
            conflict, snapshot = lost, handle.table.snapshot()
    raise conflict or AssertionError
