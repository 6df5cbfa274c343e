"""The body of a response by obstore: complete, or an error; it is read again where its connection broke."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiobotocore.response import AioStreamingBody
from aiohttp import ClientPayloadError

from tierlake.connector.client.native_errors import botocore_error
from tierlake.connector.client.native_lifetime import UnusableError, result_of
from tierlake.connector.client.resumable_body import extent, rest_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from typing_extensions import Buffer

_WHOLE_BYTES_MAX = 64 << 20
"""Larger bodies are read as a stream, so that a broken connection does not cost what was read before."""
_CHUNK_BYTES_MIN = 1 << 18
_SHORT = "The body is shorter than its length says"


class NativeBody:
    """A body with the methods of `AioStreamingBody`.

    Args:
        response: The response that has obstore's result as its body.
        request: The request's parameters.
        get: Makes a `get_object` once.
        patiently: Retries a function until it succeeds; raises our error when the retry budget is spent.
        endpoint: The endpoint's URL, for errors.
    """

    def __init__(
        self,
        response: Mapping[str, Any],
        request: Mapping[str, Any],
        *,
        get: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
        patiently: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
        endpoint: str,
    ) -> None:
        self._result: Any = response["Body"]
        self._stream: Any = None
        self._request = rest_of(request, response)
        self._get, self._patiently, self._endpoint = get, patiently, endpoint
        self._first, self._end = extent(response)
        self._position = self._first
        self._chunk = memoryview(b"")

    async def buffer(self) -> Buffer:
        """The rest of the body, in memory that is not copied where that is possible."""
        if self._position == self._first and self._end - self._first <= _WHOLE_BYTES_MAX:
            return await self._patiently(self._whole)  # type: ignore[no-any-return]
        return await self._rest()

    async def read(self, amt: int | None = None) -> bytes:
        """At most `amt` bytes, or the rest; empty at the end."""
        if amt is None or amt < 0:
            data = await self.buffer()
            return data if isinstance(data, bytes) else bytes(data)
        if not self._chunk and self._position < self._end:
            self._chunk = memoryview(await self._patiently(self._next_chunk))
        piece, self._chunk = bytes(self._chunk[:amt]), self._chunk[amt:]
        self._position += len(piece)
        return piece

    async def readinto(self, b: bytearray) -> int:
        """Fill a buffer; return the number of bytes read, 0 at the end."""
        data = await self.read(len(b))
        b[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        """The number of bytes that were read."""
        return self._position - self._first

    def close(self) -> None:
        """Give the connection up; what was not read is lost."""
        self._result = self._stream = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def iter_chunks(self, chunk_size: int = 1024) -> AsyncIterator[bytes]:
        """The rest in pieces of at most this size."""
        while piece := await self.read(chunk_size):
            yield piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.iter_chunks()

    async def _whole(self) -> Buffer:
        result = await self._opened()
        if isinstance(result, AioStreamingBody):
            data: Buffer = await result.read()
        else:
            data = await self._of_obstore(result.bytes_async)
        if len(memoryview(data)) != self._end - self._first:
            raise ClientPayloadError(_SHORT)
        self._position = self._end
        return data

    async def _rest(self) -> bytes:
        pieces: list[bytes] = []
        while piece := await self.read(_WHOLE_BYTES_MAX):
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else await asyncio.to_thread(b"".join, pieces)

    async def _next_chunk(self) -> Buffer:
        if self._stream is None:
            result = await self._opened()
            is_stream = isinstance(result, AioStreamingBody)
            self._stream = result if is_stream else result.stream(min_chunk_size=_CHUNK_BYTES_MIN)
        try:
            if isinstance(self._stream, AioStreamingBody):
                chunk: Buffer = await self._stream.read(_CHUNK_BYTES_MIN)
            else:
                chunk = await self._of_obstore(self._stream.__anext__)
        except StopAsyncIteration:
            self.close()
            raise ClientPayloadError(_SHORT) from None
        if memoryview(chunk).nbytes == 0:
            self.close()
            raise ClientPayloadError(_SHORT)
        return chunk

    async def _of_obstore(self, reading: Callable[[], Any]) -> Any:
        """What obstore reads; after a failure the body is to be opened again."""
        try:
            return await result_of(reading)
        except StopAsyncIteration:
            raise
        except UnusableError:
            self.close()
            raise ClientPayloadError from None  # what opens it again is aiobotocore
        except BaseException as error:
            self.close()
            failure = botocore_error(error, "get_object", self._endpoint) if isinstance(error, Exception) else None
            if failure is None:
                raise
            raise failure from error

    async def _opened(self) -> Any:
        """The result that has the rest of the body; asks for it if there is none."""
        result, self._result = self._result, None
        if result is None:
            rest = f"bytes={self._position}-{self._end - 1}"
            result = (await self._get({**self._request, "Range": rest}))["Body"]
        return result
