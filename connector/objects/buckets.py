"""A bucket as a folder: what stands in the way of making or removing one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tierlake.connector.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    InvalidName,
    ObjectNotFound,
    RequestRefused,
)
from tierlake.connector.objects.metadata import where_to_look

if TYPE_CHECKING:
    from tierlake.connector.client.store import Store

__all__ = ["check_absent", "check_empty", "unnamed"]


async def check_absent(store: Store, bucket: str) -> None:
    """Refuse a new bucket of which there is one.

    Raises:
        AlreadyExists: It is there; the hint tells whether it can be used.
    """
    hint = f"Use it as it is, or say fs.makedirs({bucket!r}, exist_ok=True)"
    try:
        await store.send("head_bucket", Bucket=bucket)
    except BucketNotFound:
        return
    except AccessDenied:
        hint = "Choose another name: this one is somebody else's, or these credentials have no rights on it"
    raise AlreadyExists(f"The bucket {bucket!r} is there already", hint=hint, bucket=bucket)


def unnamed(path: object) -> InvalidName:
    """The error for a bucket without a name."""
    return InvalidName(f"{str(path)!r} names no bucket", hint="Name one: fs.mkdir('BUCKET')")


async def check_empty(store: Store, path: str) -> None:
    """Refuse to remove what is no empty bucket, unless the server refuses it.

    Args:
        store: The store.
        path: A bucket, or something below one, for which there is nothing to remove.

    Raises:
        ObjectNotFound: There is nothing at this path below a bucket.
        AlreadyExists: There is something at this path below a bucket.
        RequestRefused: The bucket has objects, versions or delete markers.
    """
    bucket, key, _ = store.namespace.split(store.namespace.strip(path))
    if key:
        try:
            await store.namespace.info(path)
        except FileNotFoundError:
            hint = where_to_look(path)
            raise ObjectNotFound("There is no such object or folder", hint=hint, bucket=bucket, key=key) from None
        hint = f"S3 has no empty folders: fs.rm('{bucket}/{key}', recursive=True) deletes all that is below it"
        raise AlreadyExists("The folder is not empty, or is an object", hint=hint, bucket=bucket, key=key)
    if store.settings.endpoint_url is None and (await store.profile()).refuses_full_buckets:
        return  # AWS; behind another endpoint may be a server that the profile does not tell
    page = await store.send("list_objects_v2", Bucket=bucket, MaxKeys=1)
    if page.get("Contents"):
        hint = f"fs.rm({bucket!r}, recursive=True) deletes it with all that is in it"
        raise _not_empty(bucket, "has objects", hint)
    page = await store.send("list_object_versions", Bucket=bucket, MaxKeys=1)
    if page.get("Versions") or page.get("DeleteMarkers"):
        raise _not_empty(bucket, "has old versions or delete markers", "Delete these first, by version")


def _not_empty(bucket: str, what: str, hint: str) -> RequestRefused:
    return RequestRefused(
        f"The bucket {bucket!r} is not empty: it {what}", hint=hint, errno=errno.ENOTEMPTY, bucket=bucket
    )
