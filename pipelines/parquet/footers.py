"""Footers of many Parquet files: rows, schema and statistics, by ranges of the tail, never the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from tierlake.connector.errors import ObjectArchived, ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Buffer

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["WHOLE_BYTES", "NotParquet", "parsed_footer", "read_footers"]

WHOLE_BYTES: Final = 2 << 20
"""A file up to this size is fetched whole by a read."""
_TAIL_BYTES = 32 << 10
_MAGIC = b"PAR1"
_LENGTH_BYTES = 8  # the footer's length and the magic, at the very end
_BATCH = 512  # tails in memory at once


class NotParquet(ValueError):
    """The object is no Parquet file that pyarrow reads."""


def read_footers(
    fs: LakeFileSystem, root: str, sizes: Mapping[str, int]
) -> Iterator[tuple[str, pq.FileMetaData | NotParquet | ObjectArchived | ObjectNotFound]]:
    """The footers of many objects, in their order: one range of each tail, several at a time.

    Args:
        fs: The connector.
        root: `bucket/prefix`.
        sizes: Path below the root to bytes.

    Yields:
        Each path with its footer, or with why there is none to be had: what to make of that is the caller's.
    """
    paths = list(sizes)
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        names = [f"{root}/{path}" for path in batch]
        tails = fs.cat_ranges(
            names, [max(0, sizes[path] - _TAIL_BYTES) for path in batch], [sizes[path] for path in batch]
        )
        for path, name, tail in zip(batch, names, tails, strict=True):
            if isinstance(tail, Exception) and not isinstance(tail, ObjectArchived | ObjectNotFound):
                raise tail
            if isinstance(tail, Exception):
                yield path, tail
                continue
            try:
                yield path, _parsed(fs, name, tail, sizes[path])
            except (NotParquet, ObjectArchived, ObjectNotFound) as error:
                yield path, error


def _parsed(fs: LakeFileSystem, name: str, tail: bytes, size: int) -> pq.FileMetaData:
    footer = parsed_footer(tail)
    if isinstance(footer, int) and footer + len(_MAGIC) <= size:
        footer = parsed_footer(fs.cat_file(name, start=size - footer, end=size))
    if isinstance(footer, int):
        raise NotParquet("its footer is longer than the file")
    try:
        for number in range(footer.num_columns):
            footer.schema.column(number).path  # noqa: B018 - pyarrow decodes a name when it is asked for
    except UnicodeDecodeError as error:
        raise NotParquet(f"the name of a column is not UTF-8: {error.object!r}") from error
    return footer


def parsed_footer(tail: Buffer) -> pq.FileMetaData | int:
    """The footer in the last bytes of a file.

    Args:
        tail: The bytes.

    Returns:
        The footer; if it is longer, how many bytes it takes.

    Raises:
        NotParquet: It is no Parquet file that pyarrow reads.
    """
    view = memoryview(tail)
    if len(view) < _LENGTH_BYTES + len(_MAGIC) or view[-len(_MAGIC) :] != _MAGIC:
        raise NotParquet("it does not end as a Parquet file does")
    needed = int.from_bytes(view[-_LENGTH_BYTES : -len(_MAGIC)], "little") + _LENGTH_BYTES
    if needed > len(view):
        return needed
    try:
        return pq.read_metadata(pa.BufferReader(_MAGIC + bytes(view[-needed:])))
    except (pa.ArrowException, OSError) as error:
        raise NotParquet(f"its footer cannot be read: {error}") from error
