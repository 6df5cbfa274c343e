"""A local file as an object, if the object is what the caller thinks: in one request, or in parts whose end says so."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed, UnsupportedByServer
from tierlake.connector.objects.metadata import condition_of, head, object_path, put_if, unquoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.filesystem import LakeFileSystem

SINGLE_PUT_BYTES = 64 << 20
"""What is larger goes in parts: a request's body is in memory."""
PART_BYTES = 8 << 20
PARTS_MAX = 9000
PARTS_AT_ONCE = 2


async def put_file_if(
    fs: LakeFileSystem,
    local: str,
    path: str,
    *,
    if_match: str | None = None,
    if_none_match: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Write a local file only if the object is what the caller thinks.

    Args:
        fs: The filesystem.
        local: The file.
        path: The object.
        if_match: The ETag that it must have now.
        if_none_match: It must not exist.
        metadata: The user's own, to be kept with the object.

    Returns:
        The new ETag, without quotes.

    Raises:
        PreconditionFailed: It is something else; :class:`~tierlake.connector.errors.AlreadyExists` where it must not
            exist. No part is left.
        UnsupportedByServer: The file is too large for one request, and the end of an upload takes no condition.
        ValueError: Not exactly one of the two conditions is given.
    """
    condition = condition_of(if_match, if_none_match=if_none_match)
    file = Path(local)
    size = (await asyncio.to_thread(file.stat)).st_size
    if size <= SINGLE_PUT_BYTES:
        data = await asyncio.to_thread(file.read_bytes)
        return await put_if(fs, path, data, if_match=if_match, if_none_match=if_none_match, metadata=metadata)
    bucket, key = object_path(fs, path)
    profile = await fs.seam.profile()
    if not (profile.complete_if_none_match if if_none_match else profile.complete_if_match):
        what = f"writing {size:,} bytes only if nobody has replaced the object"
        alternative = profile.alternative("complete_if_match")
        raise UnsupportedByServer(profile.name, what, alternative, bucket=bucket, key=key)
    target = {"Bucket": bucket, "Key": key}
    kept = {"Metadata": dict(metadata)} if metadata else {}
    upload = await fs.seam.call("create_multipart_upload", **target, **kept)
    part_bytes = max(PART_BYTES, -(-size // PARTS_MAX))
    try:
        with await asyncio.to_thread(file.open, "rb") as opened:
            sent = await fs._upload_file_part_concurrent(  # noqa: SLF001 -- s3fs's own
                bucket, key, upload, opened, part_bytes, max_concurrency=PARTS_AT_ONCE
            )
        parts = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(sent, start=1)]
        response = await fs.seam.call(
            "complete_multipart_upload",
            **target,
            UploadId=upload["UploadId"],
            MultipartUpload={"Parts": parts},
            **condition,
        )
    except BaseException as error:
        with suppress(ObjectNotFound):
            await fs.seam.send("abort_multipart_upload", **target, UploadId=upload["UploadId"])
        if isinstance(error, ObjectNotFound) and not await _exists(fs, path):
            raise PreconditionFailed("The object does not exist", bucket=bucket, key=key) from error
        raise
    finally:
        fs.invalidate_cache(f"{bucket}/{key}")
    return unquoted(response["ETag"])


async def _exists(fs: LakeFileSystem, path: str) -> bool:
    try:
        await head(fs, path)
    except ObjectNotFound:
        return False
    return True
