"""The partitioning of a table without a description, inferred from its keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from math import gcd
from typing import TYPE_CHECKING, Final, get_args

from tierlake.pipelines.model.spec import PartitionSpec, TimePartition
from tierlake.pipelines.model.time_window import Every, start_of_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["WindowEvidence", "doubt_of_width", "inferred_partitioning", "partitioning_of"]

_FINEST_FIRST: tuple[Every, ...] = ("hour", "day", "month", "year")
_YEARS: Final = range(1900, 2200)
"""Some value must be of these: other numbers are no years, and placeholders such as 9999-12-31 tell nothing."""

_FEW: Final = 3
"""So many values are no accident: so many Mondays are weeks."""

_SAYS_YEAR = re.compile(r"(^|_)(y|yr|year)($|_)", re.IGNORECASE)
"""Four digits may be any number: only a column with one of these names holds years."""


@dataclass(slots=True)
class WindowEvidence:
    """What the values of a Hive column tell of the windows that they name, in memory that does not grow with them.

    Nulls tell nothing.
    """

    count: int = 0
    _widths: set[Every] = field(default_factory=lambda: set(get_args(Every)))
    _years: set[Every] = field(default_factory=set)
    _of_width: dict[Every, _Starts] = field(default_factory=dict)

    def add(self, value: str) -> None:
        """Take note of a value; the empty string is null."""
        if not value:
            return
        self.count += 1
        for every in tuple(self._widths):
            start = start_of_key(value, every)
            if start is None:
                self._widths.discard(every)
                self._of_width.pop(every, None)
                continue
            if start.year in _YEARS:
                self._years.add(every)
            self._of_width.setdefault(every, _Starts()).add(start)

    def merge(self, other: WindowEvidence) -> None:
        """Take note of all values of another part of the column."""
        self.count += other.count
        self._widths &= other._widths
        self._years |= other._years
        for every, starts in other._of_width.items():
            self._of_width.setdefault(every, _Starts()).merge(starts)

    def is_windows(self, name: str, every: Every) -> bool:
        """Whether the column holds windows of a width.

        Args:
            name: The column's.
            every: The width.
        """
        if not self.count or (every == "year" and not _SAYS_YEAR.search(name)):
            return False
        if every == "hour" and "day" in self._widths:
            return False  # days as other writers spell them: `2013-07-04 00:00:00`
        return every in self._widths and every in self._years

    def doubt(self, time: TimePartition) -> str | None:
        """Why the windows may be wider, in words; see `doubt_of_width`."""
        starts = self._of_width.get(time.every)
        wider = starts.wider(time.every) if starts else None
        return f"the {time.every}s of {time.key} are all {wider}" if wider else None


@dataclass(slots=True)
class _Starts:
    """What all starts of windows have in common, which would be chance unless the windows are wider."""

    first: datetime | None = None
    some: set[datetime] = field(default_factory=set)
    step: int = 0
    weekdays: set[int] = field(default_factory=set)
    days: set[int] = field(default_factory=set)
    months: set[int] = field(default_factory=set)

    def add(self, start: datetime) -> None:
        self.first = self.first or start
        if len(self.some) < _FEW:
            self.some.add(start)
        self.step = gcd(self.step, abs(int((start - self.first) / timedelta(hours=1))))
        self.weekdays.add(start.weekday())
        self.days.add(start.day)
        self.months.add(start.month)

    def merge(self, other: _Starts) -> None:
        for start in other.some if other.first is None else (other.first, *other.some):
            self.add(start)
        self.step = gcd(self.step, other.step)
        self.weekdays |= other.weekdays
        self.days |= other.days
        self.months |= other.months

    def wider(self, every: Every) -> str | None:
        """What they have in common, in words."""
        if self.first is None:
            return None
        has_few = len(self.some) < _FEW
        if every == "day":
            if self.days == {1}:
                return "first days of months, so they may be months"
            if not has_few and len(self.weekdays) == 1:
                return f"{self.first:%A}s, so they may be weeks"
        if every == "hour" and not has_few and self.step > 1:
            return f"{self.step} hours apart, so they may be as wide"
        if every == "month" and not has_few and len(self.months) == 1:
            return "the same month, so they may be years"
        return None


def inferred_partitioning(columns: tuple[str, ...], keys: Iterable[PartitionKey]) -> PartitionSpec:
    """How a table is partitioned, inferred from its keys; see `partitioning_of`.

    Args:
        columns: The Hive columns, in order.
        keys: Of all partitions.
    """
    return partitioning_of(columns, _evidence(columns, keys))


def partitioning_of(columns: tuple[str, ...], evidence: Mapping[str, WindowEvidence]) -> PartitionSpec:
    """How a table is partitioned, inferred from what the values of its columns tell.

    A column whose values all name windows of one width (nulls aside) is the time partition, the finest
    where there are several. Days begin in UTC until a spec says otherwise, and there is no event time column: the rows
    carry the key.

    Args:
        columns: The Hive columns, in order.
        evidence: Of each of them.
    """
    for every in _FINEST_FIRST:
        for name in columns:
            if evidence[name].is_windows(name, every):
                by = columns[1:] if name == columns[0] else columns
                return PartitionSpec(time=TimePartition(key=name, every=every), by=by)
    return PartitionSpec(by=columns)


def doubt_of_width(partition: PartitionSpec, keys: Iterable[PartitionKey]) -> str | None:
    """Why the windows of an inferred partitioning may be wider than inferred, in words; None: they are not.

    Dates that are all first days of months may be those of days with gaps, or those of months. Policies that took
    months for days would end them weeks early.

    Args:
        partition: The result of `inferred_partitioning`.
        keys: The keys that it was inferred from.
    """
    time = partition.time
    return None if time is None else _evidence((time.key,), keys)[time.key].doubt(time)


def _evidence(columns: tuple[str, ...], keys: Iterable[PartitionKey]) -> dict[str, WindowEvidence]:
    values: dict[str, set[str]] = {name: set() for name in columns}
    for key in keys:
        for name, value in key.items:
            if name in values:
                values[name].add(value)
    evidence = {name: WindowEvidence() for name in columns}
    for name, texts in values.items():
        for text in sorted(texts):
            evidence[name].add(text)
    return evidence
