"""Listings inside a table show its committed files; everywhere else they are s3fs's.

s3fs's own parts that are named in this module: `S3FileSystem._lsdir` and its parameter `delimiter`, and the methods
of fsspec's that s3fs overrides and that are overridden here.
"""

# ruff: noqa: FBT001, FBT002 -- the signatures are fsspec's and s3fs's
from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol

from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from tierlake.connector.listing import pages, tables
from tierlake.connector.listing.answers import KnownAnswers, is_spelled_as_file
from tierlake.connector.listing.committed import folder_info
from tierlake.connector.objects import metadata
from tierlake.connector.observe import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from tierlake.connector.client.listing_cache import ListingCache
    from tierlake.connector.client.recent import Recent
    from tierlake.connector.client.store import Store


def folders_marked(entries: Iterable[dict[str, Any]], *, withdirs: bool) -> list[dict[str, Any]]:
    """Entries in which empty objects that stand for a folder (`date=2013-01-01/`) are folders.

    pyarrow's own S3 writer leaves such objects, and its readers fail if they are listed as files.

    Args:
        entries: The entries that s3fs lists.
        withdirs: Include these folders; otherwise they are left out.
    """
    listed = []
    for entry in entries:
        if entry["type"] == "file" and entry["name"].endswith("/") and not entry["size"]:
            if withdirs:
                listed.append({**entry, "type": "directory"})
        else:
            listed.append(entry)
    return listed


def folders_of(entries: Iterable[dict[str, Any]], root: str) -> dict[str, list[dict[str, Any]]]:
    """The listing of each folder, made of all objects below a root.

    A key may name an object and a folder at once: then it has two entries. The listing of a bucket is left to `ls`.

    Args:
        entries: The objects; each gets its `Key`, as in a listing of its own folder.
        root: `bucket/prefix` without a slash at its end.
    """
    folders: dict[str, list[dict[str, Any]]] = {}
    with_folders, last, beside = set(), "", list[dict[str, Any]]()
    for entry in entries:
        entry["Key"] = name = entry["name"]
        folder = name[: name.rfind("/")]
        if folder != last:
            last, is_known = folder, folder in folders
            beside = folders.setdefault(folder, []) if "/" in folder else []
            while not is_known and len(folder) > len(root) and "/" in (parent := folder.rpartition("/")[0]):
                is_known = parent in folders
                folders.setdefault(parent, []).append(folder_info(folder))
                with_folders.add(parent)
                folder = parent
        beside.append(entry)
    for folder in with_folders:
        folders[folder].sort(key=lambda entry: (entry["name"], entry["type"] == "directory"))
    return folders


FOLDERS_MAX = 1000


class ScanAhead(Protocol):
    """Prepares for the scan that follows a listing."""

    def listed(self, path: str, entries: Sequence[Mapping[str, Any]], *, is_committed: bool) -> None:
        """Take note of what was listed below a path, and whether it is of a table."""

    def forget(self, path: str | None) -> None:
        """Drop what is known of a path; None is everything."""


class TableListings(KnownAnswers, S3FileSystem):  # type: ignore[misc]  # s3fs ships no types
    """The listing methods of a filesystem."""

    views: tables.Views
    store: Store
    dircache: ListingCache
    ahead: ScanAhead
    _folders: Recent[str, tuple[float, int]]

    async def _info(
        self,
        path: str,
        bucket: str | None = None,
        key: str | None = None,
        refresh: bool = False,
        version_id: str | None = None,
    ) -> dict[str, Any]:
        name = self._strip_protocol(path)
        is_file_first = is_spelled_as_file(name)
        listing = None if version_id else await self.views.listing_for(name, leaf=not is_file_first)
        if listing is not None:
            return await tables.info(self.store, listing, name, refresh=refresh)
        if not refresh and not version_id and self._is_known_folder(name):
            return {"name": name, "type": "directory", "size": 0, "StorageClass": "DIRECTORY"}
        is_remembered = not refresh and self._parent(name) in self.dircache
        before = self.dircache.changes
        try:
            stored: dict[str, Any] = await super()._info(path, bucket, key, refresh=refresh, version_id=version_id)
        except FileNotFoundError as error:
            if is_remembered and tables.is_sidecar(name) and not version_id:  # readers of each folder look for them
                return await self._newer_object(name)
            if is_remembered:  # an object that a cached listing lacks may be newer than the listing
                return await self._info(path, bucket, key, refresh=True, version_id=version_id)
            raise metadata.not_found(self.store, path, error) from error
        if stored["type"] == "directory" and not version_id:
            if is_file_first and (listing := await self.views.listing_for(name)) is not None:
                return await tables.info(self.store, listing, name, refresh=refresh)
            self._note_folder(name, before)
        return stored

    async def _newer_object(self, name: str) -> dict[str, Any]:
        """The entry of an object that a cached listing lacks; nobody looks for a folder of its name."""
        bucket, key, _ = self.split_path(name)
        return tables.stored_info(name, await self.store.call("head_object", Bucket=bucket, Key=key))

    def _is_known_folder(self, name: str) -> bool:
        """Whether a name was a folder a moment ago, with no known write since: readers ask several times in a row."""
        at, changes = self._folders.get(name, (0.0, -1))
        limit = self.dircache.listings_expiry_time
        return changes == self.dircache.changes and (limit is None or time.monotonic() - at < limit)

    def _note_folder(self, name: str, changes: int) -> None:
        if self.dircache.use_listings_cache and "/" in name:
            self._folders[name] = (time.monotonic(), changes)

    async def _ls(self, path: str, detail: bool = False, refresh: bool = False, versions: bool = False) -> Any:
        try:
            return await super()._ls(path, detail=detail, refresh=refresh, versions=versions)
        except FileNotFoundError as error:
            if not refresh and self._parent(self._strip_protocol(path)) in self.dircache:
                return await self._ls(path, detail=detail, refresh=True, versions=versions)
            raise metadata.not_found(self.store, path, error) from error

    async def _lsdir(
        self,
        path: str,
        refresh: bool = False,
        max_items: int | None = None,
        delimiter: str = "/",
        prefix: str = "",
        versions: bool = False,
    ) -> list[dict[str, Any]]:
        path = self._strip_protocol(path)
        listing = None if versions else await self.views.listing_for(path)
        if listing is not None:
            return listing.children(path, prefix)
        return await self._stored(
            path, refresh=refresh, max_items=max_items, delimiter=delimiter, prefix=prefix, versions=versions
        )

    async def _stored(
        self,
        path: str,
        *,
        refresh: bool = False,
        max_items: int | None = None,
        delimiter: str = "/",
        prefix: str = "",
        versions: bool = False,
    ) -> list[dict[str, Any]]:
        """What the store lists in a folder, as s3fs's `_lsdir`, which handles each entry several times."""
        is_cached = bool(delimiter) and not versions
        if is_cached and not refresh:
            with contextlib.suppress(KeyError):
                cached: list[dict[str, Any]] = self.dircache[path]
                count("cache_count", cache="listing", result="hit")
                return cached
            count("cache_count", cache="listing", result="miss")
        before = self.dircache.changes
        if versions or self.version_aware or max_items is not None:
            options = {"max_items": max_items, "delimiter": delimiter, "prefix": prefix, "versions": versions}
            stored: list[dict[str, Any]] = await super()._lsdir(path, refresh=True, **options)
        else:
            bucket, key, _ = self.split_path(path)
            start = f"{key.lstrip('/')}/{prefix}" if key else prefix
            stored = await pages.Listing(self._call_s3, bucket, start, delimiter, dict(self.req_kw)).entries()
        if self.dircache.changes != before:  # the listing may be older than writes made meanwhile
            self.dircache.pop(path)
        elif is_cached and stored and not prefix:
            self.dircache[path] = stored
        return stored

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool | None = None,
        detail: bool = False,
        prefix: str | None = "",
        **kwargs: Any,
    ) -> Any:
        path, prefix = self._strip_protocol(path), prefix or ""
        listing = await self.views.listing_for(path)
        if listing is None:
            if maxdepth:
                stored = await super()._find(
                    path, maxdepth=maxdepth, withdirs=withdirs, detail=True, prefix=prefix, **kwargs
                )
                entries: Iterable[dict[str, Any]] = stored.values()
            else:
                entries = await self._all_below(path, prefix, withdirs=bool(withdirs), **kwargs)
            matches = folders_marked(entries, withdirs=bool(withdirs))
        else:
            matches = listing.find(path, maxdepth=maxdepth, withdirs=bool(withdirs), prefix=prefix)
        self.ahead.listed(path, matches, is_committed=listing is not None)
        return {entry["name"]: entry for entry in matches} if detail else [entry["name"] for entry in matches]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget the listings of a path and of the folders above it, and what was fetched ahead of it."""
        super().invalidate_cache(path)
        self.ahead.forget(None if path is None else self._strip_protocol(path))

    async def _all_below(self, path: str, prefix: str, *, withdirs: bool, **kwargs: Any) -> list[dict[str, Any]]:
        """Every object below a path: one listing, which replaces what the cache holds of it.

        s3fs's `_find` (2026.9) compares each folder with all of its siblings to fill the cache. At 10,000 partitions
        that takes longer than the listing, and ten times the partitions take a hundred times as long. It also keeps
        older listings, which lack new objects.
        """
        bucket, key, version = self.split_path(path)
        if not bucket:
            raise ValueError("Cannot traverse all of S3")
        before = self.dircache.changes
        objects: list[dict[str, Any]] = await self._stored(path, delimiter="", prefix=prefix, **kwargs)
        folders = await asyncio.to_thread(folders_of, objects, path)
        is_newest = self.dircache.changes == before
        self._forget_below(path, folders)
        if is_newest and not prefix:
            for folder, entries in folders.items():
                self.dircache[folder] = entries
        if not objects and not prefix and key:  # nothing is below: the path is an object or is missing
            which = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
            try:
                return [tables.stored_info(path, await self._call_s3("head_object", **which))]
            except FileNotFoundError:
                return []
        dirs = [folder_info(folder) for folder in folders] if withdirs else []
        return sorted([*objects, *dirs], key=lambda entry: str(entry["name"])) if dirs else objects

    def _forget_below(self, path: str, folders: Iterable[str]) -> None:
        """After a newer listing, drop the cached ones of its folders, and those above that do not show them."""
        for folder in {*folders, *self.dircache.below(path.rstrip("/"))}:
            self.dircache.pop(folder)
        child, parent = path.rstrip("/"), self._parent(path)
        while parent:
            if self.dircache.entries(parent, child):
                return
            self.dircache.pop(parent)
            child, parent = parent, self._parent(parent)

    async def _list_fresh(self, path: str, *, withdirs: bool = False) -> dict[str, dict[str, Any]]:
        """List what the store has below a path now, without cache and tables, and cache the result.

        Args:
            path: The folder.
            withdirs: Include folders.

        Returns:
            The entries by `bucket/key`.
        """
        entries = await self._all_below(self._strip_protocol(path), "", withdirs=withdirs, refresh=True)
        return {entry["name"]: entry for entry in folders_marked(entries, withdirs=withdirs)}

    def _ls_from_cache(self, path: str) -> list[dict[str, Any]] | None:
        """As fsspec's method, but without its comparison of a path with all of its siblings.

        Raises:
            FileNotFoundError: The listing of the path's folder does not have it.
        """
        name = path.rstrip("/")
        with contextlib.suppress(KeyError):
            listed: list[dict[str, Any]] = self.dircache[name]
            count("cache_count", cache="listing", result="hit")
            return listed
        beside = self.dircache.entries(self._parent(path), name)
        count("cache_count", cache="listing", result="miss" if beside is None else "hit")
        if beside is None:
            return None
        matches = [entry for entry in beside if entry["name"] == path or entry["type"] == "directory"]
        if not matches:
            raise FileNotFoundError(path)
        return matches

    async def _stored_below(self, path: str) -> list[dict[str, Any]]:
        """Every object in the store whose key is below a path, without cache and tables."""
        return await self._stored(self._strip_protocol(path), delimiter="")

    async def _isdir(self, path: str) -> bool:
        path = self._strip_protocol(path).rstrip("/")
        is_file_first = is_spelled_as_file(path)
        listing = await self.views.listing_for(path, leaf=not is_file_first)
        if listing is not None:
            return listing.is_folder(path)
        if "/" not in path:
            return bool(await super()._isdir(path))
        is_folder = self._is_known_folder(path) or await self._is_stored_folder(path)
        if is_folder and is_file_first and (listing := await self.views.listing_for(path)) is not None:
            return listing.is_folder(path)
        return is_folder

    async def _is_stored_folder(self, path: str) -> bool:
        inside = self.dircache.get(path)
        if inside is not None:  # a listing of an object is the object itself
            return any(entry["name"] != path for entry in inside)
        types = {entry["type"] for entry in self.dircache.entries(self._parent(path), path) or ()}
        if types:  # a key may name an object and a folder at once
            return "directory" in types
        try:
            return bool(await self._stored(path))
        except FileNotFoundError:
            return False

    async def _exists(self, path: str, **_kwargs: Any) -> bool:
        path = self._strip_protocol(path)
        if not path:
            return True
        if "/" not in path:
            return await metadata.bucket_exists(self.store, path)
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        return True

    async def _checksum(self, path: str, refresh: bool = False) -> int:
        inside = await self.views.listing_for(self._strip_protocol(path)) is not None
        value: int = await super()._checksum(path, refresh=refresh or inside)
        return value

    def modified(self, path: str, version_id: str | None = None, refresh: bool = False) -> datetime:
        """The time at which an object was written, by the server's clock."""
        info = self.info(path, version_id=version_id, refresh=refresh)
        missing = info["type"] == "file" and "LastModified" not in info
        when: datetime = super().modified(path, version_id=version_id, refresh=refresh or missing)
        return when

    # s3fs binds these to its own coroutines.
    find = sync_wrapper(_find)
    list_fresh = sync_wrapper(_list_fresh)
    checksum = sync_wrapper(_checksum)
