"""Large text files in ranges of whole lines, so that several workers can read one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsspec.utils import seek_delimiter

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Lines", "LinesOf", "cut_lines"]

_LOOK_BYTES = 1 << 16
_LONGEST_HEADER_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a text file.

    Attributes:
        start: The byte at which the first of them begins.
        end: The byte after the last.
        header: Goes before the part: the line that names the columns.
    """

    start: int
    end: int
    header: bytes = b""


class LinesOf:
    """A part of an open file, to be read once from its beginning.

    Args:
        file: Can be read and sought in.
        lines: The part.
    """

    def __init__(self, file: Any, lines: Lines) -> None:
        file.seek(lines.start)
        self._file = file
        self._left = lines.end - lines.start
        self._header = lines.header

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the header, then of the part; none at its end."""
        if self._header:
            end = len(self._header) if size < 0 else size
            given, self._header = self._header[:end], self._header[end:]
            return given
        length = self._left if size < 0 else min(size, self._left)
        read: bytes = self._file.read(length) if length else b""
        self._left -= len(read)
        return read

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _line_after(file: Any, position: int) -> int:
    file.seek(position)
    seek_delimiter(file, b"\n", _LOOK_BYTES)
    return int(file.tell())


def cut_lines(file: Any, size: int, part_bytes: int, *, has_header: bool) -> Sequence[Lines]:
    """Parts of an open file of about a wanted size.

    Args:
        file: At its beginning.
        size: Of the file, in bytes.
        part_bytes: Of a part, in bytes.
        has_header: Whether the first line that is not blank names the columns.

    Returns:
        The parts, in order; none where the file cannot be cut: no seeking, or a header without end.
    """
    header, start = b"", 0
    if has_header:
        head = file.read(_LONGEST_HEADER_BYTES)
        header = next((line for line in head.splitlines(keepends=True) if line.strip()), b"")
        start = head.find(header) + len(header)
        if not header.endswith(b"\n"):
            return ()
    try:
        file.seek(size)
    except (OSError, ValueError):
        return ()  # a stream: HTTP without ranges
    inner = {_line_after(file, cut) for cut in range(part_bytes, size, part_bytes) if cut >= max(start, 1)}
    cuts = sorted({0, *inner, size})
    return tuple(Lines(first, last, header if first else b"") for first, last in itertools.pairwise(cuts))
