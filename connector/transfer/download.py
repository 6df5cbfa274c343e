"""Whole objects into memory and into files: all bytes of one generation, or an error.

Large objects are read in parallel ranges. The response to the first range has the object's size and its ETag, which is
the condition of the other ranges: without it, an object replaced meanwhile would be mixed up, or cut to its old length.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3fs.utils import FileExpired

from tierlake.connector.client.concurrency import in_order
from tierlake.connector.errors import PreconditionFailed, RequestRefused
from tierlake.connector.objects.metadata import object_path
from tierlake.connector.transfer.ranges import BEYOND_THE_END, requested

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from typing_extensions import Buffer

    from tierlake.connector.client.store import Store

_PIECE_BYTES = 1 << 20
_SIZE = re.compile(r"[0-9]{1,19}")
_RANGE_BYTES_MAX = 8 << 20
"""The size of a range, where the caller names none: so many of them are in memory as are read at once."""


@dataclass(frozen=True)
class Ranges:
    """How large objects are read, by default.

    Args:
        size_bytes: Larger objects are read in ranges of this size, or of 8 MiB if that is less.
        at_once: The number of parallel ranges.
    """

    size_bytes: int
    at_once: int


async def cat_file(
    store: Store,
    path: str,
    ranges: Ranges,
    *,
    version_id: str | None = None,
    start: int | None = None,
    end: int | None = None,
    **options: Any,
) -> bytes:
    """An object's bytes, or some of them.

    Args:
        store: The store.
        path: The object.
        ranges: How large objects are read.
        version_id: A version; None is the latest.
        start: The first byte; negative counts from the end.
        end: The byte after the last, likewise.
        **options: `chunksize` and `max_concurrency`, as s3fs has them.

    Raises:
        FileExpired: The object was replaced while it was read.
        RequestRefused: The range begins after the end, as in s3fs.
    """
    if start is not None or end is not None:
        first, last = await _limits(store, path, version_id, start or 0, end)
        if last is not None and last <= first:
            return b""  # as a request's range it would mean the whole object
        response = await store.call("get_object", **_target(store, path, version_id), **requested(first, last))
        async with response["Body"] as body:
            part: bytes = await body.read()
        return part
    read = await _Reading.of(store, path, version_id, ranges, **options)
    if read.is_one_response:
        with read.unchanged():
            async with read.response["Body"] as body:
                whole: bytes = await body.read()
        return whole
    buffer = io.BytesIO()
    buffer.seek(read.size - 1)
    buffer.write(b"\0")  # its whole size at once
    with buffer.getbuffer() as memory:

        async def keep(start: int, data: Buffer) -> None:
            memory[start : start + memoryview(data).nbytes] = data

        await read.each_range(keep)
    return buffer.getvalue()  # the memory itself: nobody else has it


def _target(store: Store, path: str, version_id: str | None) -> dict[str, str]:
    bucket, key = object_path(store, path)
    version = version_id or store.split_path(path)[2]
    return {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}


async def _limits(
    store: Store, path: str, version_id: str | None, start: int, end: int | None
) -> tuple[int, int | None]:
    """A range counted from the start of the object; a negative start without an end, the last bytes, stays as it is."""
    if end is None or (start >= 0 and end > start):
        return start, end
    size = (await store.namespace.info(path, version_id=version_id))["size"]
    first = start if start >= 0 else max(size + start, 0)
    last = end if end >= 0 else max(size + end, 0)
    return first, last if start >= 0 else min(last, size)  # an empty object has no last bytes


async def get_file(
    store: Store,
    rpath: str,
    lpath: str,
    callback: Any,
    ranges: Ranges,
    *,
    version_id: str | None = None,
    chunksize: int | None = None,
    max_concurrency: int | None = None,
    **_: Any,
) -> None:
    """Download an object to a local file.

    Args:
        store: The store.
        rpath: The object.
        lpath: The file; a folder is left alone.
        callback: Fsspec's callback for progress.
        ranges: How large objects are read.
        version_id: A version; None is the latest.
        chunksize: Larger objects are read in ranges of this size.
        max_concurrency: The number of parallel ranges.

    Raises:
        FileExpired: The object was replaced while it was read; the file holds a part of it.
    """
    local = Path(lpath)
    if await asyncio.to_thread(local.is_dir):
        return
    read = await _Reading.of(store, rpath, version_id, ranges, chunksize=chunksize, max_concurrency=max_concurrency)
    callback.set_size(read.size)
    with await asyncio.to_thread(local.open, "wb", buffering=0) as file:

        async def keep(start: int, data: Buffer) -> None:
            await asyncio.to_thread(_write_all, file.fileno(), data, start)
            callback.relative_update(memoryview(data).nbytes)

        await read.each_range(keep)


def _write_all(file: int, data: Buffer, start: int) -> None:
    rest = memoryview(data).cast("B")
    while rest:
        count = os.pwrite(file, rest, start)
        rest, start = rest[count:], start + count


@dataclass(frozen=True)
class _Reading:
    """A whole object that is being read.

    Args:
        store: The store.
        target: Bucket, key and version.
        response: The response to the request for the first range.
        range_bytes: The size of a range.
        at_once: The number of ranges in progress, and in memory.
    """

    store: Store
    target: Mapping[str, str]
    response: dict[str, Any]
    range_bytes: int
    at_once: int

    @classmethod
    async def of(
        cls,
        store: Store,
        path: str,
        version_id: str | None,
        ranges: Ranges,
        *,
        chunksize: int | None = None,
        max_concurrency: int | None = None,
    ) -> _Reading:
        """Begin to read an object."""
        target = _target(store, path, version_id)
        at_once = max_concurrency or ranges.at_once
        range_bytes = chunksize or min(ranges.size_bytes, _RANGE_BYTES_MAX)
        response = await _first_response(store, target, range_bytes if at_once > 1 else None)
        return cls(store, target, response, range_bytes, at_once)

    @property
    def size(self) -> int:
        """The object's size, from the response."""
        _, _, total = str(self.response.get("ContentRange") or "").rpartition("/")
        return int(total) if _SIZE.fullmatch(total) else int(self.response["ContentLength"])

    @property
    def is_one_response(self) -> bool:
        """Whether the first response has all bytes."""
        return self.size <= int(self.response["ContentLength"])

    async def each_range(self, keep: Callable[[int, Buffer], Awaitable[None]]) -> None:
        """Read everything.

        Args:
            keep: Takes bytes and the position of the first one; called in any order, for each byte once.

        Raises:
            FileExpired: The object was replaced meanwhile.
        """
        with self.unchanged():
            if self.is_one_response:
                await self._streamed(keep)
                return

            async def one(start: int) -> None:
                await keep(start, await self._range(start))

            await in_order(one, range(0, self.size, self.range_bytes), at_once=self.at_once)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise FileExpired in place of a failed condition."""
        try:
            yield
        except PreconditionFailed as error:
            path = f"{self.target['Bucket']}/{self.target['Key']}"
            raise FileExpired(filename=path, e_tag=self.response["ETag"]) from error

    async def _range(self, start: int) -> Buffer:
        response = self.response
        if start:
            which = f"bytes={start}-{min(start + self.range_bytes, self.size) - 1}"
            etag = self.response["ETag"]
            response = await self.store.call("get_object", **self.target, IfMatch=etag, Range=which)
        async with response["Body"] as body:
            data: Buffer = await body.buffer()
        return data

    async def _streamed(self, keep: Callable[[int, Buffer], Awaitable[None]]) -> None:
        position = 0
        async with self.response["Body"] as body:
            while piece := await body.read(_PIECE_BYTES):
                await keep(position, piece)
                position += len(piece)


async def _first_response(store: Store, target: dict[str, str], range_bytes: int | None) -> dict[str, Any]:
    """The response to the first request: for the first range, or for the whole object if it is empty."""
    which = {"Range": f"bytes=0-{range_bytes - 1}"} if range_bytes is not None else {}
    try:
        answer: dict[str, Any] = await store.call("get_object", **target, **which)
    except RequestRefused as error:
        if error.server_code not in BEYOND_THE_END:
            raise
        answer = await store.call("get_object", **target)
    return answer
