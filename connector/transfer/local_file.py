"""Uploads of local files, read in threads: s3fs reads them on the event loop, up to 100 MB at a time.

Others' own parts that are named in this module: s3fs's `calculate_chunksize`.
"""

from __future__ import annotations

import asyncio
import mimetypes
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from s3fs.core import calculate_chunksize

from tierlake.connector.client.concurrency import in_order
from tierlake.connector.errors import ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

_SINGLE_PUT_BYTES_MAX = 5 << 30
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""


async def put_file(
    call: Callable[..., Awaitable[Any]],
    local: Path,
    target: Mapping[str, str],
    callback: Any,
    *,
    chunksize: int | None,
    max_concurrency: int,
    must_not_exist: bool = False,
    **options: Any,
) -> None:
    """Upload a local file in one request or in parts; after a failure no part is left.

    Args:
        call: Makes a request under the write policy.
        local: The file; a folder is left alone.
        target: Bucket and key.
        callback: Fsspec's callback; it gets the size, and the bytes of each part.
        chunksize: Files of at least twice this size are sent in parts of it; None chooses the size.
        max_concurrency: The maximum number of parts in progress, and in memory.
        must_not_exist: The object must not exist.
        **options: Parameters of the request that creates the object.

    Raises:
        OSError: The file cannot be read, or became shorter meanwhile.
        AlreadyExists: The object exists, against `must_not_exist`.
    """
    if await asyncio.to_thread(local.is_dir):
        return
    size = (await asyncio.to_thread(local.stat)).st_size
    callback.set_size(size)
    condition = {"IfNoneMatch": "*"} if must_not_exist else {}
    if "ContentType" not in options and (content_type := mimetypes.guess_type(local)[0]) is not None:
        options["ContentType"] = content_type
    part_bytes = calculate_chunksize(size, chunksize=chunksize)
    if size < min(_SINGLE_PUT_BYTES_MAX, 2 * part_bytes):
        await call("put_object", **target, Body=await asyncio.to_thread(local.read_bytes), **options, **condition)
        callback.relative_update(size)
        return
    upload = {**target, "UploadId": (await call("create_multipart_upload", **target, **options))["UploadId"]}
    try:
        parts = await sent_parts(
            call, upload, local, size, part_bytes, at_once=max_concurrency, sent=callback.relative_update
        )
        await call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts}, **condition)
    except BaseException:
        with suppress(ObjectNotFound):
            await call("abort_multipart_upload", **upload)
        raise


async def sent_parts(
    call: Callable[..., Awaitable[Any]],
    upload: Mapping[str, str],
    local: Path,
    size: int,
    part_bytes: int,
    *,
    at_once: int,
    sent: Callable[[int], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Upload a local file in parts.

    Args:
        call: Makes a request under the write policy.
        upload: Bucket, key and id of the upload.
        local: The file.
        size: The file's size in bytes.
        part_bytes: The size of a part.
        at_once: The maximum number of parts in progress, and in memory.
        sent: Called with the bytes of each part.

    Returns:
        The parts, in the form that completes the upload.

    Raises:
        OSError: The file became shorter meanwhile.
    """

    async def send(number: int) -> dict[str, Any]:
        start = (number - 1) * part_bytes
        body = await asyncio.to_thread(_read, local, start, min(part_bytes, size - start))
        response = await call("upload_part", **upload, PartNumber=number, Body=body)
        sent(len(body))
        return {"PartNumber": number, "ETag": response["ETag"]}

    return await in_order(send, range(1, -(-size // part_bytes) + 1), at_once=at_once)


def _read(local: Path, start: int, count: int) -> bytes:
    with local.open("rb") as file:
        file.seek(start)
        data = file.read(count)
    if len(data) != count:
        raise OSError(f"{local} became shorter while it was uploaded")
    return data
