"""Rows that wait on local disk: files of Arrow streams, one behind the other, open only while they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["append_rows", "spooled_batches"]

_BATCH_ROWS = 1 << 15
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def append_rows(path: Path, rows: pa.Table) -> None:
    """Write rows behind those that are there."""
    with path.open("ab") as file, pa.ipc.new_stream(file, rows.schema, options=_OPTIONS) as stream:
        stream.write_table(rows.combine_chunks(), max_chunksize=_BATCH_ROWS)


def spooled_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a spool, in the order in which they were appended."""
    with pa.OSFile(str(path)) as file:
        while file.tell() < file.size():
            yield from pa.ipc.open_stream(file)
