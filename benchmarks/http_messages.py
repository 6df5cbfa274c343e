"""Where the messages of an HTTP/1.1 connection begin, and how many bytes of body they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNKED, UNTIL_CLOSE = -1, -2
"""Lengths of bodies that no header tells."""

HEAD_MAX = 1 << 20


class Messages:
    """One direction of a connection, as it comes in pieces of any size.

    Args:
        on_head: Called with each head; returns the length of the body, `CHUNKED` or `UNTIL_CLOSE`.

    Attributes:
        body_bytes: Of all bodies, without the framing of chunks.
    """

    def __init__(self, on_head: Callable[[bytes], int]) -> None:
        self.body_bytes = 0
        self._on_head = on_head
        self._line = bytearray()  # what has come of a head or of a chunk's length
        self._left = 0  # of a body or a chunk
        self._reads: Callable[[memoryview], int] = self._head

    def feed(self, data: memoryview) -> list[int]:
        """Take a piece.

        Returns:
            The offsets in it at which messages begin.
        """
        begins, position = [], 0
        while position < len(data):
            if self._reads == self._head and not self._line:
                begins.append(position)
            position += self._reads(data[position:])
        return begins

    def _head(self, data: memoryview) -> int:
        taken = self._take(data, b"\r\n\r\n")
        if taken is None:
            return len(data)
        length = self._on_head(bytes(self._line))
        self._line.clear()
        if length == CHUNKED:
            self._reads = self._chunk_length
        elif length == UNTIL_CLOSE:
            self._reads = self._rest
        elif length:
            self._left, self._reads = length, self._body
        return taken

    def _body(self, data: memoryview) -> int:
        taken = min(self._left, len(data))
        self.body_bytes += taken
        self._left -= taken
        if not self._left:
            self._reads = self._head
        return taken

    def _rest(self, data: memoryview) -> int:
        self.body_bytes += len(data)
        return len(data)

    def _chunk_length(self, data: memoryview) -> int:
        taken = self._take(data, b"\r\n")
        if taken is None:
            return len(data)
        self._left = int(self._line.partition(b";")[0], 16)
        self._line.clear()
        self._reads = self._chunk if self._left else self._trailer
        return taken

    def _chunk(self, data: memoryview) -> int:
        taken = min(self._left, len(data))
        self.body_bytes += taken
        self._left -= taken
        if not self._left:
            self._reads = self._end_of_chunk
        return taken

    def _end_of_chunk(self, data: memoryview) -> int:
        taken = self._take(data, b"\r\n")
        if taken is None:
            return len(data)
        self._line.clear()
        self._reads = self._chunk_length
        return taken

    def _trailer(self, data: memoryview) -> int:
        taken = self._take(data, b"\r\n")
        if taken is None:
            return len(data)
        if self._line == b"\r\n":
            self._reads = self._head
        self._line.clear()
        return taken

    def _take(self, data: memoryview, end: bytes) -> int | None:
        """Gather a line or head until its end; how much of the piece that took, None where the end is still to come."""
        before = len(self._line)
        self._line += data[:HEAD_MAX]
        found = self._line.find(end, max(0, before - len(end) + 1))
        if found < 0:
            if len(self._line) >= HEAD_MAX:
                raise ValueError(f"no end of an HTTP head in {HEAD_MAX:,} bytes")
            return None
        del self._line[found + len(end) :]
        return found + len(end) - before


def fields(head: bytes) -> tuple[str, dict[str, str]]:
    """The first line of a head, and its fields under names in lower case."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


def body_length(names: dict[str, str], unknown: int) -> int:
    """What the fields say; `unknown` where they say nothing."""
    if "chunked" in names.get("transfer-encoding", "").lower():
        return CHUNKED
    return int(names.get("content-length", unknown))
