"""Verbs on objects that fsspec lacks, as methods, each with its blocking face: one line into a module each."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack

from fsspec.asyn import sync

from tierlake.connector.objects import audit, delete, multipart, object_lock, restore, versions
from tierlake.connector.objects import metadata as object_metadata
from tierlake.connector.objects import presign as presigning
from tierlake.connector.objects import transition as transitions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from datetime import datetime, timedelta

    from tierlake.connector.client.store import Store
    from tierlake.connector.objects.multipart import IncompleteUpload
    from tierlake.connector.objects.presign import PresignConditions, PresignedPost
    from tierlake.connector.objects.restore import RestoreStatus
    from tierlake.connector.objects.transition import TransitionResult

P = ParamSpec("P")
T = TypeVar("T")


def synced(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """The blocking face of an async method, with its signature."""

    def blocking(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = sync(self.loop, functools.partial(method, self), *args, **kwargs)
        return result

    functools.update_wrapper(blocking, method)
    return blocking


class ObjectVerbs:
    """Verbs on single objects, as methods of a filesystem."""

    store: Store
    loop: Any

    async def _head_object(self, path: str, version_id: str | None = None) -> dict[str, Any]:
        """Botocore's response to a HEAD of an object; see `tierlake.connector.objects.metadata.head`."""
        return await object_metadata.head(self.store, path, version_id)

    async def _server_time(self, path: str) -> datetime:
        """The server's clock, in UTC; see `tierlake.connector.objects.metadata.server_time`."""
        return await object_metadata.server_time(self.store, path)

    async def _put_if(
        self,
        path: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """A conditional write, its new ETag; see `tierlake.connector.objects.metadata.put_if`."""
        return await object_metadata.put_if(
            self.store, path, data, if_match=if_match, if_none_match=if_none_match, metadata=metadata
        )

    async def _read_with_etag(self, path: str) -> tuple[bytes, str]:
        """An object's bytes and their ETag, from one GET; see `connector.objects.metadata.read_with_etag`."""
        return await object_metadata.read_with_etag(self.store, path)

    async def _encryption_faults(self, paths: Iterable[str]) -> dict[str, str]:
        """Objects not encrypted as the write policy says; see `connector.objects.audit.encryption_faults`."""
        return await audit.encryption_faults(self.store, paths)

    async def _first_keys(self, prefix: str, *, limit: int = 1000) -> list[str]:
        """The first keys that begin with a prefix, from one LIST; see `connector.objects.metadata.first_keys`."""
        return await object_metadata.first_keys(self.store, prefix, limit=limit)

    async def _object_versions(self, prefix: str) -> list[object_metadata.ObjectVersion]:
        """Versions and delete markers below a prefix; see `connector.objects.metadata.object_versions`."""
        return await object_metadata.object_versions(self.store, prefix)

    async def _delete_versions(self, path: str, version_ids: Iterable[str]) -> None:
        """Delete versions of a key for good; see `tierlake.connector.objects.delete.delete_versions`."""
        await delete.delete_versions(self.store, path, version_ids)

    async def _delete_seen(self, objects: Iterable[delete.SeenObject]) -> list[delete.SeenObject]:
        """Delete objects and versions as they were seen; see `tierlake.connector.objects.delete.delete_seen`."""
        return await delete.delete_seen(self.store, objects)

    async def _hide(self, path: str, *, etag: str, version_id: str | None = None) -> versions.Hidden:
        """Delete an object if it is the one that was seen; see `tierlake.connector.objects.versions.hide`."""
        return await versions.hide(self.store, path, etag=etag, version_id=version_id)

    async def _unhide(self, path: str, *, version_id: str) -> None:
        """Bring back what delete markers hide; see `tierlake.connector.objects.versions.unhide`."""
        await versions.unhide(self.store, path, version_id=version_id)

    async def _bring_back(self, path: str, *, version_id: str, etag: str) -> str:
        """Make an older version the newest; see `tierlake.connector.objects.versions.bring_back`."""
        return await versions.bring_back(self.store, path, version_id=version_id, etag=etag)

    async def _is_versioned(self, bucket: str) -> bool:
        """Whether a bucket keeps versions; see `tierlake.connector.objects.metadata.is_versioned`."""
        return await object_metadata.is_versioned(self.store, bucket)

    async def _has_versions(self, bucket: str) -> bool:
        """Whether older versions may be in a bucket; see `tierlake.connector.objects.metadata.has_versions`."""
        return await object_metadata.has_versions(self.store, bucket)

    async def _has_object_lock(self, bucket: str) -> bool:
        """Whether objects of a bucket can be locked; see `connector.objects.object_lock.has_object_lock`."""
        return await object_lock.has_object_lock(self.store, bucket)

    async def _set_legal_hold(self, versions: Iterable[tuple[str, str]], *, held: bool) -> None:
        """Protect versions from deletion, or lift that; see `connector.objects.object_lock.set_legal_hold`."""
        await object_lock.set_legal_hold(self.store, versions, held=held)

    async def _transition(
        self, path: str, *, storage_class: str, if_match: str | None = None, exclusive: bool = False
    ) -> TransitionResult:
        """Move an object to another storage class; see `tierlake.connector.objects.transition.transition`."""
        return await transitions.transition(self.store, path, storage_class, if_match=if_match, exclusive=exclusive)

    async def _reencrypt(self, path: str, *, if_match: str | None = None) -> TransitionResult:
        """Encrypt an object as the write policy says; see `tierlake.connector.objects.transition.reencrypt`."""
        return await transitions.reencrypt(self.store, path, if_match=if_match)

    async def _tag_tier(
        self,
        path: str,
        tier: str,
        *,
        at_once: bool = False,
        wait_seconds: float = 0.0,
        if_match: str | None = None,
    ) -> TransitionResult:
        """Move an object to a remote tier by its tag; see `tierlake.connector.objects.transition.tag_tier`."""
        return await transitions.tag_tier(
            self.store, path, tier, at_once=at_once, wait_seconds=wait_seconds, if_match=if_match
        )

    async def _restore(self, path: str, *, days: int = 1, speed: str = "bulk") -> RestoreStatus:
        """Request an archived object; see `tierlake.connector.objects.restore.restore`."""
        return await restore.restore(self.store, path, days=days, speed=speed)

    async def _restore_status(self, path: str) -> RestoreStatus:
        """Whether an archived object can be read; see `tierlake.connector.objects.restore.restore_status`."""
        return await restore.restore_status(self.store, path)

    async def _abort_incomplete_uploads(
        self, path: str, *, older_than: str | timedelta, dry_run: bool = False
    ) -> list[IncompleteUpload]:
        """Abort old uploads; see `tierlake.connector.objects.multipart.abort_incomplete_uploads`."""
        return await multipart.abort_incomplete_uploads(self.store, path, older_than=older_than, dry_run=dry_run)

    async def _abort_uploads(self, uploads: Iterable[IncompleteUpload]) -> None:
        """Abort just these uploads; see `tierlake.connector.objects.multipart.abort_uploads`."""
        await multipart.abort_uploads(self.store, uploads)

    async def _presign(
        self, /, path: str, *, expires: float | timedelta = 3600, method: str = "GET", **options: Any
    ) -> str:
        """A URL for one request without credentials; see `tierlake.connector.objects.presign.presign`."""
        return await presigning.presign(self.store, path, expires=expires, method=method, **options)

    async def _presign_post(
        self, path: str, *, expires: float | timedelta = 3600, **conditions: Unpack[PresignConditions]
    ) -> PresignedPost:
        """A form for one upload without credentials; see `tierlake.connector.objects.presign.presign_post`."""
        return await presigning.presign_post(self.store, path, expires=expires, **conditions)

    head_object = synced(_head_object)
    server_time = synced(_server_time)
    put_if = synced(_put_if)
    read_with_etag = synced(_read_with_etag)
    encryption_faults = synced(_encryption_faults)
    first_keys = synced(_first_keys)
    object_versions = synced(_object_versions)
    delete_versions = synced(_delete_versions)
    delete_seen = synced(_delete_seen)
    hide = synced(_hide)
    unhide = synced(_unhide)
    bring_back = synced(_bring_back)
    is_versioned = synced(_is_versioned)
    has_versions = synced(_has_versions)
    has_object_lock = synced(_has_object_lock)
    set_legal_hold = synced(_set_legal_hold)
    transition = synced(_transition)
    reencrypt = synced(_reencrypt)
    tag_tier = synced(_tag_tier)
    restore = synced(_restore)
    restore_status = synced(_restore_status)
    abort_incomplete_uploads = synced(_abort_incomplete_uploads)
    abort_uploads = synced(_abort_uploads)
    presign = synced(_presign)
    presign_post = synced(_presign_post)
