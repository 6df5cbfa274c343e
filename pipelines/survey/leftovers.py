"""What is paid for and in no listing of objects: incomplete uploads, old versions, delete markers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tierlake.pipelines.costs.amounts import BILLED_LEAST, Amount
from tierlake.pipelines.survey.ages import age_step
from tierlake.pipelines.survey.totals import merge_cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.objects.multipart import IncompleteUpload
    from tierlake.pipelines.survey.totals import Cells

__all__ = ["SIZED_UPLOADS_MAX", "OldVersions", "Uploads"]

SIZED_UPLOADS_MAX: Final = 100
"""How many incomplete uploads are measured: each takes a request of its own."""

_WEEK: Final = timedelta(days=7)


@dataclass(slots=True)
class OldVersions:
    """Versions that another one, or a delete marker, is above: by class and by the time since then.

    A store lists the versions of a key one after the other, the newest first, and versions and markers apart in each
    page. What is kept is the last key alone.
    """

    now: datetime
    steps: tuple[int, ...] = (BILLED_LEAST,)
    cells: Cells = field(default_factory=dict)
    markers: int = 0
    entries: int = 0
    _key: str = ""
    _above: datetime | None = None

    def add_page(self, page: Mapping[str, Any]) -> list[tuple[str, int]]:
        """Take note of a page.

        Returns:
            Key and bytes of each old version in it.
        """
        listed = [(item, False) for item in page.get("Versions", ())]
        listed += [(item, True) for item in page.get("DeleteMarkers", ())]
        listed.sort(key=_newest_first)
        old: list[tuple[str, int]] = []
        for item, is_marker in listed:
            key, modified = str(item["Key"]), item["LastModified"]
            self.entries += 1
            self.markers += is_marker
            is_first = key != self._key
            if not is_marker and not item.get("IsLatest"):
                since = modified if is_first or self._above is None else self._above
                place = item.get("StorageClass") or "STANDARD", age_step(self.now - since)
                self.cells.setdefault(place, Amount(self.steps)).add(int(item["Size"]))
                old.append((key, int(item["Size"])))
            self._key, self._above = key, modified
        return old

    def total(self) -> Amount:
        """All of them."""
        total = Amount(self.steps)
        for amount in self.cells.values():
            total.merge(amount)
        return total

    def older(self, step: int) -> Cells:
        """Those of a step of age and above."""
        cells: Cells = {}
        merge_cells(cells, {place: amount for place, amount in self.cells.items() if place[1] >= step})
        return cells


def _newest_first(entry: tuple[Mapping[str, Any], bool]) -> tuple[str, bool, float]:
    item, _ = entry
    return item["Key"], not item.get("IsLatest"), -item["LastModified"].timestamp()


@dataclass(slots=True)
class Uploads:
    """Incomplete uploads.

    Attributes:
        count: All of them.
        old: Those that began a week ago or earlier.
        measured: Those whose parts were counted.
        bytes: Of the parts of these.
        old_bytes: Likewise, of the old ones among them.
        first: When the earliest began.
        problem: Why parts could not be counted, in words.
    """

    now: datetime
    count: int = 0
    old: int = 0
    measured: int = 0
    bytes: int = 0
    old_bytes: int = 0
    first: datetime | None = None
    problem: str | None = None

    def add_page(self, fs: LakeFileSystem, page: Iterable[IncompleteUpload]) -> None:
        """Take note of a page, and measure its uploads while there are few."""
        uploads = list(page)
        for upload in uploads:
            self.count += 1
            self.old += self._is_old(upload)
            self.first = min(self.first or upload.initiated, upload.initiated)
        some = [] if self.problem else uploads[: max(SIZED_UPLOADS_MAX - self.measured, 0)]
        for upload, size in zip(some, fs.stored_parts_bytes(some), strict=True):
            if isinstance(size, FileNotFoundError):
                continue  # completed or aborted meanwhile
            if isinstance(size, Exception):
                self.problem = str(size)
                continue
            self.measured += 1
            self.bytes += size
            self.old_bytes += size if self._is_old(upload) else 0

    def _is_old(self, upload: IncompleteUpload) -> bool:
        return self.now - upload.initiated >= _WEEK
