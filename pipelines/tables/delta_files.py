"""The live files of a Delta table, as deltalake reads the log: nothing lost on the way, nothing invented."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
from deltalake.exceptions import DeltaError
from deltalake.fs import DeltaStorageHandler

from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.model.partition_key import PartitionKey, spelled
from tierlake.pipelines.parquet.statistics import log_stats
from tierlake.pipelines.tables.delta_commit import spelled_by_deltalake
from tierlake.pipelines.tables.delta_look import DeltaLook
from tierlake.pipelines.tables.delta_transactions import fence_of
from tierlake.pipelines.tables.live_files import NamedFile
from tierlake.pipelines.tables.paths import data_path
from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from tierlake.pipelines.tables.live_files import FileNames

__all__ = ["RustFiles", "does_not_fit", "live_files", "snapshot_of"]


class RustFiles(DeltaStorageHandler):
    """Objects of a table for Arrow, read by deltalake's own client, which is several times faster than Python files."""

    def __init__(self, names: FileNames, options: dict[str, str], sizes: dict[str, int]) -> None:
        """Read the files of `names` with deltalake's `options`; `sizes` is path below the root to bytes."""
        super().__init__(f"s3://{names.root}", options, sizes)
        self._names = names

    def open_input_file(self, path: str) -> pa.PythonFile:
        """A file, for reading at any place."""
        names = self._names
        try:
            file = self._handler.open_input_file(path.removeprefix(f"{names.root}/"))
        except OSError as error:
            raise names.failure(path, error) from error
        return pa.PythonFile(NamedFile(file, lambda error: names.failure(path, error)), mode="r")


_EPOCH = date(1970, 1, 1)
_DAY_US = 86_400_000_000
_FIRST_DAY, _LAST_DAY = (date.min - _EPOCH).days, (date.max - _EPOCH).days


def live_files(table: DeltaTable, root: str) -> tuple[LiveFile, ...]:
    """The live files that the table names.

    Args:
        table: The table at a version.
        root: `bucket/prefix`.

    Raises:
        SchemaMismatch: Statistics or partition values in the log do not fit their columns' types.
        PolicyRefused: A path leaves the root.
    """
    columns = tuple(table.metadata().partition_columns)
    try:
        adds = pa.table(table.get_add_actions())
    except DeltaError as error:
        raise does_not_fit(root, str(error).partition("\n")[0]) from error
    for name in ("min", "max", "null_count"):
        if name in adds.column_names:
            adds = adds.set_column(adds.column_names.index(name), name, _flat(adds.column(name).combine_chunks()))
    try:
        rows = adds.to_pylist()
    except (OverflowError, ValueError) as error:
        raise does_not_fit(root, f"a partition value that Python cannot hold: {error}") from error
    return tuple(_live_file(root, row, columns) for row in rows)


def snapshot_of(table: DeltaTable, root: str) -> Snapshot:
    """The table as deltalake has opened it."""
    schema = pa.schema(table.schema().to_arrow())
    # the fence takes a replay of the log, and readers never need it
    fence = cache(partial(fence_of, table))
    return Snapshot(table.version(), live_files(table, root), schema, fence, opened=DeltaLook(table))


def does_not_fit(root: str, reason: str) -> SchemaMismatch:
    """The error for a commit whose statistics or partition values do not fit their columns' types."""
    hint = "the writer of that commit has to mend it; the Parquet files themselves can be read with pyarrow"
    return SchemaMismatch(f"the log of lake://{root} does not fit the table's schema: {reason}", hint=hint)


def _flat(stats: pa.StructArray) -> pa.StructArray:
    """Statistics without nested columns, and without dates outside the years 1 to 9999, Python's range."""
    if not pat.is_struct(stats.type):
        return stats
    fields = [(index, field) for index, field in enumerate(stats.type) if not pat.is_nested(field.type)]
    if not fields:
        return pa.nulls(len(stats), pa.null())
    arrays = [_within_python(stats.field(index)) for index, _ in fields]
    return pa.StructArray.from_arrays(arrays, fields=[field for _, field in fields], mask=stats.is_null())


def _within_python(values: pa.Array) -> pa.Array:
    kind = values.type
    if pat.is_date32(kind):
        numbers, first, last = values.cast(pa.int32()), _FIRST_DAY, _LAST_DAY
    elif pat.is_timestamp(kind):
        numbers, first, last = values.cast(pa.int64()), _FIRST_DAY * _DAY_US, (_LAST_DAY + 1) * _DAY_US - 1
    else:
        return values
    is_within = pc.and_(pc.greater_equal(numbers, first), pc.less_equal(numbers, last))
    return pc.if_else(is_within, values, pa.scalar(None, kind))


def _live_file(root: str, row: dict[str, Any], columns: tuple[str, ...]) -> LiveFile:
    values = row.get("partition") or {}
    path = data_path(root, row["path"])
    return LiveFile(
        path=path,
        size=row["size_bytes"],
        key=PartitionKey.of((name, spelled(values.get(name))) for name in columns),
        rows=row["num_records"],
        modified=datetime.fromtimestamp(row["modification_time"] / 1000, UTC),
        stats=log_stats(row["num_records"], row.get("min") or {}, row.get("max") or {}, row.get("null_count") or {}),
        logged=None if spelled_by_deltalake(path) == row["path"] else row["path"],
    )
