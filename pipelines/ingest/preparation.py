"""What an ingest settles before the first row: the stream, the schema plan, the columns of the files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pat

from tierlake.connector.nearest import alternatives
from tierlake.pipelines.errors import (
    ArchivedError,
    SchemaMismatch,
)
from tierlake.pipelines.ingest.conversion import Intake
from tierlake.pipelines.ingest.partitioner import Partitioner
from tierlake.pipelines.ingest.undetermined import check_untyped
from tierlake.pipelines.model.key_columns import is_text
from tierlake.pipelines.model.partition_types import check_partitioned
from tierlake.pipelines.model.schema import plan_schema
from tierlake.pipelines.model.stored_types import declared_schema, storable_type
from tierlake.pipelines.sources import RowStream, open_source
from tierlake.pipelines.sources.splits import split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierlake.pipelines.ingest.dask_workers import Workers
    from tierlake.pipelines.ingest.writer import WriterLimits
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.schema import SchemaPlan
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.model.text_options import TextOptions
    from tierlake.pipelines.sources import Pieces
    from tierlake.pipelines.tables.snapshot import Snapshot


__all__ = ["Prepared", "data_schema", "file_columns", "first_look", "planned", "prepared", "unique_columns"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An open source that fits the table."""

    snapshot: Snapshot
    stream: RowStream
    plan: SchemaPlan
    intake: Intake
    known: pa.Schema | None
    pieces: Pieces | None = None


def first_look(spec: DatasetSpec, source: object) -> tuple[RowStream, pa.Schema]:
    """Open the first source of a dataset that does not exist yet.

    Args:
        spec: Its description.
        source: See `tierlake.pipelines.sources`.

    Returns:
        The source, to be ingested, and the columns that the table will have.

    Raises:
        SchemaMismatch: The data does not fit the description.
        SourceError: The source cannot be read.
    """
    declared = declared_schema(spec.columns) if spec.columns else None
    stream = source if isinstance(source, RowStream) else open_source(source, declared, text=spec.text)
    return stream, planned(spec, stream, declared).table


def prepared(
    handle: Handle,
    source: object,
    storage_options: Mapping[str, object] | None,
    bounds: WriterLimits,
    text: TextOptions | None,
    workers: Workers | None,
) -> Prepared:
    """Open a source, and settle how its rows come into the table."""
    snapshot = handle.table.snapshot()
    current = _settled(handle, snapshot)
    known = None if current is None else _data_columns(current, handle)
    options = text or handle.spec.text
    pieces = None
    if isinstance(source, RowStream):
        stream = source
    elif workers is None:
        stream = open_source(source, known, storage_options, bounds.source, options)
    else:
        threads = workers.threads
        pieces = split(source, known, storage_options, threads=threads, limits=bounds.source, text=options)
        stream = pieces.described()
    texts = stream.columns_of_text
    if isinstance(source, RowStream) and known is not None:
        stream = replace(stream, schema=_as_known(stream.schema, known, texts))
    plan = planned(handle.spec, stream, current)
    check_untyped(handle.fs, handle.table.root, snapshot, plan.table, plan.added)
    time_partition = handle.spec.partition.time
    intake = Intake(plan, time_partition.timezone if time_partition else None, texts, stream.is_text)
    return Prepared(snapshot, stream, plan, intake, known, pieces)


def planned(spec: DatasetSpec, stream: RowStream, current: pa.Schema | None) -> SchemaPlan:
    """How the rows of a stream fit a table with this schema."""
    partition = spec.partition
    schema = _with_event_time(stream, spec, current)
    partitioner = Partitioner(partition)
    partitioner.check(schema)
    plan = plan_schema(
        pa.schema([field for field in schema if field.name != partitioner.computed]),
        table=current,
        keys=partition.columns,
        carried=partition.carried,
        evolution="add" if spec.takes_new_columns else "freeze",
    )
    check_partitioned(partition, plan.rows)
    return plan


def data_schema(handle: Handle) -> pa.Schema | None:
    """The columns of a dataset's sources: its own without a computed time key; None before the first rows."""
    current = _settled(handle, handle.table.snapshot())
    return None if current is None else _data_columns(current, handle)


def _settled(handle: Handle, snapshot: Snapshot) -> pa.Schema | None:
    """The table's schema; the declared one while it has none; None where the first rows settle it."""
    keys = set(handle.spec.partition.columns)
    is_untold = isinstance(snapshot.schema_or_error, ArchivedError) and bool(handle.spec.columns)
    schema = None if is_untold else snapshot.schema
    if schema is not None and (snapshot.files or any(name not in keys for name in schema.names)):
        return schema
    if not handle.spec.columns:
        return None
    declared = declared_schema(handle.spec.columns)
    undeclared = [pa.field(name, pa.string()) for name in handle.spec.partition.columns if name not in declared.names]
    return pa.schema([*undeclared, *declared])


def _as_known(schema: pa.Schema, known: pa.Schema, texts: frozenset[str]) -> pa.Schema:
    types = {field.name: field.type for field in known if field.name in texts}
    return pa.schema([field.with_type(types.get(field.name, field.type)) for field in schema])


def _with_event_time(stream: RowStream, spec: DatasetSpec, current: pa.Schema | None) -> pa.Schema:
    """The source's schema, where an event time of text has a time type.

    The type is that of most values, where few differ, and an instant otherwise; values that do not fit are rejected.
    """
    time_partition = spec.partition.time
    column = time_partition.column if time_partition else None
    schema = stream.schema
    position = -1 if column is None else schema.get_field_index(column)
    if position < 0 or column is None or (current is not None and column in current.names):
        return schema
    if not is_text(storable_type(schema.field(position).type)):
        return schema
    better = stream.spoilers[column].kind if column in stream.spoilers else None
    kind = better if better is not None and pat.is_temporal(better) else pa.timestamp("us", "UTC")
    return schema.set(position, pa.field(column, kind))


def file_columns(handle: Handle, plan: SchemaPlan) -> pa.Schema:
    """The columns of the files that an ingest writes."""
    columns = Partitioner(handle.spec.partition).stored_columns(plan.rows)
    _check_written(handle, columns)
    return columns


def _check_written(handle: Handle, columns: pa.Schema) -> None:
    """Refuse write options that name columns which the files do not have."""
    write = handle.spec.write
    for option, names in (("sort_by", write.sort_by), ("bloom_filters", write.bloom_filters)):
        unknown = [name for name in names if name not in columns.names]
        if unknown:
            message = f"write.{option} names {unknown[0]}, which is no column of the files of {handle.spec.uri}"
            raise SchemaMismatch(message, hint=alternatives(unknown[0], columns.names))
    for name in write.bloom_filters:
        kind = columns.field(name).type
        if pat.is_nested(kind) or pat.is_boolean(kind):
            message = f"write.bloom_filters names {name}, and Parquet has no Bloom filter of {kind}"
            raise SchemaMismatch(message, hint="leave it out")


def unique_columns(unique_by: Sequence[str], plan: SchemaPlan, partitioner: Partitioner) -> tuple[str, ...]:
    """The unique columns, without partition columns (equal within a partition) and columns of nothing but nulls."""
    known = {*plan.table.names, *plan.untyped}
    unknown = [name for name in unique_by if name not in known]
    lacking = [name for name in unique_by if name in plan.lacking]
    candidates = [name for name in unique_by if name not in partitioner.columns]
    kept = tuple(name for name in candidates if name in plan.files.names)
    if not unique_by or (kept and not unknown and not lacking):
        return kept
    if unknown or lacking:
        why = f"no column {unknown[0]}" if unknown else f"the source lacks {lacking[0]}"
    else:
        why = f"{', '.join(candidates)} is null in every row" if candidates else "they are all partition columns"
    there = [name for name in plan.files.names if name not in plan.lacking]
    hint = alternatives(unknown[0] if unknown else "", there)
    raise SchemaMismatch(f"rows cannot be told apart by {', '.join(unique_by)}: {why}", hint=hint)


def _data_columns(schema: pa.Schema, handle: Handle) -> pa.Schema:
    """The schema without a computed time key, which no source has."""
    partition = handle.spec.partition
    computed = set(partition.columns) - set(partition.carried)
    return pa.schema([field for field in schema if field.name not in computed])
