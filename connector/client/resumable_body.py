"""The body of a response, which continues where its connection broke.

s3fs and its callers read bodies after the response, outside of any retry. Here the rest is requested from the position
reached, under the condition that the object is still the same, within the retry budget.

aiobotocore's own parts that are named in this module: `AioStreamingBody.raw_stream`, `_raw_stream` and
`_amount_read`.
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import TYPE_CHECKING, Any

from aiobotocore.response import AioStreamingBody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_PIECE_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/")


class Body(AioStreamingBody):  # type: ignore[misc]  # aiobotocore ships no types
    """A body that is complete, or raises.

    Args:
        response: The response to `get_object` that has the body.
        request: The request's parameters.
        get: Makes a `get_object` once.
        patiently: Retries a function until it succeeds; raises our error when the retry budget is spent.
    """

    def __init__(
        self,
        response: Mapping[str, Any],
        request: Mapping[str, Any],
        *,
        get: Callable[[dict[str, Any]], Awaitable[Any]],
        patiently: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
    ) -> None:
        self._inner: AioStreamingBody | None = response["Body"]
        super().__init__(response["Body"].raw_stream, None)
        self._request = rest_of(request, response)
        self._get, self._patiently = get, patiently
        self._first, self._end = extent(response)

    async def read(self, amt: int | None = None) -> bytes:
        """At most `amt` bytes, or the rest; empty at the end."""
        if amt is None or amt < 0:
            return await self._rest()

        data: bytes = await self._patiently(functools.partial(self._next, amt))
        return data

    async def _next(self, amt: int) -> bytes:
        """As `read`, once; after a failure the next call goes on from the position reached."""
        if self._inner is None and self.tell() == self._end - self._first:
            return b""
        inner = self._inner if self._inner is not None else await self._reopened()
        try:
            data: bytes = await inner.read(amt)
        except BaseException:
            inner.close()
            self._inner = None
            raise
        self._amount_read += len(data)
        return data

    async def _rest(self) -> bytes:
        """The rest, piece by piece: the checksum of a whole large body would block the loop for too long.

        Each piece has one retry budget, which what trickles in between two breaks does not renew.
        """
        chunks: list[bytes] = []
        while await self._patiently(functools.partial(self._read_up_to, self.tell() + _PIECE_BYTES, chunks)):
            pass
        return chunks[0] if len(chunks) == 1 else await asyncio.to_thread(b"".join, chunks)

    async def _read_up_to(self, position: int, chunks: list[bytes]) -> bool:
        """Append what lies before a position, without a retry; False at the end of the body."""
        while self.tell() < position:
            chunk = await self._next(position - self.tell())
            if not chunk:
                return False
            chunks.append(chunk)
        return True

    async def buffer(self) -> bytes:
        """The rest of the body."""
        return await self.read()

    async def readinto(self, b: bytearray) -> int:
        """Fill a buffer; return the number of bytes read, 0 at the end."""
        data = await self.read(len(b))
        b[: len(data)] = data
        return len(data)

    async def _reopened(self) -> AioStreamingBody:
        rest = f"bytes={self._first + self.tell()}-{self._end - 1}"
        response = await self._get({**self._request, "Range": rest})
        inner: AioStreamingBody = response["Body"]
        self._inner, self._raw_stream = inner, inner.raw_stream
        return inner


def rest_of(request: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, Any]:
    """The request for the rest of a response's body, without its range: that of the same object, or none."""
    rest = {name: value for name, value in request.items() if name not in {"Range", "PartNumber"}}
    if response.get("VersionId") not in {None, "null"}:
        rest["VersionId"] = response["VersionId"]
    if response.get("ETag"):
        rest["IfMatch"] = response["ETag"]
    return rest


def extent(response: Mapping[str, Any]) -> tuple[int, int]:
    """The positions in the object of a body's first byte and of the byte after its last."""
    span = _CONTENT_RANGE.match(response.get("ContentRange") or "")
    return (int(span[1]), int(span[2]) + 1) if span else (0, response["ContentLength"])
