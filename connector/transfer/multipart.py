"""An upload in parts (a multipart upload), from its creation to its end; after a failure no part is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tierlake.connector.client.concurrency import in_order
from tierlake.connector.errors import ObjectNotFound, UnsupportedByServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.profiles import Profile

Call: TypeAlias = Callable[..., Awaitable[Any]]
"""Makes a request under the write policy."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is uploaded, and in which steps.

    Args:
        read: Reads bytes: takes the first position, and how many.
        size: The size in bytes.
        part_bytes: The size of a part.
        at_once: The maximum number of parts in progress, and in memory.
        sent: Called with the size of each part.
    """

    read: Callable[[int, int], Awaitable[bytes]]
    size: int
    part_bytes: int
    at_once: int
    sent: Callable[[int], object] = field(default=lambda _: None)


async def put_in_parts(
    call: Call,
    target: Mapping[str, str],
    source: Source,
    *,
    options: Mapping[str, Any],
    condition: Mapping[str, str],
) -> dict[str, Any]:
    """Upload an object in parts.

    Args:
        call: Makes a request.
        target: Bucket and key.
        source: What is uploaded.
        options: Parameters of the request that creates the upload.
        condition: Parameters of the request that completes it.

    Returns:
        The response to the request that completes it.
    """
    upload = {**target, "UploadId": (await call("create_multipart_upload", **target, **options))["UploadId"]}

    async def send(number: int) -> dict[str, Any]:
        start = (number - 1) * source.part_bytes
        count = min(source.part_bytes, source.size - start)
        part = await sent_part(call, upload, number, await source.read(start, count))
        source.sent(count)
        return part

    try:
        numbers = range(1, -(-source.size // source.part_bytes) + 1)
        return await completed(call, upload, await in_order(send, numbers, at_once=source.at_once), condition)
    except BaseException:
        await aborted(call, upload)
        raise


async def sent_part(call: Call, upload: Mapping[str, str], number: int, body: bytes) -> dict[str, Any]:
    """Upload a part; return it in the form that completes the upload."""
    response = await call("upload_part", **upload, PartNumber=number, Body=body)
    checksums = {name: response[name] for name in ("ChecksumSHA256",) if name in response}
    return {"PartNumber": number, "ETag": response["ETag"], **checksums}


async def completed(
    call: Call, upload: Mapping[str, str], parts: list[dict[str, Any]], condition: Mapping[str, str]
) -> dict[str, Any]:
    """Make an object of its parts."""
    response: dict[str, Any] = await call(
        "complete_multipart_upload", **upload, MultipartUpload={"Parts": parts}, **condition
    )
    return response


async def aborted(call: Call, upload: Mapping[str, str]) -> None:
    """Delete the parts of an upload."""
    with suppress(ObjectNotFound):
        await call("abort_multipart_upload", **upload)


def single_put_bytes(profile: Profile | None, least: int, most: int, size: int, target: Mapping[str, str]) -> int:
    """The size up to which an object is written by one request.

    Args:
        profile: The server's profile, if the object must not exist.
        least: The size from which parts are better.
        most: The size up to which one request is possible.
        size: The object's size.
        target: Bucket and key.

    Raises:
        UnsupportedByServer: Only one request could have the condition, and the object is too large for it.
    """
    if profile is None or profile.complete_if_none_match:
        return least
    if size > most:
        what = f"writing {size:,} bytes only if the object does not exist"
        alternative = profile.alternative("complete_if_match")
        raise UnsupportedByServer(profile.name, what, alternative, bucket=target["Bucket"], key=target["Key"])
    return most
