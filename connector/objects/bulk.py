"""Verbs over many objects in one call: bounded parallel requests on the event loop, an outcome for each object.

If one failure makes the rest pointless, a verb raises it. If objects are independent, an error takes the place of the
object's result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tierlake.connector.client.concurrency import as_completed, blocking, in_order, outcomes
from tierlake.connector.objects.metadata import unquoted

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Buffer

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.objects.metadata import ObjectVersion
    from tierlake.connector.objects.restore import RestoreStatus
    from tierlake.connector.objects.transition import TransitionResult

__all__ = ["BulkVerbs", "NewObject", "TierTag", "Transition", "WrittenObject"]

_AT_ONCE = 16
_MOVES_AT_ONCE = 32
"""As many as there are connections: a move waits for the server most of the time."""
_WRITES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to write.

    Args:
        path: The object.
        data: Its bytes; they must not change meanwhile.
        must_not_exist: Leave an object alone that exists already.
        options: Parameters of the request that creates it, such as `Metadata` or `StorageClass`; they win over the
            write policy.
    """

    path: str
    data: Buffer = field(repr=False)
    must_not_exist: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """An object that was written.

    Args:
        path: The object.
        etag: Its ETag, without quotes.
        size: Its size in bytes.
        version_id: Its version, if the bucket keeps versions.
    """

    path: str
    etag: str
    size: int
    version_id: str | None


@dataclass(frozen=True, slots=True)
class Transition:
    """A move to another storage class; see `tierlake.connector.objects.transition.transition`.

    Args:
        path: The object.
        storage_class: The class to move it to.
        if_match: The ETag that it must have.
        exclusive: Others may replace the object at any moment.
    """

    path: str
    storage_class: str
    if_match: str | None = None
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class TierTag:
    """A move to a remote tier; see `tierlake.connector.objects.transition.tag_tier`.

    Args:
        path: The object.
        tier: The tier's name.
        at_once: Write the object anew with the tag. Otherwise an object that already has the tag is left alone.
        if_match: The ETag that it must have.
    """

    path: str
    tier: str
    at_once: bool = False
    if_match: str | None = None


class _Verbs(Protocol):
    """The verbs for one object."""

    @property
    def loop(self) -> AbstractEventLoop:
        """The event loop that runs them, in a thread of its own."""

    async def _first_keys(self, prefix: str, *, limit: int = ...) -> list[str]: ...
    async def _head_object(self, path: str) -> dict[str, Any]: ...
    async def _object_versions(self, prefix: str) -> list[ObjectVersion]: ...
    async def _pipe_file(self, path: str, data: Any, *, mode: str = ..., **options: Any) -> dict[str, Any]: ...
    async def _reencrypt(self, path: str, *, if_match: str | None = ...) -> TransitionResult: ...
    async def _restore(self, path: str, *, days: int, speed: str) -> RestoreStatus: ...
    async def _restore_status(self, path: str) -> RestoreStatus: ...
    async def _tag_tier(
        self, path: str, tier: str, *, at_once: bool = ..., if_match: str | None = ...
    ) -> TransitionResult: ...
    async def _transition(
        self, path: str, *, storage_class: str, if_match: str | None = ..., exclusive: bool = ...
    ) -> TransitionResult: ...


class BulkVerbs:
    """The verbs over many objects, for blocking code; async code has `tierlake.connector.client.concurrency`."""

    def first_keys_many(self: _Verbs, prefixes: Iterable[str], *, limit: int = 1000) -> list[list[str] | Failure]:
        """The first keys with each of many prefixes; see `tierlake.connector.objects.metadata.first_keys`.

        Args:
            prefixes: `bucket/prefix` each.
            limit: The maximum number of keys for each prefix.

        Returns:
            In the order of the prefixes: the keys, or the error in their place.
        """
        work = partial(self._first_keys, limit=limit)
        return blocking(self.loop, outcomes(work, prefixes, at_once=_AT_ONCE))

    def head_many(self: _Verbs, paths: Iterable[str]) -> list[dict[str, Any] | Failure]:
        """HEAD of many objects.

        Args:
            paths: The objects.

        Returns:
            In the order of the paths: botocore's response, or the error in its place.
        """
        return blocking(self.loop, outcomes(self._head_object, paths, at_once=_AT_ONCE))

    def object_versions_many(self: _Verbs, prefixes: Iterable[str]) -> list[list[ObjectVersion]]:
        """All versions below each of many prefixes; see `tierlake.connector.objects.metadata.object_versions`.

        Args:
            prefixes: `bucket/prefix` each.

        Returns:
            In the order of the prefixes: their versions.

        Raises:
            BucketNotFound: There is no such bucket.
        """
        return blocking(self.loop, in_order(self._object_versions, prefixes, at_once=_AT_ONCE))

    def restore_status_many(self: _Verbs, paths: Iterable[str]) -> list[RestoreStatus]:
        """Whether each of many objects can be read.

        Args:
            paths: The objects.

        Returns:
            In the order of the paths.

        Raises:
            ObjectNotFound: One of them does not exist.
        """
        return blocking(self.loop, in_order(self._restore_status, paths, at_once=_AT_ONCE))

    def restore_many(self: _Verbs, paths: Iterable[str], *, days: int = 1, speed: str = "bulk") -> list[RestoreStatus]:
        """Request readable copies of archived objects; see `tierlake.connector.objects.restore.restore`.

        Args:
            paths: The objects.
            days: How long the copies stay.
            speed: `bulk`, `standard` or `expedited`.

        Returns:
            Their status afterwards, in the order of the paths.

        Raises:
            UnsupportedByServer: The server has no archived classes.
            InvalidSetting: `days` or `speed` is invalid.
            ObjectNotFound: One of them does not exist; others may have been requested.
        """
        work = partial(self._restore, days=days, speed=speed)
        return blocking(self.loop, in_order(work, paths, at_once=_AT_ONCE))

    def put_many(self: _Verbs, objects: Iterable[NewObject]) -> list[WrittenObject | Failure]:
        """Write many objects from memory, 32 at once; see `pipe_file`.

        Args:
            objects: The objects.

        Returns:
            In the order of the objects: what was written, or the error in its place.
        """

        async def work(new: NewObject) -> WrittenObject:
            mode = "create" if new.must_not_exist else "overwrite"
            response = await self._pipe_file(new.path, new.data, mode=mode, **new.options)
            size = memoryview(new.data).nbytes
            return WrittenObject(new.path, unquoted(response["ETag"]), size, response.get("VersionId"))

        return blocking(self.loop, outcomes(work, list(objects), at_once=_WRITES_AT_ONCE))

    def reencrypt_many(self: _Verbs, etags: Mapping[str, str]) -> Iterator[tuple[str, TransitionResult | Failure]]:
        """Give objects the encryption of the write policy; see `transition.reencrypt`.

        Args:
            etags: The objects, each with the ETag that it must have.

        Yields:
            A path with its result, or with the error in its place, as they come.
        """

        async def work(path: str) -> TransitionResult:
            return await self._reencrypt(path, if_match=etags[path])

        return as_completed(self.loop, work, etags, at_once=_AT_ONCE)

    def transition_many(
        self: _Verbs, moves: Iterable[Transition]
    ) -> Iterator[tuple[Transition, TransitionResult | Failure]]:
        """Move objects to other storage classes.

        Args:
            moves: The objects, and where to.

        Yields:
            A move with its result, or with the error in its place, as they come.
        """

        async def work(move: Transition) -> TransitionResult:
            return await self._transition(
                move.path, storage_class=move.storage_class, if_match=move.if_match, exclusive=move.exclusive
            )

        return as_completed(self.loop, work, moves, at_once=_MOVES_AT_ONCE)

    def tag_tier_many(self: _Verbs, moves: Iterable[TierTag]) -> Iterator[tuple[TierTag, TransitionResult | Failure]]:
        """Move objects to remote tiers by their tags.

        Args:
            moves: The objects, and where to.

        Yields:
            A move with its result, or with the error in its place, as they come.
        """

        async def work(move: TierTag) -> TransitionResult:
            return await self._tag_tier(move.path, move.tier, at_once=move.at_once, if_match=move.if_match)

        return as_completed(self.loop, work, moves, at_once=_MOVES_AT_ONCE)
