"""Footers of many Parquet files: rows, schema and statistics, by ranges of the tail, never the data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connector.filesystem import LakeFileSystem

__all__ = ["NotParquet", "read_footer", "read_footers"]

_TAIL_BYTES = 64 << 10
_MAGIC = b"PAR1"
_LENGTH_BYTES = 8  # the footer's length and the magic, at the very end
_CONCURRENCY = 16


class NotParquet(ValueError):
    """The object is no Parquet file that pyarrow reads."""


def read_footer(fs: LakeFileSystem, path: str, size: int) -> pq.FileMetaData:
    """The footer of one object: one GET of its tail, two where the footer is longer.

    Args:
        fs: the connector.
        path: `bucket/key`.
        size: bytes of the object.

    Raises:
        NotParquet: it is none.
    """
    tail = fs.cat_file(path, start=max(0, size - _TAIL_BYTES), end=size)
    if len(tail) < _LENGTH_BYTES + len(_MAGIC) or tail[-len(_MAGIC) :] != _MAGIC:
        raise NotParquet("it does not end as a Parquet file does")
    needed = int.from_bytes(tail[-_LENGTH_BYTES : -len(_MAGIC)], "little") + _LENGTH_BYTES
    if needed + len(_MAGIC) > size:
        raise NotParquet("its footer is longer than the file")
    if needed > len(tail):
        tail = fs.cat_file(path, start=size - needed, end=size)
    try:
        return pq.read_metadata(pa.BufferReader(_MAGIC + tail[-needed:]))
    except (pa.ArrowException, OSError) as error:
        raise NotParquet(f"its footer cannot be read: {error}") from error


def read_footers(
    fs: LakeFileSystem, root: str, sizes: Mapping[str, int]
) -> Iterator[tuple[str, pq.FileMetaData | NotParquet]]:
    """The footers of many objects, several at a time, in their order.

    Args:
        fs: the connector.
        root: `bucket/prefix`.
        sizes: path below the root to bytes.

    Yields:
        Each path with its footer, or with why it has none.
    """

    def read(path: str) -> pq.FileMetaData | NotParquet:
        try:
            return read_footer(fs, f"{root}/{path}", sizes[path])
        except NotParquet as error:
            return error

    with ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="footers") as pool:
        yield from zip(sizes, pool.map(read, sizes), strict=True)
