"""Limits on what a source may be: files that expand without end, or have more columns than anybody meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow.parquet as pq

__all__ = ["BoundedText", "SourceLimits", "check_columns", "check_parquet"]

_HARMLESS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Bounds on a file of a source.

    Attributes:
        max_columns: columns of a file.
        max_expansion: how many times its size a compressed file, or a column of a Parquet row group, may become; what
            stays below 64 MiB is never refused. gzip reaches 1032, and only with bytes that are all the same.
        newlines_in_values: whether a quoted value of CSV may hold a line end. Where none does, False lets workers share
            a large file out among them.
    """

    max_columns: int = 10_000
    max_expansion: int = 1000
    newlines_in_values: bool = True


def check_columns(path: str, count: int, limits: SourceLimits) -> None:
    """Refuse a file that is too wide.

    Raises:
        SourceError: it is.
    """
    if count > limits.max_columns:
        message = f"{path} has {count:,} columns or more; a source may have {limits.max_columns:,}"
        raise SourceError(message, hint="WriterLimits(source=SourceLimits(max_columns=...)) allows more")


def check_parquet(path: str, footer: pq.FileMetaData, limits: SourceLimits) -> None:
    """Refuse a file whose pages expand without measure, before one of them is read.

    Raises:
        SourceError: it does, or it is too wide.
    """
    check_columns(path, footer.num_columns, limits)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if group.total_byte_size <= _HARMLESS_BYTES:
            continue
        chunks = (group.column(position) for position in range(group.num_columns))
        for chunk in chunks:
            _check_expansion(path, chunk.total_uncompressed_size, chunk.total_compressed_size, limits)


def _check_expansion(path: str, size: int, stored: int, limits: SourceLimits) -> None:
    if size > _HARMLESS_BYTES and size > limits.max_expansion * max(stored, 1):
        message = f"{path} expands to more than {limits.max_expansion:,} times its size: {size:,} bytes from {stored:,}"
        raise SourceError(message, hint="WriterLimits(source=SourceLimits(max_expansion=...)) allows more")


class BoundedText:
    """A text file as Arrow reads it, that stops when it expands too much.

    Args:
        path: for messages.
        text: the file, expanded.
        stored: how many bytes of the stored file have been read; None where it is not compressed.
        limits: what is allowed.
    """

    closed = False

    def __init__(self, path: str, text: Any, stored: Callable[[], int] | None, limits: SourceLimits) -> None:
        self._path = path
        self._text = text
        self._stored = stored
        self._limits = limits
        self._head = b""
        self._given = 0

    def check_header(self, delimiter: bytes, longest: int) -> None:
        """Count the columns of the first line, before a reader makes room for each.

        Raises:
            SourceError: there are too many.
        """
        while b"\n" not in self._head and len(self._head) < longest and (more := self._text.read(longest)):
            self._head += more
        check_columns(self._path, self._head.partition(b"\n")[0].count(delimiter) + 1, self._limits)

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            SourceError: there are too many for the size of the file.
        """
        if self._head:
            end = len(self._head) if size < 0 else size
            given, self._head = self._head[:end], self._head[end:]
        else:
            given = self._text.read(size)
        self._given += len(given)
        if self._stored is not None:
            _check_expansion(self._path, self._given, self._stored(), self._limits)
        return given

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """Never backwards."""
        return False

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._text.close()
