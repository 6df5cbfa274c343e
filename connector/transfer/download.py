"""Whole objects into memory and into files: all bytes of one generation, or an error.

Large objects are read in parallel ranges. The response to the first range has the object's size and its ETag, which is
the condition of the other ranges: without it, an object replaced meanwhile would be mixed up, or cut to its old length.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3fs.utils import FileExpired

from tierlake.connector.errors import PreconditionFailed, RequestRefused
from tierlake.connector.objects.metadata import object_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from tierlake.connector.client.store import Store

_PIECE_BYTES = 2**18
_BEYOND_THE_END = frozenset({"InvalidRange", "RequestedRangeNotSatisfiable", "416"})


@dataclass(frozen=True)
class Ranges:
    """How large objects are read, by default.

    Args:
        size_bytes: Larger objects are read in ranges of this size.
        at_once: The number of parallel ranges.
    """

    size_bytes: int
    at_once: int


async def cat_file(
    store: Store,
    path: str,
    ranged: Callable[..., Awaitable[bytes]],
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
        ranged: s3fs's own read of some bytes, by one request.
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
        return await ranged(path, version_id=version_id, start=first, end=last, **options)
    _, pieces = await _size_and_pieces(store, path, version_id, ranges, **options)
    parts = [piece async for piece in pieces]
    return parts[0] if len(parts) == 1 else await asyncio.to_thread(b"".join, parts)


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
    size, pieces = await _size_and_pieces(
        store, rpath, version_id, ranges, chunksize=chunksize, max_concurrency=max_concurrency
    )
    callback.set_size(size)
    with await asyncio.to_thread(local.open, "wb") as file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
            callback.relative_update(len(piece))


async def _size_and_pieces(
    store: Store,
    path: str,
    version_id: str | None,
    ranges: Ranges,
    *,
    chunksize: int | None = None,
    max_concurrency: int | None = None,
) -> tuple[int, AsyncIterator[bytes]]:
    """An object's size, and its bytes in order."""
    bucket, key = object_path(store, path)
    version = version_id or store.split_path(path)[2]
    target = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
    at_once, range_bytes = max_concurrency or ranges.at_once, chunksize or ranges.size_bytes
    response = await _first_response(store, target, range_bytes if at_once > 1 else None)
    size, etag = _size(response), response["ETag"]
    if size <= response["ContentLength"]:
        return size, _expiring(f"{bucket}/{key}", etag, _streamed(response["Body"]))

    async def first_range() -> bytes:
        async with response["Body"] as body:
            data: bytes = await body.read()
        return data

    async def ranged(first: int) -> bytes:
        which = f"bytes={first}-{min(first + range_bytes, size) - 1}"
        part = await store.call("get_object", **target, IfMatch=etag, Range=which)
        async with part["Body"] as body:
            data: bytes = await body.read()
        return data

    async def batches() -> AsyncIterator[bytes]:
        starts = range(0, size, range_bytes)
        for number in range(0, len(starts), at_once):
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(ranged(first) if first else first_range())
                        for first in starts[number : number + at_once]
                    ]
            except BaseExceptionGroup as error:
                raise error.exceptions[0] from error
            for task in tasks:
                yield task.result()

    return size, _expiring(f"{bucket}/{key}", etag, batches())


async def _first_response(store: Store, target: dict[str, str], range_bytes: int | None) -> dict[str, Any]:
    """The response to the first request: for the first range, or for the whole object if it is empty."""
    which = {"Range": f"bytes=0-{range_bytes - 1}"} if range_bytes is not None else {}
    try:
        answer: dict[str, Any] = await store.call("get_object", **target, **which)
    except RequestRefused as error:
        if error.server_code not in _BEYOND_THE_END:
            raise
        answer = await store.call("get_object", **target)
    return answer


def _size(response: Mapping[str, Any]) -> int:
    """The whole object's size, from a response to any range."""
    _, _, total = str(response.get("ContentRange") or "").rpartition("/")
    return int(total) if total.isdigit() else int(response["ContentLength"])


async def _streamed(body: Any) -> AsyncIterator[bytes]:
    async with body:
        while piece := await body.read(_PIECE_BYTES):
            yield piece


async def _expiring(path: str, etag: str, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    except PreconditionFailed as error:
        raise FileExpired(filename=path, e_tag=etag) from error
