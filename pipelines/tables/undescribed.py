"""A prefix of Parquet without a description: whether it is a table, and a hint where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierlake.pipelines.errors import TableNotFound
from tierlake.pipelines.model.partition_key import hive_columns
from tierlake.pipelines.tables.delta import LakeDeltaTable
from tierlake.pipelines.tables.nested import nested_roots, outside_nested
from tierlake.pipelines.tables.paths import is_data, is_hidden
from tierlake.pipelines.tables.plain import PlainParquetTable

if TYPE_CHECKING:
    from collections.abc import Collection

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.protocol import Table

__all__ = ["open_logged", "open_plain"]


def open_logged(fs: LakeFileSystem, root: str) -> Table | None:
    """A prefix with a log; None where there is none.

    Args:
        fs: May write below the root.
        root: `bucket/prefix`.
    """
    table = LakeDeltaTable(fs, root)
    return table if table.exists() else None


def open_plain(fs: LakeFileSystem, root: str, partition_columns: tuple[str, ...] | None) -> PlainParquetTable:
    """A prefix that holds Parquet; its partition columns come from the paths unless they are declared.

    Raises:
        TableNotFound: No Parquet file below the prefix.
    """
    if partition_columns is not None:
        return PlainParquetTable(fs, root, partition_columns)
    listed = {name.removeprefix(f"{root}/"): info for name, info in fs.list_fresh(root).items()}
    own = outside_nested(listed)
    paths = [path for path, info in own.items() if is_data(path, info)]
    if paths:
        return PlainParquetTable(fs, root, hive_columns(paths))
    message = f"no table at lake://{root}: neither a Delta log nor a Parquet file below it"
    raise TableNotFound(message, hint=_what_is_there(root, listed, own))


def _what_is_there(root: str, listed: Collection[str], own: Collection[str]) -> str:
    """A hint for a prefix without Parquet of its own."""
    if nested := sorted(nested_roots(listed)):
        return f"{len(nested)} tables lie below it: open lake://{root}/{nested[0]}"
    if others := [path for path in own if not is_hidden(path)]:
        return f"{len(others)} other objects are there, such as {min(others)}: a table's files end in .parquet"
    if hidden := [path for path in own if path.endswith((".parquet", ".pq")) and not path.startswith("_lake/")]:
        return f"{min(hidden)} is hidden: readers skip files and folders whose names begin with _ or ."
    return "create one with `tierlake create SPEC.yaml`"
