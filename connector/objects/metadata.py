"""Requests on single objects that s3fs has no method for, as async functions over a store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.lost_replies import holds
from tierlake.connector.errors import (
    AccessDenied,
    BucketNotFound,
    InvalidName,
    LakeError,
    ObjectNotFound,
    PreconditionFailed,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tierlake.connector.client.store import Store

_SHOWN = 100


@dataclass(frozen=True)
class ObjectVersion:
    """One version, or one delete marker, of a key.

    Args:
        path: `bucket/key`.
        key: The key.
        version_id: The version's id; `null` if the bucket was not versioned.
        is_latest: A GET without a version sees this version.
        is_delete_marker: The version marks the key as deleted.
        size: Bytes; 0 for a marker.
        etag: The ETag without quotes; empty for a marker.
        modified: When it was written, by the server's clock.
        storage_class: The class; empty for a marker.
    """

    path: str
    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    etag: str
    modified: datetime
    storage_class: str


def object_path(store: Store, path: str) -> tuple[str, str]:
    """Bucket and key of a path that must name an object.

    Raises:
        InvalidName: The path is a bucket.
    """
    bucket, key, _ = store.split_path(path)
    if not key:
        raise InvalidName(f"{path!r} names no object", hint="Write bucket/key", bucket=bucket or None)
    return bucket, key


def not_found(store: Store, path: str, error: FileNotFoundError) -> FileNotFoundError:
    """Our error for s3fs's own FileNotFoundError; an error of ours is returned as it is."""
    if isinstance(error, LakeError):
        return error
    bucket, key, _ = store.split_path(path)
    return ObjectNotFound("No such object or folder", hint=where_to_look(path), bucket=bucket, key=key)


def where_to_look(path: str) -> str:
    """The hint for a path at which nothing is."""
    return f"fs.ls({path.rstrip('/').rpartition('/')[0]!r}) lists what is there"


def unquoted(etag: str | None) -> str:
    """An ETag without its quotes."""
    return (etag or "").strip('"')


async def head(store: Store, path: str, version_id: str | None = None) -> dict[str, Any]:
    """HEAD of an object.

    Args:
        store: The store.
        path: The object.
        version_id: A version; None is the latest.

    Returns:
        Botocore's response.

    Raises:
        ObjectNotFound: There is no such object.
        BucketNotFound: There is no such bucket.
    """
    bucket, key = object_path(store, path)
    which = {"VersionId": version_id} if version_id else {}
    try:
        response: dict[str, Any] = await store.send("head_object", Bucket=bucket, Key=key, **which)
    except ObjectNotFound:
        with suppress(AccessDenied):  # a bucket that we may not look at exists
            await store.send("head_bucket", Bucket=bucket)
        raise
    return response


async def server_time(store: Store, path: str) -> datetime:
    """The server's clock.

    Args:
        store: The store.
        path: A bucket, or a prefix in it, for the request.

    Returns:
        An aware time, to the second.

    Raises:
        BucketNotFound: There is no such bucket.
        AccessDenied: We may neither look at the bucket nor list below the prefix or the filesystem's table.
        ServerError: The response has no Date header, or one that is no date.
    """
    bucket, prefix, _ = store.split_path(path)
    own_bucket, _, own = (store.table_root or "").partition("/")
    below = prefix or (own if own_bucket == bucket else "")
    try:
        response = await store.send("head_bucket", Bucket=bucket)
    except AccessDenied:
        if not below:
            raise
        # with rights below a prefix only we may not look at the bucket
        listing = {"Prefix": f"{below.rstrip('/')}/", "MaxKeys": 1}
        response = await store.send("list_objects_v2", Bucket=bucket, **listing)
    return date_of(response, bucket)


def date_of(response: Mapping[str, Any], bucket: str) -> datetime:
    """The time of a response, by the server's clock.

    Raises:
        ServerError: It has no Date header, or one that is no date.
    """
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not date:
        raise ServerError("The response has no Date header", bucket=bucket)
    at = http_time(date)
    if at is None:
        raise ServerError(f"The response has a Date header that is no date: {date[:_SHOWN]!r}", bucket=bucket)
    return at


def http_time(text: str) -> datetime | None:
    """A time in a header; None for a text that is none."""
    try:
        at = parsedate_to_datetime(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


async def read_with_etag(store: Store, path: str) -> tuple[bytes, str]:
    """An object's bytes and the ETag of exactly these bytes.

    Args:
        store: The store.
        path: The object.

    Returns:
        The bytes, and the ETag without quotes, for `put_if`.

    Raises:
        ObjectNotFound: There is no such object.
    """
    bucket, key = object_path(store, path)
    response = await store.send("get_object", Bucket=bucket, Key=key)
    async with response["Body"] as body:
        return await body.read(), unquoted(response["ETag"])


def condition_of(if_match: str | None, *, if_none_match: bool) -> dict[str, str]:
    """The condition of a write, as a request's parameter.

    Raises:
        ValueError: Not exactly one of the two is given.
    """
    if (if_match is None) == (not if_none_match):
        raise ValueError("a conditional write needs exactly one of if_match and if_none_match")
    return {"IfMatch": f'"{unquoted(if_match)}"'} if if_match is not None else {"IfNoneMatch": "*"}


async def put_if(
    store: Store,
    path: str,
    data: bytes,
    *,
    if_match: str | None = None,
    if_none_match: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Write an object only if it is in the expected state.

    After a failed condition the object's bytes are compared. If they are those to write, the call succeeds: another
    process wrote the same, or this one did before it was killed.

    Args:
        store: The store.
        path: The object.
        data: Its new bytes.
        if_match: The ETag that it must have now.
        if_none_match: It must not exist.
        metadata: User metadata of the object.

    Returns:
        The new ETag, without quotes.

    Raises:
        PreconditionFailed: It is in another state; `tierlake.connector.errors.AlreadyExists` if it must not
            exist.
        ValueError: Not exactly one of the two conditions is given.
    """
    condition = condition_of(if_match, if_none_match=if_none_match)
    bucket, key = object_path(store, path)
    kept = {"Metadata": dict(metadata)} if metadata else {}
    try:
        response = await store.call("put_object", Bucket=bucket, Key=key, Body=data, **kept, **condition)
    except (PreconditionFailed, ObjectNotFound) as error:
        own = await _holds(store, bucket, key, data)
        if own is not None:
            return unquoted(own["ETag"])
        if isinstance(error, PreconditionFailed):
            raise
        raise PreconditionFailed("The object does not exist", bucket=bucket, key=key) from error
    finally:
        store.invalidate(f"{bucket}/{key}")
    return unquoted(response["ETag"])


async def _holds(store: Store, bucket: str, key: str, data: bytes) -> dict[str, Any] | None:
    try:
        return await holds(store.send, {"Bucket": bucket, "Key": key}, data)
    except ObjectNotFound:
        return None


async def first_keys(store: Store, prefix: str, *, limit: int = 1000) -> list[str]:
    """The first keys that begin with a prefix, in order of their names: one LIST, without a cache.

    Args:
        store: The store.
        prefix: `bucket/prefix`; every key that begins with it counts, so end a folder with a slash.
        limit: The maximum number of keys, up to 1000.

    Returns:
        Paths as `bucket/key`.

    Raises:
        BucketNotFound: There is no such bucket.
        AccessDenied: We may not list there.
    """
    bucket, _, key_prefix = prefix.partition("/")
    page = await store.send("list_objects_v2", Bucket=bucket, Prefix=key_prefix, MaxKeys=limit)
    return [f"{bucket}/{item['Key']}" for item in page.get("Contents", ())]


async def is_versioned(store: Store, bucket: str) -> bool:
    """Whether a bucket keeps versions now; False if versioning is suspended."""
    response = await store.send("get_bucket_versioning", Bucket=store.split_path(bucket)[0])
    return bool(response.get("Status") == "Enabled")


async def has_versions(store: Store, bucket: str) -> bool:
    """Whether a bucket may hold older versions: versioning is enabled, or suspended."""
    response = await store.send("get_bucket_versioning", Bucket=store.split_path(bucket)[0])
    return response.get("Status") in {"Enabled", "Suspended"}


async def version_pages(store: Store, bucket: str, prefix: str) -> AsyncIterator[dict[str, Any]]:
    """Versions and delete markers below a prefix, as botocore's pages, one at a time."""
    markers: dict[str, str] = {}
    while True:
        page = await store.send("list_object_versions", Bucket=bucket, Prefix=prefix, **markers)
        yield page
        if not page.get("IsTruncated"):
            return
        markers = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextVersionIdMarker"):
            markers["VersionIdMarker"] = page["NextVersionIdMarker"]


async def object_versions(store: Store, prefix: str) -> list[ObjectVersion]:
    """All versions and delete markers below a prefix.

    Args:
        store: The store.
        prefix: `bucket/prefix`; every key that begins with it counts, so end a folder with a slash.

    Returns:
        Versions by key, the latest first.

    Raises:
        BucketNotFound: There is no such bucket.
    """
    bucket, key_prefix, _ = store.split_path(prefix)
    versions = []
    async for page in version_pages(store, bucket, key_prefix):
        for name in ("Versions", "DeleteMarkers"):
            versions += [_version(bucket, item, marker=name == "DeleteMarkers") for item in page.get(name, ())]
    return sorted(versions, key=lambda version: (version.key, not version.is_latest, -version.modified.timestamp()))


def _version(bucket: str, item: dict[str, Any], *, marker: bool) -> ObjectVersion:
    return ObjectVersion(
        path=f"{bucket}/{item['Key']}",
        key=item["Key"],
        version_id=item.get("VersionId") or "null",
        is_latest=bool(item.get("IsLatest")),
        is_delete_marker=marker,
        size=0 if marker else item["Size"],
        etag="" if marker else unquoted(item.get("ETag")),
        modified=item["LastModified"],
        storage_class="" if marker else item.get("StorageClass") or "STANDARD",
    )


async def bucket_exists(store: Store, bucket: str) -> bool:
    """Whether a bucket exists, even if we may not look into it.

    Raises:
        LakeError: The endpoint is down, or the credentials are wrong.
    """
    try:
        await store.send("head_bucket", Bucket=bucket)
    except BucketNotFound:
        return False
    except LakeError as error:
        if error.code == "access_denied":
            return True
        raise
    return True


async def get_tags(store: Store, bucket: str, key: str, version_id: str | None = None) -> dict[str, str]:
    """The tags of an object."""
    which = {"VersionId": version_id} if version_id else {}
    response = await store.send("get_object_tagging", Bucket=bucket, Key=key, **which)
    return {tag["Key"]: tag["Value"] for tag in response["TagSet"]}
