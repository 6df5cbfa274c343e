"""Answers from what is cached, in the thread that asks.

fsspec's blocking verbs hand each call to the event loop's thread and wait, for 100 us and more, even if a cached
listing answers. Readers of Parquet folders ask several times for each file. These verbs look into the caches first, and
answer as the asynchronous ones would; without an answer there they ask them.

fsspec's own part that is named in this module: `AsyncFileSystem._isfile`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync

if TYPE_CHECKING:
    from types import FrameType

    from tierlake.connector.client.listing_cache import ListingCache
    from tierlake.connector.listing.tables import Views

_OPENING = frozenset({"open_input_file", "open_input_stream"})
_OBSERVE = "tierlake.connector.observe."
"""The modules whose frames stand around a verb."""


def is_spelled_as_file(name: str) -> bool:
    """Whether to look for an object of that name first, and for a table only if the name is a folder's.

    Both orders find a table. Most names with an ending are names of files, as most names are that lie in a partition's
    folder, and hardly any table's root is.
    """
    last = name.rpartition("/")[2]
    return "/" in name and ("." in last or last.startswith("_") or "=" in name)


def _is_opened_next() -> bool:
    """Whether Arrow asks if a path is a file; if so it opens the path at once, which tells the same."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 -- `inspect.stack()` reads source files
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_OBSERVE):
        frame = frame.f_back
    if frame is None:
        return False
    return frame.f_code.co_name in _OPENING and frame.f_globals.get("__name__") == "pyarrow.fs"


class KnownAnswers:
    """Blocking verbs that look into the caches first, as methods of a filesystem."""

    views: Views
    dircache: ListingCache
    version_aware: bool
    loop: Any

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """The entry of a path."""
        known = self._known_entry(path) if not kwargs else None
        entry: dict[str, Any] = sync(self.loop, self._info, path, **kwargs) if known is None else known  # type: ignore[attr-defined]
        return entry

    def isfile(self, path: str) -> bool:
        """Whether a path is an object. Arrow, which opens it next, gets its answer from that."""
        known = self._known_entry(path)
        if known is not None:
            return bool(known["type"] == "file")
        if _is_opened_next() and "/" in self._strip_protocol(path) and not path.endswith("/"):  # type: ignore[attr-defined]
            return True
        return bool(sync(self.loop, self._isfile, path))  # type: ignore[attr-defined]

    def isdir(self, path: str) -> bool:
        """Whether a path is a folder."""
        known = self._known_entry(path)
        if known is not None and known["type"] == "directory":
            return True
        return bool(sync(self.loop, self._isdir, path))  # type: ignore[attr-defined]

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is an object or a folder at a path."""
        if not kwargs and self._known_entry(path) is not None:
            return True
        return bool(sync(self.loop, self._exists, path, **kwargs))  # type: ignore[attr-defined]

    def _known_entry(self, path: str) -> dict[str, Any] | None:
        """The entry that `_info` would return without a request; None if it would make one."""
        name: str = self._strip_protocol(path)  # type: ignore[attr-defined]
        if "/" not in name or self.version_aware or "?versionId=" in name:
            return None
        is_file_first = is_spelled_as_file(name)
        try:
            listing = self.views.known_listing(name, leaf=not is_file_first)
        except LookupError:
            return None
        if listing is not None:
            return listing.info(name)
        if self._is_known_folder(name):  # type: ignore[attr-defined]
            return {"name": name, "type": "directory", "size": 0, "StorageClass": "DIRECTORY"}
        if name in self.dircache:
            return None
        beside = self.dircache.entries(name.rpartition("/")[0], name)
        if beside and beside[0]["type"] == "file":
            return beside[0]
        return None
