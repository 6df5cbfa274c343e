"""The rows of a snapshot: what every format's `dataset` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tierlake.pipelines.model.partition_key import typed_expression
from tierlake.pipelines.model.stored_types import nullable_schema
from tierlake.pipelines.parquet.file_skipping import FileFacts
from tierlake.pipelines.parquet.scan import LiveDataset, ScannedFile

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow.compute as pc
    from pyarrow.fs import FileSystem

    from tierlake.pipelines.tables.live_files import FileNames
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

__all__ = ["live_dataset"]


def live_dataset(
    filesystem: FileSystem, source: FileNames, snapshot: Snapshot, columns: Collection[str]
) -> LiveDataset:
    """The rows of a snapshot, lazily, with the partition columns in the types of its schema.

    Args:
        filesystem: Opens `bucket/key`.
        source: The files' names in errors.
        snapshot: The live files.
        columns: The partition columns.

    Raises:
        SpecError: A partition value does not fit its column's type.
    """
    # Arrow cannot read a null struct whose fields are not nullable
    schema = pa.schema([]) if snapshot.schema is None else nullable_schema(snapshot.schema)
    known = {key: typed_expression(key, schema) for key in {file.key for file in snapshot.files}}
    files = [
        ScannedFile(f"{source.root}/{file.path}", file.size, _facts(file, known[file.key])) for file in snapshot.files
    ]
    return LiveDataset(files, schema, filesystem, columns, source=source)


def _facts(file: LiveFile, known: pc.Expression) -> FileFacts:
    return FileFacts(file.key, known, lambda: file.stats)
