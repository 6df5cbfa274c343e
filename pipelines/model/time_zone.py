"""When the clocks of a zone change, as tables that columns of times are looked up in.

The one source is Python's `zoneinfo`. Arrow's kernels may use another database, and know no summer time after 2037
(seen with 26.0). All times here are whole microseconds since 1970-01-01T00:00, as Arrow's `timestamp[us]` stores them:
instants count in UTC, wall times as the clock shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FIRST", "LAST", "Clock", "Segment", "clock_of"]

Times: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The first and the last microsecond of the calendar, 0001-01-01 to 9999-12-31."""

_MARGIN: Final = timedelta(days=2)
"""An offset is less than a day: `zoneinfo` cannot tell what lies this near the ends of the calendar."""

_MARGIN_US: Final = _MARGIN // _MICROSECOND

_LOOKBACK: Final = timedelta(days=3)
"""A clock that was set back shows times that it had shown before for less than two days (a date line crossed)."""

_NEVER: Final = -(1 << 62)
_MOST_YEARS_AT_ONCE: Final = 4


class Segment(NamedTuple):
    """A span of time in which a zone keeps its offset.

    Attributes:
        start: Its first instant.
        offset: Wall time minus UTC.
        shown: The clock had shown all wall times before this one when the segment began; wall times of the segment
            below it come for the second time.
    """

    start: int
    offset: int
    shown: int


@dataclass(frozen=True, slots=True)
class _Table:
    """Segments as columns."""

    starts: Times
    offsets: Times
    shown: Times

    @classmethod
    def of(cls, segments: list[Segment]) -> _Table:
        columns = [np.array(column, np.int64) for column in zip(*segments, strict=True)]
        return cls(*columns)


class Clock:
    """The clock of one zone. Its tables are made a year at a time, when a time of that year comes."""

    def __init__(self, zone: str) -> None:
        """Read the zone.

        Raises:
            zoneinfo.ZoneInfoNotFoundError: There is no such zone.
        """
        self._zone = ZoneInfo(zone)
        self._years: dict[int, list[Segment]] = {}
        self._around: dict[tuple[int, int], tuple[tuple[int, int, Segment], ...]] = {}

    def read(self, instants: Times) -> tuple[Times, Times, Times]:
        """What the clock shows at some instants.

        Returns:
            For each instant the wall time, the offset, and the wall time before which the clock had shown everything
            when it was last set back (see `Segment`). Wall times may lie outside `FIRST` to `LAST`.
        """
        table = _Table.of(self._segments_of(instants))
        if len(table.starts) == 1:
            spread = (np.full(len(instants), column[0]) for column in (table.offsets, table.shown))
            offsets, shown = spread
        else:
            # an instant before the first segment is one before the calendar
            at = np.maximum(np.searchsorted(table.starts, instants, side="right") - 1, 0)
            offsets, shown = table.offsets[at], table.shown[at]
        return instants + offsets, offsets, shown

    def around(self, wall: int) -> Sequence[tuple[int, int, Segment]]:
        """The segments in which the clock may show a wall time, in order, each with its first and its end instant."""
        first, last = _year_of(wall - _MARGIN_US), _year_of(wall + _MARGIN_US)
        if (first, last) not in self._around:
            segments = [segment for year in range(first, last + 1) for segment in self._year(year)]
            starts = [_NEVER, *(segment.start for segment in segments[1:]), -_NEVER]
            self._around[first, last] = tuple(zip(starts, starts[1:], segments, strict=False))
        return self._around[first, last]

    def offsets(self, first_year: int, last_year: int) -> list[tuple[int, int]]:
        """From which instant on the clock has which offset, in these years of UTC; one entry a change."""
        changes: list[tuple[int, int]] = []
        for year in range(first_year, last_year + 1):
            for segment in self._year(year):
                if not changes or changes[-1][1] != segment.offset:
                    changes.append((segment.start, segment.offset))
        return changes

    def first_at_or_after(self, wall: int) -> int:
        """The first instant at which the clock shows a wall time or a later one."""
        return next(
            max(start, wall - segment.offset)
            for start, end, segment in self.around(wall)
            if wall - segment.offset < end
        )

    def _segments_of(self, instants: Times) -> list[Segment]:
        if not len(instants):
            return self._year(1970)
        first, last = _year_of(int(instants.min())), _year_of(int(instants.max()))
        years: Any = range(first, last + 1)
        if last - first >= _MOST_YEARS_AT_ONCE:
            # a placeholder such as 9999-12-31 beside real times: the years between them are of no use
            years = np.unique(np.clip(instants, FIRST, LAST).astype("M8[us]").astype("M8[Y]").astype(np.int64)) + 1970
        return [segment for year in years for segment in self._year(int(year))]

    def _year(self, year: int) -> list[Segment]:
        """The segments of a year of UTC; the first begins with it."""
        if year not in self._years:
            start = datetime(year, 1, 1, tzinfo=UTC)
            end = datetime(year + 1, 1, 1, tzinfo=UTC) if year < MAXYEAR else _latest()
            scanned = self._scan(start - _LOOKBACK if year > MINYEAR else _earliest(), end)
            begin = _us(start)
            before = [segment for segment in scanned if segment.start <= begin]
            rest = [segment for segment in scanned if begin < segment.start < _us(end)]
            head = before[-1] if before else scanned[0]
            self._years[year] = [head._replace(start=begin), *(rest if before else rest[1:])]
        return self._years[year]

    def _scan(self, first: datetime, last: datetime) -> list[Segment]:
        """The segments between two instants. No zone changes its clock twice within two days (seen: all, to 2037)."""
        segments = [Segment(_us(first), self._offset(first), _NEVER)]
        at = first
        while at < last:
            then = min(at + timedelta(days=1), last)
            offset = self._offset(then)
            if offset != segments[-1].offset:
                segments.append(self._changed(segments[-1], at, then, offset))
            at = then
        return segments

    def _changed(self, before: Segment, at: datetime, then: datetime, offset: int) -> Segment:
        """The segment that begins after one instant and has begun at another."""
        while then - at > timedelta(seconds=1):
            middle = (at + (then - at) / 2).replace(microsecond=0)
            if middle <= at:
                break
            if self._offset(middle) == offset:
                then = middle
            else:
                at = middle
        start = _us(then)
        shown = before.shown if offset > before.offset else max(before.shown, start + before.offset)
        return Segment(start, offset, shown)

    def _offset(self, instant: datetime) -> int:
        offset = instant.astimezone(self._zone).utcoffset()
        return (offset or timedelta()) // _MICROSECOND


@lru_cache(maxsize=64)
def clock_of(zone: str) -> Clock:
    """The clock of a zone by its IANA name, with the tables that it has so far."""
    return Clock(zone)


def _earliest() -> datetime:
    return datetime.min.replace(tzinfo=UTC) + _MARGIN


def _latest() -> datetime:
    return datetime.max.replace(microsecond=0, tzinfo=UTC) - _MARGIN


def _us(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _year_of(time: int) -> int:
    return (_EPOCH + timedelta(microseconds=min(max(time, FIRST), LAST))).year
