"""Dagster's time windows and the dataset's: which of them are the same, and how each side spells their keys.

A table's windows are whole hours, days, months or years of one zone. Any time-window definition of Dagster whose
windows are just these is taken, whatever text its `fmt` makes of them:

    MonthlyPartitionsDefinition(..., fmt="%Y%m")  201307               month=2013-07
    HourlyPartitionsDefinition(...)               2025-10-26-02:00+0100  hour=2025-10-26T02+0100

Others (weeks, days from 5 o'clock on) are refused before anything is stored under a key that means something else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import TimePartition
from tierlake.pipelines.model.time_window import KEY_FORMATS, key_at, key_of_wall, start_of_key, window_of
from tierlake.pipelines.model.time_zone import clock_of

if TYPE_CHECKING:
    import dagster as dg

    from tierlake.pipelines.model.time_window import Every

__all__ = ["STARTS", "WindowKeys", "time_partition_of", "window_keys"]

STARTS: Final[dict[Every, str]] = {
    "hour": "0 * * * *",
    "day": "0 0 * * *",
    "month": "0 0 1 * *",
    "year": "0 0 1 1 *",
}
"""The cron schedule of each window's starts."""

_NICKNAMES: Final = {
    "@hourly": STARTS["hour"],
    "@daily": STARTS["day"],
    "@midnight": STARTS["day"],
    "@weekly": "0 0 * * 0",
    "@monthly": STARTS["month"],
    "@yearly": STARTS["year"],
    "@annually": STARTS["year"],
}
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LAST_YEAR: Final = 2100
"""Until when the clocks of two zones are compared."""
_HOUR, _DAY = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class WindowKeys:
    """Maps the keys of Dagster's windows to those of the same windows in a dataset.

    Attributes:
        time: The dataset's windows.
        fmt: Dagster's format for the start of one.
        timezone: The zone of that format.
        begins: How long after the hour or the day each begins, where the two clocks differ; otherwise None.
    """

    time: TimePartition
    fmt: str
    timezone: str
    begins: timedelta | None = None

    def to_lake(self, key: str) -> str:
        """The dataset's text of a window.

        Raises:
            ValueError: Dagster has no such key.
        """
        start = self._parsed(key)
        if start.tzinfo is None and self.begins is None:  # both sides have the same clock
            value = key_of_wall(start, self.time.every)
        else:
            value = key_at(self._instant(start), self.time.every, self.time.timezone)
        if self.to_dagster(value) != key:
            raise ValueError(f"{key!r} is no key of the partitions, which are spelled {self.fmt}")
        return value

    def to_dagster(self, value: str) -> str:
        """Dagster's text of a window; what names none is left as it is."""
        every = self.time.every
        if self.begins is None and every != "hour":
            # where the clock skips midnight, Dagster's key names it all the same
            wall = start_of_key(value, every)
            return value if wall is None else wall.strftime(self.fmt)
        window = window_of(value, every, self.time.timezone)
        if window is None:
            return value
        start = window.start.astimezone(ZoneInfo(self.timezone))
        return start.strftime(f"{self.fmt}%z" if self._comes_again(start) else self.fmt)

    def _parsed(self, key: str) -> datetime:
        try:
            return datetime.strptime(key, self.fmt)  # noqa: DTZ007 - it may have an offset
        except ValueError:
            return datetime.strptime(key, f"{self.fmt}%z")

    def _instant(self, start: datetime) -> datetime:
        if start.tzinfo is not None:
            return start
        begins = self.begins or timedelta()
        whole = start.replace(minute=0) if self.time.every == "hour" else start.replace(hour=0, minute=0)
        return (whole + begins).replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)

    def _comes_again(self, start: datetime) -> bool:
        """Whether the clock shows this hour for the second time: then its key has an offset."""
        if self.time.every != "hour" or "%z" in self.fmt or start.fold == 0:
            return False
        return (start.replace(fold=0).utcoffset() or timedelta()) > (start.utcoffset() or timedelta())


def window_keys(asset: str, definition: dg.TimeWindowPartitionsDefinition, time: TimePartition) -> WindowKeys | None:
    """How the keys of a definition become those of a dataset; None where they are the same texts.

    Args:
        asset: The asset's name, for messages.
        definition: The asset's partitions.
        time: The dataset's windows.

    Raises:
        SpecError: Their windows are not the same.
    """
    fields = _fields(definition.cron_schedule)
    if not _have_one_clock(definition, fields, time) and not _begin_together(definition, fields, time):
        raise _differ(asset, definition, time)
    if _have_one_clock(definition, fields, time):
        if definition.fmt == KEY_FORMATS[time.every]:
            return None
        if time.every == "hour" and _shifts_by_part_of_an_hour(definition):
            message = (
                f"{asset}: the clock of {definition.timezone} is changed by a part of an hour, and Dagster's windows "
            )
            message += "overlap there"
            raise SpecError(message, hint=f'write partitions_def=time_windows("hour", "{definition.timezone}", start)')
        return WindowKeys(time, definition.fmt, definition.timezone)
    minute, hour = (int(field) if field.isdecimal() else 0 for field in fields[:2])
    return WindowKeys(time, definition.fmt, definition.timezone, timedelta(hours=hour, minutes=minute))


def time_partition_of(definition: dg.TimeWindowPartitionsDefinition, key: str) -> TimePartition | None:
    """The windows of a definition as a dataset has them, its rows carrying their keys; None where it cannot.

    Args:
        definition: An asset's partitions.
        key: The column with the keys.
    """
    fields = _fields(definition.cron_schedule)
    every = next((width for width, cron in STARTS.items() if fields == _fields(cron)), None)
    return TimePartition(every=every, timezone=definition.timezone, key=key) if every else None


def _fields(cron: str) -> tuple[str, ...]:
    fields = _NICKNAMES.get(cron.strip(), cron).split()
    return tuple(re.sub(r"^0+(?=\d)", "", "*" if field in {"*/1", "?"} else field) for field in fields)


def _have_one_clock(
    definition: dg.TimeWindowPartitionsDefinition, fields: tuple[str, ...], time: TimePartition
) -> bool:
    """Whether both are the whole windows of one clock, whatever its zone is called."""
    zones, first = {definition.timezone, time.timezone}, definition.start.year
    return fields == _fields(STARTS[time.every]) and (
        len(zones) == 1 or len({_clock(zone, first) for zone in zones}) == 1
    )


def _shifts_by_part_of_an_hour(definition: dg.TimeWindowPartitionsDefinition) -> bool:
    return len({offset % _HOUR for _, offset in _clock(definition.timezone, definition.start.year)}) > 1


def _begin_together(
    definition: dg.TimeWindowPartitionsDefinition, fields: tuple[str, ...], time: TimePartition
) -> bool:
    """Whether hours or days of two clocks begin at the same instants, at all times."""
    first = definition.start.year
    steps = {"hour": (fields[1:], _HOUR, 1), "day": (fields[2:], _DAY, 2)}.get(time.every)
    if steps is None:
        return False
    rest, length, places = steps
    if set(rest) != {"*"} or len(fields) != len(_fields(STARTS["day"])) or not all(map(str.isdecimal, fields[:places])):
        return False
    begins = sum(int(field) * unit for field, unit in zip(fields[:places], (60, _HOUR), strict=False))
    theirs = {(begins - offset) % length for _, offset in _clock(definition.timezone, first)}
    ours = {-offset % length for _, offset in _clock(time.timezone, first)}
    return theirs == ours and len(ours) == 1


@lru_cache(maxsize=256)
def _clock(zone: str, first_year: int) -> tuple[tuple[int, int], ...]:
    """From which second on a clock has which offset, in seconds."""
    return tuple(
        (start // 1_000_000, offset // 1_000_000) for start, offset in clock_of(zone).offsets(first_year, _LAST_YEAR)
    )


def _differ(asset: str, definition: dg.TimeWindowPartitionsDefinition, time: TimePartition) -> SpecError:
    same = time_partition_of(definition, time.key)
    message = (
        f"{asset}: Dagster's partitions begin {_in_words(definition.cron_schedule)} in {definition.timezone}, and the "
        f"dataset's windows are {time.every}s of {time.timezone}: these are not the same windows"
    )
    if same is not None:
        column = f"column: {time.column}, " if time.column else ""
        hint = (
            f"write partition: {{time: {{{column}every: {same.every}, timezone: {same.timezone}, key: {time.key}}}}}, "
            f'or partitions_def=time_windows("{time.every}", "{time.timezone}", start)'
        )
    else:
        hint = (
            f'give the asset whole windows, as time_windows("{time.every}", "{time.timezone}", start); or have a '
            f"column with Dagster's key in the rows, and write partition: {{by: [that column]}}: partitions by text "
            "have no age, and never expire"
        )
    return SpecError(message, hint=hint)


def _in_words(cron: str) -> str:
    fields = _fields(cron)
    exact = f"at `{cron}`"
    if len(fields) != len(_fields(STARTS["day"])):
        return exact
    minute, hour, day, month, weekday = fields
    if not minute.isdecimal() or month != "*":
        return exact if fields != _fields(STARTS["year"]) else "each year"
    if (hour, day, weekday) == ("*", "*", "*"):
        return f"each hour at minute {minute}"
    if not hour.isdecimal():
        return exact
    at = f"at {int(hour):02d}:{int(minute):02d}"
    if (day, weekday) == ("*", "*"):
        return f"each day {at}"
    if day == "*" and weekday.isdecimal() and int(weekday) < len(_WEEKDAYS):
        return f"each {_WEEKDAYS[int(weekday)]} {at}"
    return f"on day {day} of each month {at}" if day.isdecimal() and weekday == "*" else exact
