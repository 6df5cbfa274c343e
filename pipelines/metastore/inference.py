"""The partitioning of a table without a description, inferred from its keys."""

from __future__ import annotations

import re
from datetime import timedelta
from math import gcd
from typing import TYPE_CHECKING, Final

from tierlake.pipelines.model.spec import PartitionSpec, TimePartition
from tierlake.pipelines.model.time_window import Every, start_of_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["doubt_of_width", "inferred_partitioning"]

_FINEST_FIRST: tuple[Every, ...] = ("hour", "day", "month", "year")
_YEARS: Final = range(1900, 2200)
"""Some value must be of these: other numbers are no years, and placeholders such as 9999-12-31 tell nothing."""

_FEW: Final = 3
"""So many values are no accident: so many Mondays are weeks."""

_SAYS_YEAR = re.compile(r"(^|_)(y|yr|year)($|_)", re.IGNORECASE)
"""Four digits may be any number: only a column with one of these names holds years."""


def inferred_partitioning(columns: tuple[str, ...], keys: Iterable[PartitionKey]) -> PartitionSpec:
    """How a table is partitioned, inferred from its keys.

    A column whose values all name windows of one width (nulls aside) is the time partition, the finest
    where there are several. Days begin in UTC until a spec says otherwise, and there is no event time column: the rows
    carry the key.

    Args:
        columns: The Hive columns, in order.
        keys: Of all partitions.
    """
    values: dict[str, set[str]] = {name: set() for name in columns}
    for key in keys:
        for name, value in key.items:
            values[name].add(value)
    for every in _FINEST_FIRST:
        for name in columns:
            if _are_windows(name, values[name] - {""}, every):
                by = columns[1:] if name == columns[0] else columns
                return PartitionSpec(time=TimePartition(key=name, every=every), by=by)
    return PartitionSpec(by=columns)


def _are_windows(name: str, values: Collection[str], every: Every) -> bool:
    if not values or (every == "year" and not _SAYS_YEAR.search(name)):
        return False
    starts = [start_of_key(value, every) for value in values]
    if every == "hour" and all(start_of_key(value, "day") for value in values):
        return False  # days as other writers spell them: `2013-07-04 00:00:00`
    return all(starts) and any(start.year in _YEARS for start in starts if start)


def doubt_of_width(partition: PartitionSpec, keys: Iterable[PartitionKey]) -> str | None:
    """Why the windows of an inferred partitioning may be wider than inferred, in words; None: they are not.

    Dates that are all first days of months may be those of days with gaps, or those of months. Policies that took
    months for days would end them weeks early.

    Args:
        partition: The result of `inferred_partitioning`.
        keys: The keys that it was inferred from.
    """
    if partition.time is None:
        return None
    time = partition.time
    texts = {key.as_dict().get(time.key, "") for key in keys}
    starts = sorted({start for text in texts if (start := start_of_key(text, time.every)) is not None})
    wider = _wider(time.every, starts)
    return f"the {time.every}s of {time.key} are all {wider}" if wider else None


def _wider(every: Every, starts: Sequence[datetime]) -> str | None:
    """What all windows have in common, which would be chance unless they are wider."""
    if every == "day":
        if all(start.day == 1 for start in starts):
            return "first days of months, so they may be months"
        if len(starts) >= _FEW and len({start.weekday() for start in starts}) == 1:
            return f"{starts[0]:%A}s, so they may be weeks"
    if every == "hour" and len(starts) >= _FEW:
        step = gcd(*(int((start - starts[0]) / timedelta(hours=1)) for start in starts))
        if step > 1:
            return f"{step} hours apart, so they may be as wide"
    if every == "month" and len(starts) >= _FEW and len({start.month for start in starts}) == 1:
        return "the same month, so they may be years"
    return None
