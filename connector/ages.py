"""Ages and durations as people write and read them: `30m`, `12h`, `30d`, `8w`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from tierlake.connector.errors import InvalidSetting

__all__ = ["format_age", "parse_age", "rounded_age"]

_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_AGE: Final = re.compile(r"([0-9]+)\s*([smhdw])")
_HINT: Final = "Write 30m, 12h, 1d or 2w"
_DAYS_FROM: Final = 2


def parse_age(age: str | timedelta) -> timedelta:
    """Read an age such as `1d` or `12h`.

    Raises:
        InvalidSetting: The text is not an age, or the age is too long for a `timedelta`.
    """
    if isinstance(age, timedelta):
        return age
    match = _AGE.fullmatch(age.strip())
    if match is None:
        raise InvalidSetting(f"{age!r} is no age", hint=_HINT)
    try:
        return int(match[1]) * _UNITS[match[2]]
    except (OverflowError, ValueError):  # Python counts to 2.7 million years, and reads 4,300 digits
        raise InvalidSetting(f"{age[:40]!r} is too long for an age", hint=_HINT) from None


def format_age(age: timedelta) -> str:
    """An age in the form that `parse_age` reads, in the largest exact unit up to days: `7d`, `36h`, `90s`."""
    for unit in ("d", "h", "m"):
        if not age % _UNITS[unit]:
            return f"{age // _UNITS[unit]}{unit}"
    return f"{age // _UNITS['s']}s"


def rounded_age(age: timedelta) -> str:
    """An age for a sentence or a table: in days, or in hours if it is shorter than two days."""
    if abs(age.days) < _DAYS_FROM:
        return f"{age / _UNITS['h']:.0f} h"
    return f"{age.days:,} d"
