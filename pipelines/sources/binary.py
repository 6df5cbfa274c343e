"""Parquet and Arrow IPC: open while they are read, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.ipc as paipc
import pyarrow.parquet as pq

from tierlake.pipelines.sources.limits import check_columns, check_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tierlake.pipelines.sources.files import SourceFile

__all__ = ["read_batches", "schema_of"]


def schema_of(file: SourceFile) -> pa.Schema:
    """The schema of a file.

    Raises:
        SourceError: It cannot be read, is too wide, or expands too much.
    """
    with file.opened() as handle:
        return _open(file, handle)[0]


def read_batches(file: SourceFile, row_groups: Sequence[int] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of some row groups of a Parquet file.

    Raises:
        SourceError: It cannot be read.
    """
    with file.opened() as handle:
        _, reader = _open(file, handle)
        if file.kind == "parquet":
            yield from reader.iter_batches(row_groups=None if row_groups is None else list(row_groups))
        else:
            yield from reader


def _open(file: SourceFile, handle: Any) -> tuple[pa.Schema, Any]:
    if file.kind == "parquet":
        parquet = pq.ParquetFile(handle)
        check_parquet(file.path, parquet.metadata, file.limits)
        return parquet.schema_arrow, parquet
    reader = _ipc_reader(handle)
    check_columns(file.path, len(reader.schema), file.limits)
    return reader.schema, reader


def _ipc_reader(handle: Any) -> pa.RecordBatchReader:
    try:
        file = paipc.open_file(handle)
    except pa.ArrowInvalid:
        handle.seek(0)
        return paipc.open_stream(handle)
    batches = (file.get_batch(index) for index in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, batches)
