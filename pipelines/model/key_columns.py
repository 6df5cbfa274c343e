"""Columns of rows as columns of key texts: the distinct values are spelled, not every row.

Equal texts are equal values, and different values have different texts. A value that a key cannot spell, or that could
not be told from null, has a reason instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.model.partition_key import HIVE_NULL, LONGEST_SEGMENT, escape_value, spelled
from tierlake.pipelines.model.time_window import HOUR_US, is_key, key_of, window_of
from tierlake.pipelines.model.time_zone import FIRST, LAST, clock_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tierlake.pipelines.model.spec import TimePartition

__all__ = ["CodedColumn", "coded_keys", "coded_values", "coded_windows", "is_text"]

Codes: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"

_OUT: Final = "is out of the calendar (0001 to 9999)"
_DAY_US: Final = 24 * HOUR_US
_OFFSET_BASE_S: Final = 100_000
"""More seconds than an offset has: with it, offsets are positive and smaller than an hour in microseconds."""


@dataclass(frozen=True, slots=True)
class CodedColumn:
    """The key values of a column of rows.

    Attributes:
        column: Whose values they are: the one to name where one is bad.
        codes: For each row the position of its value in `texts`.
        texts: Distinct values in text order; the empty one is null.
        reasons: For each of them why no key can have it, or None.
    """

    column: str
    codes: Codes
    texts: tuple[str, ...]
    reasons: tuple[str | None, ...]

    @classmethod
    def sorted(cls, column: str, codes: Codes, texts: list[str], reasons: list[str | None]) -> CodedColumn:
        """Put distinct values in text order."""
        order = sorted(range(len(texts)), key=lambda at: (texts[at], reasons[at] or ""))
        ranks = np.empty(len(texts), np.int64)
        ranks[order] = np.arange(len(texts))
        return cls(
            column,
            ranks[codes] if len(texts) else codes,
            tuple(texts[at] for at in order),
            tuple(reasons[at] for at in order),
        )


def coded_values(name: str, column: pa.ChunkedArray) -> CodedColumn:
    """The values of a column that the dataset is partitioned by."""
    return _coded(name, column, _why_not)


def coded_keys(column: pa.ChunkedArray, time: TimePartition) -> CodedColumn:
    """The values of a column that holds the key of a window of time itself."""
    kind = _plain(column).type
    text = is_text(kind)
    is_instant = pat.is_timestamp(kind) and bool(kind.tz)

    def why_not(name: str, value: str) -> str | None:
        if value and is_instant and time.timezone != "UTC":
            return f"{name} is an instant, which keys spell in UTC, and the windows are those of {time.timezone}"
        if is_key(value, time.every, time.timezone):
            return None
        # a date or a timestamp has one spelling, another writer's: it names the window as well
        if not text and window_of(value, time.every, time.timezone) is not None:
            return None
        return f"{name} is not the key of one {time.every}" if value else f"{name} is null"

    return _coded(time.key, column, why_not)


def coded_windows(name: str, column: pa.ChunkedArray, time: TimePartition) -> CodedColumn:
    """The windows that a column of dates or timestamps falls into."""
    walls, is_known, offsets, shown = _clock_times(column, time)
    is_in = (walls >= FIRST) & (walls <= LAST)
    walls = np.where(is_in, walls, 0)
    if time.every == "hour":
        starts = walls - walls % HOUR_US
        if offsets is not None and shown is not None:
            # an hour that comes again: its offset stands in the microseconds, which the start of an hour has none of
            again = starts < shown
            starts = starts + again * (offsets // 1_000_000 + _OFFSET_BASE_S)
    else:
        if shown is not None:
            # a day that has begun goes on where the clock is set back across midnight
            walls = np.maximum(walls, np.minimum(shown, LAST + 1) - 1)
        starts = _floored(walls, time.every)
    starts = np.where(is_known, np.where(is_in, starts, LAST + 2), LAST + 1)
    distinct, codes = _distinct(pa.array(starts))
    texts: list[str] = []
    reasons: list[str | None] = []
    for start in distinct.to_pylist():
        reason = f"{name} is null" if start == LAST + 1 else f"{name} {_OUT}" if start == LAST + 2 else None
        texts.append("" if reason else _window_text(start, time))
        reasons.append(reason)
    return CodedColumn.sorted(name, codes, texts, reasons)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, in any of Arrow's layouts."""
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind))


def _coded(name: str, column: pa.ChunkedArray, why_not: Callable[[str, str], str | None]) -> CodedColumn:
    plain = _plain(column)
    distinct, codes = _distinct(plain)
    texts: list[str] = []
    reasons: list[str | None] = []
    for value in _python_values(distinct):
        if value is _OUT_OF_CALENDAR:
            texts.append("")
            reasons.append(f"{name} {_OUT}")
        elif value == "":
            texts.append("")
            reasons.append(f"{name} is the empty text, which partition columns cannot tell from null")
        else:
            texts.append(spelled(value))
            reasons.append(why_not(name, texts[-1]))
    return CodedColumn.sorted(name, codes, texts, reasons)


def _why_not(name: str, text: str) -> str | None:
    if text == HIVE_NULL:
        return f"{name} is {HIVE_NULL}, which partition columns cannot tell from null"
    if len(text) * 12 + len(name) >= LONGEST_SEGMENT and len(name) + 1 + len(escape_value(text)) > LONGEST_SEGMENT:
        return f"{name} is too long for a folder ({LONGEST_SEGMENT} bytes, as paths are escaped)"
    return None


_OUT_OF_CALENDAR: Final = object()


def _python_values(distinct: pa.Array) -> list[Any]:
    kind = distinct.type
    if not (pat.is_timestamp(kind) or pat.is_date(kind)):
        values: list[Any] = distinct.to_pylist()
        return values
    moments: list[Any] = []
    for scalar in distinct:
        try:
            moments.append(scalar.as_py())
        except (ValueError, OverflowError):
            moments.append(_OUT_OF_CALENDAR)
    return moments


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pat.is_dictionary(column.type):
        return _plain(column.cast(column.type.value_type))
    return column.cast(pa.string()) if is_text(column.type) else column


def _distinct(column: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, Codes]:
    """The distinct values, null among them, and for each row the position of its value."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pat.is_null(whole.type):
        return whole.slice(0, 1), np.zeros(len(whole), np.int64)
    encoded = whole.dictionary_encode(null_encoding="encode")
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _clock_times(
    column: pa.ChunkedArray, time: TimePartition
) -> tuple[Codes, np.ndarray[tuple[int], np.dtype[np.bool_]], Codes | None, Codes | None]:
    """Wall times, which of them are known, and of instants their offset and what the clock had shown (`zones.Segment`).

    What lies outside the calendar is told by wall times outside it.
    """
    kind = column.type
    if pat.is_null(kind):
        nothing = np.zeros(len(column), np.int64)
        return nothing, nothing.astype(bool), None, None
    is_known = column.is_valid().to_numpy(zero_copy_only=False)
    times = _microseconds(column)
    if not (pat.is_timestamp(kind) and kind.tz):
        return times, is_known, None, None
    if time.timezone == "UTC":
        return times, is_known, None, None
    walls, offsets, shown = clock_of(time.timezone).read(times)
    return walls, is_known, offsets, shown


def _microseconds(column: pa.ChunkedArray) -> Codes:
    """Since 1970, rounded down; times outside the calendar stay outside it, and nulls are 0."""
    kind = column.type
    whole = column.combine_chunks()
    if pat.is_date32(kind):
        whole, scale = whole.cast(pa.int32()).cast(pa.int64()), _DAY_US
    elif pat.is_date64(kind):
        whole, scale = whole.cast(pa.int64()), 1_000
    else:
        whole, scale = whole.cast(pa.int64()), {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}[kind.unit]
    numbers = pc.fill_null(whole, 0).to_numpy(zero_copy_only=False)
    if scale == 0:
        return np.asarray(numbers // 1_000)
    bound = (LAST + 3 * _DAY_US) // scale
    return np.asarray(np.clip(numbers, -bound, bound) * scale)


def _floored(walls: Codes, every: str) -> Codes:
    days = walls - walls % _DAY_US
    if every == "day":
        return np.asarray(days)
    unit = "M8[M]" if every == "month" else "M8[Y]"
    return np.asarray(days.astype("M8[us]").astype(unit).astype("M8[us]").astype(np.int64))


def _window_text(start: int, time: TimePartition) -> str:
    if time.every != "hour":
        return key_of(start, time.every)
    hour, residue = start - start % HOUR_US, start % HOUR_US
    return key_of(hour, "hour", (residue - _OFFSET_BASE_S) * 1_000_000 if residue else None)
