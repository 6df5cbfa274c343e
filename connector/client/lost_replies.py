"""Whose write is it? After a reply was lost, the repeated request fails its own condition.

If no reply was lost before, a failed condition is another writer's doing, and no request is made. After a lost reply:

- A single PUT is ours if the object's bytes are those sent. ETags would be cheaper, but are no digest of the bytes
  under SSE-KMS and SSE-C, and a token in the metadata would stay there for ever.
- The end of a multipart upload is ours where the upload is gone, which a refused one is not, and the object is made of
  the parts sent: its ETag is the digest of their ETags (seen on MinIO, SeaweedFS and moto in all their modes), or,
  where AWS promises no such thing (SSE-KMS, SSE-C), their number is right.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import AccessDenied, ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_BYTES = (bytes, bytearray, memoryview)
_OBSCURE_ETAGS = frozenset({"aws:kms", "aws:kms:dsse"})
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html, ETag"""


async def own_write(
    send: Callable[..., Awaitable[Any]], operation: str, request: Mapping[str, Any], chosen: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The response to a write that took effect before its condition failed; None if the write was not ours.

    Args:
        send: Makes a request.
        operation: The request that failed after a lost reply.
        request: Its parameters.
        chosen: The encryption with which its multipart upload was created.
    """
    keys = {name: value for name, value in {**chosen, **request}.items() if name.startswith("SSECustomer")}
    target = {"Bucket": request.get("Bucket"), "Key": request.get("Key"), **keys}
    try:
        if operation == "put_object" and isinstance(request.get("Body"), _BYTES):
            return await holds(send, target, bytes(request["Body"]))
        if operation == "complete_multipart_upload":
            return await _own_upload(send, target, request)
    except (ObjectNotFound, AccessDenied):
        return None
    return None


async def holds(send: Callable[..., Awaitable[Any]], target: Mapping[str, Any], data: bytes) -> dict[str, Any] | None:
    """The response to a GET of an object with exactly these bytes; None if it has others.

    Args:
        send: Makes a request.
        target: Bucket, key and the customer's key, where there is one.
        data: The bytes.

    Raises:
        ObjectNotFound: There is no such object.
    """
    response: dict[str, Any] = await send("get_object", **target)
    async with response.pop("Body") as body:
        same = response["ContentLength"] == len(data) and await body.read() == data
    return response if same else None


async def _own_upload(
    send: Callable[..., Awaitable[Any]], target: Mapping[str, Any], request: Mapping[str, Any]
) -> dict[str, Any] | None:
    parts = request["MultipartUpload"]["Parts"]
    head: dict[str, Any] = await send("head_object", **target)
    etag = head["ETag"].strip('"')
    obscure = "SSECustomerAlgorithm" in head or head.get("ServerSideEncryption") in _OBSCURE_ETAGS
    if etag != _etag_of(parts) and not (obscure and etag.endswith(f"-{len(parts)}")):
        return None
    try:
        await send("list_parts", Bucket=request["Bucket"], Key=request["Key"], UploadId=request["UploadId"], MaxParts=1)
    except ObjectNotFound:
        return head
    return None


def _etag_of(parts: list[dict[str, Any]]) -> str | None:
    try:
        digests = b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in parts)
    except ValueError:
        return None
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
