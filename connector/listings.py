"""Listings inside a table come from what is committed; everywhere else they are s3fs's."""

# ruff: noqa: FBT001, FBT002 -- the signatures are fsspec's and s3fs's
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from connector import live, objects

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from connector.seam import Seam


def folders_marked(entries: Iterable[dict[str, Any]], *, withdirs: bool) -> list[dict[str, Any]]:
    """Empty objects that stand for a folder (``date=2013-01-01/``), as folders.

    pyarrow's own S3 writer leaves them, and its readers fail on them where they are listed as files.

    Args:
        entries: What s3fs found.
        withdirs: With folders; without, these are none of the answer.
    """
    found = []
    for entry in entries:
        if entry["type"] == "file" and entry["name"].endswith("/") and not entry["size"]:
            if withdirs:
                found.append({**entry, "type": "directory"})
        else:
            found.append(entry)
    return found


def folders_of(entries: Iterable[dict[str, Any]], root: str) -> dict[str, list[dict[str, Any]]]:
    """The listing of each folder from all objects below a root, sorted by name; that of a bucket is left to `ls`.

    Args:
        entries: The objects; each gets its `Key`, as in a listing of its own folder.
        root: ``bucket/prefix`` without a slash at its end.
    """
    folders: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in entries:
        entry["Key"] = name = entry["name"]
        child = None if name.endswith("/") else entry  # an object that stands for a folder is not in it
        folder = name.rpartition("/")[0]
        while "/" in folder:
            is_known = folder in folders
            below = folders.setdefault(folder, {})
            if child is not None:
                below[child["name"]] = child
            if is_known or len(folder) <= len(root):
                break
            child, folder = live.folder_info(folder), folder.rpartition("/")[0]
    return {folder: [below[name] for name in sorted(below)] for folder, below in folders.items()}


class TableListings(S3FileSystem):  # type: ignore[misc]  # s3fs ships no types
    """The methods of a filesystem that say what is there."""

    views: live.Views
    seam: Seam

    async def _info(
        self,
        path: str,
        bucket: str | None = None,
        key: str | None = None,
        refresh: bool = False,
        version_id: str | None = None,
    ) -> dict[str, Any]:
        listing = None if version_id else await self.views.listing_for(self._strip_protocol(path))
        if listing is not None:
            return await live.info(self, listing, self._strip_protocol(path), refresh=refresh)
        try:
            stored: dict[str, Any] = await super()._info(path, bucket, key, refresh=refresh, version_id=version_id)
        except FileNotFoundError as error:
            raise objects.not_found(self, path, error) from error
        return stored

    async def _lsdir(self, path: str, *args: Any, prefix: str = "", **kwargs: Any) -> list[dict[str, Any]]:
        path = self._strip_protocol(path)
        versions = kwargs.get("versions", False)
        listing = None if versions else await self.views.listing_for(path)
        if listing is None:
            stored: list[dict[str, Any]] = await super()._lsdir(path, *args, prefix=prefix, **kwargs)
            return stored
        return listing.children(path, prefix)

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
            if maxdepth or withdirs:
                stored = await super()._find(
                    path, maxdepth=maxdepth, withdirs=withdirs, detail=True, prefix=prefix, **kwargs
                )
                entries: Iterable[dict[str, Any]] = stored.values()
            else:
                entries = await self._all_below(path, prefix, **kwargs)
            found = folders_marked(entries, withdirs=bool(withdirs))
        else:
            found = listing.find(path, maxdepth=maxdepth, withdirs=bool(withdirs), prefix=prefix)
        return {entry["name"]: entry for entry in found} if detail else [entry["name"] for entry in found]

    async def _all_below(self, path: str, prefix: str, **kwargs: Any) -> list[dict[str, Any]]:
        """Every object below a path: one listing, which fills the cache of listings as s3fs does.

        s3fs's `_find` (2026.9) compares each folder with all of its siblings to fill it: at 10,000 partitions that
        takes longer than the listing, at ten times as many a hundred times that.
        """
        bucket, key, _ = self.split_path(path)
        if not bucket:
            raise ValueError("Cannot traverse all of S3")
        found: list[dict[str, Any]] = await super()._lsdir(path, delimiter="", prefix=prefix, **kwargs)
        if found and not prefix:
            for folder, entries in folders_of(found, path).items():
                if folder not in self.dircache:
                    self.dircache[folder] = entries
        if found or prefix or not key:
            return found
        try:
            return [await self._info(path)]
        except FileNotFoundError:
            return []

    async def stored_below(self, path: str) -> list[dict[str, Any]]:
        """Every object in the store whose key is below a path, whatever a table says; no cache is asked."""
        stored: list[dict[str, Any]] = await super()._lsdir(self._strip_protocol(path), delimiter="")
        return stored

    async def _isdir(self, path: str) -> bool:
        path = self._strip_protocol(path)
        listing = await self.views.listing_for(path)
        if listing is None:
            return bool(await super()._isdir(path))
        return listing.is_folder(path)

    async def _exists(self, path: str, **_kwargs: Any) -> bool:
        path = self._strip_protocol(path)
        if path and "/" not in path:
            return await objects.bucket_exists(self, path)
        if await self.views.listing_for(path) is None:
            return bool(await super()._exists(path))
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
    exists = sync_wrapper(_exists)
    isdir = sync_wrapper(_isdir)
    checksum = sync_wrapper(_checksum)
