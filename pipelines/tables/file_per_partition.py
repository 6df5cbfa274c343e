"""Plain Parquet with one file per partition, named by it, as Dagster's own file IO managers write it.

    trips/2013-01-01.parquet          date=2013-01-01
    visits/Oslo/2013-01-01.parquet    city=Oslo, date=2013-01-01: dimensions in the order of their names

The layout is that of `dagster.UPathIOManager`, on which those of dagster-aws are built. Its writers replace objects in
place, and this table goes by the listing, so both can be used together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierlake.pipelines.errors import UnsupportedByTable
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.time_window import window_of
from tierlake.pipelines.tables.plain import PlainParquetTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierlake.pipelines.model.spec import TimePartition
    from tierlake.pipelines.tables.snapshot import Operation

__all__ = ["UNTOLD", "NamedFilesTable", "are_named_by"]

UNTOLD: Final = "partition"
"""The default name of the column, which the files do not contain."""


class NamedFilesTable(PlainParquetTable):
    """One prefix of files named by their partition."""

    def key_of(self, path: str) -> PartitionKey:
        """The values in a file's path; all null unless it has one segment per column."""
        return _key(path, self.partition_columns)

    def check_operation(self, operation: Operation, *, by_workers: bool = False) -> None:
        """As for plain tables; a log is refused too, as the other writers ignore it; see `Table.check_operation`."""
        if operation == "adopt":
            raise UnsupportedByTable(
                f"lake://{self.root} has one file a partition, named by it: who writes it replaces files where they "
                "lie, which no Delta log can follow",
                hint="Dataset.open works on it as it is; `tierlake ingest` copies it into a dataset of its own",
            )
        super().check_operation(operation, by_workers=by_workers)

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:  # noqa: ARG002 - the protocol's
        """The path that the other writer would use.

        Raises:
            UnsupportedByTable: A value cannot be a file's name.
        """
        values = [value for _, value in sorted(key.items)]
        if any(not value or "/" in value or value.startswith(("_", ".")) for value in values):
            message = f"lake://{self.root} names its files by partition, and {key} cannot be a name"
            raise UnsupportedByTable(message, hint="ingest into a dataset of its own, which `tierlake create` makes")
        return f"{'/'.join(values)}.parquet"


def are_named_by(paths: Iterable[str], columns: tuple[str, ...], time: TimePartition) -> bool:
    """Whether files have one path segment per column, and a window of time in that of the time column.

    Args:
        paths: Below the root.
        columns: The partition columns, in any order.
        time: The one that holds the windows.
    """
    keys = [_key(path, columns).as_dict() for path in paths]
    return bool(keys) and all(window_of(key[time.key], time.every, time.timezone) for key in keys)


def _key(path: str, columns: tuple[str, ...]) -> PartitionKey:
    values = path.rpartition(".")[0].split("/")
    names = sorted(columns)
    by_name = dict(zip(names, values, strict=True)) if len(values) == len(names) else {}
    return PartitionKey.of((name, by_name.get(name)) for name in columns)
