"""Text as another type, each cell read strictly and by itself.

Numbers, truth values, dates and times may have white space around them; nothing else is forgiven.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.values.numbers import (
    bounds,
    decimal_shape,
    decimals_of,
    exact_decimal,
    loses_digits,
    out_of_range,
)
from tierlake.pipelines.values.parts import Part, Unfit, Way, checked, has_bytes, piecewise
from tierlake.pipelines.values.times import EPOCH_DAY, instants_of

__all__ = ["AWARE", "fit_text", "way_of"]

NOT_A_NUMBER = "is not a number"
NOT_A_TIME = "is not a time"

_EXACT_INTEGERS = float(1 << 53)
_DAY_MICROS = 86_400_000_000
_YEAR_ONE = 1 - EPOCH_DAY
_YEAR_ONE_MICROS = _YEAR_ONE * _DAY_MICROS
_LONGEST_INTEGER = 20
_LONGEST_WALL = len("2013-07-04T23:30:00.000000")
_LAST_HOUR, _LAST_MINUTE = 23, 59
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?P<exponent>[eE][+-]?[0-9]+)?")
_NO_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?)?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_ENDS_WITH_OFFSET = r"^.{11}.*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$"
_WRITTEN_ZERO = r"^[-+0.]*([eE]|$)"


def fit_text(cells: pa.Array, kind: pa.DataType, zone: str | None) -> Part:
    """Texts in the stored type `kind`, flat ones only.

    Args:
        cells: Of type string or large_string.
        kind: Bool, an integer, float32, float64, a decimal, date32 or timestamp[us], with or without UTC.
        zone: IANA name of the clock that instants without an offset were read from; None where there is none.
    """
    if pat.is_timestamp(kind) and kind.tz is not None:
        return _instants(cells, zone)
    way = way_of(kind)
    values = way.certain(cells)
    return (values, None) if values is not None else piecewise(pc.ascii_trim_whitespace(cells), kind, way)


def way_of(kind: pa.DataType) -> Way:
    """How texts become values of a type that is not an instant's."""
    if pat.is_boolean(kind):
        return Way(_booleans, _boolean)
    if pat.is_integer(kind):
        return Way(partial(_integers, kind=kind), partial(_integer, kind=kind), r"^-?[0-9]{1,18}$")
    if pat.is_floating(kind):
        return Way(partial(_floats, kind=kind), partial(_float, kind=kind), r"^-?[0-9]{1,15}(\.[0-9]{1,99})?$")
    if pat.is_decimal(kind):
        return Way(partial(decimals_of, kind=kind), partial(_decimal, kind=kind), decimal_shape(kind))
    if pat.is_date32(kind):
        return Way(_dates, _date, rf"^{_DAY}$")
    return _WALL


def _refuse(*, unless: pa.Array | None) -> None:
    """Leave the fast path where a cell is in doubt."""
    if unless is None or pc.all(unless).as_py() is False:
        raise pa.ArrowInvalid("not all of these are certain")


def _booleans(cells: pa.Array) -> pa.Array:
    places = pc.index_in(pc.ascii_lower(cells), value_set=pa.array([*_TRUE, *_FALSE], cells.type))
    _refuse(unless=pc.equal(pc.is_valid(places), pc.is_valid(cells)))
    return pc.less(places, len(_TRUE))


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Unfit("is neither true nor false")


def _integers(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    if has_bytes(cells, b"x", b"X"):  # Arrow reads hexadecimal numbers
        _refuse(unless=None)
    return cells.cast(pa.int64()).cast(kind)


def _integer(text: str, kind: pa.DataType) -> int:
    if not _INTEGER.fullmatch(text):
        raise Unfit("is not a whole number" if _NUMBER.fullmatch(text) else NOT_A_NUMBER)
    least, greatest = bounds(kind)
    digits = text.lstrip("+-").lstrip("0") or "0"
    if (
        len(digits) > _LONGEST_INTEGER
        or not least <= (number := int(text[0].strip("+0123456789") + digits)) <= greatest
    ):
        raise Unfit(out_of_range(kind))
    return number


def _floats(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    if has_bytes(cells, b"("):  # Arrow reads nan(5)
        _refuse(unless=None)
    values = cells.cast(pa.float64())
    large = pc.greater_equal(pc.abs(values), _EXACT_INTEGERS)
    if pc.any(large).as_py():
        _refuse(unless=pc.is_finite(values.filter(large)))
        _refuse(unless=pc.match_substring(cells.filter(large), "e", ignore_case=True))
    zero = pc.equal(values, 0.0)
    if pc.any(zero).as_py():
        _refuse(unless=pc.match_substring_regex(cells.filter(zero), _WRITTEN_ZERO))
    if kind.bit_width == values.type.bit_width:
        return values
    narrow = values.cast(kind, safe=False)
    same = pc.or_(pc.equal(narrow.cast(pa.float64()), values), pc.is_nan(values))
    if pc.all(same).as_py() is False:
        _refuse(unless=pc.or_(same, pc.equal(narrow.cast(pa.string()).cast(pa.float64()), values)))
    return narrow


def _float(text: str, kind: pa.DataType) -> float:
    if _NO_FINITE.fullmatch(text):
        return float(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise Unfit(NOT_A_NUMBER)
    value = float(text)
    narrow = pa.scalar(value, pa.float64()).cast(kind, safe=False)
    stored: float = narrow.as_py()
    if abs(stored) == float("inf") or (stored == 0 and re.search("[1-9]", text[: match.start("exponent")] or text)):
        raise Unfit(out_of_range(kind))
    if match["exponent"] is None:
        number = Decimal(text)
        if number == number.to_integral_value() and abs(value) >= _EXACT_INTEGERS and Decimal(value) != number:
            raise Unfit(loses_digits(kind))
    if value not in (stored, float(narrow.cast(pa.string()).as_py())):
        raise Unfit(loses_digits(kind))
    return stored


def _decimal(text: str, kind: pa.DataType) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise Unfit(NOT_A_NUMBER)
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond Decimal's own
        raise Unfit(out_of_range(kind)) from None
    return exact_decimal(number, kind)


def _dates(cells: pa.Array) -> pa.Array:
    values = cells.cast(pa.date32())
    _refuse(unless=pc.greater_equal(values.view(pa.int32()), _YEAR_ONE))  # Arrow has a year 0
    return values


def _date(text: str) -> int:
    match = _DATE.fullmatch(text)
    if match is None:
        raise Unfit("is not a date")
    try:
        return date(*map(int, match.groups())).toordinal() - EPOCH_DAY
    except ValueError:
        raise Unfit("is not a date of the calendar") from None


def _walls(cells: pa.Array) -> pa.Array:
    try:
        values = cells.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        if (pc.max(pc.binary_length(cells)).as_py() or 0) <= _LONGEST_WALL:
            raise
        # more than six digits after the point, only zeros among them
        values = cells.cast(pa.timestamp("ns")).cast(pa.timestamp("us"))
    _refuse(unless=pc.greater_equal(values.view(pa.int64()), _YEAR_ONE_MICROS))
    return values


def _wall(text: str) -> int:
    micros, offset = _moment(text)
    if offset is not None:
        raise Unfit("has an offset, and the column holds wall clock times")
    return micros


def _aware(cells: pa.Array) -> pa.Array:
    values = cells.cast(pa.timestamp("us", "UTC"))
    # an offset may bring a time of the year 0, which is none, within a day of the year 1
    _refuse(unless=pc.greater_equal(values.view(pa.int64()), _YEAR_ONE_MICROS + _DAY_MICROS))
    return values


def _instant(text: str) -> int:
    micros, offset = _moment(text)
    if offset is None:
        raise Unfit("has no offset")
    return micros - offset


_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6}0*)?)?)?"
_WALL = Way(_walls, _wall, rf"^{_DAY}({_CLOCK})?$")
AWARE = Way(_aware, _instant, rf"^{_DAY}{_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$")


def _instants(cells: pa.Array, zone: str | None) -> Part:
    values = AWARE.certain(cells)
    if values is not None:
        return values, None
    texts = pc.ascii_trim_whitespace(cells)
    ends = pc.match_substring_regex(texts, _ENDS_WITH_OFFSET)
    nothing = pa.scalar(None, texts.type)
    values, bad = piecewise(pc.if_else(ends, texts, nothing), pa.timestamp("us", "UTC"), AWARE)
    walls, no_time = piecewise(pc.if_else(ends, nothing, texts), pa.timestamp("us"), _WALL)
    if zone is None:
        lacks = "has no offset, and the dataset has no time zone"
        local, missing = checked(pa.nulls(len(walls), values.type), (pc.is_null(walls), lacks))
    else:
        local, missing = instants_of(walls, zone)
    reasons = [reason for reason in (bad, no_time, missing) if reason is not None]
    return pc.coalesce(values, local), pc.coalesce(*reasons) if reasons else None


def _moment(text: str) -> tuple[int, int | None]:
    """The wall clock time in microseconds since 1970, and its offset from UTC."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise Unfit(NOT_A_TIME)
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if hour > _LAST_HOUR or max(minute, second) > _LAST_MINUTE:
        raise Unfit("is not a time of the clock")
    fraction = match["fraction"] or ""
    if fraction[6:].strip("0"):
        raise Unfit("has digits finer than a microsecond")
    micros = ((hour * 60 + minute) * 60 + second) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    return _date(match["date"]) * _DAY_MICROS + micros, _offset(match["offset"])


def _offset(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip("Zz+-").replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > _LAST_HOUR or minutes > _LAST_MINUTE:
        raise Unfit(NOT_A_TIME)
    return (-1 if text.startswith("-") else 1) * (hours * 60 + minutes) * 60_000_000
