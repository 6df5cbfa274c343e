"""Filters as people write them, as one pyarrow expression that fits the table's columns.

Lists of conditions mean what they mean in pandas: `[("a", "==", 1), ("b", "<", 2)]` holds where all conditions do, a
list of such lists where one of them does. Values are compared exactly, by their column's type. Text against a number, a
date or a time counts as the value that it spells. A value that the type does not have (1.5 among integers) falls
between its neighbours. Rows whose value is null match `==` None, `in` with None in the list, and, as in pandas,
`not in` without it; no other condition. As in Arrow, NaN equals nothing, but `in` matches it.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.connector.nearest import alternatives
from tierlake.pipelines.errors import SchemaMismatch, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Where", "expression_of"]

Where: TypeAlias = pc.Expression | list[tuple[str, str, Any]] | list[list[tuple[str, str, Any]]]
"""A pyarrow expression, or filters as pandas and pyarrow take them: `[("date", "==", "2013-07-04")]` (all must hold),
or a list of such lists (one must hold)."""

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_AMONG = ("in", "not in")
_SHAPE = "write [('carrier', '==', 'AA')], or an expression of pyarrow.compute"
_CONDITION = 3
_MOST_CONDITIONS = 5000
"""Arrow walks a chain of `and` or `or` by recursion; beyond some 8,000 the process crashes (seen with 26.0)."""
_NAMED = 30


def expression_of(where: Where, schema: pa.Schema) -> pc.Expression:
    """Filters as an expression that fits a schema.

    Args:
        where: An expression (unchanged) or filters.
        schema: The schema of the rows.

    Raises:
        SpecError: The shape or an operator is not that of a filter.
        SchemaMismatch: An unknown column, or a value that its column cannot be compared with.
    """
    if isinstance(where, pc.Expression):
        expression = where
    else:
        lists = [[_condition(one, schema) for one in all_of] for all_of in _lists(where)]
        expression = _joined(operator.or_, [_joined(operator.and_, all_of) for all_of in lists])
    try:
        # some mismatches show only when a row is compared
        pa.table([pa.nulls(1, field.type) for field in schema], schema=schema).filter(expression)
    except (pa.ArrowException, TypeError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0].partition(" in ")[0]
        raise SchemaMismatch(f"the filter {expression} does not fit: {reason}", hint=_types(schema)) from error
    return expression


def _types(schema: pa.Schema) -> str:
    return _columns([f"{field.name} {field.type}" for field in schema])


def _columns(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"the columns are: {', '.join(names[:_NAMED])}{more}"


def _lists(where: object) -> list[list[Any]]:
    if not isinstance(where, list) or not all(isinstance(one, list | tuple) for one in where):
        raise SpecError(f"{where!r} is no filter", hint=_SHAPE)
    nested = [one for one in where if isinstance(one, list) and (not one or not isinstance(one[0], str))]
    if nested and len(nested) != len(where):
        hint = "either all items are conditions, which must all hold, or all are lists of conditions, of which one must"
        raise SpecError(f"{where!r} mixes conditions with lists of conditions", hint=hint)
    lists = [list(one) for one in nested] if nested else [list(where)]
    if not all(lists):
        raise SpecError("a filter without a condition", hint="leave `where` out for all rows")
    if (count := sum(map(len, lists))) > _MOST_CONDITIONS:
        hint = "('carrier', 'in', [...]) takes any number of values"
        raise SpecError(f"a filter of {count:,} conditions; at most {_MOST_CONDITIONS:,} are taken", hint=hint)
    return lists


def _joined(join: Callable[[Any, Any], Any], parts: Sequence[pc.Expression]) -> pc.Expression:
    """All parts joined by `and` or `or`, as a tree: Arrow overflows the stack on a chain of thousands."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    whole: pc.Expression = join(_joined(join, parts[:half]), _joined(join, parts[half:]))
    return whole


def _condition(condition: object, schema: pa.Schema) -> pc.Expression:
    if not isinstance(condition, list | tuple) or len(condition) != _CONDITION or not isinstance(condition[0], str):
        raise SpecError(f"{condition!r} is no condition", hint="a condition is (column, operator, value)")
    name, word, value = condition
    if word not in _COMPARE and word not in _AMONG:
        hint = f"the operators are {', '.join((*_COMPARE, *_AMONG))}"
        raise SpecError(f"there is no operator {word!r} (in {condition!r})", hint=hint)
    if name not in schema.names:
        raise SchemaMismatch(f"there is no column {name} (in {condition!r})", hint=alternatives(name, schema.names))
    column = _Column.of(schema.field(name), str(word))
    return column.among(value) if word in _AMONG else column.compared(value)


def _is_nothing(value: object) -> bool:
    return value is None or type(value).__name__ in {"NAType", "NaTType"}


def _plain(value: object) -> Any:
    """A value without the wrappers of numpy and Arrow."""
    if isinstance(value, pa.Scalar):
        try:
            return _plain(value.as_py())
        except (OverflowError, ValueError):  # a time outside Python's range
            return value
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, np.datetime64):
        whole = value.astype("datetime64[us]")
        return whole.item() if whole == value or np.isnat(value) else value
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a value among those of a type: equal to `below` and `above`, or between them.

    None means that there is no neighbour on that side.
    """

    below: pa.Scalar | None
    above: pa.Scalar | None
    is_exact: bool = False


def _exactly(scalar: pa.Scalar) -> _Place:
    return _Place(scalar, scalar, is_exact=True)


def _compared_type(kind: pa.DataType) -> pa.DataType:
    """The type itself, or one with the same values that Arrow can compare."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    if pat.is_float16(kind):
        return pa.float32()
    return pa.decimal128(kind.precision, kind.scale) if pat.is_decimal32(kind) or pat.is_decimal64(kind) else kind


@dataclass(frozen=True, slots=True)
class _Column:
    """One column in one condition."""

    name: str
    kind: pa.DataType
    operator: str
    column: pc.Expression

    @classmethod
    def of(cls, field: pa.Field, operator_: str) -> Self:
        """A column in a type whose values Arrow can compare."""
        kind, column = field.type, pc.field(field.name)
        if pat.is_dictionary(kind):
            kind = kind.value_type
        compared = _compared_type(kind)
        return cls(field.name, compared, operator_, column if compared == kind else column.cast(compared))

    def compared(self, value: object) -> pc.Expression:
        """The condition with one value."""
        column, operator_ = self.column, self.operator
        plain = _plain(value)
        if _is_nothing(plain):
            if operator_ in {"=", "==", "!="}:
                return column.is_valid() if operator_ == "!=" else column.is_null()
            raise self._mismatch(
                value, "null has no order", f"('{self.name}', '==', None) finds the rows without a value"
            )
        if pat.is_nested(self.kind):
            raise self._nested(value)
        if isinstance(plain, list | tuple | set | frozenset | dict | np.ndarray | pa.Array):
            raise self._mismatch(value, "that is several values", f"write ('{self.name}', 'in', [...])")
        place = self._place(plain)
        if place.is_exact:
            return _COMPARE[operator_](column, pc.scalar(place.below))
        nothing, everything = pc.scalar(False), column.is_valid()  # noqa: FBT003 - arrow's signature
        match operator_:
            case "=" | "==":
                return nothing
            case "!=":
                return everything
            case ">" | ">=":
                # a number above the value is above its lower neighbour too
                return nothing if place.above is None else everything if place.below is None else column > place.below
            case _:
                return nothing if place.below is None else everything if place.above is None else column < place.above

    def among(self, values: object) -> pc.Expression:
        """The condition with several values."""
        if isinstance(values, pa.Array | pa.ChunkedArray):
            values = list(values)
        if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
            raise self._mismatch(values, "that is not a list", f"write ('{self.name}', '{self.operator}', [...])")
        column = self.column
        plain = [_plain(value) for value in values]
        places = [self._place(value) for value in plain if not _is_nothing(value)]
        present = [place.below for place in places if place.is_exact and place.below is not None]
        if pat.is_floating(self.kind):  # zero has two signs, which `is_in` distinguishes
            present += [pa.scalar(-scalar.as_py(), self.kind) for scalar in present if scalar.as_py() == 0]
        options = pa.array(present, self.kind) if present else None
        has_null = any(_is_nothing(value) for value in plain)
        expression = pc.scalar(False) if options is None else column.isin(options)  # noqa: FBT003 - arrow's signature
        if self.operator == "in":
            return expression | column.is_null() if has_null else expression
        return ~expression & column.is_valid() if has_null else ~expression

    # -- values of a type ----------------------------------------------------------------------------------------------

    def _place(self, value: Any) -> _Place:
        if isinstance(value, pa.Scalar):
            if value.type != self.kind:
                raise self._mismatch(str(value.cast(pa.string())), f"that is {value.type}", _examples(self.kind))
            return _exactly(value)
        for applies, place in _PLACES:
            if applies(self.kind):
                try:
                    return place(self, value)
                except (pa.ArrowException, ValueError, TypeError, OverflowError, InvalidOperation) as error:
                    if isinstance(error, SchemaMismatch):
                        raise
                    raise self._mismatch(value, str(error), _examples(self.kind)) from error
        if pat.is_nested(self.kind):
            raise self._nested(value)
        try:
            return _exactly(pa.scalar(value).cast(self.kind) if isinstance(value, str) else pa.scalar(value, self.kind))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise self._mismatch(value, str(error), f"write a value of {self.kind}") from error

    def _nested(self, value: object) -> SchemaMismatch:
        hint = f"filter by an expression, as pyarrow.compute.field('{self.name}', 'x') == 1 for the field x of a struct"
        return self._mismatch(value, "nested values are not compared", hint)

    def _mismatch(self, value: object, reason: str, hint: str | None = None) -> SchemaMismatch:
        message = f"('{self.name}', '{self.operator}', {value!r}): {self.name} is {self.kind}: {reason}"
        return SchemaMismatch(message, hint=hint)

    def bool_(self, value: Any) -> _Place:
        """True or false."""
        if isinstance(value, str):
            return _exactly(pa.scalar(value.strip()).cast(pa.bool_()))
        if not isinstance(value, bool):
            raise self._mismatch(value, "that is neither true nor false", "write True or False")
        return _exactly(pa.scalar(value))

    def text(self, value: Any) -> _Place:
        """Text."""
        if isinstance(value, str):
            return _exactly(pa.scalar(value, self.kind))
        spelled = value.isoformat() if isinstance(value, date) else str(value)
        raise self._mismatch(value, "that is not text", f"write {spelled!r}")

    def bytes_(self, value: Any) -> _Place:
        """Bytes, or the text that they spell."""
        return _exactly(pa.scalar(value.encode() if isinstance(value, str) else value, self.kind))

    def integer(self, value: Any) -> _Place:
        """The place of any number among integers."""
        number = self._number(value)
        if not number.is_finite() or number.adjusted() > _MOST_DIGITS:
            return self._endless(number)
        below, above = (int(number.to_integral_value(mode)) for mode in (ROUND_FLOOR, ROUND_CEILING))
        return self._between(below, above)

    def decimal(self, value: Any) -> _Place:
        """The place of any number among decimals."""
        number = self._number(value)
        if not number.is_finite() or number.adjusted() > _MOST_DIGITS:
            return self._endless(number)
        context, step = Context(prec=400), Decimal(1).scaleb(-self.kind.scale)
        most = Decimal(10) ** (self.kind.precision - self.kind.scale) - step
        below, above = (number.quantize(step, mode, context) for mode in (ROUND_FLOOR, ROUND_CEILING))
        return _Place(
            pa.scalar(min(below, most), self.kind) if below >= -most else None,
            pa.scalar(max(above, -most), self.kind) if above <= most else None,
            is_exact=below == above and -most <= below <= most,
        )

    def floating(self, value: Any) -> _Place:
        """The place of any number among floats; decimals and text count as the nearest float."""
        if isinstance(value, bool):
            raise self._mismatch(value, "that is not a number", _examples(self.kind))
        if isinstance(value, str | Decimal):
            return _exactly(pa.scalar(str(value).strip()).cast(self.kind))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf if value > 0 else -math.inf
        nearest = pa.scalar(number, pa.float64()).cast(self.kind)
        got = nearest.as_py()
        if got == value or math.isnan(got):
            return _exactly(nearest)
        towards = [pa.scalar(_next(got, self.kind, way), self.kind) for way in (-math.inf, math.inf)]
        return _Place(towards[0], nearest) if got > value else _Place(nearest, towards[1])

    def day(self, value: Any) -> _Place:
        """The place of a date, or of a time, among dates."""
        days = self._wall(value) / _DAY_US
        unit = 1 if pat.is_date32(self.kind) else _DAY_MS
        return self._between(math.floor(days) * unit, math.ceil(days) * unit)

    def time(self, value: Any) -> _Place:
        """The place of a time, which has an offset exactly where the column has a zone."""
        if self.kind.tz is None:
            exact = self._wall(value)
        else:
            at, finer = self._time(value)
            if at.tzinfo is None:
                hint = f"write the offset: {at.isoformat()}+00:00, or datetime(..., tzinfo=UTC)"
                raise self._mismatch(value, "the column's times are instants, and that has no offset", hint)
            exact = _microseconds(at) + finer
        ticks = exact * _TICKS_A_MICROSECOND[self.kind.unit]
        return self._between(math.floor(ticks), math.ceil(ticks))

    def _between(self, below: int, above: int) -> _Place:
        """The place between two numbers of days or ticks; equal numbers are the value itself."""
        low, high = _limits(self.kind)
        return _Place(
            pa.scalar(min(below, high), self.kind) if below >= low else None,
            pa.scalar(max(above, low), self.kind) if above <= high else None,
            is_exact=below == above and low <= below <= high,
        )

    def _wall(self, value: Any) -> Fraction:
        at, finer = self._time(value)
        if at.tzinfo is not None:
            hint = f"write it without an offset: {at.replace(tzinfo=None).isoformat()}"
            raise self._mismatch(value, "the column has no zone, and that has an offset", hint)
        return _microseconds(at) + finer

    def _time(self, value: Any) -> tuple[datetime, Fraction]:
        """A time, and its remainder beyond whole microseconds, in microseconds."""
        if isinstance(value, str):
            text = value.strip()
            digits = _BEYOND_MICROSECONDS.search(text)
            finer = Fraction(int(digits[1]), 10 ** len(digits[1])) if digits else Fraction(0)
            return datetime.fromisoformat(text), finer
        if isinstance(value, np.datetime64):
            whole = value.astype("datetime64[us]")
            rest = int((value - whole).astype("timedelta64[ns]").astype(np.int64))
            return self._time(whole.item())[0] + timedelta(microseconds=rest // 1000), Fraction(rest % 1000, 1000)
        if isinstance(value, datetime):
            # pandas' own class has another range and precision
            at = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
            return at, Fraction(int(getattr(value, "nanosecond", 0)), 1000)
        if isinstance(value, date):
            at = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - whether it needs a zone is the caller's
            return at, Fraction(0)
        raise self._mismatch(value, "that is no time", _examples(self.kind))

    def _number(self, value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            raise self._mismatch(value, "that is not a number", _examples(self.kind))
        try:
            # a float counts as the decimal that it prints
            return Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation as error:
            raise self._mismatch(value, "that is not a number", _examples(self.kind)) from error

    def _endless(self, number: Decimal) -> _Place:
        if number.is_nan():
            raise self._mismatch(float("nan"), "NaN is no value of it", "write None for null")
        low, high = _ends(self.kind)
        return _Place(high, None) if number > 0 else _Place(None, low)


_BEYOND_MICROSECONDS = re.compile(r"[.,]\d{6}(\d+)")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - of wall clocks
_DAY_MS, _DAY_US = 86_400_000, 86_400_000_000
_TICKS_A_MICROSECOND = {"s": Fraction(1, 10**6), "ms": Fraction(1, 1000), "us": Fraction(1), "ns": Fraction(1000)}
_MOST_DIGITS = 100
"""More digits than any type has; far larger powers of ten would fill the memory."""


def _microseconds(at: datetime) -> Fraction:
    """Time since 1970, of a wall clock or an instant; beyond the calendar's range where an offset leads there."""
    passed = at.replace(tzinfo=None) - _EPOCH - (at.utcoffset() or timedelta())
    return Fraction(passed // timedelta(microseconds=1))


def _limits(kind: pa.DataType) -> tuple[int, int]:
    bits = kind.bit_width
    return (0, 2**bits - 1) if pat.is_unsigned_integer(kind) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _ends(kind: pa.DataType) -> tuple[pa.Scalar, pa.Scalar]:
    if pat.is_integer(kind):
        low, high = _limits(kind)
        return pa.scalar(low, kind), pa.scalar(high, kind)
    most = Decimal(10) ** (kind.precision - kind.scale) - Decimal(1).scaleb(-kind.scale)
    return pa.scalar(-most, kind), pa.scalar(most, kind)


def _next(value: float, kind: pa.DataType, towards: float) -> float:
    width = np.float32 if pat.is_float32(kind) else np.float64
    return float(np.nextafter(width(value), width(towards)))


def _examples(kind: pa.DataType) -> str:
    for applies, example in _EXAMPLES:
        if applies(kind):
            return f"write {example}"
    return f"write a value of {kind}"


_EXAMPLES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pat.is_boolean, "True or False"),
    (pat.is_integer, "a whole number, such as 7"),
    (pat.is_floating, "a number, such as 1.5"),
    (pat.is_decimal, "a number, such as Decimal('1.50')"),
    (pat.is_date, "a date, such as 2013-07-04"),
    (lambda kind: pat.is_timestamp(kind) and kind.tz is not None, "an instant, such as 2013-07-04T12:00:00+00:00"),
    (pat.is_timestamp, "a time, such as 2013-07-04T12:00:00"),
)

_PLACES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[_Column, Any], _Place]], ...] = (
    (pat.is_null, lambda *_: _Place(None, None)),
    (pat.is_boolean, _Column.bool_),
    (lambda kind: pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind), _Column.text),
    (lambda kind: pat.is_binary(kind) or pat.is_large_binary(kind), _Column.bytes_),
    (pat.is_integer, _Column.integer),
    (pat.is_floating, _Column.floating),
    (pat.is_decimal, _Column.decimal),
    (pat.is_date, _Column.day),
    (pat.is_timestamp, _Column.time),
)
