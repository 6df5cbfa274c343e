"""New tables: what each format needs before its first rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tierlake.pipelines.errors import SpecError, UnsupportedByTable
from tierlake.pipelines.model.stored_types import declared_schema
from tierlake.pipelines.tables.delta import LakeDeltaTable
from tierlake.pipelines.tables.delta_url import delta_url
from tierlake.pipelines.tables.lost_log import check_log, has_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["check_begun", "check_is_no_partition", "check_place", "create_table", "first_schema", "is_just_created"]


def check_place(spec: DatasetSpec) -> None:
    """Check that a new table of the spec's format can be where it says.

    Raises:
        UnsupportedByTable: deltalake would take its name for another one's.
    """
    if spec.format == "delta":
        delta_url(spec.root)


def check_is_no_partition(spec: DatasetSpec) -> None:
    """Check that readers would not take a new table for a partition of what is above it.

    Raises:
        UnsupportedByTable: Its name has `=`.
    """
    if spec.format == "delta" and "=" in spec.uri.rpartition("/")[2]:
        message = f"{spec.uri} cannot be a Delta table: its last segment looks like a partition of what is above it"
        raise UnsupportedByTable(message, hint="choose a name without =, which folders above it may have")


def first_schema(spec: DatasetSpec, first: pa.Schema | None) -> pa.Schema | None:
    """The columns that a table is made with; None where it needs none.

    Args:
        spec: Its description.
        first: The schema of the first rows, where it is known.

    Raises:
        SpecError: It needs some, and none are declared.
    """
    if spec.format == "parquet":
        return None
    if not spec.columns and not spec.partition.columns:
        if first is not None and len(first):
            return first
        message = f"{spec.uri}: a Delta table needs at least one column when it is made"
        raise SpecError(message, hint="declare `columns` in the spec, or partition it")
    declared = declared_schema(spec.columns)
    types = {field.name: field.type for field in declared}
    keys = [pa.field(name, types.get(name, pa.string())) for name in spec.partition.columns]
    return pa.schema([*keys, *(field for field in declared if field.name not in spec.partition.columns)])


def create_table(
    fs: LakeFileSystem, spec: DatasetSpec, schema: pa.Schema | None, properties: Mapping[str, str], *, is_new: bool
) -> None:
    """Write the first entry of a log, where it is missing; a plain table needs nothing.

    Args:
        fs: May write below the root.
        spec: Its description.
        schema: The result of `first_schema`.
        properties: The table's properties, where the format has any.
        is_new: Nobody else can have created it.
    """
    if schema is not None and (is_new or not has_log(fs, spec.root)):
        LakeDeltaTable.create(fs, spec.root, schema, spec.partition.columns, properties)
        fs.invalidate_view(spec.root)


def check_begun(fs: LakeFileSystem, root: str, table_format: str) -> None:
    """Check that a described table has its first entry.

    Raises:
        LogMissing: It has files, but no log.
        TableNotFound: It has neither: its creation was interrupted.
    """
    if table_format == "delta":
        check_log(fs, root)


def is_just_created(fs: LakeFileSystem, spec: DatasetSpec, schema: pa.Schema | None) -> bool:
    """Whether the log is exactly what `create_table` writes."""
    table = LakeDeltaTable(fs, spec.root)
    return schema is not None and table.exists() and table.is_just_created(schema, spec.partition.columns)
