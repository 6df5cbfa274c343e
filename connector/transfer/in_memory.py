"""Uploads of bytes in memory, in one request or in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.transfer.multipart import Source, put_in_parts, single_put_bytes
from tierlake.connector.transfer.part_sizes import PART_BYTES_MAX, part_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.profiles import Profile
    from tierlake.connector.transfer.multipart import Call


async def put_bytes(
    call: Call,
    data: Any,
    target: Mapping[str, str],
    *,
    chunksize: int | None,
    max_concurrency: int,
    absent: Profile | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Upload bytes; after a failure no part is left.

    Args:
        call: Makes a request under the write policy.
        data: Any object with a buffer; it must not change meanwhile.
        target: Bucket and key.
        chunksize: Objects of at least twice this size are sent in parts of it; None is 8 MiB.
        max_concurrency: The maximum number of parts in progress; each is copied while it is.
        absent: If the object must not exist, the server's profile.
        **options: Parameters of the request that creates the object.

    Returns:
        Botocore's response to the last request.

    Raises:
        AlreadyExists: The object exists, against `absent`.
        UnsupportedByServer: The object is too large for one request, and completing an upload takes no condition.
    """
    view = memoryview(data)
    size = view.nbytes
    part = part_bytes(size, chunksize)
    condition = {} if absent is None else {"IfNoneMatch": "*"}
    if size < min(PART_BYTES_MAX, single_put_bytes(absent, 2 * part, PART_BYTES_MAX, size, target)):
        body = data if isinstance(data, bytes | bytearray) else bytes(view)
        response: dict[str, Any] = await call("put_object", **target, Body=body, **options, **condition)
        return response
    flat = view.cast("B")

    async def read(start: int, count: int) -> bytes:
        return bytes(flat[start : start + count])

    source = Source(read=read, size=size, part_bytes=part, at_once=max_concurrency)
    return await put_in_parts(call, target, source, options=options, condition=condition)
