"""Table formats: one protocol (`protocol.py`), one file for each format.

`delta` is the default; `parquet` is a plain Hive-partitioned prefix. The code above is written against the protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.protocol import Table

__all__ = ["table_of_format"]


def table_of_format(fs: LakeFileSystem, root: str, table_format: str, columns: tuple[str, ...]) -> Table:
    """A table whose format is known; no request is made.

    Args:
        fs: May write below the root.
        root: `bucket/prefix`.
        table_format: `delta` or `parquet`.
        columns: Its Hive columns, in order.
    """
    from tierlake.pipelines.tables.delta import LakeDeltaTable
    from tierlake.pipelines.tables.plain import PlainParquetTable

    return PlainParquetTable(fs, root, columns) if table_format == "parquet" else LakeDeltaTable(fs, root)
