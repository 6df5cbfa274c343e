"""Rows that wait until there are enough of them, on local disk or briefly in memory.

On disk they are in files of consecutive Arrow streams, which are open only while they are used.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

__all__ = ["SpoolFolder", "append_rows", "gathered", "spooled_batches"]

_BATCH_ROWS = 1 << 15
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class SpoolFolder:
    """A temporary folder, which is made when the first file needs it."""

    def __init__(self) -> None:
        """Make nothing yet."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def new_path(self) -> Path:
        """The path of a file that is not there yet."""
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="tierlake-")
            return Path(self._folder.name) / str(next(self._numbers))

    def close(self) -> None:
        """Remove it, with what is in it."""
        with self._lock:
            if self._folder is not None:
                self._folder.cleanup()


def append_rows(path: Path, rows: pa.Table) -> None:
    """Append rows to a spool."""
    with path.open("ab") as file, pa.ipc.new_stream(file, rows.schema, options=_OPTIONS) as stream:
        stream.write_table(rows.combine_chunks(), max_chunksize=_BATCH_ROWS)


def spooled_batches(path: Path) -> Generator[pa.RecordBatch]:
    """The rows of a spool, in the order in which they were appended."""
    with pa.OSFile(str(path)) as file:
        while file.tell() < file.size():
            yield from pa.ipc.open_stream(file)


def gathered(batches: Iterable[pa.RecordBatch], *, rows: int, size: int) -> Iterator[pa.Table]:
    """Combine batches up to a number of rows and of bytes; a larger batch stays as it is.

    Args:
        batches: Batches of one schema.
        rows: The most rows of a table.
        size: The most bytes of a table.
    """
    waiting: list[pa.RecordBatch] = []
    waiting_rows = waiting_bytes = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        nbytes = batch.nbytes
        if waiting and (waiting_rows + batch.num_rows > rows or waiting_bytes + nbytes > size):
            yield pa.Table.from_batches(waiting)
            waiting, waiting_rows, waiting_bytes = [], 0, 0
        waiting.append(batch)
        waiting_rows, waiting_bytes = waiting_rows + batch.num_rows, waiting_bytes + nbytes
    if waiting:
        yield pa.Table.from_batches(waiting)
