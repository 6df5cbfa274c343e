"""Listings inside a table come from what is committed; everywhere else they are s3fs's.

s3fs's own parts that are named in this module: `S3FileSystem._lsdir` and its parameter `delimiter`, and the methods
of fsspec's that s3fs overrides and that are overridden here.
"""

# ruff: noqa: FBT001, FBT002 -- the signatures are fsspec's and s3fs's
from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from tierlake.connector.listing import tables
from tierlake.connector.listing.committed import folder_info
from tierlake.connector.objects import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tierlake.connector.client.listing_cache import ListingCache
    from tierlake.connector.client.store import Store


def folders_marked(entries: Iterable[dict[str, Any]], *, withdirs: bool) -> list[dict[str, Any]]:
    """Empty objects that stand for a folder (`date=2013-01-01/`), as folders.

    pyarrow's own S3 writer leaves them, and its readers fail on them where they are listed as files.

    Args:
        entries: What s3fs found.
        withdirs: With folders; without, these are none of the answer.
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
    """The listing of each folder from all objects below a root, as a listing of that folder has it.

    A key may name an object and a folder at once: then there are two entries. That of a bucket is left to `ls`.

    Args:
        entries: The objects; each gets its `Key`, as in a listing of its own folder.
        root: `bucket/prefix` without a slash at its end.
    """
    folders: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for entry in entries:
        entry["Key"] = entry["name"]
        child, folder = entry, entry["name"].rpartition("/")[0]
        while "/" in folder:
            is_known = folder in folders
            folders.setdefault(folder, {})[child["name"], "" if child is entry else "/"] = child
            if is_known or len(folder) <= len(root):
                break
            child, folder = folder_info(folder), folder.rpartition("/")[0]
    return {folder: [below[which] for which in sorted(below)] for folder, below in folders.items()}


_FOLDERS_MAX = 1000


def _is_spelled_as_file(name: str) -> bool:
    """Whether to look for an object of that name first, and for a table only where a folder is there.

    Either order finds a table. Most names with an ending are files', and hardly any table's root has one.
    """
    last = name.rpartition("/")[2]
    return "/" in name and ("." in last or last.startswith("_"))


class TableListings(S3FileSystem):  # type: ignore[misc]  # s3fs ships no types
    """The methods of a filesystem that say what is there."""

    views: tables.Views
    store: Store
    dircache: ListingCache
    _folders: dict[str, tuple[float, int]]

    async def _info(
        self,
        path: str,
        bucket: str | None = None,
        key: str | None = None,
        refresh: bool = False,
        version_id: str | None = None,
    ) -> dict[str, Any]:
        name = self._strip_protocol(path)
        is_file_first = _is_spelled_as_file(name)
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
            if is_remembered:  # what a listing lacks may have been written since, by anybody
                return await self._info(path, bucket, key, refresh=True, version_id=version_id)
            raise metadata.not_found(self.store, path, error) from error
        if stored["type"] == "directory" and not version_id:
            if is_file_first and (listing := await self.views.listing_for(name)) is not None:
                return await tables.info(self.store, listing, name, refresh=refresh)
            self._note_folder(name, before)
        return stored

    def _is_known_folder(self, name: str) -> bool:
        """Whether it was a folder a moment ago and no write is known since: readers ask several times in a row."""
        at, changes = self._folders.get(name, (0.0, -1))
        limit = self.dircache.listings_expiry_time
        return changes == self.dircache.changes and (limit is None or time.monotonic() - at < limit)

    def _note_folder(self, name: str, changes: int) -> None:
        if len(self._folders) >= _FOLDERS_MAX:
            self._folders.clear()
        if self.dircache.use_listings_cache and "/" in name:
            self._folders[name] = (time.monotonic(), changes)

    async def _ls(self, path: str, detail: bool = False, refresh: bool = False, versions: bool = False) -> Any:
        try:
            return await super()._ls(path, detail=detail, refresh=refresh, versions=versions)
        except FileNotFoundError as error:
            if not refresh and self._parent(self._strip_protocol(path)) in self.dircache:
                return await self._ls(path, detail=detail, refresh=True, versions=versions)
            raise metadata.not_found(self.store, path, error) from error

    async def _lsdir(self, path: str, *args: Any, prefix: str = "", **kwargs: Any) -> list[dict[str, Any]]:
        path = self._strip_protocol(path)
        versions = kwargs.get("versions", False)
        listing = None if versions else await self.views.listing_for(path)
        if listing is not None:
            return listing.children(path, prefix)
        before = self.dircache.changes
        try:
            stored: list[dict[str, Any]] = await super()._lsdir(path, *args, prefix=prefix, **kwargs)
        except KeyError:  # another thread has written, after s3fs saw that it is remembered
            stored = await super()._lsdir(path, *args, prefix=prefix, **{**kwargs, "refresh": True})
        if self.dircache.changes != before:  # it may be older than what was written meanwhile
            self.dircache.pop(path)
        return stored

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool | None = None,
        detail: bool = False,
        prefix: str = "",
        **kwargs: Any,
    ) -> Any:
        path = self._strip_protocol(path)
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
        return {entry["name"]: entry for entry in matches} if detail else [entry["name"] for entry in matches]

    async def _all_below(self, path: str, prefix: str, *, withdirs: bool, **kwargs: Any) -> list[dict[str, Any]]:
        """Every object below a path: one listing, which takes the place of what the cache holds of it.

        s3fs's `_find` (2026.9) compares each folder with all of its siblings to fill the cache: at 10,000 partitions
        that takes longer than the listing, at ten times as many a hundred times that. And it keeps older listings,
        in which what it found is missing.
        """
        bucket, key, version = self.split_path(path)
        if not bucket:
            raise ValueError("Cannot traverse all of S3")
        before = self.dircache.changes
        objects: list[dict[str, Any]] = await super()._lsdir(path, delimiter="", prefix=prefix, **kwargs)
        folders = await asyncio.to_thread(folders_of, objects, path)
        is_newest = self.dircache.changes == before
        self._forget_below(path, folders)
        if is_newest and not prefix:
            for folder, entries in folders.items():
                self.dircache[folder] = entries
        if not objects and not prefix and key:  # nothing is below: it is an object, or not there
            which = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
            try:
                return [tables.stored_info(path, await self._call_s3("head_object", **which))]
            except FileNotFoundError:
                return []
        dirs = [folder_info(folder) for folder in folders] if withdirs else []
        return sorted([*objects, *dirs], key=lambda entry: str(entry["name"])) if dirs else objects

    def _forget_below(self, path: str, folders: Iterable[str]) -> None:
        """A newer listing is there: older ones of the same folders go, and those above that do not show it."""
        for folder in {*folders, *self.dircache.below(path.rstrip("/"))}:
            self.dircache.pop(folder)
        child, parent = path.rstrip("/"), self._parent(path)
        while parent:
            if self.dircache.entries(parent, child):
                return
            self.dircache.pop(parent)
            child, parent = parent, self._parent(parent)

    async def _list_fresh(self, path: str, *, withdirs: bool = False) -> dict[str, dict[str, Any]]:
        """Everything that the store has below a path now, whatever a cache or a table says; later calls may use it.

        Args:
            path: The folder.
            withdirs: With folders.

        Returns:
            What is known of each object, by `bucket/key`.
        """
        entries = await self._all_below(self._strip_protocol(path), "", withdirs=withdirs, refresh=True)
        return {entry["name"]: entry for entry in folders_marked(entries, withdirs=withdirs)}

    def _ls_from_cache(self, path: str) -> list[dict[str, Any]] | None:
        """As fsspec's, which compares a path with all of its siblings.

        Raises:
            FileNotFoundError: Its folder was listed, and does not have it.
        """
        name = path.rstrip("/")
        with contextlib.suppress(KeyError):
            listed: list[dict[str, Any]] = self.dircache[name]
            return listed
        beside = self.dircache.entries(self._parent(path), name)
        if beside is None:
            return None
        matches = [entry for entry in beside if entry["name"] == path or entry["type"] == "directory"]
        if not matches:
            raise FileNotFoundError(path)
        return matches

    async def _stored_below(self, path: str) -> list[dict[str, Any]]:
        """Every object in the store whose key is below a path, whatever a table says; no cache is asked."""
        stored: list[dict[str, Any]] = await super()._lsdir(self._strip_protocol(path), delimiter="")
        return stored

    async def _isdir(self, path: str) -> bool:
        path = self._strip_protocol(path).rstrip("/")
        is_file_first = _is_spelled_as_file(path)
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
        if inside is not None:  # an object is in its own listing
            return any(entry["name"] != path for entry in inside)
        types = {entry["type"] for entry in self.dircache.entries(self._parent(path), path) or ()}
        if types:  # a key may name an object and a folder at once
            return "directory" in types
        try:
            return bool(await super()._lsdir(path))
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
        """When an object was written, by the server's clock."""
        info = self.info(path, version_id=version_id, refresh=refresh)
        missing = info["type"] == "file" and "LastModified" not in info
        when: datetime = super().modified(path, version_id=version_id, refresh=refresh or missing)
        return when

    # s3fs binds these to its own coroutines.
    find = sync_wrapper(_find)
    list_fresh = sync_wrapper(_list_fresh)
    exists = sync_wrapper(_exists)
    isdir = sync_wrapper(_isdir)
    checksum = sync_wrapper(_checksum)
