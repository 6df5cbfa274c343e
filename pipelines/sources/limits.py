"""What a source may not be: a file that expands without end, or has more columns than one means or can tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.model.column_names import clash
from tierlake.pipelines.sources import row_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow.parquet as pq

__all__ = ["BoundedBytes", "SourceLimits", "check_columns", "check_names", "check_parquet"]

_HARMLESS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Bounds on a file of a source.

    Attributes:
        max_columns: Columns of a file.
        max_expansion: How many times its size a compressed file, or a column of a Parquet row group, may become; what
            stays below 64 MiB is never refused. gzip reaches 1032, and only with bytes that are all the same.
        newlines_in_values: Whether a quoted value of CSV may hold a line end. Where none does, False lets workers share
            a large file out among them.
    """

    max_columns: int = 10_000
    max_expansion: int = 1000
    newlines_in_values: bool = True


def check_columns(path: str, count: int, limits: SourceLimits) -> None:
    """Refuse a file that is too wide.

    Raises:
        SourceError: It is.
    """
    if count > limits.max_columns:
        message = f"{path} has {count:,} columns or more; a source may have {limits.max_columns:,}"
        raise SourceError(message, hint="WriterLimits(source=SourceLimits(max_columns=...)) allows more")


def check_parquet(path: str, footer: pq.FileMetaData, limits: SourceLimits) -> None:
    """Refuse a file whose pages expand without measure, before one of them is read.

    Raises:
        SourceError: It does, or it is too wide.
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


class BoundedBytes:
    """An expanded file that stops when it expands too much.

    Args:
        path: For messages.
        file: Expanded; closed with this.
        stored: How many bytes of the stored file have been read, or its whole size; None where it is not compressed.
        limits: What is allowed.
    """

    def __init__(self, path: str, file: Any, stored: Callable[[], int] | None, limits: SourceLimits) -> None:
        self._path = path
        self._file = file
        self._stored = stored
        self._limits = limits
        self._given = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at the end.

        Raises:
            SourceError: There are too many for the size of the file.
        """
        given: bytes = self._file.read(size)
        self._given += len(given)
        if self._stored is not None:
            _check_expansion(self._path, self._given, self._stored(), self._limits)
        return given

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def check_names(path: str, names: Sequence[str], hint: str) -> None:
    """Refuse columns that could not be told apart.

    Raises:
        SourceError: Two have the same name but for case, one has none, or one of those of rejected rows.
    """
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise SourceError(f"{path}: column {number} has no name", hint=hint)
        if name in row_origin.ALL:
            raise SourceError(
                f"{path} has a column {name}, a name that rejected rows use", hint="drop it, or rename it"
            )
    if (both := clash(names)) is not None:
        other, name = both
        places = " and ".join(str(number) for number, one in enumerate(names, 1) if one == name)
        differ = f"and {name}, which differ by upper and lower case alone"
        raise SourceError(
            f"{path} has the column {other} {f'twice, as column {places}' if other == name else differ}", hint=hint
        )
