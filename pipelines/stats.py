"""Delta statistics of a Parquet file, from its footer, so that every Delta reader can skip files.

Format: the Delta protocol's "Per-file Statistics" (`numRecords`, `minValues`, `maxValues`, `nullCount`).
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow.parquet as pq

__all__ = ["footer_stats", "log_stats", "stats_json"]

_MAX_COLUMNS = 32
"""As Delta's `delta.dataSkippingNumIndexedCols` by default."""

_MAX_TEXT = 32
"""Longer strings are cut to this many characters, as Spark does; the upper bound is then raised or left out."""


def _lower(value: object) -> object | None:
    match value:
        case bool() | bytes():
            return None
        case int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value[:_MAX_TEXT]
        case datetime():
            return _instant(value)
        case date():
            return value.isoformat()
        case _:
            return None


def _upper(value: object) -> object | None:
    match value:
        case str() if len(value) > _MAX_TEXT:
            return None
        case datetime():
            # the log keeps milliseconds: round up, or a filter would skip the last microseconds
            return _instant(value + timedelta(microseconds=-value.microsecond % 1000))
        case _:
            return _lower(value)


def _instant(value: datetime) -> str:
    text = (value.astimezone(UTC) if value.tzinfo else value).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def footer_stats(footer: pq.FileMetaData) -> str:
    """The statistics of a whole file as JSON text.

    A bound is left out where a row group lacks it or where a type has no order that all readers share.
    """
    lows: dict[str, object] = {}
    highs: dict[str, object] = {}
    nulls: dict[str, int] = {}
    flat = [index for index in range(footer.num_columns) if "." not in footer.schema.column(index).path]
    for index in flat[:_MAX_COLUMNS]:
        chunks = [footer.row_group(group).column(index).statistics for group in range(footer.num_row_groups)]
        if not chunks or any(chunk is None for chunk in chunks):
            continue
        name = footer.schema.column(index).path
        present = [chunk for chunk in chunks if chunk is not None]
        if all(chunk.has_null_count for chunk in present):
            nulls[name] = sum(chunk.null_count for chunk in present)
        bounded = [chunk for chunk in present if chunk.num_values]
        if not bounded or not all(chunk.has_min_max for chunk in bounded):
            continue
        low, high = _lower(min(chunk.min for chunk in bounded)), _upper(max(chunk.max for chunk in bounded))
        if low is not None:
            lows[name] = low
        if high is not None:
            highs[name] = high
    return stats_json(rows=footer.num_rows, lows=lows, highs=highs, nulls=nulls)


def stats_json(
    *, rows: int | None, lows: Mapping[str, object], highs: Mapping[str, object], nulls: Mapping[str, int | None]
) -> str:
    """Statistics as the log spells them."""
    return json.dumps(
        {"numRecords": rows, "minValues": dict(lows), "maxValues": dict(highs), "nullCount": dict(nulls)},
        separators=(",", ":"),
    )


def log_stats(
    rows: int | None, lows: Mapping[str, object], highs: Mapping[str, object], nulls: Mapping[str, int | None]
) -> str:
    """Statistics read back from a log (typed values) as JSON text again, for a file that is added once more."""
    return stats_json(
        rows=rows,
        lows={name: bound for name, value in lows.items() if (bound := _lower(value)) is not None},
        highs={name: bound for name, value in highs.items() if (bound := _upper(value)) is not None},
        nulls={name: count for name, count in nulls.items() if count is not None},
    )
