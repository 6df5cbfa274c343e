"""The names of the folders in a folder: whether a path is a folder, for many paths by few requests."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tierlake.connector.client.recent import Recent
from tierlake.connector.client.single_flight import SingleFlight
from tierlake.connector.errors import AccessDenied

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.connector.client.store import Store

_FOLDERS_MAX = 1000
"""The maximum number of folders whose names are cached, each for a moment."""
_PAGES_MAX = 20
"""The most pages of a folder's names that are read; of a larger one each name takes a look of its own."""


@dataclass(frozen=True)
class _Names:
    """The names of the folders in a folder, as far as a listing's pages have shown them.

    Attributes:
        at: When the first page was requested.
        names: The names.
        pages: The number of pages.
        token: Where the next page begins.
        may_go_on: Whether there is a next page to request.
        are_all: Whether no page is left.
    """

    at: float
    names: frozenset[str] = frozenset()
    pages: int = 0
    token: str | None = None
    may_go_on: bool = True
    are_all: bool = False


class FolderNames:
    """What listings have shown of the folders in folders.

    Args:
        store: The store.
        clock: Monotonic seconds.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._shown = Recent[str, _Names](_FOLDERS_MAX)
        self._looks = SingleFlight[_Names]()

    async def has(self, path: str, since: float) -> bool:
        """Whether keys lie below a path: one listing of its parent answers for all names there.

        Each call reads one more of its pages. A name that they have not shown yet takes a look of its own.

        Args:
            path: `bucket/key`.
            since: Names that were requested before this time, by the clock, are requested again.

        Raises:
            AccessDenied: Listing is denied there.
        """
        folder, _, name = path.rpartition("/")
        shown = self._shown.get(folder)
        if shown is None or shown.at <= since:
            shown = self._shown[folder] = _Names(self._clock())
        if shown.may_go_on:
            before, question = shown, (folder, shown.at, shown.pages)
            shown = await self._looks.ask(question, functools.partial(self._next_names, folder, before))
            if self._shown.get(folder) is before:  # otherwise another call noted more, or a write made it old
                self._shown[folder] = shown
        if name in shown.names or shown.are_all:
            return name in shown.names
        bucket, _, key = path.partition("/")
        page = await self._store.send("list_objects_v2", Bucket=bucket, Prefix=f"{key}/", MaxKeys=1)
        return bool(page.get("Contents"))

    async def _next_names(self, folder: str, shown: _Names) -> _Names:
        """The names of a folder's folders, with those of one more page."""
        bucket, _, prefix = folder.partition("/")
        below = f"{prefix}/" if prefix else ""
        token = {"ContinuationToken": shown.token} if shown.token else {}
        try:
            page = await self._store.send("list_objects_v2", Bucket=bucket, Prefix=below, Delimiter="/", **token)
        except AccessDenied:
            return replace(shown, may_go_on=False)
        names = (one["Prefix"][len(below) :].rstrip("/") for one in page.get("CommonPrefixes", ()))
        following = page.get("NextContinuationToken") if page.get("IsTruncated") else None
        return replace(
            shown,
            names=shown.names.union(names),
            pages=shown.pages + 1,
            token=following,
            may_go_on=following is not None and shown.pages + 1 < _PAGES_MAX,
            are_all=not page.get("IsTruncated"),
        )

    def written(self, path: str) -> None:
        """Take note of a written object, whose folder may be new in its parent."""
        folder = path.rpartition("/")[0]
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            self._shown.pop(folder, None)
