"""Large bodies in memory, sent piece by piece without a copy.

aiobotocore has aiohttp read them as files, in steps of 64 KiB. As `bytes` they would be joined to the headers, and
copied again by asyncio (Python 3.11), which keeps what the socket does not take at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp.payload import Payload

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

LARGE_BYTES: Final = 1 << 20
"""Smaller bodies are sent with the headers, in one packet if they fit."""
_PIECE_BYTES: Final = 256 << 10


class LargeBody(Payload):
    """A body in memory.

    Args:
        data: `bytes`, `bytearray` or `memoryview`; it must not change before the response.
    """

    def __init__(self, data: Any) -> None:
        super().__init__(data, content_type="application/octet-stream")
        self._data = memoryview(data).cast("B")

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._data.nbytes

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send its beginning.

        Args:
            writer: Takes a piece, and waits until most of the last one has been sent.
            content_length: The number of bytes; None is all.
        """
        end = self.size if content_length is None else min(content_length, self.size)
        for start in range(0, end, _PIECE_BYTES):
            await writer.write(self._data[start : min(start + _PIECE_BYTES, end)])

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text; for aiohttp's own messages."""
        return bytes(self._data).decode(encoding, errors)
