"""Listing caches that are never stale for long, and never after a write of this process.

s3fs keeps a listing until the same instance writes there, and fsspec keeps instances: what another process or
another instance wrote would stay unseen, and an old size or ETag breaks the next read.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

from fsspec.dircache import DirCache

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierlake.connector.filesystem import LakeFileSystem

_HANDOVER_SECONDS = 0.05
"""s3fs asks whether a listing is there and then takes it: in between it must not expire."""
_filesystems: weakref.WeakValueDictionary[int, LakeFileSystem] = weakref.WeakValueDictionary()
"""By identity: fsspec's filesystems are equal when their arguments are."""


class ListingCache(DirCache):  # type: ignore[misc]  # fsspec ships no types
    """fsspec's cache, whose entries do not vanish between a question and its answer, for many threads at once.

    Attributes:
        changes: Counts what was forgotten: a listing that was asked for before may lack what was written since.
    """

    changes = 0

    def __contains__(self, item: object) -> bool:
        return item in self._cache and self._age(item) <= self._limit()

    def __getitem__(self, item: str) -> Any:
        if self._age(item) > self._limit() + _HANDOVER_SECONDS:
            self._cache.pop(item, None)
        return self._cache[item]

    def pop(self, key: str, default: Any = None) -> Any:
        """Take an entry out; fsspec's looks first, and fails where another thread has taken it out meanwhile."""
        self.changes += 1
        self._times.pop(key, None)
        return self._cache.pop(key, default)

    def clear(self) -> None:
        """Forget everything."""
        self.changes += 1
        super().clear()

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._times[key] = time.time()

    def _age(self, item: object) -> float:
        return time.time() - float(self._times.get(item, 0.0))

    def _limit(self) -> float:
        return float("inf") if self.listings_expiry_time is None else float(self.listings_expiry_time)


def share_writes(fs: LakeFileSystem) -> None:
    """From now on this filesystem forgets what any other of this process writes."""
    _filesystems[id(fs)] = fs


def forget_everywhere(endpoint: str | None, paths: Iterable[str]) -> None:
    """Objects were written or deleted: no filesystem on that endpoint may answer from an older listing.

    Args:
        endpoint: The endpoint; None is AWS.
        paths: ``bucket/key`` of each.
    """
    changed = list(paths)
    for reference in _filesystems.valuerefs():  # a copy: other threads make filesystems, and drop them
        fs = reference()
        if fs is not None and fs.endpoint == endpoint:
            fs.dircache.changes += 1
            for path in changed if len(fs.dircache) else ():
                fs.invalidate_cache(path)
