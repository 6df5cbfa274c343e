"""Listing caches that are never stale for long, and never after a write of this process.

s3fs keeps a listing until the same instance writes there, and fsspec keeps instances. So writes of other processes and
instances would stay unseen, and an old size or ETag breaks the next read.
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from fsspec.dircache import DirCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HANDOVER_SECONDS = 0.05
"""s3fs checks for a listing and then takes it: it must not expire in between."""
_caches: weakref.WeakValueDictionary[int, ListingCache] = weakref.WeakValueDictionary()
"""Keyed by identity: mappings with equal entries are equal."""
FOLDERS_MAX = 100_000
"""The maximum number of folders whose listings are kept, if listings do not expire."""


class ListingCache(DirCache):  # type: ignore[misc]  # fsspec ships no types
    """fsspec's cache, safe for many threads, whose entries do not vanish between a check and the access.

    Attributes:
        changes: The number of invalidations; a listing requested before one may lack later writes.
        endpoint: The endpoint of the listings; None is AWS.
        forgotten: Called with each path that is forgotten, and with None for all of them.
    """

    changes = 0
    endpoint: str | None = None
    forgotten: Callable[[str | None], None] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inside: dict[str, set[str]] = {}
        self._named: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self._lock = threading.RLock()

    def __contains__(self, item: object) -> bool:
        return item in self._cache and self._age(item) <= self._limit()

    def __getitem__(self, item: str) -> Any:
        if self._age(item) > self._limit() + _HANDOVER_SECONDS:
            self._take(item)
        return self._cache[item]

    def pop(self, key: str, default: Any = None) -> Any:
        """Remove an entry; fsspec's method checks first, and fails if another thread removes the entry in between."""
        self.changes += 1
        return self._take(key, default)

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not self.use_listings_cache:
            return
        with self._lock:
            super().__setitem__(key, value)
            self._named.pop(key, None)
            self._times.pop(key, None)  # keeps the oldest first
            self._times[key] = time.time()
            child, folder = key, key.rpartition("/")[0]
            while folder and child not in self._inside.setdefault(folder, set()):
                self._inside[folder].add(child)
                child, folder = folder, folder.rpartition("/")[0]
            for oldest in list(itertools.islice(self._times, 2)):  # two for each new one, so no step takes long
                if len(self._times) > FOLDERS_MAX or self._age(oldest) > self._limit() + _HANDOVER_SECONDS:
                    self._take(oldest)

    def clear(self) -> None:
        """Forget all listings."""
        self.changes += 1
        if self.forgotten is not None:
            self.forgotten(None)
        with self._lock:
            super().clear()
            self._times.clear()
            self._inside.clear()
            self._named.clear()

    def entries(self, folder: str, name: str) -> list[dict[str, Any]] | None:
        """A path's entries in a folder's listing, without a look at the others; None if no listing is cached."""
        with self._lock:
            try:
                listing = self[folder]
            except KeyError:
                return None
            if folder not in self._named:
                named = self._named[folder] = {}
                for entry in listing:
                    named.setdefault(entry["name"], []).append(entry)
            return self._named[folder].get(name, [])

    def below(self, path: str) -> list[str]:
        """The folders at a path and below it whose listings are cached, without a look at any other."""
        with self._lock:
            listed, waiting = [], [path]
            while waiting:
                folder = waiting.pop()
                listed += [folder] if folder in self._cache else []
                waiting += self._inside.get(folder, ())
            return listed

    def _take(self, key: str, default: Any = None) -> Any:
        with self._lock:
            self._times.pop(key, None)
            self._named.pop(key, None)
            value = self._cache.pop(key, default)
            while key and key not in self._cache and not self._inside.get(key):
                folder = key.rpartition("/")[0]
                self._inside.get(folder, set()).discard(key)
                if folder in self._inside and not self._inside[folder]:
                    del self._inside[folder]
                key = folder
            return value

    def forget(self, path: str) -> None:
        """Remove the listings of a path and of all folders above it.

        Args:
            path: `bucket/key` without protocol.
        """
        if self.forgotten is not None:
            self.forgotten(path)
        self.changes += 1
        while path and len(self):
            self.pop(path)
            path = path.rpartition("/")[0]

    def _age(self, item: object) -> float:
        return time.time() - float(self._times.get(item, 0.0))

    def _limit(self) -> float:
        return float("inf") if self.listings_expiry_time is None else float(self.listings_expiry_time)


def share_writes(cache: ListingCache, endpoint: str | None) -> None:
    """Make this cache forget what any filesystem of this process writes to its endpoint."""
    cache.endpoint = endpoint
    _caches[id(cache)] = cache


def forget_everywhere(endpoint: str | None, paths: Iterable[str]) -> None:
    """Forget written or deleted objects in every filesystem of the endpoint.

    Args:
        endpoint: The endpoint; None is AWS.
        paths: `bucket/key` of each.
    """
    changed = list(paths)
    for reference in _caches.valuerefs():  # a copy: other threads make filesystems, and drop them
        cache = reference()
        if cache is not None and cache.endpoint == endpoint:
            cache.changes += 1
            for path in changed:
                cache.forget(path)
