"""Listings inside a table, answered from what is committed.

:class:`Views` finds the table that a path is in and keeps its committed files as a :class:`Listing` for a
moment; :mod:`tierlake.connector.filesystem` asks it first and the store second. It also refuses raw writes below a
table's root.
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
from tierlake.connector.listing.views import view_providers
from tierlake.connector.names import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.listing.views import LiveTable, ViewProvider

NOT_A_TABLE_SECONDS = 30.0
_FOLDERS_MAX = 1000
"""So many folders' names are remembered at once, each for a moment."""
_ROOTS_MAX = 10_000
"""So many paths are known at once to be a table's root, or none."""
_LISTED_MAX, _LISTING_FILES = 2_000_000, 1000
"""The listings that are remembered have so many files together; each counts for some more."""
_IDLE_SECONDS = 600.0
"""What nobody has asked for is remembered for so long; longer where listings are fresh for longer."""


class _Commits(Recent[tuple[str | None, str], float]):
    """The moments of commits. Of what it has forgotten it knows that it was no later than the latest of these."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._forgotten = -1.0

    def dropped(self, key: tuple[str | None, str], value: float) -> None:
        del key
        self._forgotten = max(self._forgotten, value)

    def latest(self, endpoint: str | None, root: str) -> float:
        """No commit to a table was made later than this."""
        return self.get((endpoint, root), self._forgotten)


_committed = _Commits(_ROOTS_MAX)
"""Endpoint and root to the moment of this process's last commit, for all filesystems in it."""


def file_info(name: str, size: int) -> dict[str, Any]:
    """A listing entry of a live file.

    It has no ETag: a table's files never change their bytes, and a transition may change the ETag under
    a reader. ``info(path, refresh=True)`` asks the store for the rest.
    """
    return {"Key": name, "name": name, "Size": size, "size": size, "type": "file"}


def folder_info(name: str) -> dict[str, Any]:
    """A listing entry of a folder, as s3fs has it."""
    return {
        "Key": name,
        "name": name,
        "Size": 0,
        "size": 0,
        "StorageClass": "DIRECTORY",
        "type": "directory",
    }


class Listing:
    """The committed files of one table, by folder.

    Args:
        root: The table's root as ``bucket/prefix``.
        table: The table as its provider opened it.
    """

    def __init__(self, root: str, table: LiveTable) -> None:
        self.root = root
        self.version = table.version
        self._sizes: Mapping[str, int] = table.files()
        self._folders: dict[str, set[str]] = {"": set()}
        for path in self._sizes:
            self._add(path)

    def _add(self, path: str) -> None:
        """Put a path into its folder, and the folder into its own, up to one that is known."""
        child, folder = path, path.rpartition("/")[0]
        while folder not in self._folders:
            self._folders[folder] = {child}
            child, folder = folder, folder.rpartition("/")[0]
        self._folders[folder].add(child)

    @property
    def count(self) -> int:
        """How many files are committed."""
        return len(self._sizes)

    def has(self, path: str) -> bool:
        """Whether a path, wherever it is, is a committed file."""
        return path.startswith(f"{self.root}/") and self.is_file(path)

    def relative(self, path: str) -> str:
        """A path below the root, without slashes at its ends."""
        return path[len(self.root) :].strip("/")

    def is_file(self, path: str) -> bool:
        """Whether the path is a committed file."""
        return self.relative(path) in self._sizes

    def is_folder(self, path: str) -> bool:
        """Whether the path is the root, or a folder that holds a committed file."""
        return self.relative(path) in self._folders

    def info(self, path: str) -> dict[str, Any] | None:
        """The entry of a file or folder; None for what is not committed."""
        relative = self.relative(path)
        name = f"{self.root}/{relative}" if relative else self.root
        if relative in self._sizes:
            return file_info(name, self._sizes[relative])
        return folder_info(name) if relative in self._folders else None

    def children(self, path: str, prefix: str = "") -> list[dict[str, Any]]:
        """The entries directly below a folder whose names begin with a prefix, sorted by name."""
        relative = self.relative(path)
        start = f"{relative}/{prefix}" if relative else prefix
        below = sorted(child for child in self._folders.get(relative, ()) if child.startswith(start))
        return [entry for child in below if (entry := self.info(f"{self.root}/{child}")) is not None]

    def find(self, path: str, *, maxdepth: int | None, withdirs: bool, prefix: str) -> list[dict[str, Any]]:
        """All entries below a path, sorted by name; the path itself where it is a file.

        Args:
            path: Where to begin.
            maxdepth: How many levels to descend; None is all.
            withdirs: With folders, and with the path itself where it is one.
            prefix: Only what begins with it directly below the path.
        """
        relative = self.relative(path)
        if relative in self._sizes:
            return [file_info(f"{self.root}/{relative}", self._sizes[relative])] if not prefix else []
        start = f"{relative}/{prefix}" if relative else prefix
        found = [relative] if withdirs and relative in self._folders and not prefix else []
        below = [child for child in self._folders.get(relative, ()) if child.startswith(start)]
        depth = 1
        while below:
            found += below if withdirs else [child for child in below if child in self._sizes]
            if depth == maxdepth:
                break
            below = [child for folder in below for child in self._folders.get(folder, ())]
            depth += 1
        entries = (self.info(f"{self.root}/{one}" if one else self.root) for one in found)
        return sorted((entry for entry in entries if entry is not None), key=lambda entry: entry["name"])


async def info(fs: LakeFileSystem, listing: Listing, path: str, *, refresh: bool) -> dict[str, Any]:
    """The entry of a path inside a table.

    Args:
        fs: The filesystem.
        listing: The table's listing.
        path: ``bucket/key`` without protocol.
        refresh: Ask the store even about a committed file, for its ETag, class and date.

    Returns:
        The entry. A file that is no longer, or not yet, committed can still be opened: for it the store
        answers.

    Raises:
        ObjectNotFound: There is nothing, or a folder without a committed file.
    """
    entry = listing.info(path)
    if entry is not None and (entry["type"] == "directory" or not refresh):
        return entry
    bucket, _, key = path.partition("/")
    try:
        head = await fs.seam.send("head_object", Bucket=bucket, Key=key)
    except ObjectNotFound as error:
        raise ObjectNotFound("No committed file is there", bucket=bucket, key=key) from error
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
        """What it counts of `_LISTED_MAX`."""
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
        fs: The filesystem.
        freshness: Seconds for which a look into a log is good.
        clock: Monotonic seconds.
    """

    def __init__(self, fs: LakeFileSystem, freshness: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._fs = fs
        self._freshness = freshness
        self._clock = clock
        idle = max(_IDLE_SECONDS, 2 * freshness)
        self._no_table = Recent[str, float](_ROOTS_MAX, seconds=idle, clock=self._now)
        self._no_description = Recent[str, float](_ROOTS_MAX, seconds=idle, clock=self._now)
        self._providers = Recent[str, "ViewProvider"](_ROOTS_MAX)
        self._loaded = Recent[str, _Loaded](_LISTED_MAX, seconds=idle, size=_Loaded.size, clock=self._now)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._probes = SingleFlight[bool]()
        # never too many to keep: who is denied must ask for proof for as long as it is known that there is no table
        self._denied = RecentSet[tuple[str, str]](sys.maxsize, seconds=2 * idle, clock=self._now)
        self._looks = SingleFlight[frozenset[str] | None]()
        self._subfolders: dict[str, tuple[float, frozenset[str] | None]] = {}

    def _now(self) -> float:
        return self._clock()

    # -- reading -----------------------------------------------------------------------------------

    async def listing_for(self, path: str) -> Listing | None:
        """The listing that answers for a path.

        Args:
            path: ``bucket/key`` without protocol.

        Returns:
            The table's listing; None where the store itself answers: outside of tables, in their logs,
            and always for a filesystem made with ``raw=True``.

        Raises:
            InvalidName: The path can be no key.
        """
        if self._fs.raw or not path or "?versionId=" in path:
            return None
        bucket, _, key = path.partition("/")
        if key:
            check_key(key, bucket=bucket)
        candidates = self._candidates(path)
        found = await self._table_of(candidates, NOT_A_TABLE_SECONDS) or await self._described(path, candidates)
        if found is None:
            return None
        root, provider = found
        first = path[len(root) :].strip("/").partition("/")[0]
        if first in provider.hidden:
            return None
        return await self._load(root, provider)

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
                table = await asyncio.to_thread(provider.open, self._fs.for_table(root), root)
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

    def _is_current(self, provider: ViewProvider, listing: Listing) -> bool:
        """Whether a table is what it was, where its provider can say so for less than it costs to read it."""
        look = getattr(provider, "is_current", None)
        return look is not None and bool(look(self._fs.for_table(listing.root), listing.root, listing.version))

    def _is_fresh(self, root: str, at: float, now: float) -> bool:
        return now - at < self._freshness and at > _committed.latest(self._fs.endpoint, root)

    # -- writing -----------------------------------------------------------------------------------

    async def refuse_writes(self, paths: Iterable[str], *, creating: bool = False) -> None:
        """Refuse what a raw write or delete would do to a table.

        Args:
            paths: ``bucket/key`` of each object that a request would write or delete.
            creating: They are written: an object in the place of a table's root is refused too.

        Raises:
            TableWriteRefused: One of them is in the place of a table's root or below it, and this filesystem is not
                the one made for that table; or nobody lets us see whether it is.
            UnsupportedByServer: An object there would hide what is below its key.
        """
        asked = list(paths)
        own = self._fs.table_root
        for folder, path in {path.rpartition("/")[0]: path for path in asked}.items():
            if own is not None and f"{folder}/".startswith(f"{own}/"):
                continue
            candidates = self._candidates(folder)
            found = await self._table_of(candidates, self._freshness)
            if found is not None and not await self._has_marker(*found):
                self._forget(found[0])
            elif found is not None:
                raise _refusal(found[0], path)
            for root, provider in [(root, one) for root in candidates for one in view_providers()]:
                if (root, provider.marker) in self._denied and await self._has_proof(root, provider, path):
                    raise _refusal(root, path)
        for path in asked if creating else ():
            if own is None or not path.startswith(f"{own}/"):
                await self._probes.ask(("root", path), functools.partial(self._refuse_root, path))

    async def _refuse_root(self, path: str) -> bool:
        """Refuse an object in the place of a table's root; False where there is none."""
        if path.endswith("/") or path not in self._candidates(path):
            return False
        bucket, _, key = path.partition("/")
        try:
            is_folder = await self._is_folder(path)
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
        profile = await self._fs.seam.profile()
        if profile.objects_hide_folders:
            raise UnsupportedByServer(
                profile.name,
                "an object in the place of a folder: what is in the folder would vanish from listings",
                "a key that no other begins with, or remove the folder first",
                bucket=bucket,
                key=key,
            )
        return False

    async def _is_folder(self, path: str) -> bool:
        """Whether keys lie below a path: one look at the folder that it is in is good for all of its names.

        Raises:
            AccessDenied: Nothing may be listed there.
        """
        folder, _, name = path.rpartition("/")
        at, names = self._subfolders.get(folder, (None, None))
        latest = max(_committed.latest(self._fs.endpoint, path), self._clock() - self._freshness)
        if at is None or at <= latest:
            now = self._clock()
            names = await self._looks.ask(folder, functools.partial(self._folders_in, folder))
            if len(self._subfolders) >= _FOLDERS_MAX:
                self._subfolders.clear()
            self._subfolders[folder] = (now, names)
        if names is not None:
            return name in names
        bucket, _, key = path.partition("/")
        page = await self._fs.seam.send("list_objects_v2", Bucket=bucket, Prefix=f"{key}/", MaxKeys=1)
        return bool(page.get("Contents"))

    async def _folders_in(self, folder: str) -> frozenset[str] | None:
        """The names of the folders in a folder; None where one look does not show them all."""
        bucket, _, prefix = folder.partition("/")
        below = f"{prefix}/" if prefix else ""
        try:
            page = await self._fs.seam.send("list_objects_v2", Bucket=bucket, Prefix=below, Delimiter="/")
        except AccessDenied:
            return None
        names = (one["Prefix"][len(below) :].rstrip("/") for one in page.get("CommonPrefixes", ()))
        return None if page.get("IsTruncated") else frozenset(names)

    async def _is_described(self, root: str, provider: ViewProvider) -> bool:
        if not provider.description:
            return False
        bucket, _, prefix = root.partition("/")
        page = await self._fs.seam.send(
            "list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/{provider.description}", MaxKeys=1
        )
        return bool(page.get("Contents"))

    async def _has_proof(self, root: str, provider: ViewProvider, path: str) -> bool:
        """Whether a table is at a root below which nothing may be listed: one of the keys is there that each has.

        Raises:
            TableWriteRefused: They may not be read either.
        """
        bucket, _, prefix = root.partition("/")
        for name in (*provider.proofs, *([provider.description] if provider.description and root == path else [])):
            key = f"{prefix}/{name}" if prefix else name
            try:
                await self._fs.seam.send("head_object", Bucket=bucket, Key=key)
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
        """The root of a table whose last listing has a file of this path; no request is made."""
        return next((root for root, known in self._loaded.items() if known.listing.has(path)), None)

    def written(self, path: str) -> None:
        """An object was written: what was no table may be one now."""
        for provider in view_providers():
            root, marker, _ = path.partition(f"/{provider.marker}")
            if marker:
                self._no_table.pop(root, None)
            if provider.description:
                self._no_description.pop(path.removesuffix(f"/{provider.description}"), None)

        folder = path.rpartition("/")[0]
        while "/" in folder:  # it may be new in the one that it is in
            folder = folder.rpartition("/")[0]
            self._subfolders.pop(folder, None)

    def invalidate(self, root: str) -> None:
        """A commit was made: every filesystem of this process looks again."""
        _committed[(self._fs.endpoint, root)] = self._clock()

    # -- discovery ---------------------------------------------------------------------------------

    def _candidates(self, path: str) -> list[str]:
        """Where a table's root could be: the path and its ancestors, up to a segment with ``=``."""
        hidden = self._hidden()
        candidates: list[str] = []
        parts = path.strip("/").split("/")
        for depth, part in enumerate(parts, start=1):
            if "=" in part or part in hidden:
                break
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
        """A root that only a table's description tells of; opening it says what became of the table.

        A plain dataset is described too, and is no table here: the store answers.
        """
        if self._hidden().intersection(path.split("/")):
            return None  # whoever mends a table looks at its log
        now = self._clock()
        unknown = [
            root
            for root in candidates
            if "/" in root and not self._known_as_none(self._no_description, root, now, NOT_A_TABLE_SECONDS)
        ]
        probes = [(root, provider) for root in unknown for provider in view_providers() if provider.description]
        answers = await asyncio.gather(*(self._is_readable(f"{root}/{p.description}") for root, p in probes))
        for (root, provider), is_described in zip(probes, answers, strict=True):
            if not is_described:
                continue
            try:
                await asyncio.to_thread(provider.open, self._fs.for_table(root), root)
            except FileNotFoundError:
                continue
            self._providers[root] = provider
            return root, provider
        self._no_description.update(dict.fromkeys(unknown, now))
        return None

    def _known_as_none(self, known: Mapping[str, float], root: str, now: float, seconds: float) -> bool:
        at = known.get(root)
        return at is not None and now - at < seconds and at > _committed.latest(self._fs.endpoint, root)

    async def _has_marker(self, root: str, provider: ViewProvider) -> bool:
        bucket, _, prefix = root.partition("/")
        marker = f"{prefix}/{provider.marker}" if prefix else provider.marker

        async def look() -> bool:
            try:
                page = await self._fs.seam.send("list_objects_v2", Bucket=bucket, Prefix=marker, MaxKeys=1)
            except BucketNotFound:
                return False
            except AccessDenied:  # a reader goes on with what it may see, a writer asks for proof
                self._denied.add((root, provider.marker))
                return False
            self._denied.discard((root, provider.marker))
            return bool(page.get("Contents") or page.get("KeyCount"))

        return await self._probes.ask((bucket, marker), look)

    async def _is_readable(self, path: str) -> bool:
        bucket, _, key = path.partition("/")

        async def look() -> bool:
            try:
                await self._fs.seam.send("head_object", Bucket=bucket, Key=key)
            except (AccessDenied, BucketNotFound, ObjectNotFound, RequestRefused):
                return False
            return True

        return await self._probes.ask((bucket, key), look)

    def _forget(self, root: str) -> None:
        self._providers.pop(root, None)
        self._loaded.pop(root, None)
