"""The live files of a Delta table, as deltalake reads the log: nothing lost on the way, nothing invented."""

from __future__ import annotations

from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake.exceptions import DeltaError
from deltalake.fs import DeltaStorageHandler

from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.tables.delta_look import DeltaLook
from tierlake.pipelines.tables.delta_transactions import fence_of
from tierlake.pipelines.tables.delta_url import delta_url
from tierlake.pipelines.tables.live_files import NamedFile
from tierlake.pipelines.tables.logged_values import LoggedStatistics, logged_keys, logged_paths, logged_times
from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from tierlake.pipelines.tables.live_files import FileNames

__all__ = ["RustFiles", "added_files", "does_not_fit", "live_files", "snapshot_of"]


class RustFiles(DeltaStorageHandler):
    """Objects of a table for Arrow, read by deltalake's own client, without Python in between."""

    def __init__(self, names: FileNames, options: dict[str, str], sizes: dict[str, int]) -> None:
        """Read the files of `names` with deltalake's `options`; `sizes` is path below the root to bytes."""
        self._names, self._options, self._sizes = names, options, sizes

    @cached_property
    def _handler(self) -> Any:  # type: ignore[override]  # the base class assigns it in its constructor
        """The client, made when a file is opened: `Dataset.read` opens none here."""
        super().__init__(delta_url(self._names.root), self._options, self._sizes)
        return self.__dict__["_handler"]

    def open_input_file(self, path: str) -> pa.PythonFile:
        """A file, for reading at any place."""
        names = self._names
        try:
            file = self._handler.open_input_file(path.removeprefix(f"{names.root}/"))
        except OSError as error:
            raise names.failure(path, error) from error
        return pa.PythonFile(NamedFile(file, lambda error: names.failure(path, error)), mode="r")


def added_files(table: DeltaTable) -> pa.Table:
    """The files that a version of a table has."""
    adds = table.get_add_actions()
    if not hasattr(adds, "__arrow_c_stream__"):
        return pa.table(adds)
    # `pa.table` would import pandas, to see whether it is a frame
    return pa.RecordBatchReader.from_stream(adds).read_all()


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
        adds = added_files(table)
    except DeltaError as error:
        raise does_not_fit(root, str(error).partition("\n")[0]) from error
    with collector_paused():
        return _files(root, adds, columns)


def _files(root: str, adds: pa.Table, columns: tuple[str, ...]) -> tuple[LiveFile, ...]:
    values = adds.column("partition").combine_chunks() if "partition" in adds.column_names else None
    try:
        keys = logged_keys(values, columns, len(adds))
    except (OverflowError, ValueError) as error:
        raise does_not_fit(root, f"a partition value that Python cannot hold: {error}") from error
    statistics = LoggedStatistics(
        adds, lambda error: does_not_fit(root, f"statistics that Python cannot hold: {error}")
    )
    try:
        times = logged_times(adds.column("modification_time").to_pylist())
    except (OverflowError, ValueError, OSError, TypeError) as error:
        raise does_not_fit(root, f"a modification time out of the calendar: {error}") from error
    rows = zip(
        logged_paths(root, adds.column("path")),
        adds.column("size_bytes").to_pylist(),
        keys,
        adds.column("num_records").to_pylist(),
        times,
        strict=True,
    )
    return tuple(
        [
            LiveFile(path, size, key, count, modified, partial(statistics.text, row), logged)
            for row, ((path, logged), size, key, count, modified) in enumerate(rows)
        ]
    )


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
