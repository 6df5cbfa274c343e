"""Numbers into other types of number: equal afterwards, or not stored."""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.values.parts import Part, Unfit, Way, checked, has_bytes, name_of, piecewise

__all__ = ["bounds", "decimal_shape", "decimals_of", "exact_decimal", "fit_number", "loses_digits", "out_of_range"]

_PRECISION, _WIDE_PRECISION = 38, 76


def fit_number(cells: pa.Array, kind: pa.DataType) -> Part:
    """Numbers of any type in the stored type `kind`.

    A floating-point number is the decimal that its shortest spelling names: the double 0.1 is 0.10 as decimal(10, 2).
    """
    if pat.is_float16(cells.type):
        cells = cells.cast(pa.float32())
    if pat.is_integer(cells.type):
        return _integers(cells, kind)
    if pat.is_decimal(cells.type):
        return _decimals(cells, kind)
    return _floats(cells, kind)


def bounds(kind: pa.DataType) -> tuple[int, int]:
    """The least and the greatest value of an integer type."""
    if pat.is_unsigned_integer(kind):
        return 0, (1 << kind.bit_width) - 1
    return -(1 << (kind.bit_width - 1)), (1 << (kind.bit_width - 1)) - 1


def out_of_range(kind: pa.DataType) -> str:
    """The reason of a number that is too large."""
    return f"is out of range for {name_of(kind)}"


def loses_digits(kind: pa.DataType) -> str:
    """The reason of a number that is none of the type's."""
    return f"would lose digits as {name_of(kind)}"


def _integers(cells: pa.Array, kind: pa.DataType) -> Part:
    if pat.is_decimal(kind):
        # a decimal128 of this scale need not have room for all of int64
        wide = pa.decimal256(_WIDE_PRECISION, kind.scale)
        way = Way(lambda part: part.cast(wide).cast(kind), lambda value: exact_decimal(Decimal(value), kind))
        return piecewise(cells, kind, way)
    try:
        return cells.cast(kind), None
    except pa.ArrowInvalid:
        pass  # a cell is out of range, or a floating-point number may not be exact
    if pat.is_integer(kind):
        least, greatest = bounds(kind)
        lowest, highest = bounds(cells.type)
        inside = pc.and_(
            pc.greater_equal(cells, pa.scalar(max(least, lowest), cells.type)),
            pc.less_equal(cells, pa.scalar(min(greatest, highest), cells.type)),
        )
        return checked(cells.cast(kind, safe=False), (inside, out_of_range(kind)))
    values = cells.cast(kind, safe=False)
    wide = values.cast(pa.float64())
    # the greatest integers round up to a power of two that is no integer of this type
    inside = pc.less(wide, float(bounds(cells.type)[1] + 1))
    back = pc.if_else(inside, wide, 0.0).cast(cells.type, safe=False)
    return checked(values, (pc.and_(inside, pc.equal(back, cells)), loses_digits(kind)))


def _floats(cells: pa.Array, kind: pa.DataType) -> Part:
    if pat.is_decimal(kind):
        texts = cells.cast(pa.string())
        way = Way(
            lambda part: decimals_of(part, kind), lambda text: exact_decimal(Decimal(text), kind), decimal_shape(kind)
        )
        return piecewise(texts, kind, way)
    wide = cells.cast(pa.float64())
    if pat.is_integer(kind):
        least, greatest = bounds(kind)
        whole = pc.equal(pc.trunc(wide), wide)  # false for NaN
        inside = pc.and_(pc.greater_equal(wide, float(least)), pc.less(wide, float(greatest + 1)))
        safe = pc.if_else(pc.and_(whole, inside), wide, 0.0).cast(kind, safe=False)
        finite = pc.is_finite(wide)
        return checked(
            safe, (finite, "is not a whole number"), (whole, "is not a whole number"), (inside, out_of_range(kind))
        )
    values = cells.cast(kind)
    if kind.bit_width >= cells.type.bit_width:
        return values, None
    fits = pc.or_(pc.equal(values.cast(pa.float64()), wide), pc.is_nan(wide))
    overflows = pc.and_(pc.is_inf(values), pc.is_finite(wide))
    return checked(values, (pc.invert(overflows), out_of_range(kind)), (fits, loses_digits(kind)))


def _decimals(cells: pa.Array, kind: pa.DataType) -> Part:
    if not pat.is_decimal128(cells.type) or cells.type.scale < 0:
        cells = cells.cast(pa.decimal256(_WIDE_PRECISION, max(cells.type.scale, 0)))
    if pat.is_decimal(kind):
        way = Way(lambda part: _rescaled(part, kind), lambda value: exact_decimal(value, kind))
    elif pat.is_integer(kind):
        way = Way(lambda part: part.cast(kind), lambda value: _whole(value, kind))
    else:
        way = Way(lambda part: _as_floats(part, kind), lambda value: _as_float(value, kind))
    return piecewise(cells, kind, way)


def exact_decimal(value: Decimal, kind: pa.DataType) -> Decimal:
    """The same number, written so that Arrow takes it as a decimal of type `kind`.

    Raises:
        Unfit: It has too many digits, or is not finite.
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise Unfit("is not a finite number")
    written = "".join(map(str, digits)).lstrip("0")
    significant = written.rstrip("0")
    if not significant:
        return Decimal(0)
    exponent += len(written) - len(significant)
    if exponent < -kind.scale:
        raise Unfit(f"has more digits after the point than {name_of(kind)}")
    if len(significant) + exponent > kind.precision - kind.scale:
        raise Unfit(out_of_range(kind))
    return Decimal(f"{'-' * sign}{significant}e{exponent}")


def decimal_shape(kind: pa.DataType) -> str:
    """The regular expression of plain texts that a decimal type has room for."""
    fraction = rf"(\.[0-9]{{1,{kind.scale}}})?" if kind.scale > 0 else ""
    return rf"^-?[0-9]{{1,{max(kind.precision - kind.scale, 1)}}}{fraction}$"


def decimals_of(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Plain decimal texts, without exponent, as decimals.

    Raises:
        ArrowInvalid: A text is something else or does not fit, or needs more digits than Arrow reads rightly.
    """
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > _PRECISION or has_bytes(texts, b"e", b"E"):
        raise pa.ArrowInvalid("Arrow's own scaling overflows without an error")
    if longest + kind.scale <= _PRECISION:
        return texts.cast(kind)
    return texts.cast(pa.decimal256(_WIDE_PRECISION, kind.scale)).cast(kind)


def _rescaled(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    """Decimals of another scale; Arrow (seen with 26.0) checks the precision only after an overflow has wrapped."""
    needed = cells.type.precision + max(kind.scale - cells.type.scale, 0)
    if needed > _WIDE_PRECISION:
        raise pa.ArrowInvalid("the rescaled number may overflow")
    if needed > _PRECISION:
        return cells.cast(pa.decimal256(_WIDE_PRECISION, cells.type.scale)).cast(kind)
    return cells.cast(kind)


def _whole(value: Decimal, kind: pa.DataType) -> int:
    number = int(value)
    if number != value:
        raise Unfit("is not a whole number")
    least, greatest = bounds(kind)
    if not least <= number <= greatest:
        raise Unfit(out_of_range(kind))
    return number


def _as_floats(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    values = cells.cast(pa.string()).cast(kind)
    if pc.all(pc.equal(values.cast(pa.string()).cast(cells.type), cells)).as_py() is False:
        raise pa.ArrowInvalid("not equal")
    return values


def _as_float(value: Decimal, kind: pa.DataType) -> float:
    number = pa.scalar(str(value)).cast(kind)
    stored: float = number.as_py()
    if math.isinf(stored):
        raise Unfit(out_of_range(kind))
    if value not in (Decimal(number.cast(pa.string()).as_py()), Decimal(stored)):
        raise Unfit(loses_digits(kind))
    return stored
