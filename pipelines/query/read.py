"""Reading a dataset: filters are expressions, never text that is pasted into a query."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.connector.nearest import alternatives
from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.model.partition_key import PartitionKey, canonical, spelled
from tierlake.pipelines.model.spec import parsed_duration
from tierlake.pipelines.model.time_window import as_instant
from tierlake.pipelines.parquet.planned import planned_table
from tierlake.pipelines.parquet.scan import naming_failures
from tierlake.pipelines.query.filters import expression_of
from tierlake.pipelines.query.restore import archived_among, refusal, wait_until_readable
from tierlake.pipelines.runtime.extras import needing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    import pandas as pd
    import polars as pl

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.parquet.scan import LiveDataset
    from tierlake.pipelines.query.filters import Where
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = [
    "Version",
    "by_partition",
    "checked_columns",
    "checked_filter",
    "lazy_frame",
    "of_partitions",
    "pandas_frame",
    "paths_in",
    "polars_frame",
    "read",
    "reader",
    "scan",
    "snapshot_at",
]

Version: TypeAlias = int | datetime | date | str | None
"""A version by number, or the newest one at an instant or at the beginning of a day; None means the present."""


def snapshot_at(handle: Handle, version: Version = None) -> Snapshot:
    """The live files, now or at an older version.

    Args:
        handle: The dataset.
        version: The version; None means the present.

    Raises:
        TableNotFound: No such version, or an instant before the oldest that the log remembers.
        UnsupportedByTable: A plain table has no older versions.
    """
    if version is None or isinstance(version, int):
        return handle.table.snapshot(version)
    time = handle.spec.partition.time
    return handle.table.snapshot(handle.table.version_at(as_instant(version, time.timezone if time else "UTC")))


def scan(handle: Handle, version: Version = None, keys: Iterable[PartitionKey] | None = None) -> LiveDataset:
    """The whole table or some partitions, lazily; `LiveDataset` documents its filters for other libraries.

    Args:
        handle: The dataset.
        version: An older version of a Delta table, or the instant at which it was the newest.
        keys: Only these partitions, as far as the table has them.

    Raises:
        TableNotFound: No such version.
        ArchivedError: With `keys`, partitions that have to be restored first.
    """
    snapshot = snapshot_at(handle, version)
    dataset = of_partitions(handle, snapshot, keys)
    if keys is not None and (waiting := archived_among(handle, snapshot, paths_in(handle, dataset, None))):
        raise refusal(handle, waiting)
    return dataset


def read(
    handle: Handle,
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    version: Version = None,
    wait: timedelta | str | None = None,
    keys: Iterable[PartitionKey] | None = None,
) -> pa.Table:
    """Rows in memory.

    Args:
        handle: The dataset.
        columns: Names to read; all by default.
        where: Which rows; partitions and files that cannot hold any are not read.
        version: An older version of a Delta table, or the instant at which it was the newest.
        wait: Request archived partitions and wait up to this long, as `12h` or a timedelta.
        keys: Only these partitions, as far as the table has them. Files are selected by key, so that thousands of keys
            cost as much as one.

    Raises:
        SchemaMismatch: An unknown column, or a filter that does not fit its type.
        ArchivedError: Partitions that have to be restored first.
        SpecError: `wait` is no duration, or `where` no filter.
    """
    patience = parsed_duration(wait, "wait") if wait is not None else None
    with tracing.span("read.plan"):
        snapshot = snapshot_at(handle, version)
        dataset = of_partitions(handle, snapshot, keys)
        names = checked_columns(handle, dataset, columns)
        matching = checked_filter(handle, dataset, where)
    try:
        return _rows(handle, dataset, names, matching)
    except OSError:
        # storage classes are looked up only after a read has failed
        waiting = archived_among(handle, snapshot, paths_in(handle, dataset, matching))
        if not waiting:
            raise
    if patience is None:
        raise refusal(handle, waiting)
    wait_until_readable(handle, [file for files in waiting.values() for file in files], patience)
    return _rows(handle, dataset, names, matching)


def of_partitions(handle: Handle, snapshot: Snapshot, keys: Iterable[PartitionKey] | None) -> LiveDataset:
    """The rows of some partitions, in any spelling of their keys; all rows where `keys` is None.

    Args:
        handle: The dataset.
        snapshot: The live files.
        keys: The partitions; those that the table lacks have no rows.
    """
    dataset = handle.table.dataset(snapshot)
    if keys is None:
        return dataset
    schema = snapshot.known_schema
    requested = {canonical(key, schema) for key in keys}
    spelled = {key: canonical(key, schema) in requested for key in {file.key for file in snapshot.files}}
    root = handle.table.root
    return dataset.only([f"{root}/{file.path}" for file in snapshot.files if spelled[file.key]])


@tracing.span("read.rows")
def _rows(handle: Handle, dataset: LiveDataset, names: list[str], matching: pc.Expression | None) -> pa.Table:
    with naming_failures(handle.table.root, matching):
        return planned_table(dataset, names, matching)


def reader(
    handle: Handle, columns: Sequence[str] | None = None, keys: Iterable[PartitionKey] | None = None
) -> pa.RecordBatchReader:
    """Rows as a stream, read on demand; the arguments and errors of `scan` and `read`."""
    dataset = scan(handle, None, keys)
    return dataset.scanner(columns=checked_columns(handle, dataset, columns)).to_reader()


def lazy_frame(
    handle: Handle, columns: Sequence[str] | None = None, keys: Iterable[PartitionKey] | None = None
) -> pl.LazyFrame:
    """Rows as polars' lazy frame, read when it is collected; the arguments and errors of `scan` and `read`."""
    with needing("polars", "to_lazy()"):
        import polars as pl

    dataset = scan(handle, None, keys)
    names = checked_columns(handle, dataset, columns)
    return pl.scan_pyarrow_dataset(dataset).select(names)


def by_partition(rows: pa.Table, columns: Sequence[str]) -> dict[PartitionKey, pa.Table]:
    """Split rows by partition; each partition keeps their order.

    Args:
        rows: Rows with the partition columns.
        columns: The partition columns, in the table's order.
    """
    codes, keys = np.zeros(rows.num_rows, np.int64), [PartitionKey(())]
    for name in columns:
        column = rows.column(name)
        plain = column.cast(column.type.value_type) if pat.is_dictionary(column.type) else column
        encoded = plain.combine_chunks().dictionary_encode("encode")
        texts = [spelled(value) for value in encoded.dictionary.to_pylist()]
        pairs = codes * max(1, len(texts)) + encoded.indices.to_numpy()
        distinct, codes = np.unique(pairs, return_inverse=True)
        split = (divmod(pair, len(texts)) for pair in distinct.tolist())
        keys = [PartitionKey((*keys[before].items, (name, texts[own]))) for before, own in split]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(keys) + 1)).tolist()
    taken = rows.take(pa.array(order))
    parts = zip(keys, starts, starts[1:], strict=False)
    return {key: taken.slice(start, end - start) for key, start, end in parts if end > start}


# -- frames ------------------------------------------------------------------------------------------------------------

_EXACT_IN_FLOATS = 1 << 53
"""float64 holds every integer up to this size of either sign; pandas uses it for integers beside nulls."""


def pandas_frame(rows: pa.Table, *, is_part: bool = False) -> pd.DataFrame:
    """Rows as a pandas frame with exact integers: those that a float cannot hold become nullable integers.

    Args:
        rows: Rows of any types.
        is_part: Whether they are part of more rows, whose integers a float may not hold.

    Raises:
        SchemaMismatch: Values that pandas cannot hold, such as nested dates beyond the year 9999.
        PackageMissing: pandas is not installed.
    """
    with needing("pandas", "a pandas frame"):
        import pandas as pd

    frame = _converted(rows)
    masked = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    for position, column in enumerate(rows.itercolumns()):
        if column.type in masked:
            if column.null_count and (is_part or _loses_integers(column)):
                frame.isetitem(position, column.to_pandas(types_mapper=masked.get))
        elif pat.is_nested(column.type) and any(map(_loses_integers, column.chunks)):
            frame.isetitem(position, column.to_pandas(integer_object_nulls=True))
    return frame


def _converted(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame
    try:
        frame = rows.to_pandas()
    except (ValueError, OverflowError):
        try:
            frame = rows.to_pandas(date_as_object=False)  # numpy has dates outside Python's range
        except (ValueError, OverflowError) as error:
            message = f"there are values that pandas cannot hold: {error}"
            raise SchemaMismatch(message, hint="leave their column out with `columns`, or use `read`") from error
    return frame


def _loses_integers(values: pa.Array | pa.ChunkedArray) -> bool:
    kind = values.type
    if pat.is_int64(kind) or pat.is_uint64(kind):
        ends = pc.min_max(values).as_py() if values.null_count else {}
        return any(end is not None and abs(end) > _EXACT_IN_FLOATS for end in ends.values())
    if pat.is_struct(kind):
        return any(map(_loses_integers, values.flatten()))
    if pat.is_map(kind):
        return _loses_integers(values.keys) or _loses_integers(values.items)
    return pat.is_nested(kind) and _loses_integers(values.flatten())


def polars_frame(rows: pa.Table) -> pl.DataFrame:
    """Rows as a polars frame.

    Raises:
        SchemaMismatch: Decimals have more digits than polars can hold.
        PackageMissing: polars is not installed.
    """
    with needing("polars", "a polars frame"):
        import polars as pl

    for field in rows.schema:
        if pat.is_decimal256(field.type):
            message = f"column {field.name} is {field.type}, and decimals of polars have 38 digits at most"
            raise SchemaMismatch(message, hint="leave it out with `columns`, or cast what `read` returns")
    frame = pl.from_arrow(rows)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


# -- requests ----------------------------------------------------------------------------------------------------------


def paths_in(handle: Handle, dataset: LiveDataset, matching: pc.Expression | None) -> list[str]:
    """The files, below the root, that may hold matching rows."""
    prefix = f"{handle.table.root}/"
    return [file.path.removeprefix(prefix) for file in dataset.files_of(matching)]


def checked_columns(handle: Handle, dataset: LiveDataset, columns: Sequence[str] | None) -> list[str]:
    """The columns to read.

    Raises:
        SchemaMismatch: The table does not have one of them.
    """
    names: list[str] = dataset.schema.names
    unknown = [name for name in columns or () if name not in names]
    if unknown:
        message = f"no column {', '.join(unknown)} in lake://{handle.table.root}"
        raise SchemaMismatch(message, hint=alternatives(unknown[0], names))
    return names if columns is None else list(columns)


def checked_filter(handle: Handle, dataset: LiveDataset, where: Where | None) -> pc.Expression | None:
    """The filter as an expression that fits the table.

    Raises:
        SchemaMismatch: An unknown column, or a value that its column cannot be compared with.
        SpecError: It is no filter.
    """
    if where is None:
        return None
    try:
        return expression_of(where, dataset.schema)
    except SchemaMismatch as error:
        raise SchemaMismatch(f"cannot filter lake://{handle.table.root}: {error.message}", hint=error.hint) from error
