"""Hiding an object and bringing it back, each only if nobody replaced it in between.

No server that was tried honours a condition on a delete marker or a copy and excludes other writers meanwhile (MinIO
accepts the condition and ignores it). So on a bucket that keeps versions the version below the new one is checked
afterwards: another that was written in between becomes the newest again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed, UnsupportedByServer
from tierlake.connector.objects.copy import copy_file
from tierlake.connector.objects.delete import delete_keys
from tierlake.connector.objects.metadata import is_versioned, object_versions, unquoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.connector.client.store import Store
    from tierlake.connector.objects.metadata import ObjectVersion

_VERSIONS = "fs.object_versions(path) lists them"


@dataclass(frozen=True, slots=True)
class Hidden:
    """What `hide` did.

    Args:
        version_id: The hidden version; None if the bucket keeps no versions, and the object is deleted.
        marker_id: The delete marker above it; likewise.
    """

    version_id: str | None = None
    marker_id: str | None = None


async def hide(store: Store, path: str, *, etag: str, version_id: str | None = None) -> Hidden:
    """Delete an object in the state that was seen; with a delete marker if the bucket keeps versions.

    Args:
        store: The store.
        path: `bucket/key`, meant as it is written.
        etag: The ETag that it must have.
        version_id: The version that it must be; None leaves it open.

    Returns:
        Which version was hidden.

    Raises:
        PreconditionFailed: The object was replaced.
        ObjectNotFound: There is no such object.
        UnsupportedByServer: The bucket keeps no versions, and the server honours no condition on a DELETE.
    """
    bucket, _, key = path.partition("/")
    try:
        return await _hide(store, bucket, key, unquoted(etag), version_id)
    finally:
        store.invalidate(path)


async def _hide(store: Store, bucket: str, key: str, etag: str, version_id: str | None) -> Hidden:
    profile = await store.profile()
    condition = {"IfMatch": f'"{etag}"'} if profile.delete_if_match else {}
    if not await is_versioned(store, bucket):
        if not condition:
            what = "deleting an object only if nobody has replaced it"
            raise UnsupportedByServer(
                profile.name, what, profile.alternative("delete_if_match"), bucket=bucket, key=key
            )
        await store.call("delete_object", Bucket=bucket, Key=key, **condition)
        return Hidden()
    before = await versions_of(store, bucket, key)
    shown = _shown(before)
    if shown is None:
        raise ObjectNotFound("No such object", hint=_VERSIONS, bucket=bucket, key=key)
    if shown.etag != etag or version_id not in {None, shown.version_id}:
        raise PreconditionFailed("The object is another one by now", bucket=bucket, key=key)
    response = await store.call("delete_object", Bucket=bucket, Key=key, **condition)
    marker = str(response.get("VersionId") or "null")
    await give_way(store, bucket, key, before, marker)
    return Hidden(shown.version_id, marker)


async def unhide(store: Store, path: str, *, version_id: str) -> None:
    """Bring back a version that delete markers hide, by deleting these; a second call changes nothing.

    Args:
        store: The store.
        path: `bucket/key`, meant as it is written.
        version_id: The version that must be the newest afterwards.

    Raises:
        ObjectNotFound: There is no such version any more.
        PreconditionFailed: Another version is above it.
    """
    bucket, _, key = path.partition("/")
    try:
        versions = await versions_of(store, bucket, key)
        if all(version.version_id != version_id for version in versions):
            raise ObjectNotFound("No such version", hint=_VERSIONS, bucket=bucket, key=key)
        top = _latest(versions)
        while top is not None and top.is_delete_marker:  # there may be several: SeaweedFS writes one for each delete
            await delete_keys(store, bucket, [{"Key": key, "VersionId": top.version_id}])
            top = _latest(await versions_of(store, bucket, key))
        if top is None or top.version_id != version_id:
            raise PreconditionFailed("Another version is above it", bucket=bucket, key=key)
    finally:
        store.invalidate(path)


async def bring_back(store: Store, path: str, *, version_id: str, etag: str) -> str:
    """Make an older version the newest by a copy, if the present newest is the one that was seen.

    Args:
        store: The store.
        path: `bucket/key`, meant as it is written.
        version_id: The version to bring back.
        etag: The ETag that the object must have now.

    Returns:
        The id of the copy.

    Raises:
        PreconditionFailed: The object was replaced.
        ObjectNotFound: There is no such version, or no object.
    """
    bucket, _, key = path.partition("/")
    try:
        before = await versions_of(store, bucket, key)
        shown = _shown(before)
        if shown is None or all(version.version_id != version_id for version in before):
            raise ObjectNotFound("No such version", hint=_VERSIONS, bucket=bucket, key=key)
        if shown.etag != unquoted(etag):
            raise PreconditionFailed("The object is another one by now", bucket=bucket, key=key)
        response = await copy_file(store, path, path, version_id=version_id)
        mine = str(response.get("VersionId") or "null")
        await give_way(store, bucket, key, before, mine)
        return mine
    finally:
        store.invalidate(path)


async def give_way(store: Store, bucket: str, key: str, before: Sequence[ObjectVersion], mine: str) -> None:
    """Delete our version of an object if another one was written between the look at it and ours.

    Args:
        store: The store.
        bucket: The bucket.
        key: The key.
        before: The key's versions at the look.
        mine: Our version or delete marker.

    Raises:
        PreconditionFailed: Another version was written in between.
    """
    after = await versions_of(store, bucket, key)
    is_on_top = any(version.is_latest and version.version_id == mine for version in after)
    known = {mine, *(version.version_id for version in before)}
    if is_on_top and any(not one.is_delete_marker and one.version_id not in known for one in after):
        await delete_keys(store, bucket, [{"Key": key, "VersionId": mine}], guarded=False)
        raise PreconditionFailed("The object was replaced meanwhile", bucket=bucket, key=key)


def _latest(versions: Sequence[ObjectVersion]) -> ObjectVersion | None:
    return next((version for version in versions if version.is_latest), None)


def _shown(versions: Sequence[ObjectVersion]) -> ObjectVersion | None:
    latest = _latest(versions)
    return None if latest is None or latest.is_delete_marker else latest


async def versions_of(store: Store, bucket: str, key: str) -> list[ObjectVersion]:
    """The versions and delete markers of just this key, the newest first."""
    return [version for version in await object_versions(store, f"{bucket}/{key}") if version.key == key]
