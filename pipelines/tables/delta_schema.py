"""The columns of a Delta table: settled by the first rows, and added to afterwards."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, Schema, TableFeatures
from deltalake.exceptions import CommitFailedError, DeltaError

from tierlake.connector.errors import AlreadyExists
from tierlake.pipelines.model.schema import evolved_schema
from tierlake.pipelines.runtime.identity import user_and_host
from tierlake.pipelines.tables.commit_counts import committed, conflicted
from tierlake.pipelines.tables.delta_commit import write_nothing

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["evolved", "first_schema", "lacks_entry", "mend_log", "settles_keys"]


def settles_keys(table: DeltaTable, requested: pa.Schema | None) -> bool:
    """Whether the first rows settle the types of the partition columns: no column was declared."""
    metadata = table.metadata()
    current = pa.schema(table.schema().to_arrow())
    if requested is None or set(current.names) - set(metadata.partition_columns):
        return False
    is_typed = all(requested.field(field.name).type == field.type for field in current)
    return not is_typed and not pa.table(table.get_add_actions()).num_rows


def first_schema(table: DeltaTable, requested: pa.Schema | None) -> pa.Schema | None:
    """The schema that the first rows settle; None where another writer changed the table meanwhile."""
    has_wall_clock = any("timestamp[us]" in str(field.type) for field in requested or ())
    features = table.protocol().reader_features or ()
    if has_wall_clock and "timestampNtz" not in features:
        with suppress(CommitFailedError):
            table.alter.add_feature(
                TableFeatures.TimestampWithoutTimezone,
                allow_protocol_versions_increase=True,
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        return None  # the next read of the log has it
    return requested


def evolved(fs: LakeFileSystem, root: str, table: DeltaTable, requested: pa.Schema | None) -> pa.Schema | None:
    """The table's schema with new nullable columns added; None where another writer changed it meanwhile."""
    current = pa.schema(table.schema().to_arrow())
    if requested is None:
        return current
    merged = evolved_schema(current, requested)
    types = {field.name: field.type for field in current}
    new = [field for field in merged if types.get(field.name) != field.type]
    if new:
        try:
            details = {"lake.operation": "add columns", "lake.reason": ", ".join(field.name for field in new)}
            table.alter.add_columns(
                list(Schema.from_arrow(pa.schema(new)).fields),
                commit_properties=CommitProperties(
                    custom_metadata={**details, "lake.by": user_and_host()}, max_commit_retries=0
                ),
            )
        except CommitFailedError:
            conflicted("delta", root)
            return None
        except DeltaError as error:
            mend_log(fs, root, table, error)
            return None
        committed("delta", root)
    return merged


def mend_log(fs: LakeFileSystem, root: str, table: DeltaTable, error: DeltaError) -> None:
    """Give deltalake an entry to write after, where a lifecycle rule deleted even the newest one.

    Raises:
        DeltaError: The error, where it has another cause.
    """
    if not lacks_entry(error):
        raise error
    metadata = {"lake.operation": "mend", "lake.run_key": uuid.uuid4().hex}
    with suppress(AlreadyExists):
        write_nothing(fs, root, table.version() + 1, metadata)


def lacks_entry(error: Exception) -> bool:
    """Whether deltalake found no entry to write after: a lifecycle rule deleted even the newest one."""
    return isinstance(error, DeltaError) and "Invalid table version" in str(error)
