"""Delta statistics of a Parquet file, from its footer, so that every Delta reader can skip files.

Format: the Delta protocol's "Per-file Statistics" (`numRecords`, `minValues`, `maxValues`, `nullCount`). What is not
known for certain is left out: a reader then reads the file.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import pyarrow.parquet as pq

__all__ = ["footer_stats", "holds_floats", "leaves_with_nan", "log_stats", "stats_json"]

_MAX_COLUMNS = 32
"""As Delta's `delta.dataSkippingNumIndexedCols` by default."""

_MAX_TEXT = 32
"""Longer strings are cut to this many characters, as Spark does; the upper bound is then left out."""


def _lower(value: object) -> object | None:
    match value:
        case bool() | bytes():
            return None
        case int():
            return value
        case float():
            # a zero has two signs: readers that order them must find both
            return (value or -0.0) if math.isfinite(value) else None
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
        case float() if value == 0:
            return 0.0
        case str() if len(value) > _MAX_TEXT:
            return None
        case datetime():
            try:
                # the log keeps milliseconds: round up, or a filter would skip the last microseconds
                return _instant(value + timedelta(microseconds=-value.microsecond % 1000))
            except OverflowError:  # the last millisecond of the year 9999
                return None
        case _:
            return _lower(value)


def _instant(value: datetime) -> str:
    text = (value.astimezone(UTC) if value.tzinfo else value).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def footer_stats(
    footer: pq.FileMetaData,
    *,
    has_float_bounds: bool = True,
    groups: Iterable[int] | None = None,
    columns: Collection[str] | None = None,
) -> str:
    """The statistics of a file as JSON text.

    A bound is left out where a row group lacks it, where Python has no such value (an instant beyond the year 9999), or
    where a type has no order that all readers share.

    Args:
        footer: The file's.
        has_float_bounds: False leaves out those of floating point columns, for readers to whom NaN is larger than all
            numbers: a footer does not tell whether there is one. Our writer keeps no statistics where it saw one.
        groups: Only these row groups; all by default.
        columns: Only these top-level columns; the first 32 by default.
    """
    lows: dict[str, object] = {}
    highs: dict[str, object] = {}
    nulls: dict[str, int] = {}
    chosen = [footer.row_group(group) for group in (range(footer.num_row_groups) if groups is None else groups)]
    for index, name, physical_type in _flat_columns(footer, columns):
        chunks = [statistics for group in chosen if (statistics := group.column(index).statistics) is not None]
        if not chunks or len(chunks) < len(chosen):
            continue
        counts = [chunk.null_count for chunk in chunks if chunk.has_null_count]
        if len(counts) == len(chunks):
            nulls[name] = sum(counts)
        if not has_float_bounds and physical_type in {"FLOAT", "DOUBLE"}:
            continue
        low, high = _bounds(chunks)
        if low is not None:
            lows[name] = low
        if high is not None:
            highs[name] = high
    rows = sum(group.num_rows for group in chosen)
    return stats_json(rows=rows, lows=lows, highs=highs, nulls=nulls)


def _flat_columns(footer: pq.FileMetaData, names: Collection[str] | None) -> list[tuple[int, str, str]]:
    """Number, name and physical type of the leaves that are top-level columns; a dot may be part of a name."""
    flat: list[tuple[int, str, str]] = []
    schema = footer.schema
    for index in range(footer.num_columns):
        column = schema.column(index)
        name = column.path
        if name == column.name and column.max_repetition_level == 0 and (names is None or name in names):
            flat.append((index, name, column.physical_type))
            if names is None and len(flat) == _MAX_COLUMNS:
                break
    return flat


def _bounds(chunks: Sequence[pq.Statistics]) -> tuple[object | None, object | None]:
    lows, highs = [], []
    for chunk in chunks:
        if not chunk.num_values:
            continue
        if not chunk.has_min_max:
            return None, None
        try:
            low, high = chunk.min, chunk.max
        except (ArithmeticError, TypeError, ValueError, pa.ArrowException):
            return None, None
        if low != low or high != high:  # noqa: PLR0124 - NaN orders nothing
            return None, None
        lows.append(low)
        highs.append(high)
    if not lows:
        return None, None
    try:
        return _lower(min(lows)), _upper(max(highs))
    except TypeError:
        return None, None


# delta-rs reads an escaped pair of surrogates as another character from U+20000 on (seen with deltalake 1.6.6)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def stats_json(
    *, rows: int | None, lows: Mapping[str, object], highs: Mapping[str, object], nulls: Mapping[str, int | None]
) -> str:
    """Statistics as the log spells them."""
    stats = {"numRecords": rows, "minValues": dict(lows), "maxValues": dict(highs), "nullCount": dict(nulls)}
    return _ENCODER.encode(stats)


def log_stats(
    rows: int | None, lows: Mapping[str, object], highs: Mapping[str, object], nulls: Mapping[str, int | None]
) -> str:
    """Statistics read back from a log (typed values) as JSON text again, for a file that is added once more."""
    return stats_json(
        rows=rows,
        lows={name: bound for name, value in lows.items() if (bound := _lower(value)) is not None},
        highs={name: bound for name, value in highs.items() if (bound := _upper(value)) is not None},
        nulls={name: count for name, count in nulls.items() if isinstance(count, int)},
    )


# -- NaN ---------------------------------------------------------------------------------------------------------------


def holds_floats(kind: pa.DataType) -> bool:
    """Whether floating point numbers may be in a column of this type, nested ones too."""
    return pat.is_floating(kind) or any(holds_floats(kind.field(index).type) for index in range(kind.num_fields))


def leaves_with_nan(rows: pa.Table) -> frozenset[int]:
    """The leaf columns, by their number in a Parquet file of these rows, in which there is a NaN."""
    leaves: set[int] = set()
    number = 0
    for column in rows.itercolumns():
        if holds_floats(column.type):
            for chunk in column.chunks:
                _note_nan(chunk, number, leaves)
        number += _leaves(column.type)
    return frozenset(leaves)


def _note_nan(values: pa.Array, number: int, leaves: set[int]) -> None:
    kind = values.type
    if pat.is_floating(kind):
        if number not in leaves and pc.any(pc.is_nan(values)).as_py():
            leaves.add(number)
        return
    leaf = number
    for child in _children(values):
        if holds_floats(child.type):
            _note_nan(child, leaf, leaves)
        leaf += _leaves(child.type)


def _children(values: pa.Array) -> list[pa.Array]:
    if pat.is_struct(values.type):
        return list(values.flatten())
    if pat.is_map(values.type):
        return [values.keys, values.items]
    return [values.flatten()]


def _leaves(kind: pa.DataType) -> int:
    return sum(_leaves(kind.field(index).type) for index in range(kind.num_fields)) if kind.num_fields else 1
