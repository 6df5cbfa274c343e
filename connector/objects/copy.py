"""Copies between keys: the destination gets its own class and encryption, and keeps the source's other properties.

One `CopyObject` copies at most 5 GB. Larger objects, and those whose part sizes are to be kept, are copied
part by part, each part under the condition that the source is still the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tierlake.connector.client.carried import kept_content
from tierlake.connector.client.concurrency import in_order
from tierlake.connector.errors import ServerError
from tierlake.connector.names import check_key
from tierlake.connector.objects.metadata import get_tags, head, object_path
from tierlake.connector.policy.encryption import SseC

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tierlake.connector.client.store import Store
    from tierlake.connector.profiles import Profile

MIB = 2**20
COPY_BYTES_MAX = 5 * 2**30
"""S3's limit for one CopyObject, and for one part."""
PART_BYTES_MIN = 5 * MIB
PARTS_MAX = 10_000
SINGLE_COPY_BYTES = 150 * MIB
"""Above this, parts in parallel are faster than one request (s3fs's threshold)."""
PART_BYTES = 64 * MIB
CONCURRENT_PARTS = 10
_PART_COUNT = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True)
class Source:
    """The source of a copy, with its HEAD."""

    bucket: str
    key: str
    head: Mapping[str, Any]
    version_id: str | None = None

    @property
    def reference(self) -> dict[str, str]:
        """The source as S3's `CopySource`."""
        version = {"VersionId": self.version_id} if self.version_id else {}
        return {"Bucket": self.bucket, "Key": self.key, **version}

    def keys(self) -> dict[str, None]:
        """Parameters that keep the policy's customer key (SSE-C) from a source that was written without one."""
        if self.head.get("SSECustomerAlgorithm"):
            return {}
        return {"CopySourceSSECustomerAlgorithm": None, "CopySourceSSECustomerKey": None}

    def condition(self, profile: Profile) -> dict[str, str]:
        """The precondition that the source has not changed, if the server honours it."""
        return {"CopySourceIfMatch": self.head["ETag"]} if profile.copy_source_if_match else {}


async def look_at(store: Store, path: str, version_id: str | None = None) -> Source:
    """HEAD the source of a copy.

    Args:
        store: The store.
        path: The object.
        version_id: The version; None takes the path's, or the latest.

    Raises:
        ObjectNotFound: There is no such object.
    """
    bucket, key = object_path(store, path)
    which = version_id or store.split_path(path)[2]
    response = await head(store, path, which)
    if not response.get("ETag"):
        raise ServerError("head_object: the answer has no ETag", bucket=bucket, key=key)
    return Source(bucket, key, response, which)


async def copy_file(
    store: Store,
    path1: str,
    path2: str,
    *,
    preserve_etag: bool | None = None,
    version_id: str | None = None,
    **options: Any,
) -> Any:
    """Copy an object to another key.

    Args:
        store: The store.
        path1: The source.
        path2: The destination.
        preserve_etag: Copy with the source's part sizes, so that the ETag stays.
        version_id: The version of the source; see `look_at`.
        **options: Parameters that win over the policy's and the source's.

    Returns:
        The response of `copy_object` or `complete_multipart_upload`.

    Raises:
        ObjectNotFound: There is no such source.
        ValueError: The destination is a version.
    """
    bucket, key = object_path(store, path2)
    check_key(key, bucket=bucket)
    if store.split_path(path2)[2]:
        raise ValueError("Cannot copy to a versioned file!")
    source = await look_at(store, path1, version_id)
    profile = await store.profile()
    size = source.head["ContentLength"]
    if not size and key.endswith("/"):  # it stands for a folder; some servers do not copy it
        return await store.call("put_object", kept_content(source.head), options, Bucket=bucket, Key=key, Body=b"")
    part_bytes = options.pop("block", None)
    many_parts = "-" in str(source.head.get("ETag", ""))
    keyed = "SSECustomerAlgorithm" in source.head or isinstance(store.policy.for_key(bucket, key).encryption, SseC)
    if keyed and not profile.sse_c_part_copies and size <= COPY_BYTES_MAX:
        preserve_etag, part_bytes, limit = False, None, COPY_BYTES_MAX
    else:
        limit = SINGLE_COPY_BYTES
    if size and ((preserve_etag and many_parts) or size > limit or part_bytes):
        tags = await get_tags(store, source.bucket, source.key, source.version_id)
        kept = kept_content(source.head) | ({"Tagging": urlencode(tags)} if tags else {})
        parts = await _original_parts(store, source) if preserve_etag and many_parts else None
        response = await copy_in_parts(
            store,
            source,
            lambda: store.call("create_multipart_upload", Bucket=bucket, Key=key, **{**kept, **options}),
            (bucket, key),
            ranges=parts or part_ranges(size, part_bytes),
        )
    else:
        response = await store.call(
            "copy_object",
            {**source.condition(profile), **source.keys()},
            options,
            Bucket=bucket,
            Key=key,
            CopySource=source.reference,
        )
    store.invalidate(f"{bucket}/{key}")
    return response


def part_ranges(size: int, part_bytes: int | None = None) -> list[tuple[int, int]]:
    """First and last byte of each part, both included.

    Args:
        size: The object's size in bytes.
        part_bytes: The size of a part; None chooses one for at most 10,000 parts.

    Raises:
        ValueError: The size of a part is not between 5 MiB and 5 GiB.
    """
    chosen = part_bytes or max(PART_BYTES, -(-size // PARTS_MAX))
    if not PART_BYTES_MIN <= chosen <= COPY_BYTES_MAX:
        raise ValueError("Copy block size must be 5MB<=block<=5GB")
    return [(start, min(start + chosen, size) - 1) for start in range(0, size, chosen)]


async def _original_parts(store: Store, source: Source) -> list[tuple[int, int]]:
    number = source.head["ETag"].strip('"').rpartition("-")[2]
    if not _PART_COUNT.fullmatch(number):
        message = "head_object: the object has parts, and its ETag does not tell how many"
        raise ServerError(message, bucket=source.bucket, key=source.key)
    count = int(number)

    async def part_head(number: int) -> dict[str, Any]:
        head: dict[str, Any] = await store.send("head_object", Bucket=source.bucket, Key=source.key, PartNumber=number)
        return head

    parts = await in_order(part_head, range(1, count + 1), at_once=CONCURRENT_PARTS)
    ranges, start = [], 0
    for part in parts:
        ranges.append((start, start + part["ContentLength"] - 1))
        start += part["ContentLength"]
    return ranges


async def copy_in_parts(
    store: Store,
    source: Source,
    create: Callable[[], Awaitable[Any]],
    target: tuple[str, str],
    *,
    ranges: list[tuple[int, int]],
    condition: Mapping[str, str] | None = None,
) -> Any:
    """Copy with a multipart upload, which is aborted if it fails.

    Args:
        store: The store.
        source: The source.
        create: Creates the upload, with the destination's properties.
        target: Bucket and key of the destination.
        ranges: First and last byte of each part.
        condition: The condition on the destination at the end of the upload.

    Returns:
        The response of `complete_multipart_upload`.

    Raises:
        PreconditionFailed: The source changed meanwhile, or the destination is another object.
    """
    bucket, key = target
    profile = await store.profile()
    upload_id = (await create())["UploadId"]

    async def copy_part(part: tuple[int, tuple[int, int]]) -> dict[str, Any]:
        number, (first, last) = part
        response = await store.send(
            "upload_part_copy",
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySource=source.reference,
            CopySourceRange=f"bytes={first}-{last}",
            **source.condition(profile),
            **source.keys(),
        )
        return {"PartNumber": number, "ETag": response["CopyPartResult"]["ETag"]}

    try:
        parts = await in_order(copy_part, enumerate(ranges, start=1), at_once=CONCURRENT_PARTS)
        return await store.send(
            "complete_multipart_upload",
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
            **(condition or {}),
        )
    except BaseException:
        await store.send("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload_id)
        raise
