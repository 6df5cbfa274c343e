"""The tables of a store: the table of a path, its listing, and the raw writes that would break it.

`Views` finds the table that a path is in and keeps its committed files as a
`tierlake.connector.listing.committed.Listing` for a moment. A filesystem asks it first and the store second.
It also refuses raw writes below a table's root.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierlake.connector.client.recent import Recent, RecentSet
from tierlake.connector.client.single_flight import SingleFlight
from tierlake.connector.errors import (
    AccessDenied,
    BucketNotFound,
    ObjectNotFound,
    RequestRefused,
    TableWriteRefused,
    UnsupportedByServer,
)
from tierlake.connector.listing.committed import Listing
from tierlake.connector.listing.folder_names import FolderNames
from tierlake.connector.listing.views import are_loaded, load_view_providers, loaded_view_providers, view_providers
from tierlake.connector.names import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tierlake.connector.client.store import Store
    from tierlake.connector.listing.views import ViewProvider

NOT_A_TABLE_SECONDS = 30.0
_COMMITTED = "fs.ls(folder) lists the committed files; a filesystem with raw=True sees what the store has"
_ROOTS_MAX = 10_000
"""The maximum number of paths that are known to be a table's root, or not to be one."""
_LISTED_MAX, _LISTING_FILES = 2_000_000, 1000
"""The maximum number of files in all cached listings, and the number added for each listing."""
_IDLE_SECONDS = 600.0
"""Unused entries are kept for so long; longer if listings are fresh for longer."""
_TAILS_MAX, _TAIL_SECONDS = 2**22, 30.0
"""The most bytes of archived files' tails that are kept in memory, and for how long unused."""
_SIDECARS = frozenset({"_metadata", "_common_metadata"})
"""Names that readers of Parquet folders look for; a table with a log has neither."""


class _Commits(Recent[tuple[str | None, str], float]):
    """The times of commits. Dropped commits count as made at the latest of their times."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._forgotten = -1.0

    def dropped(self, key: tuple[str | None, str], value: float) -> None:
        del key
        self._forgotten = max(self._forgotten, value)

    def latest(self, endpoint: str | None, root: str) -> float:
        """A time that no commit to the table is later than."""
        return self.get((endpoint, root), self._forgotten)


_committed = _Commits(_ROOTS_MAX)
"""The time of this process's last commit, by endpoint and root, for all filesystems in it."""


def is_sidecar(path: str) -> bool:
    """Whether a path has the name of a file that other writers put beside a table's, and that no table commits."""
    return path.rpartition("/")[2] in _SIDECARS


async def info(store: Store, listing: Listing, path: str, *, refresh: bool) -> dict[str, Any]:
    """The entry of a path inside a table.

    Args:
        store: The store.
        listing: The table's listing.
        path: `bucket/key` without protocol.
        refresh: Ask the store even about a committed file, for its ETag, class and date.

    Returns:
        The entry. The store answers for a file that is no longer, or not yet, committed, so that it can be opened.

    Raises:
        ObjectNotFound: The path has no object, or is a folder without a committed file.
    """
    entry = listing.info(path)
    if entry is not None and (entry["type"] == "directory" or not refresh):
        return entry
    bucket, _, key = path.partition("/")
    if entry is None and is_sidecar(path):
        raise ObjectNotFound("No committed file is there", hint=_COMMITTED, bucket=bucket, key=key)
    try:
        head = await store.send("head_object", Bucket=bucket, Key=key)
    except ObjectNotFound as error:
        raise ObjectNotFound("No committed file is there", hint=_COMMITTED, bucket=bucket, key=key) from error
    return stored_info(path, head)


def stored_info(path: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """The listing entry of an object in the store.

    Args:
        path: `bucket/key`.
        head: The response of `head_object`.
    """
    return {
        "ETag": head.get("ETag", ""),
        "LastModified": head.get("LastModified", ""),
        "size": head["ContentLength"],
        "name": path,
        "type": "file",
        "StorageClass": head.get("StorageClass", "STANDARD"),
        "VersionId": head.get("VersionId"),
        "ContentType": head.get("ContentType"),
    }


@dataclass
class _Loaded:
    listing: Listing
    at: float

    def size(self) -> int:
        """Its share of `_LISTED_MAX`."""
        return self.listing.count + _LISTING_FILES


def _refusal(root: str, path: str) -> TableWriteRefused:
    bucket, _, key = path.partition("/")
    return TableWriteRefused(
        f"lake://{root} is a table, and a raw write or delete would break it",
        hint=f'Use Dataset.open("lake://{root}") from tierlake\'s pipelines',
        bucket=bucket,
        key=key,
    )


class Views:
    """The tables that one filesystem has met.

    Args:
        store: The store; its settings say for how many seconds a look into a log is valid.
        filesystem: Returns the filesystem of the table at a root, with which its provider opens it.
        raw: Never answer from a table.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        filesystem: Callable[[str], Any],
        *,
        raw: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._filesystem = filesystem
        self._raw = raw
        freshness = store.settings.view_freshness
        self._freshness = freshness
        self._clock = clock
        idle = max(_IDLE_SECONDS, 2 * freshness)
        self._no_table = Recent[str, float](_ROOTS_MAX, seconds=idle, clock=self._now)
        self._no_description = Recent[str, float](_ROOTS_MAX, seconds=idle, clock=self._now)
        self._providers = Recent[str, "ViewProvider"](_ROOTS_MAX)
        self._loaded = Recent[str, _Loaded](_LISTED_MAX, seconds=idle, size=_Loaded.size, clock=self._now)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._probes = SingleFlight[bool]()
        self._texts = SingleFlight[bytes | None]()
        # without a bound: denied callers must ask for proof while it is known that there is no table
        self._denied = RecentSet[tuple[str, str]](sys.maxsize, seconds=2 * idle, clock=self._now)
        self._tails = Recent[tuple[str, int], bytes](_TAILS_MAX, seconds=_TAIL_SECONDS, size=len, clock=self._now)
        self._folder_names = FolderNames(store, clock=self._now)

    def _now(self) -> float:
        return self._clock()

    # -- reading -----------------------------------------------------------------------------------

    async def listing_for(self, path: str, *, leaf: bool = True) -> Listing | None:
        """The listing that answers for a path.

        Args:
            path: `bucket/key` without protocol.
            leaf: Whether the path itself may be the root of a table that is not known yet.

        Returns:
            The table's listing; None if the store itself answers: outside of tables, in their logs,
            and always for a filesystem made with `raw=True`.

        Raises:
            InvalidName: The path is not a valid key.
        """
        if self._raw or not path or "?versionId=" in path:
            return None
        await load_view_providers()
        bucket, _, key = path.partition("/")
        if key:
            check_key(key, bucket=bucket)
        candidates = self._candidates(path)
        if not leaf and path not in self._providers:
            candidates = [root for root in candidates if root != path]
        match = await self._table_of(candidates, NOT_A_TABLE_SECONDS) or await self._described(path, candidates)
        if match is None:
            return None
        root, provider = match
        first = path[len(root) :].strip("/").partition("/")[0]
        if first in provider.hidden:
            return None
        return await self._load(root, provider)

    def known_listing(self, path: str, *, leaf: bool = True) -> Listing | None:
        """The same as `listing_for` from what is known, in any thread.

        Raises:
            LookupError: That takes a look at the store.
            InvalidName: The path is not a valid key.
        """
        if self._raw:
            return None
        if not are_loaded():
            raise LookupError
        bucket, _, key = path.partition("/")
        check_key(key, bucket=bucket)
        candidates = self._candidates(path)
        if not leaf and path not in self._providers:
            candidates = [root for root in candidates if root != path]
        now = self._clock()
        for root in candidates:
            provider = self._providers.get(root)
            if provider is None:
                continue
            if path[len(root) :].strip("/").partition("/")[0] in provider.hidden:
                return None
            loaded = self._loaded.get(root)
            if loaded is None or not self._is_fresh(root, loaded.at, now):
                raise LookupError
            return loaded.listing
        described = [] if self._hidden().intersection(path.split("/")) else [root for root in candidates if "/" in root]
        if not all(
            self._known_as_none(known, root, now, NOT_A_TABLE_SECONDS)
            for known, roots in ((self._no_table, candidates), (self._no_description, described))
            for root in roots
        ):
            raise LookupError
        return None

    async def _load(self, root: str, provider: ViewProvider) -> Listing | None:
        async with self._locks.setdefault(root, asyncio.Lock()):
            loaded = self._loaded.get(root)
            now = self._clock()
            if loaded is not None and self._is_fresh(root, loaded.at, now):
                return loaded.listing
            if loaded is not None and await asyncio.to_thread(self._is_current, provider, loaded.listing):
                self._loaded[root] = _Loaded(loaded.listing, now)
                return loaded.listing
            try:
                table = await asyncio.to_thread(provider.open, self._filesystem(root), root)
            except FileNotFoundError:
                self._forget(root)
                self._no_table[root] = now
                return None
            if loaded is not None and loaded.listing.version == table.version:
                listing = loaded.listing
            else:
                listing = await asyncio.to_thread(Listing, root, table)
            self._loaded[root] = _Loaded(listing, now)
            return listing

    async def tail(self, path: str) -> tuple[bytes, int] | None:
        """The last bytes of an archived file of a table, and the file's size; None if the table has not kept them.

        Args:
            path: `bucket/key` of the file.
        """
        listing = await self.listing_for(path, leaf=False)
        entry = listing.info(path) if listing is not None and listing.has(path) else None
        if listing is None or entry is None:
            return None
        size: int = entry["size"]
        data = self._tails.get((path, size))
        look = getattr(self._providers.get(listing.root), "tail", None)
        if data is None and look is not None:
            root = listing.root
            data = await asyncio.to_thread(look, self._filesystem(root), root, path[len(root) + 1 :], size)
            if data is not None:
                self._tails[path, size] = data
        return (data, size) if data is not None and 0 < len(data) <= size else None

    def _is_current(self, provider: ViewProvider, listing: Listing) -> bool:
        """Whether a table is unchanged; False if its provider cannot tell that cheaply."""
        look = getattr(provider, "is_current", None)
        return look is not None and bool(look(self._filesystem(listing.root), listing.root, listing.version))

    def _is_fresh(self, root: str, at: float, now: float) -> bool:
        return now - at < self._freshness and at > _committed.latest(self._store.endpoint, root)

    # -- writing -----------------------------------------------------------------------------------

    async def refuse_writes(self, paths: Iterable[str], *, creating: bool = False) -> None:
        """Refuse raw writes and deletes that would break a table.

        Args:
            paths: `bucket/key` of each object that a request would write or delete.
            creating: The objects are written; then an object in place of a table's root is refused too.

        Raises:
            TableWriteRefused: An object is in place of a table's root or below it, and this filesystem is not the
                one made for that table; or we are not allowed to see whether it is.
            UnsupportedByServer: The object would hide keys below its own.
        """
        await load_view_providers()
        targets = list(paths)
        own = self._store.table_root
        for folder, path in {path.rpartition("/")[0]: path for path in targets}.items():
            if own is not None and f"{folder}/".startswith(f"{own}/"):
                continue
            candidates = self._candidates(folder)
            match = await self._table_of(candidates, self._freshness)
            if match is not None and not await self._has_marker(*match):
                self._forget(match[0])
            elif match is not None:
                raise _refusal(match[0], path)
            for root, provider in [(root, one) for root in candidates for one in view_providers()]:
                if (root, provider.marker) in self._denied and await self._has_proof(root, provider, path):
                    raise _refusal(root, path)
        for path in targets if creating else ():
            if own is None or not path.startswith(f"{own}/"):
                await self._probes.ask(("root", path), functools.partial(self._refuse_root, path))

    async def _refuse_root(self, path: str) -> bool:
        """Refuse an object in place of a table's root; return False if there is no table."""
        if path.endswith("/") or "=" in path or path not in self._candidates(path):
            return False
        bucket, _, key = path.partition("/")
        try:
            since = max(_committed.latest(self._store.endpoint, path), self._clock() - self._freshness)
            is_folder = await self._folder_names.has(path, since)
        except BucketNotFound:
            return False
        except AccessDenied:
            if any([await self._has_proof(path, provider, path) for provider in view_providers()]):
                raise _refusal(path, path) from None
            return False
        if not is_folder:
            return False
        for provider in view_providers():
            if await self._has_marker(path, provider) or await self._is_described(path, provider):
                raise _refusal(path, path)
        profile = await self._store.profile()
        if profile.objects_hide_folders:
            raise UnsupportedByServer(
                profile.name,
                "an object in the place of a folder: what is in the folder would vanish from listings",
                "a key that no other begins with, or remove the folder first",
                bucket=bucket,
                key=key,
            )
        return False

    async def _is_described(self, root: str, provider: ViewProvider) -> bool:
        if not provider.description:
            return False
        bucket, _, prefix = root.partition("/")
        page = await self._store.send(
            "list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/{provider.description}", MaxKeys=1
        )
        return bool(page.get("Contents"))

    async def _has_proof(self, root: str, provider: ViewProvider, path: str) -> bool:
        """Whether a table is at a root below which listing is denied: one of the keys exists that every table has.

        Raises:
            TableWriteRefused: Reading them is denied too.
        """
        bucket, _, prefix = root.partition("/")
        for name in (*provider.proofs, *([provider.description] if provider.description and root == path else [])):
            key = f"{prefix}/{name}" if prefix else name
            try:
                await self._store.send("head_object", Bucket=bucket, Key=key)
            except (ObjectNotFound, BucketNotFound):
                continue
            except AccessDenied as error:
                raise TableWriteRefused(
                    f"Whether lake://{root} is a table, which a raw write would break, may not be seen",
                    hint=f"Allow s3:ListBucket for the prefix {prefix}/{provider.marker}, or s3:GetObject on {key}",
                    bucket=bucket,
                    key=path.partition("/")[2],
                    server_code=error.server_code,
                    request_id=error.request_id,
                ) from error
            return True
        return False

    def naming(self, path: str) -> str | None:
        """The root of the table whose last listing has this file; makes no request."""
        return next((root for root, known in self._loaded.items() if known.listing.has(path)), None)

    def written(self, path: str) -> None:
        """Take note of a written object: a root without a table may have one now."""
        for provider in loaded_view_providers():
            root, marker, _ = path.partition(f"/{provider.marker}")
            if marker:
                self._no_table.pop(root, None)
            if provider.description:
                self._no_description.pop(path.removesuffix(f"/{provider.description}"), None)
        self._folder_names.written(path)

    def invalidate(self, root: str) -> None:
        """Take note of a commit: every filesystem of this process looks at the table again."""
        _committed[(self._store.endpoint, root)] = self._clock()

    # -- discovery ---------------------------------------------------------------------------------

    def _candidates(self, path: str) -> list[str]:
        """Possible roots of a path's table: the path and its ancestors, but for folders of partitions (`date=...`)."""
        hidden = self._hidden()
        candidates: list[str] = []
        parts = path.strip("/").split("/")
        for depth, part in enumerate(parts, start=1):
            if part in hidden:
                break
            if "=" not in part:
                candidates.append("/".join(parts[:depth]))
        return candidates

    def _hidden(self) -> set[str]:
        return {name for provider in view_providers() for name in provider.hidden}

    async def _table_of(self, candidates: list[str], no_table_seconds: float) -> tuple[str, ViewProvider] | None:
        for root in candidates:
            if root in self._providers:
                return root, self._providers[root]
        now = self._clock()
        unknown = [root for root in candidates if not self._known_as_none(self._no_table, root, now, no_table_seconds)]
        probes = [(root, provider) for root in unknown for provider in view_providers()]
        answers = await asyncio.gather(*(self._has_marker(*probe) for probe in probes))
        for root in unknown:
            self._no_table[root] = now
        for (root, provider), is_table in zip(probes, answers, strict=True):
            if is_table:
                self._no_table.pop(root, None)
                self._providers[root] = provider
                return root, provider
        return None

    async def _described(self, path: str, candidates: list[str]) -> tuple[str, ViewProvider] | None:
        """The root and provider of a table that is known by its description only; opening it reports what is wrong.

        A plain dataset has a description too, but is not a table here: the store answers for it.
        """
        if self._hidden().intersection(path.split("/")):
            return None  # a repair of a table looks at its log
        now = self._clock()
        unknown = [
            root
            for root in candidates
            if "/" in root and not self._known_as_none(self._no_description, root, now, NOT_A_TABLE_SECONDS)
        ]
        probes = [(root, provider) for root in unknown for provider in view_providers() if provider.description]
        answers = await asyncio.gather(*(self._text_of(f"{root}/{p.description}") for root, p in probes))
        for (root, provider), text in zip(probes, answers, strict=True):
            if text is None or not provider.describes(text):
                continue
            try:
                await asyncio.to_thread(provider.open, self._filesystem(root), root)
            except FileNotFoundError:
                continue
            self._providers[root] = provider
            return root, provider
        self._no_description.update(dict.fromkeys(unknown, now))
        return None

    def _known_as_none(self, known: Mapping[str, float], root: str, now: float, seconds: float) -> bool:
        at = known.get(root)
        return at is not None and now - at < seconds and at > _committed.latest(self._store.endpoint, root)

    async def _has_marker(self, root: str, provider: ViewProvider) -> bool:
        bucket, _, prefix = root.partition("/")
        marker = f"{prefix}/{provider.marker}" if prefix else provider.marker

        async def look() -> bool:
            try:
                page = await self._store.send("list_objects_v2", Bucket=bucket, Prefix=marker, MaxKeys=1)
            except BucketNotFound:
                return False
            except AccessDenied:  # a reader continues with what it may see, a writer asks for proof
                self._denied.add((root, provider.marker))
                return False
            self._denied.discard((root, provider.marker))
            return bool(page.get("Contents") or page.get("KeyCount"))

        return await self._probes.ask((bucket, marker), look)

    async def _text_of(self, path: str) -> bytes | None:
        """An object's bytes; None if it is missing or may not be read."""
        bucket, _, key = path.partition("/")

        async def look() -> bytes | None:
            try:
                response = await self._store.send("get_object", Bucket=bucket, Key=key)
            except (AccessDenied, BucketNotFound, ObjectNotFound, RequestRefused):
                return None
            async with response["Body"] as body:
                text: bytes = await body.read()
            return text

        return await self._texts.ask((bucket, key), look)

    def _forget(self, root: str) -> None:
        self._providers.pop(root, None)
        self._loaded.pop(root, None)
