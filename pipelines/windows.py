"""The span of event time that a partition covers.

Age counts from the end of the window in the dataset's timezone, so that tiering and expiry follow when things
happened and not when a file was written (DESIGN section 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from pipelines.errors import SpecError

if TYPE_CHECKING:
    from datetime import date

__all__ = ["Every", "Window", "as_instant", "window_of"]

Every = Literal["hour", "day", "month", "year"]

KEY_FORMATS: dict[Every, str] = {
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "month": "%Y-%m",
    "year": "%Y",
}
"""How a window's start is written as a key value (`strftime`; ISO 8601 prefixes, so that text order is time order)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time, both ends aware."""

    start: datetime
    end: datetime

    def age(self, as_of: datetime) -> timedelta:
        """How long ago the window ended; negative while it is open."""
        return as_of - self.end


def window_of(value: str, every: Every, timezone: str) -> Window | None:
    """The window that a key value names, or None for null, for values of another shape and for the end of all time.

    Args:
        value: `2013-07-04T05`, `2013-07-04`, `2013-07` or `2013`, by `every`.
        every: the width of the windows.
        timezone: IANA name; a day that a clock change shortens or lengthens has 23 or 25 hours.
    """
    zone = ZoneInfo(timezone)
    try:
        start = datetime.strptime(value, KEY_FORMATS[every])  # noqa: DTZ007 - the zone follows on the next line
    except ValueError:
        return None
    try:
        return _from(start, every, zone)
    except OverflowError:
        return None  # 9999-12-31, a usual placeholder, has no day after it


def _from(start: datetime, every: Every, zone: ZoneInfo) -> Window:
    if every == "hour":
        # an hour is added in UTC: local arithmetic would skip or repeat one at a clock change
        first = start.replace(tzinfo=zone).astimezone(UTC)
        return Window(first, first + timedelta(hours=1))
    if every == "day":
        end = start + timedelta(days=1)
    elif every == "month":
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    else:
        end = start.replace(year=start.year + 1)
    return Window(start.replace(tzinfo=zone), end.replace(tzinfo=zone))


def as_instant(value: datetime | date | str, timezone: str) -> datetime:
    """A date or an instant, as users type it, as an aware instant.

    A date means the start of that day in `timezone`.

    Raises:
        SpecError: text that is neither.
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
