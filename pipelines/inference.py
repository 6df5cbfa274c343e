"""What the keys of a table that nobody described tell of its partitioning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipelines.spec import PartitionSpec, TimePartition
from pipelines.windows import Every, start_of_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pipelines.layout import PartitionKey

__all__ = ["inferred_partitioning"]

_FINEST_FIRST: tuple[Every, ...] = ("hour", "day", "month", "year")
_YEARS: Final = range(1900, 2200)
"""Some value must be of these: other numbers are no years, and placeholders such as 9999-12-31 tell nothing."""

_SAYS_YEAR = re.compile(r"(^|_)(y|yr|year)($|_)", re.IGNORECASE)
"""Four digits may be anybody's number: only a column that is named so holds years."""


def inferred_partitioning(columns: tuple[str, ...], keys: Iterable[PartitionKey]) -> PartitionSpec:
    """How a table is partitioned, told by its keys.

    A column whose values all name windows of one width (nulls aside) is the time partition, the finest
    where there are several. Days begin in UTC until a spec says otherwise, and there is no event time column: the rows
    carry the key.

    Args:
        columns: the Hive columns, in order.
        keys: of all partitions.
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
