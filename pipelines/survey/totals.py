"""Sums over objects that can be added: sizes by class and age, formats, Hive columns. They keep no object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tierlake.pipelines.costs.amounts import Amount
from tierlake.pipelines.metastore.inference import WindowEvidence

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Cells", "Totals", "merge_cells"]

Cells: TypeAlias = dict[tuple[str, int], Amount]
"""Objects by storage class and step of age."""


@dataclass(slots=True)
class Totals:
    """All objects of a folder, or of a dataset.

    Attributes:
        by_change: By class and age since the last change.
        by_window: For each Hive column whose value names a window, by class and age since its end.
        formats: Objects, their bytes, and how many of them are below 128 KB, by format.
        partitions: Hive folders with objects in them.
        chains: The Hive columns of paths, in order, of which there are a few.
        evidence: What the values of each Hive column tell.
        markers: Objects that only stand for a folder.
        first: The earliest last change.
        last: The latest.
        first_end: The earliest end of a window, by Hive column.
    """

    by_change: Cells = field(default_factory=dict)
    by_window: dict[str, Cells] = field(default_factory=dict)
    formats: dict[str, list[int]] = field(default_factory=dict)
    partitions: int = 0
    chains: dict[tuple[str, ...], int] = field(default_factory=dict)
    evidence: dict[str, WindowEvidence] = field(default_factory=dict)
    markers: int = 0
    first: datetime | None = None
    last: datetime | None = None
    first_end: dict[str, datetime] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Objects."""
        return sum(amount.count for amount in self.by_change.values())

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(amount.bytes for amount in self.by_change.values())

    def classes(self) -> dict[str, Amount]:
        """The objects by storage class."""
        classes: dict[str, Amount] = {}
        for (storage_class, _), amount in self.by_change.items():
            classes.setdefault(storage_class, Amount(amount.steps)).merge(amount)
        return classes

    def merge(self, other: Totals) -> None:
        """Add all of another folder."""
        merge_cells(self.by_change, other.by_change)
        for column, cells in other.by_window.items():
            merge_cells(self.by_window.setdefault(column, {}), cells)
        for name, theirs in other.formats.items():
            mine = self.formats.get(name, (0, 0, 0))
            self.formats[name] = [one + more for one, more in zip(mine, theirs, strict=True)]
        self.partitions += other.partitions
        for chain, count in other.chains.items():
            self.chains[chain] = self.chains.get(chain, 0) + count
        for column, evidence in other.evidence.items():
            self.evidence.setdefault(column, WindowEvidence()).merge(evidence)
        self.markers += other.markers
        if other.first is not None and other.last is not None:
            self.first = min(self.first or other.first, other.first)
            self.last = max(self.last or other.last, other.last)
        for column, end in other.first_end.items():
            self.first_end[column] = min(self.first_end.get(column, end), end)


def merge_cells(mine: Cells, theirs: Cells) -> None:
    """Add the objects of other cells."""
    for place, amount in theirs.items():
        if place not in mine:
            mine[place] = Amount(amount.steps)
        mine[place].merge(amount)
