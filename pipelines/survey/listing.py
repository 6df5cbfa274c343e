"""The objects of a place, summed up as they are listed; long listings in several parts at once.

As in `connector.listing.pages`, a part begins behind a folder's own key. Where the server sorts otherwise than S3, or a
part does not begin in its folder, the pages are read one after another.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.survey.folders import FolderTree
from tierlake.pipelines.survey.names import NO_DATA, hive_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.survey.folders import Folder
    from tierlake.pipelines.survey.looks import Budget, Place

__all__ = ["Gap", "Listed", "listed"]

PARTS_MAX: Final = 8
"""The largest number of parts; each costs a request more."""
_SERIAL_PAGES: Final = 2
_LEVELS_MAX: Final = 3
_LISTING_SHARE: Final = 0.7
"""How much of the time the listing of objects may take where versions are to be listed too."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Keys that were not listed.

    Attributes:
        after: They come after this one, below the surveyed prefix.
        end: They go up to this one; None is the end of the listing.
        is_last: The listing was read from its beginning up to here, in whatever order the server has.
    """

    after: str
    end: str | None
    is_last: bool

    def touches(self, path: str) -> bool:
        """Whether some of a folder's keys may be among them.

        Args:
            path: The folder with its slash, one that was seen.
        """
        behind = not self.is_last and path > self.after and (self.end is None or path <= self.end)
        return self.after.startswith(path) or behind


@dataclass(frozen=True, slots=True)
class Listed:
    """The folders of a place.

    Attributes:
        root: All of them.
        objects: How many were listed.
        gaps: What was not listed.
    """

    root: Folder
    objects: int
    gaps: tuple[Gap, ...]

    def is_whole(self, path: str) -> bool:
        """Whether all objects below a folder, given with its slash, were listed."""
        return not any(gap.touches(path) for gap in self.gaps)


@dataclass(slots=True)
class _Part:
    """A range of the keys, with the folders that it has shown so far."""

    fs: LakeFileSystem
    place: Place
    tree: FolderTree
    start: str = ""
    end: str | None = None
    pages: int = 0
    is_over: bool = False
    last: str = ""
    _pages: Iterator[list[dict[str, Any]]] | None = None
    _next: list[dict[str, Any]] | None = None

    def look(self) -> None:
        """Fetch the next page, without counting it."""
        if self._pages is None:
            self._pages = self.fs.object_pages(self.place.path, start_after=self.start)
        self._next = next(self._pages, None)
        self.is_over = self._next is None

    def begins_right(self) -> bool:
        """Whether its first key is one in the folder that it begins with."""
        first = str(self._next[0]["Key"]) if self._next else ""
        return first.startswith(self.start) and first != self.start

    def read_page(self, most: int | None = None) -> None:
        """Count a page, and fetch the next one; with `most`, of so many objects at the most."""
        page = self._next or []
        self.pages += 1
        self.last = str(page[-1]["Key"]) if page else self.last
        end = self.end
        if end is not None and self.last > end:
            page = [entry for entry in page if entry["Key"] <= end]
            self.tree.add_page(page, self.place.prefix)
            self.is_over = True
            return
        self.tree.add_page(page if most is None else page[:most], self.place.prefix)
        if most is not None and most < len(page):
            return
        self.look()

    def gap(self, *, is_last: bool) -> Gap | None:
        """What it left out."""
        if self.is_over:
            return None
        skipped = len(self.place.prefix)
        after = (self.tree.last_key or self.start)[skipped:]
        return Gap(after, None if self.end is None else self.end[skipped:], is_last)


@dataclass(slots=True)
class _Listing:
    fs: LakeFileSystem
    place: Place
    budget: Budget
    share: float
    progress: Callable[[int], None]
    parts: list[_Part] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, part: _Part, pages: int | None = None) -> None:
        """Read a part to its end, or until the budget is spent, or some of its pages."""
        part.look()
        self.go_on(part, pages)

    def go_on(self, part: _Part, pages: int | None = None) -> None:
        most = self.budget.objects
        while not part.is_over and not (self.budget.is_over(self.share) and part.pages):
            room = None if most is None else most - part.tree.count
            if (pages is not None and part.pages >= pages) or room == 0:
                return
            part.read_page(room)
            with self._lock:
                self.progress(sum(one.tree.count for one in self.parts))


def listed(
    fs: LakeFileSystem,
    place: Place,
    budget: Budget,
    *,
    now: datetime,
    steps: tuple[int, ...],
    has_versions: bool,
    progress: Callable[[int], None],
) -> Listed:
    """List the objects of a place.

    Args:
        fs: The connector.
        place: What to list.
        budget: Ends the listing.
        now: Ages are counted up to this.
        steps: The minimum sizes that amounts tell apart.
        has_versions: Whether a listing of versions follows, which needs its time.
        progress: Gets the number of objects after each page.
    """
    first = _Part(fs, place, FolderTree(now, steps))
    listing = _Listing(fs, place, budget, _LISTING_SHARE if has_versions else 1.0, progress, [first])
    listing.read(first, None if budget.objects is not None else _SERIAL_PAGES)
    is_spent = budget.objects is not None or budget.is_over(listing.share)
    bounds = [] if first.is_over or is_spent else _bounds(fs, place, first.last)
    parts = [_Part(fs, place, FolderTree(now, steps), start, end) for start, end in pairwise([*bounds, None]) if start]
    if parts:
        in_threads(_Part.look, parts, at_once=PARTS_MAX, name="survey")
    shared: frozenset[tuple[str, ...]] = frozenset()
    if parts and all(part.begins_right() for part in parts):
        first.end = bounds[0]
        listing.parts += parts
        shared = _folders_above(place, bounds)
        for part in listing.parts:
            part.tree.shared = shared
        in_threads(listing.go_on, listing.parts, at_once=PARTS_MAX, name="survey")
    else:
        listing.go_on(first)
    root = first.tree.close()
    for part in listing.parts[1:]:
        root.merge(part.tree.close())
    _count_shared(root, shared)
    is_serial = len(listing.parts) == 1
    gaps = tuple(gap for part in listing.parts if (gap := part.gap(is_last=is_serial)) is not None)
    return Listed(root, sum(part.tree.count for part in listing.parts), gaps)


def _bounds(fs: LakeFileSystem, place: Place, last: str) -> list[str]:
    """Folders behind a key, in which parts may begin."""
    names: list[str] = []
    prefix = place.prefix
    for _ in range(_LEVELS_MAX):
        page = fs.call_s3("list_objects_v2", Bucket=place.bucket, Prefix=prefix, Delimiter="/")
        folders = [str(one["Prefix"]) for one in page.get("CommonPrefixes", ())]
        beside = [*folders, *(str(one["Key"]) for one in page.get("Contents", ()))]
        if sorted(beside) != sorted(beside, key=lambda name: (name.removesuffix("/"), name)):
            return []
        names = [*(one for one in folders if one > last), *names]
        within = next((one for one in folders if last.startswith(one)), None)
        if len(names) >= PARTS_MAX or within is None:
            break
        prefix = within
    step = -(-len(names) // (PARTS_MAX - 1)) or 1
    return names[step - 1 :: step] if len(names) > 1 else []


def _folders_above(place: Place, bounds: list[str]) -> frozenset[tuple[str, ...]]:
    """The folders of the bounds and those around them, of which more than one part may show objects.

    A bound's own key, which stands for its folder, belongs to the part before it.
    """
    paths = [bound[len(place.prefix) :].split("/")[:-1] for bound in bounds]
    return frozenset(tuple(path[:depth]) for path in paths for depth in range(1, len(path) + 1))


def _count_shared(root: Folder, shared: frozenset[tuple[str, ...]]) -> None:
    """Count the partitions among them, each once."""
    for path in shared:
        folder: Folder | None = root
        for segment in path:
            folder = folder.folders.get(segment) if folder else None
        if folder and hive_pair(path[-1]) and any(kind not in NO_DATA for kind in folder.own.formats):
            folder.own.partitions += 1
