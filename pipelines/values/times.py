"""Dates and times into other types of date and time, and wall clock times into instants.

All arithmetic is on 64-bit integers: Python's datetime ends long before Arrow's types do.
"""

from __future__ import annotations

from datetime import date, datetime, time
from functools import lru_cache
from math import gcd
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.values.parts import Part, checked, name_of

__all__ = ["EPOCH_DAY", "fit_time", "instants_of"]

EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_MICROS = 86_400_000_000
_NANOS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DAY_NANOS = 86_400 * _NANOS["s"]
_CACHED_DAYS = 1 << 17
_HOURS = 24


def fit_time(cells: pa.Array, kind: pa.DataType) -> Part:
    """Dates and times as the stored type `kind`; a date is its midnight, and an instant stays itself in any zone."""
    ticks = cells.view(pa.int32()).cast(pa.int64()) if pat.is_date32(cells.type) else cells.view(pa.int64())
    source, target = _nanos(cells.type), _ticks_nanos(kind)
    common = gcd(source, target)
    factor, divisor = source // common, target // common
    # one of the two is 1: each unit is a multiple of the next finer one
    least, greatest = _limits(kind)
    if factor > 1:
        inside = _between(ticks, -(-least // factor), greatest // factor)
        values = pc.multiply(pc.if_else(inside, ticks, 0), factor)
        exact = pc.equal(ticks, ticks)  # null where there is no time
    else:
        values = pc.divide(ticks, divisor)
        exact = pc.equal(pc.multiply(values, divisor), ticks)
        inside = _between(values, least, greatest)
        values = pc.if_else(inside, values, 0)
    finer = "has a time of day" if pat.is_date(kind) else "has digits finer than a microsecond"
    stored = values.cast(pa.int32()).view(kind) if pat.is_date32(kind) else values.view(kind)
    return checked(stored, (exact, finer), (inside, f"is out of range for {name_of(kind)}"))


def _nanos(kind: pa.DataType) -> int:
    """The length of one tick in an array's memory; date64 counts milliseconds."""
    if pat.is_timestamp(kind):
        return _NANOS[kind.unit]
    return _DAY_NANOS if pat.is_date32(kind) else _NANOS["ms"]


def _ticks_nanos(kind: pa.DataType) -> int:
    return _NANOS[kind.unit] if pat.is_timestamp(kind) else _DAY_NANOS


def _limits(kind: pa.DataType) -> tuple[int, int]:
    bits = kind.bit_width
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _between(ticks: pa.Array, least: int, greatest: int) -> pa.Array:
    return pc.and_(pc.greater_equal(ticks, least), pc.less_equal(ticks, greatest))


def instants_of(walls: pa.Array, zone: str) -> Part:
    """Wall clock times, within Python's years 1 to 9999, as the instants that a clock in `zone` shows them at.

    A time that comes twice, in the night when clocks are put back, is the first of the two. One that a clock change
    skips does not exist. Arrow's own rules end in 2037 (seen with 26.0), so `zoneinfo` decides.
    """
    days = pc.cast(walls, pa.date32(), safe=False).view(pa.int32()).dictionary_encode()
    known = [_steady_offset(zone, day) for day in days.dictionary.to_pylist()]
    offsets = pa.array(known, pa.int64()).take(days.indices)
    micros = walls.view(pa.int64())
    exists = pc.equal(micros, micros)  # null where there is no time
    if None in known:
        changing = pc.and_(pc.is_null(offsets), pc.is_valid(micros))
        distinct = micros.filter(changing).dictionary_encode()
        pairs = [_offsets(zone, wall) for wall in distinct.dictionary.to_pylist()]
        first = pa.array([earlier for earlier, _ in pairs], pa.int64()).take(distinct.indices)
        real = pa.array([earlier >= later for earlier, later in pairs], pa.bool_()).take(distinct.indices)
        offsets = pc.replace_with_mask(offsets, changing, first)
        exists = pc.replace_with_mask(exists, changing, real)
    values = pc.subtract(micros, offsets).view(pa.timestamp("us", "UTC"))
    return checked(values, (exists, f"does not exist in {zone} (clock change)"))


@lru_cache(maxsize=_CACHED_DAYS)
def _steady_offset(zone: str, day: int | None) -> int | None:
    """The offset that holds all day long in microseconds, or None on a day when it changes."""
    if day is None:
        return None
    midnight = datetime.combine(date.fromordinal(EPOCH_DAY + day), time(), ZoneInfo(zone))
    seen = {
        midnight.replace(hour=hour, minute=minute, second=minute, fold=fold).utcoffset()
        for hour in range(_HOURS)
        for minute in (0, 59)
        for fold in (0, 1)
    }
    if len(seen) > 1:
        return None
    return _micros(midnight)


def _offsets(zone: str, wall: int) -> tuple[int, int]:
    """The offsets of the first and of the second instant at which the clock shows this time.

    They differ only at a clock change; the second is the greater where the clock skips the time.
    """
    day, micros = divmod(wall, _DAY_MICROS)
    seconds, fraction = divmod(micros, 1_000_000)
    clock = time(seconds // 3600, seconds // 60 % 60, seconds % 60, fraction)
    moment = datetime.combine(date.fromordinal(EPOCH_DAY + day), clock, ZoneInfo(zone))
    return _micros(moment), _micros(moment.replace(fold=1))


def _micros(moment: datetime) -> int:
    offset = moment.utcoffset()
    if offset is None:
        raise AssertionError("a zone has an offset at any time")
    return (offset.days * 86_400 + offset.seconds) * 1_000_000 + offset.microseconds
