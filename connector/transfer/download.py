"""Whole objects into memory and into files: all bytes of one generation, or an error.

Large objects come in ranges at once. The answer to the first range has the object's size and its ETag, which is the
condition of the other ranges: without one, an object replaced meanwhile would be a mixture, or cut to its old length.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3fs.utils import FileExpired

from tierlake.connector.errors import PreconditionFailed, RequestRefused
from tierlake.connector.objects.metadata import object_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem

_PIECE_BYTES = 2**18
_BEYOND_THE_END = frozenset({"InvalidRange", "RequestedRangeNotSatisfiable", "416"})


async def cat_file(
    fs: LakeFileSystem,
    path: str,
    ranged: Callable[..., Awaitable[bytes]],
    *,
    version_id: str | None = None,
    start: int | None = None,
    end: int | None = None,
    **options: Any,
) -> bytes:
    """An object's bytes, or some of them.

    Args:
        fs: The filesystem.
        path: The object.
        ranged: s3fs's own way, for some of the bytes: one request.
        version_id: A version; None is the latest.
        start: The first byte; negative counts from the end.
        end: The byte behind the last, likewise.
        **options: ``chunksize`` and ``max_concurrency``, as s3fs has them.

    Raises:
        FileExpired: The object was replaced while it was read.
        RequestRefused: The range begins behind the end, as in s3fs.
    """
    if start is not None or end is not None:
        first, last = await _limits(fs, path, version_id, start or 0, end)
        if last is not None and last <= first:
            return b""  # as a range of a request it would mean the whole object
        return await ranged(path, version_id=version_id, start=first, end=last, **options)
    _, pieces = await _asked(fs, path, version_id, **options)
    return b"".join([piece async for piece in pieces])


async def _limits(
    fs: LakeFileSystem, path: str, version_id: str | None, start: int, end: int | None
) -> tuple[int, int | None]:
    """A range whose ends count from the beginning, but for the last so many bytes: those have no second end."""
    if end is None or (start >= 0 and end > start):
        return start, end
    size = (await fs._info(path, version_id=version_id))["size"]  # noqa: SLF001 -- fsspec's own; there has to be one
    first = start if start >= 0 else max(size + start, 0)
    last = end if end >= 0 else max(size + end, 0)
    return first, last if start >= 0 else min(last, size)  # the last of no bytes at all are none


async def get_file(
    fs: LakeFileSystem,
    rpath: str,
    lpath: str,
    callback: Any,
    *,
    version_id: str | None = None,
    chunksize: int | None = None,
    max_concurrency: int | None = None,
    **_: Any,
) -> None:
    """An object into a local file.

    Args:
        fs: The filesystem.
        rpath: The object.
        lpath: The file; a folder is left alone.
        callback: fsspec's, told of each piece.
        version_id: A version; None is the latest.
        chunksize: Objects larger than this come in ranges of this many bytes.
        max_concurrency: So many of them at once.

    Raises:
        FileExpired: The object was replaced while it was read; the file holds a part of it.
    """
    local = Path(lpath)
    if local.is_dir():  # noqa: ASYNC240 -- a local disk is faster than a thread: s3fs does so too
        return
    size, pieces = await _asked(fs, rpath, version_id, chunksize=chunksize, max_concurrency=max_concurrency)
    callback.set_size(size)
    with local.open("wb") as file:  # noqa: ASYNC230 -- likewise
        async for piece in pieces:
            file.write(piece)
            callback.relative_update(len(piece))


async def _asked(
    fs: LakeFileSystem,
    path: str,
    version_id: str | None,
    *,
    chunksize: int | None = None,
    max_concurrency: int | None = None,
) -> tuple[int, AsyncIterator[bytes]]:
    """An object's size, and its bytes in their order."""
    bucket, key = object_path(fs, path)
    version = version_id or fs.split_path(path)[2]
    target = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
    at_once, range_bytes = max_concurrency or fs.max_concurrency, chunksize or fs.default_block_size
    response = await _begun(fs, target, range_bytes if at_once > 1 else None)
    size, etag = _size(response), response["ETag"]
    if size <= response["ContentLength"]:
        return size, _expiring(f"{bucket}/{key}", etag, _streamed(response["Body"]))

    async def first_range() -> bytes:
        async with response["Body"] as body:
            data: bytes = await body.read()
        return data

    async def ranged(first: int) -> bytes:
        which = f"bytes={first}-{min(first + range_bytes, size) - 1}"
        part = await fs._call_s3("get_object", **target, IfMatch=etag, Range=which)  # noqa: SLF001
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


async def _begun(fs: LakeFileSystem, target: dict[str, str], range_bytes: int | None) -> dict[str, Any]:
    """The answer to the first request: for the first range, or for the whole object where it has no bytes."""
    which = {"Range": f"bytes=0-{range_bytes - 1}"} if range_bytes is not None else {}
    try:
        answer: dict[str, Any] = await fs._call_s3("get_object", **target, **which)  # noqa: SLF001 -- s3fs's name of it
    except RequestRefused as error:
        if error.server_code not in _BEYOND_THE_END:
            raise
        answer = await fs._call_s3("get_object", **target)  # noqa: SLF001 -- likewise
    return answer


def _size(response: Mapping[str, Any]) -> int:
    """The whole object's size, whichever range of it an answer has."""
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
