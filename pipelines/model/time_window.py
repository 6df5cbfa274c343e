"""The span of event time that a partition covers, and how its key spells it.

Age counts from the end of the window in the dataset's timezone, so that tiering and expiry follow when things
happened and not when a file was written (DESIGN section 7).

A key is the window's start on the wall clock: `2013-07-04T05`, `2013-07-04`, `2013-07`, `2013`. Windows follow each
other without gap or overlap, also where the clock is changed:

- An hour that comes again, because the clock was set back, has its offset in the key, as Dagster spells it:
  `2025-10-26T02` is the first one in Berlin, `2025-10-26T02+0100` the second.
- A day, month or year that has begun does not end where the clock is set back across midnight (St. John's until 2011,
  at one past midnight): the rows of the hour that comes again belong to the day that had begun.
- An hour or a day that the clock skips has an empty window, at the change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo

import numpy as np

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.time_zone import FIRST, LAST, clock_of

if TYPE_CHECKING:
    from datetime import date

    from tierlake.pipelines.model.time_zone import Segment

__all__ = [
    "HOUR_US",
    "KEY_FORMATS",
    "Every",
    "Window",
    "as_instant",
    "is_key",
    "key_at",
    "key_named_by",
    "key_of",
    "key_of_wall",
    "start_of_key",
    "window_of",
]

Every = Literal["hour", "day", "month", "year"]

KEY_FORMATS: dict[Every, str] = {
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "month": "%Y-%m",
    "year": "%Y",
}
"""How a window's start is written as a key value (`strftime`; ISO 8601 prefixes, so that text order is time order)."""

_LENGTHS: Final[dict[Every, int]] = {"hour": 13, "day": 10, "month": 7, "year": 4}
"""Characters of a key, without an offset: a prefix of the ISO time."""

_SHAPES: Final[dict[Every, re.Pattern[str]]] = {
    "hour": re.compile(r"\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3])", re.ASCII),
    "day": re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII),
    "month": re.compile(r"\d{4}-\d{2}", re.ASCII),
    "year": re.compile(r"\d{4}", re.ASCII),
}
_FIRST_INSTANT: Final[dict[Every, str]] = {"hour": "", "day": "", "month": "-01", "year": "-01-01"}
"""What an ISO time lacks in a key that has all digits; `strptime` takes others too, and ten times as long."""

_OFFSET: Final = re.compile(
    r"(?P<wall>.{13})(?P<sign>[+-])(?P<hours>\d{2})(?P<minutes>\d{2})(?P<seconds>\d{2})?", re.ASCII
)
_FOREIGN: Final = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[ T](?P<clock>\d{2}:\d{2})(?::00(?:\.0+)?)?(?P<zone>Z| UTC|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
"""A date, or a timestamp without seconds, as other writers spell the start of a window."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - wall times are counted from it too
_EPOCH_UTC: Final = _EPOCH.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_US: Final = 1_000_000
HOUR_US: Final = 3600 * _SECOND_US


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time, both ends aware. It is empty for an hour or a day that the clock skips.

    Ends of an hour are in UTC, those of days, months and years in the dataset's timezone.
    """

    start: datetime
    end: datetime

    def age(self, as_of: datetime) -> timedelta:
        """How long ago the window ended; negative while it is open."""
        return as_of - self.end


def key_of(wall: int, every: Every, offset: int | None = None) -> str:
    """How a key spells a window.

    Args:
        wall: The window's start on the wall clock, in microseconds since 1970-01-01T00:00.
        every: Its width.
        offset: Wall time minus UTC in microseconds, for an hour that comes again.
    """
    text = (_EPOCH + timedelta(microseconds=wall)).isoformat()[: _LENGTHS[every]]
    if offset is None:
        return text
    minutes, seconds = divmod(abs(offset) // _SECOND_US, 60)
    sign = "-" if offset < 0 else "+"
    return f"{text}{sign}{minutes // 60:02d}{minutes % 60:02d}{f'{seconds:02d}' if seconds else ''}"


@lru_cache(maxsize=1 << 16)
def window_of(value: str, every: Every, timezone: str) -> Window | None:
    """The window that a key value names, or None for null, for values of another shape and for the end of all time.

    Without a window a partition has no age, so it never expires: 9999-12-31, a usual placeholder, has no day after it.
    The same holds for windows that reach out of the calendar in UTC.

    Other writers' dates and timestamps name the window that begins just then: `2013-07-04 00:00:00` is that day or that
    hour, and `2013-07-01` a month where windows are months. With a zone, as in `2013-07-04T04:00:00.000000Z`, it is an
    instant, and the window of the dataset's timezone that begins at it.

    Args:
        value: `2013-07-04T05`, `2013-07-04`, `2013-07` or `2013`, by `every`; `2013-11-03T01-0500` for an hour that
            comes again.
        every: The width of the windows.
        timezone: IANA name; a day that a clock change shortens or lengthens has 23 or 25 hours.
    """
    parsed = _parsed(value, every)
    if parsed is not None:
        return _window(*parsed, every, timezone)
    instant = _foreign_instant(value)
    if instant is None:
        return None
    try:
        shown = instant.astimezone(ZoneInfo(timezone))
    except OverflowError:
        return None
    comes_again = every == "hour" and shown.fold == 1
    offset = (shown.utcoffset() or timedelta(0)) // _MICROSECOND if comes_again else None
    window = _window(_floored(shown.replace(tzinfo=None, fold=0), every), offset, every, timezone)
    return window if window is not None and window.start == instant else None


def _window(wall: datetime, offset: int | None, every: Every, timezone: str) -> Window | None:
    try:
        if every == "hour":
            # in UTC: Python takes the two hours of a zone's autumn night for equal, since their wall times are
            hour = _hour(wall, offset, timezone)
            return Window(_instant(hour[0]), _instant(hour[1])) if hour else None
        zone, clock = ZoneInfo(timezone), clock_of(timezone)
        start, end = clock.first_at_or_after(_us(wall)), clock.first_at_or_after(_us(_after(wall, every)))
        return Window(_instant(start).astimezone(zone), _instant(end).astimezone(zone))
    except (OverflowError, ValueError):
        return None


def is_key(value: str, every: Every, timezone: str) -> bool:
    """Whether we spell the key of a window of this zone like this: each window has one such text."""
    parsed = _parsed(value, every)
    if parsed is None:
        return False
    wall, offset = parsed
    return key_of(_us(wall), every, offset) == value and (offset is None or _hour(wall, offset, timezone) is not None)


def key_named_by(value: str, every: Every, timezone: str) -> str | None:
    """The key of the window that a text names in another spelling, such as `2024-1-1`; None where it names none."""
    parsed = _parsed(value, every)
    if parsed is None:
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return None
        parsed = at.replace(tzinfo=None), None
    key = key_of(_us(parsed[0]), every, parsed[1])
    return key if is_key(key, every, timezone) else None


def key_of_wall(start: datetime, every: Every) -> str:
    """The key of the window that begins at a wall time, or that this lies in, when the clock shows it first."""
    return key_of(_us(_floored(start, every)), every)


def key_at(instant: datetime, every: Every, timezone: str) -> str:
    """The key of the window that an instant lies in.

    Args:
        instant: Aware.
        every: The width of the windows.
        timezone: IANA name.
    """
    time = (instant - _EPOCH_UTC) // _MICROSECOND
    (wall,), (offset,), (shown,) = clock_of(timezone).read(np.array([time]))
    if every == "hour":
        start = int(wall - wall % HOUR_US)
        return key_of(start, every, int(offset) if start < shown else None)
    # a day that has begun goes on where the clock is set back across midnight
    reached = max(int(wall), min(int(shown), LAST + 1) - 1)
    return key_of(_us(_floored(_EPOCH + reached * _MICROSECOND, every)), every)


def start_of_key(value: str, every: Every) -> datetime | None:
    """The wall time at which the window of a key begins, that of instants in UTC; None for values of another shape."""
    if parsed := _parsed(value, every):
        return parsed[0]
    instant = _foreign_instant(value)
    wall = instant.astimezone(UTC).replace(tzinfo=None) if instant else None
    return wall if wall is not None and wall == _floored(wall, every) else None


def as_instant(value: datetime | date | str, timezone: str) -> datetime:
    """A date or an instant, as users type it, as an aware instant.

    A date means the start of that day in `timezone`.

    Raises:
        SpecError: Text that is neither.
    """
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError as error:
            message = f"{value!r} is neither a date nor an instant"
            raise SpecError(message, hint="write 2014-01-01 or 2014-01-01T06:00:00+00:00") from error
    elif isinstance(value, datetime):
        parsed = value
    else:
        parsed = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone follows on the next line
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=ZoneInfo(timezone))


def _parsed(value: str, every: Every) -> tuple[datetime, int | None] | None:
    """The start of the window on the wall clock, and the offset of an hour that comes again."""
    text, offset = value, None
    if every == "hour" and (match := _OFFSET.fullmatch(value)):
        text, seconds = match["wall"], int(match["seconds"] or 0)
        offset = (int(match["hours"]) * 3600 + int(match["minutes"]) * 60 + seconds) * _SECOND_US
        offset = -offset if match["sign"] == "-" else offset
    try:
        if _SHAPES[every].fullmatch(text):
            return datetime.fromisoformat(text + _FIRST_INSTANT[every]), offset
        return datetime.strptime(text, KEY_FORMATS[every]), offset  # noqa: DTZ007 - a wall clock time
    except ValueError:
        wall = _foreign_wall(value, every)
        return None if wall is None else (wall, None)


def _foreign_wall(value: str, every: Every) -> datetime | None:
    """Another writer's date or timestamp that has no zone, where a window begins at it."""
    match = _FOREIGN.fullmatch(value)
    if match is None or match["zone"] or (every == "hour" and not match["clock"]):
        return None
    try:
        wall = datetime.fromisoformat(f"{match['day']}T{match['clock'] or '00:00'}")
    except ValueError:
        return None
    return wall if wall == _floored(wall, every) else None


def _foreign_instant(value: str) -> datetime | None:
    """Another writer's timestamp that says its zone."""
    match = _FOREIGN.fullmatch(value)
    if match is None or not match["zone"]:
        return None
    zone = "+00:00" if match["zone"] in {"Z", " UTC"} else match["zone"]
    try:
        return datetime.fromisoformat(f"{match['day']}T{match['clock']}{zone}").astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def _floored(wall: datetime, every: Every) -> datetime:
    """The start of the window on the wall clock that a wall time lies in."""
    hour = wall.replace(minute=0, second=0, microsecond=0)
    if every == "hour":
        return hour
    day = hour.replace(hour=0)
    if every == "day":
        return day
    return day.replace(day=1) if every == "month" else day.replace(month=1, day=1)


def _after(start: datetime, every: Every) -> datetime:
    """The start of the next window on the wall clock."""
    if every == "day":
        return start + timedelta(days=1)
    if every == "month":
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start.replace(year=start.year + 1)


def _hour(wall: datetime, offset: int | None, timezone: str) -> tuple[int, int] | None:
    """The instants at which a wall hour begins and ends; None where no such hour comes again with this offset."""
    start, clock = _us(wall), clock_of(timezone)
    pieces = [
        (max(first, start - segment.offset), min(end, start + HOUR_US - segment.offset))
        for first, end, segment in clock.around(start)
        if _is_part(segment, start, offset)
    ]
    pieces = [(first, end) for first, end in pieces if first < end]
    if pieces:
        return pieces[0][0], pieces[-1][1]
    if offset is not None:
        return None
    change = clock.first_at_or_after(start)
    return change, change


def _is_part(segment: Segment, start: int, offset: int | None) -> bool:
    """Whether a segment's times of this wall hour belong to the hour's first coming, or to the one with this offset."""
    comes_again = start < segment.shown
    return not comes_again if offset is None else comes_again and segment.offset == offset


def _us(wall: datetime) -> int:
    return (wall - _EPOCH) // _MICROSECOND


def _instant(time: int) -> datetime:
    if not FIRST <= time <= LAST:
        raise OverflowError(time)
    return _EPOCH_UTC + timedelta(microseconds=time)
