"""Ages as the survey counts them: in a few steps, so that what is kept does not grow with the objects."""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tierlake.pipelines.model.time_window import start_of_key, window_of

if TYPE_CHECKING:
    from datetime import datetime

    from tierlake.pipelines.model.time_window import Every

__all__ = ["AGE_STEPS_DAYS", "age_step", "end_of_window", "step_age"]

AGE_STEPS_DAYS: Final = (0, 7, 30, 90, 180, 365)
"""Each step begins at so many days; what is younger than none is in the first one."""

_FINEST_FIRST: tuple[Every, ...] = ("hour", "day", "month", "year")
_DAY: Final = timedelta(days=1)


def age_step(age: timedelta) -> int:
    """The number of the step that an age lies in."""
    return max(bisect_right(AGE_STEPS_DAYS, age / _DAY) - 1, 0)


def step_age(step: int) -> timedelta:
    """The least age of a step."""
    return timedelta(days=AGE_STEPS_DAYS[step])


@lru_cache(maxsize=1 << 14)
def end_of_window(value: str) -> datetime | None:
    """When the hour, day, month or year ends that a Hive value names, in UTC; None for other values."""
    fitting = [every for every in _FINEST_FIRST if start_of_key(value, every) is not None]
    if "day" in fitting:
        fitting = [every for every in fitting if every != "hour"]
    window = window_of(value, fitting[0], "UTC") if fitting else None
    return window.end if window else None
