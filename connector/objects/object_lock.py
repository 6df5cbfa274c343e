"""Object Lock: legal holds, which protect a version from deletion by any user and any tool.

A bucket has Object Lock from its creation on or not at all (S3 User Guide, "Locking objects with Object Lock"). Seen on
MinIO and SeaweedFS: one server drops the hold in a self-copy and the other keeps it, and the source version keeps it.
Nobody can delete a version under a hold, but a delete without a version still adds its marker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.client.concurrency import in_order
from tierlake.connector.errors import ObjectNotFound, RequestRefused, UnsupportedByServer
from tierlake.connector.objects.metadata import date_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.client.store import Store

_AT_ONCE = 16


async def has_object_lock(store: Store, bucket: str) -> bool:
    """Whether objects of a bucket can be locked (S3 `GetObjectLockConfiguration`).

    Raises:
        AccessDenied: Without `s3:GetBucketObjectLockConfiguration`.
    """
    try:
        answer = await store.send("get_object_lock_configuration", Bucket=bucket)
    except (ObjectNotFound, UnsupportedByServer):
        return False
    return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


async def set_legal_hold(store: Store, versions: Iterable[tuple[str, str]], *, held: bool) -> None:
    """Put legal holds on versions, or lift them (S3 `PutObjectLegalHold`); a second call changes nothing.

    Args:
        store: The store.
        versions: `bucket/key` and version id of each.
        held: Put the hold, or lift it.

    Raises:
        RequestRefused: The bucket has no Object Lock.
        ObjectNotFound: There is no such version.
    """

    async def one(which: tuple[str, str]) -> None:
        path, version = which
        bucket, _, key = path.partition("/")
        await store.send(
            "put_object_legal_hold",
            Bucket=bucket,
            Key=key,
            VersionId=version,
            LegalHold={"Status": "ON" if held else "OFF"},
        )

    await in_order(one, versions, at_once=_AT_ONCE)


def check_replaceable(head: Mapping[str, Any], bucket: str, key: str) -> None:
    """Refuse to rewrite an object whose version has to stay.

    Raises:
        RequestRefused: The object is under a retention that has not ended.
    """
    until = head.get("ObjectLockRetainUntilDate")
    if until is None or until <= date_of(head, bucket):
        return
    raise RequestRefused(
        f"The object may not be deleted before {until:%Y-%m-%d %H:%M} UTC (Object Lock, {head.get('ObjectLockMode')}), "
        "and its copy in another class would be stored beside it",
        hint="Let a lifecycle rule of the bucket move it: that writes no new version",
        bucket=bucket,
        key=key,
    )
