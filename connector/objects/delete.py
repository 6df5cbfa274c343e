"""Deletion: each key that is not deleted is reported; `delete_seen` deletes objects only in the state that was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.gateway import DELETE_BATCH
from tierlake.connector.errors import AccessDenied, DeletionFailed, ObjectNotFound
from tierlake.connector.objects.expansion import objects_of
from tierlake.connector.objects.metadata import object_path, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierlake.connector.client.store import Store


@dataclass(frozen=True, slots=True)
class SeenObject:
    """An object or a version of it, as a listing showed it.

    Args:
        path: `bucket/key`, taken literally: no part of it is a pattern or a version.
        version_id: The version; None in a bucket that keeps none.
        etag: Its ETag without quotes; None leaves it open.
    """

    path: str
    version_id: str | None = None
    etag: str | None = None


async def remove(store: Store, path: str | list[str], *, maxdepth: int | None = None) -> list[str]:
    """Delete everything below paths.

    s3fs also deletes the names of folders, which are not objects: on a versioned bucket each leaves a delete
    marker. This function deletes objects only, including those that stand for an empty folder.

    Args:
        store: The store.
        path: A path, a pattern, or a list of these.
        maxdepth: How many levels to descend; None is all.

    Returns:
        The paths deleted.

    Raises:
        ObjectNotFound: There is nothing to delete.
        DeletionFailed: Some are still there.
        TableWriteRefused: Some are inside a table.
    """
    doomed: dict[str, None] = {}
    for start in await store.namespace.expand(path):
        doomed |= dict.fromkeys(await objects_of(store, start, recursive=True, maxdepth=maxdepth))
    if not doomed:
        raise ObjectNotFound(f"There is nothing to delete at {path}", hint="fs.find(path) lists what would be deleted")
    await store.refuse_writes(doomed)
    by_bucket: dict[str, list[str]] = {}
    for name in doomed:
        by_bucket.setdefault(store.split_path(name)[0], []).append(name)
    deleted: list[str] = []
    for paths in by_bucket.values():
        deleted += await delete_paths(store, paths)
    return deleted


async def delete_seen(store: Store, objects: Iterable[SeenObject]) -> list[SeenObject]:
    """Delete objects and versions for good, each only in the state that was seen.

    A version id names one version. Without it the ETag is the condition, if the server honours it.

    Args:
        store: The store.
        objects: The objects.

    Returns:
        Those that were replaced since, and were left alone.

    Raises:
        AccessDenied: We may delete none of them.
        DeletionFailed: Some are still there; `failures` says which and why.
        TableWriteRefused: Some are inside a table that this filesystem was not made for.
    """
    profile = await store.profile()
    by_bucket: dict[str, list[tuple[SeenObject, dict[str, str]]]] = {}
    for seen in objects:
        bucket, _, key = seen.path.partition("/")
        which = {"Key": key}
        if seen.version_id is not None:
            which["VersionId"] = seen.version_id
        elif seen.etag and profile.delete_if_match:
            which["ETag"] = f'"{unquoted(seen.etag)}"'
        by_bucket.setdefault(bucket, []).append((seen, which))
    changed: list[SeenObject] = []
    for bucket, pairs in by_bucket.items():
        try:
            await delete_keys(store, bucket, [which for _, which in pairs])
        except DeletionFailed as error:
            others = {name for name, failure in error.failures.items() if failure.startswith("PreconditionFailed:")}
            if others != set(error.failures):
                raise
            changed += [seen for seen, which in pairs if which["Key"] in others]
        for seen, _ in pairs:
            store.invalidate(seen.path)
    return changed


async def delete_versions(store: Store, path: str, version_ids: Iterable[str]) -> None:
    """Delete versions or delete markers of one key for good.

    Args:
        store: The store.
        path: The object.
        version_ids: Ids as `object_versions` gives them.

    Raises:
        DeletionFailed: Some are still there; `failures` says which and why.
        TableWriteRefused: The path is inside a table that this filesystem was not made for.
    """
    bucket, key = object_path(store, path)
    await delete_keys(store, bucket, [{"Key": key, "VersionId": version} for version in version_ids])
    store.invalidate(f"{bucket}/{key}")


async def delete_keys(
    store: Store, bucket: str, objects: Sequence[dict[str, str]], *, guarded: bool = True
) -> list[str]:
    """Bulk delete, with the server's answer for each key.

    Args:
        store: The store.
        bucket: The bucket.
        objects: `Key` and optionally `VersionId` and `ETag` of each.
        guarded: Refuse objects inside a table; False only if the object stays as another version.

    Returns:
        The keys deleted.

    Raises:
        AccessDenied: We may delete none of them.
        DeletionFailed: Some are still there; `failures` says which and why.
    """
    request = store.call if guarded else store.send_in_place
    failures: dict[str, str] = {}
    request_id: str | None = None
    for start in range(0, len(objects), DELETE_BATCH):
        batch = list(objects[start : start + DELETE_BATCH])
        response = await request("delete_objects", Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        failed = _failures(response)
        failures.update(failed)
        request_id = response["ResponseMetadata"].get("RequestId") if failed else request_id
    if failures:
        first, failure = next(iter(failures.items()))
        message = f"{len(failures)} of {len(objects)} objects were not deleted, the first is {first!r}: {failure}"
        context: dict[str, Any] = {"bucket": bucket, "request_id": request_id}
        if len(failures) == len(objects) and all(text.startswith("AccessDenied:") for text in failures.values()):
            raise AccessDenied(message, server_code="AccessDenied", **context)
        raise DeletionFailed(message, failures, **context)
    return [item["Key"] for item in objects]


async def delete_paths(store: Store, paths: Sequence[str]) -> list[str]:
    """Bulk delete of paths in one bucket.

    Args:
        store: The store.
        paths: The objects.

    Returns:
        The paths deleted.

    Raises:
        ValueError: The paths are in several buckets.
        DeletionFailed: Some are still there; `failures` says which and why.
    """
    targets = [object_path(store, path) for path in paths]
    buckets = {bucket for bucket, _ in targets}
    if len(buckets) > 1:
        raise ValueError("Bulk delete files should refer to only one bucket")
    for path in paths:
        store.invalidate(path)
    for bucket in buckets:
        keys = await delete_keys(store, bucket, [{"Key": key} for _, key in targets])
        return [f"{bucket}/{key}" for key in keys]
    return []


def _failures(response: dict[str, Any]) -> dict[str, str]:
    failures = {}
    for error in response.get("Errors", ()):
        if error.get("Code") in {"NoSuchKey", "NoSuchVersion"}:
            continue
        version = error.get("VersionId")
        name = error["Key"] + (f"?versionId={version}" if version else "")
        failures[name] = f"{error.get('Code')}: {error.get('Message')}"
    return failures
