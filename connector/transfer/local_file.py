"""Uploads of local files, in one request or in parts.

s3fs reads them on the event loop, up to 500 MB at a time. Here threads read them, part by part: the memory of an upload
is `max_concurrency` parts, 80 MiB by default.
"""

from __future__ import annotations

import asyncio
import mimetypes
import stat
from typing import TYPE_CHECKING, Any

from tierlake.connector.transfer.multipart import Source, aborted, completed, put_in_parts, sent_part, single_put_bytes
from tierlake.connector.transfer.part_sizes import PART_BYTES, next_part_bytes, part_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tierlake.connector.profiles import Profile
    from tierlake.connector.transfer.multipart import Call

_CONDITIONAL_PUT_BYTES_MAX = 100 << 20
"""A request's body is in memory."""


async def put_file(
    call: Call,
    local: Path,
    target: Mapping[str, str],
    callback: Any,
    *,
    chunksize: int | None,
    max_concurrency: int,
    absent: Profile | None = None,
    **options: Any,
) -> None:
    """Upload a local file in one request or in parts; after a failure no part is left.

    A file that grows meanwhile is uploaded as long as it was at first. A pipe, a device or a file without a size, such
    as those of `/proc`, is read to its end.

    Args:
        call: Makes a request under the write policy.
        local: The file; a folder is left alone.
        target: Bucket and key.
        callback: Fsspec's callback; it gets the size, and the bytes of each part.
        chunksize: Files of at least twice this size are sent in parts of it, larger ones where there would be more
            than 10,000; None is 8 MiB.
        max_concurrency: The maximum number of parts in progress, and in memory.
        absent: If the object must not exist, the server's profile.
        **options: Parameters of the request that creates the object.

    Raises:
        OSError: The file cannot be read, or became shorter meanwhile.
        AlreadyExists: The object exists, against `absent`.
        UnsupportedByServer: The file is too large for one request, and completing an upload takes no condition.
    """
    status = await asyncio.to_thread(local.stat)
    if stat.S_ISDIR(status.st_mode):
        return
    size = status.st_size
    condition = {} if absent is None else {"IfNoneMatch": "*"}
    if "ContentType" not in options and (content_type := mimetypes.guess_type(local)[0]) is not None:
        options["ContentType"] = content_type
    if not stat.S_ISREG(status.st_mode) or not size:
        await _put_to_the_end(call, local, target, callback, chunksize or PART_BYTES, options, condition)
        return
    callback.set_size(size)
    part = part_bytes(size, chunksize)
    read = reader(local)
    if size < single_put_bytes(absent, 2 * part, _CONDITIONAL_PUT_BYTES_MAX, size, target):
        await call("put_object", **target, Body=await read(0, size), **options, **condition)
        callback.relative_update(size)
        return
    source = Source(read=read, size=size, part_bytes=part, at_once=max_concurrency, sent=callback.relative_update)
    await put_in_parts(call, target, source, options=options, condition=condition)


async def _put_to_the_end(
    call: Call,
    local: Path,
    target: Mapping[str, str],
    callback: Any,
    chunksize: int,
    options: Mapping[str, Any],
    condition: Mapping[str, str],
) -> None:
    """Upload what tells no size; a part at a time."""
    file = await asyncio.to_thread(local.open, "rb")
    try:
        body = await asyncio.to_thread(file.read, chunksize)
        if len(body) < chunksize:
            callback.set_size(len(body))
            await call("put_object", **target, Body=body, **options, **condition)
            callback.relative_update(len(body))
            return
        upload = {**target, "UploadId": (await call("create_multipart_upload", **target, **options))["UploadId"]}
        parts: list[dict[str, Any]] = []
        try:
            while body:
                parts.append(await sent_part(call, upload, len(parts) + 1, body))
                callback.relative_update(len(body))
                body = await asyncio.to_thread(file.read, next_part_bytes(len(parts) + 1, chunksize))
            await completed(call, upload, parts, condition)
        except BaseException:
            await aborted(call, upload)
            raise
    finally:
        await asyncio.to_thread(file.close)


def reader(local: Path) -> Callable[[int, int], Awaitable[bytes]]:
    """Reads bytes of a local file in a thread: takes the first position, and how many.

    It raises OSError if the file became shorter.
    """

    async def read(start: int, count: int) -> bytes:
        return await asyncio.to_thread(_read, local, start, count)

    return read


def _read(local: Path, start: int, count: int) -> bytes:
    with local.open("rb") as file:
        file.seek(start)
        data = file.read(count)
    if len(data) != count:
        raise OSError(f"{local} became shorter while it was uploaded")
    return data
