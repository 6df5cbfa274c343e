"""Instants that are stored and read back: with an offset each, and within the calendar whatever is added."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator

__all__ = ["LAST", "Instant", "instant_after"]

LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""The latest instant that each zone can write."""

_FIRST: Final = datetime(1, 1, 3, tzinfo=UTC)


def instant_after(at: datetime, span: timedelta) -> datetime:
    """An instant and a span after it: at most `LAST`, as Python has none after the year 9999."""
    try:
        return min(at + span, LAST)
    except OverflowError:
        return LAST


def _with_offset(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its offset from UTC, such as 2013-07-04T12:00:00Z")
    if not _FIRST <= value <= LAST:
        raise ValueError("a time must be one that each zone can write, in the years 1 to 9999")
    return value


Instant = Annotated[datetime, AfterValidator(_with_offset)]
"""A time with an offset from UTC."""
