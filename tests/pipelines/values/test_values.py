"""Each value is stored exactly as it came, or its cell is named: judged by an oracle of fractions."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierlake.pipelines.values import TextTypes, fit, meets, wider
from tierlake.pipelines.values.parts import Unfit
from tierlake.pipelines.values.texts import AWARE, way_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WALL, INSTANT = pa.timestamp("us"), pa.timestamp("us", "UTC")
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
DECIMALS = [
    pa.decimal32(7, 3),
    pa.decimal64(18, 0),
    pa.decimal128(10, 2),
    pa.decimal128(38, 20),
    pa.decimal128(12, -3),
    pa.decimal256(60, 30),
    pa.decimal256(76, 70),
    pa.decimal128(38, 0),
]
NO_DICTIONARY = [*DECIMALS[:2], pa.binary_view(), pa.string_view()]  # Arrow cannot make one
DATES = [pa.date32(), pa.date64()]
ZONES = [None, "UTC", "America/New_York"]
TIMES = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in ZONES]
BYTES = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)]
STRINGS = [pa.string(), pa.large_string(), pa.string_view()]
FLAT = [pa.bool_(), *INTEGERS, *FLOATS, *DECIMALS, *DATES, *TIMES, *BYTES, *STRINGS]
STORED = [
    pa.bool_(),
    *INTEGERS[:4],
    pa.float32(),
    pa.float64(),
    pa.decimal128(10, 2),
    pa.decimal128(38, 10),
    pa.decimal128(38, 0),
    pa.date32(),
    WALL,
    INSTANT,
    pa.binary(),
    pa.string(),
]
PAIRS = [(source, kind) for source in FLAT for kind in STORED if meets(source, kind)]
HARD_INTEGERS = [
    sign * ((1 << bits) + off) for bits in (0, 7, 8, 15, 24, 31, 53, 63) for off in (-1, 0, 1) for sign in (1, -1)
]
HARD_FLOATS = [
    *(0.1, 0.126, 1e300, 16777217.0, 2.0**53, 2.0**63, -(2.0**63), 2.0**64),
    *(float("nan"), float("inf"), -float("inf"), -0.0, 5e-324),
]
DAY_TICKS = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def wall(*parts: int) -> datetime:
    return datetime(*parts)  # noqa: DTZ001 - a wall clock time


def int_range(kind: pa.DataType) -> tuple[int, int]:
    if pat.is_unsigned_integer(kind):
        return 0, 2**kind.bit_width - 1
    return -(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1


def whole(least: int, greatest: int, *steps: int) -> st.SearchStrategy[int]:
    hard = [value for value in HARD_INTEGERS if least <= value <= greatest]
    ways = [
        st.integers(least, greatest),
        st.sampled_from([least, greatest, *hard]),
        st.integers(max(least, -300), min(greatest, 300)),
    ]
    ways += [
        st.integers(-20_000, 20_000).map(lambda count, step=step: count * step)
        for step in steps
        if 20_000 * step <= greatest
    ]
    return st.one_of(ways)


def cells_of(kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
    """Arrays of the type: their memory is written as integers where Python's own values end too early."""

    def lists(values: st.SearchStrategy, make) -> st.SearchStrategy[pa.Array]:
        few = st.lists(st.none() | values, max_size=6)
        # long runs of the same cells, so that halves and dictionaries come into play
        return st.tuples(few, st.integers(1, 30)).map(lambda drawn: make(drawn[0] * drawn[1]))

    if pat.is_integer(kind):
        return lists(whole(*int_range(kind)), lambda values: pa.array(values, kind))
    if pat.is_floating(kind):
        hard = (
            st.sampled_from(HARD_FLOATS)
            | whole(-(2**64), 2**64).map(float)
            | st.integers(-9999, 9999).map(lambda n: n / 100)
        )
        return lists(st.floats() | hard, lambda values: pa.array(values, pa.float64()).cast(kind, safe=False))
    if pat.is_decimal(kind):
        limit = 10**kind.precision - 1
        unscaled = whole(-limit, limit) | st.integers(-99, 99).map(
            lambda n: min(n * 10 ** max(kind.scale, 0), limit, key=abs)
        )
        return lists(unscaled.map(lambda n: Decimal(f"{n}e{-kind.scale}")), lambda values: pa.array(values, kind))
    if pat.is_date32(kind):
        return lists(whole(-(2**31), 2**31 - 1), lambda values: pa.array(values, pa.int32()).view(kind))
    if pat.is_date64(kind) or pat.is_timestamp(kind):
        steps = [DAY_TICKS["ms"]] if pat.is_date64(kind) else [1_000, DAY_TICKS[kind.unit]]
        return lists(whole(-(2**63), 2**63 - 1, *steps), lambda values: pa.array(values, pa.int64()).view(kind))
    if pat.is_boolean(kind):
        return lists(st.booleans(), lambda values: pa.array(values, kind))
    if kind in BYTES:
        return lists(st.binary(min_size=2, max_size=2), lambda values: pa.array(values, kind))
    return lists(st.text(st.characters(exclude_categories=["Cs"])), lambda values: pa.array(values, kind))


def chunked(array: pa.Array, cuts: list[int]) -> pa.ChunkedArray:
    edges = [0, *sorted(cut % (len(array) + 1) for cut in cuts), len(array)]
    return pa.chunked_array([array[a:b] for a, b in pairwise(edges)], array.type)


def exact(scalar: pa.Scalar) -> object:
    """What a scalar means, in values that compare exactly."""
    kind = scalar.type
    if pat.is_dictionary(kind):
        return exact(scalar.value) if scalar.is_valid else None
    if not scalar.is_valid:
        return None
    if pat.is_timestamp(kind):
        return Fraction(scalar.value, {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit])
    if pat.is_date(kind):
        return Fraction(scalar.value * 86_400) if pat.is_date32(kind) else Fraction(scalar.value, 1000)
    if pat.is_map(kind):
        return [(exact(pair["key"]), exact(pair["value"])) for pair in scalar.values]
    if pat.is_struct(kind):
        return {name: exact(scalar[name]) for name in scalar}
    if hasattr(scalar, "values"):
        return [exact(element) for element in scalar.values]
    value = scalar.as_py()
    if isinstance(value, float):
        return Fraction(value) if np.isfinite(value) else str(value)
    return value if isinstance(value, bool | str | bytes) else Fraction(value)


def shortest(value: Fraction, kind: pa.DataType) -> Fraction:
    """The decimal that a floating-point number is written as."""
    return Fraction(repr(float(value)) if kind.bit_width == 64 else str(np.float32(float(value))))


def nearest(value: Fraction, kind: pa.DataType) -> Fraction | str:
    try:
        number = float(value)
        return Fraction(number if kind.bit_width == 64 else struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return "inf"


def due(value: object, source: pa.DataType, kind: pa.DataType) -> tuple[object] | None:
    """The stored value in a tuple, or None where the cell does not fit."""
    if isinstance(value, str) and pat.is_floating(source):
        return (value,) if pat.is_floating(kind) else None
    if not isinstance(value, Fraction):
        return (value,)
    if pat.is_integer(kind):
        least, greatest = int_range(kind)
        return (value,) if value.denominator == 1 and least <= value <= greatest else None
    if pat.is_floating(kind):
        stored = nearest(value, kind)
        if stored == value:
            return (stored,)
        decimal = pat.is_decimal(source) and isinstance(stored, Fraction) and shortest(stored, kind) == value
        return (stored,) if decimal else None
    if pat.is_decimal(kind):
        number = shortest(value, source) if pat.is_floating(source) else value
        unscaled = number * 10**kind.scale
        return (number,) if unscaled.denominator == 1 and abs(unscaled) < 10**kind.precision else None
    ticks = value / 86_400 if pat.is_date(kind) else value * 10**6
    bits = kind.bit_width - 1
    return (value,) if ticks.denominator == 1 and -(2**bits) <= ticks < 2**bits else None


def check(column: pa.ChunkedArray, kind: pa.DataType, expected: list[tuple[object] | None]) -> None:
    result = fit(column, kind)
    result.values.validate(full=True)
    assert result.values.type == kind
    assert len(result.values) == len(column)
    reasons = [None] * len(column) if result.reasons is None else result.reasons.to_pylist()
    assert result.reasons is None or any(reasons)
    got = [None if reason else (exact(value),) for value, reason in zip(result.values, reasons, strict=True)]
    assert got == expected
    assert not any(value.is_valid for value, reason in zip(result.values, reasons, strict=True) if reason)


@pytest.mark.parametrize(("source", "kind"), PAIRS, ids=str)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_cell_is_stored_exactly_or_has_a_reason(source: pa.DataType, kind: pa.DataType, data: st.DataObject) -> None:
    if source in STRINGS and not pat.is_string(kind):
        return  # texts of dates, times and decimals: below
    cells = data.draw(cells_of(source))
    column = chunked(cells, data.draw(st.lists(st.integers(0, 1000), max_size=3)))
    if source not in NO_DICTIONARY and data.draw(st.booleans()):
        column = pa.chunked_array(
            [chunk.dictionary_encode() for chunk in column.chunks], pa.dictionary(pa.int32(), source)
        )
    expected = [(None,) if (value := exact(cell)) is None else due(value, source, kind) for cell in cells]
    check(column, kind, expected)


def all_due(values: list, source: pa.DataType, kind: pa.DataType) -> bool:
    return all(value is None or due(value, source, kind) for value in values)


LISTS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]


def in_layout(lists: pa.ListArray, listing) -> pa.Array:
    if listing in (pa.list_, pa.large_list):
        return lists.cast(listing(lists.type.value_type))
    # a view's rows may lie in any order: Arrow cannot cast to one
    made, width = (pa.ListViewArray, pa.int32()) if listing is pa.list_view else (pa.LargeListViewArray, pa.int64())
    starts = lists.offsets[:-1].cast(width)
    lengths = pc.list_value_length(lists).fill_null(0).cast(width)
    return made.from_arrays(starts, lengths, lists.values, mask=lists.is_null())


@pytest.mark.slow
@pytest.mark.parametrize("listing", LISTS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_list_fits_where_all_of_its_elements_do(listing, data: st.DataObject) -> None:
    source, kind = data.draw(st.sampled_from([pair for pair in PAIRS if pair[0] not in STRINGS]))
    elements = data.draw(cells_of(source))
    cut = data.draw(st.lists(st.none() | st.integers(0, 3), max_size=20))
    rows, start = [], 0
    for length in cut:
        rows.append(None if length is None else elements[start : start + length])
        start += length or 0
    lengths = [None if row is None else len(row) for row in rows]
    offsets = pa.array(np.cumsum([0, *[length or 0 for length in lengths]]), pa.int32())
    array = pa.ListArray.from_arrays(
        offsets, elements, mask=pa.array([length is None for length in lengths], pa.bool_())
    )
    array = in_layout(array, listing)
    skip = data.draw(st.integers(0, len(rows)))
    meaning = [None if row is None else [exact(cell) for cell in row] for row in rows]
    expected = [
        (None,)
        if row is None
        else ([None if value is None else due(value, source, kind)[0] for value in row],)
        if all_due(row, source, kind)
        else None
        for row in meaning
    ]
    check(pa.chunked_array([array[skip:], array[:skip]]), pa.list_(kind), expected[skip:] + expected[:skip])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_structs_and_maps_fit_where_all_of_their_parts_do(data: st.DataObject) -> None:
    source, kind = data.draw(st.sampled_from([pair for pair in PAIRS if pair[0] not in STRINGS]))
    cells = data.draw(cells_of(source))
    gone = pa.array(data.draw(st.lists(st.booleans(), min_size=len(cells), max_size=len(cells))), pa.bool_())
    skip = data.draw(st.integers(0, len(cells)))
    meaning = [exact(cell) for cell in cells]
    stored = [(None,) if value is None else due(value, source, kind) for value in meaning]
    structs = pa.StructArray.from_arrays([cells], ["x"], mask=gone)
    nulls = gone.to_pylist()
    expected = [
        (None,) if null else None if value is None else ({"z": None, "x": value[0]},)
        for null, value in zip(nulls, stored, strict=True)
    ]
    check(pa.chunked_array([structs[skip:]]), pa.struct([("z", pa.string()), ("x", kind)]), expected[skip:])
    offsets = pa.array(range(len(cells) + 1), pa.int32())
    maps = pa.MapArray.from_arrays(offsets, pa.array(["k"] * len(cells), pa.string()), cells, mask=gone)
    expected = [
        (None,) if null else None if value is None else ([("k", value[0])],)
        for null, value in zip(nulls, stored, strict=True)
    ]
    check(pa.chunked_array([maps[skip:]]), pa.map_(pa.string(), kind), expected[skip:])


def test_a_map_with_a_key_that_does_not_fit_is_a_bad_row() -> None:
    maps = pa.array([[(1, "a")], [(300, "b")], None, []], pa.map_(pa.int64(), pa.string()))
    result = fit(pa.chunked_array([maps]), pa.map_(pa.int8(), pa.string()))
    assert result.values.to_pylist() == [[(1, "a")], None, None, []]
    assert result.reasons.to_pylist() == [None, "has a key that is out of range for int8", None, None]


def test_a_struct_of_nulls_is_no_null() -> None:
    kind = pa.struct([("x", pa.int8()), ("z", pa.string())])
    result = fit(pa.chunked_array([pa.array([{"x": None}, None], pa.struct([("x", pa.int64())]))]), kind)
    assert result.values.to_pylist() == [{"x": None, "z": None}, None]


@pytest.mark.parametrize("kind", [pa.list_(pa.int8()), pa.struct([("x", pa.int8())]), pa.map_(pa.string(), pa.int8())])
def test_no_chunks_and_nulls_alone_are_columns(kind: pa.DataType) -> None:
    assert fit(pa.chunked_array([], pa.null()), kind).values.num_chunks == 0
    assert fit(pa.chunked_array([pa.nulls(2)]), kind).values.to_pylist() == [None, None]
    assert fit(pa.chunked_array([pa.nulls(0)]), kind).values.to_pylist() == []


def test_a_field_that_the_stored_type_lacks_is_refused() -> None:
    rows = pa.chunked_array([pa.array([{"x": 1, "q": 2}])])
    with pytest.raises(ValueError, match="does not meet"):
        fit(rows, pa.struct([("x", pa.int64())]))


def test_a_null_where_none_is_allowed_is_a_bad_row() -> None:
    kind = pa.struct([pa.field("x", pa.int64(), nullable=False)])
    result = fit(pa.chunked_array([pa.array([{"x": 1}, {"x": None}, None])]), kind)
    assert result.reasons.to_pylist() == [None, "has a field x that is null", None]


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        (pa.array([7, 300, None]), pa.int8(), [7, None, None]),
        (pa.array(["a", "b", None], pa.string_view()), pa.string(), ["a", "b", None]),
        (pa.array([[7], [300], None]), pa.list_(pa.int8()), [[7], None, None]),
    ],
)
def test_run_ends_are_values(values: pa.Array, kind: pa.DataType, stored: list) -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 5], pa.int32()), values)
    rows = [stored[0], stored[0], stored[1], stored[2], stored[2]]
    for start in range(5):
        assert fit(pa.chunked_array([runs[start:4]]), kind).values.to_pylist() == rows[start:4]


# --- text -------------------------------------------------------------------------------------------------------------


def text(cells: list[str | None], kind: pa.DataType, zone: str | None = None) -> tuple[list, list]:
    result = fit(pa.chunked_array([pa.array(cells, pa.string())]), kind, zone=zone, from_text=True)
    reasons = [None] * len(cells) if result.reasons is None else result.reasons.to_pylist()
    return result.values.to_pylist(), reasons


@pytest.mark.parametrize(
    ("cell", "kind", "value"),
    [
        ("+5", pa.int64(), 5),
        ("007", pa.int64(), 7),
        (" 5\t", pa.int8(), 5),
        ("-9223372036854775808", pa.int64(), -(2**63)),
        ("1e23", pa.float64(), 1e23),
        ("9007199254740992", pa.float64(), 2.0**53),
        ("-inf", pa.float64(), -float("inf")),
        ("0.1", pa.float32(), struct.unpack("f", struct.pack("f", 0.1))[0]),
        ("0e0", pa.float64(), 0.0),
        ("1E2", pa.decimal128(10, 2), Decimal(100)),
        ("1." + "0" * 60, pa.decimal128(10, 2), Decimal(1)),
        ("YES", pa.bool_(), True),
        ("0", pa.bool_(), False),
        ("0001-01-01", pa.date32(), date(1, 1, 1)),
        ("9999-12-31T23:59:59.999999", WALL, wall(9999, 12, 31, 23, 59, 59, 999_999)),
        ("0001-01-01 00:00", WALL, wall(1, 1, 1)),
        ("2020-02-29", WALL, wall(2020, 2, 29)),
        ("2020-02-29T01:02:03.123456000", WALL, wall(2020, 2, 29, 1, 2, 3, 123456)),
        ("2020-02-29t01:02:03z", INSTANT, datetime(2020, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("2020-02-29T01:02+0130", INSTANT, datetime(2020, 2, 28, 23, 32, tzinfo=UTC)),
        ("2020-02-29T01-05", INSTANT, datetime(2020, 2, 29, 6, tzinfo=UTC)),
        (" as it is ", pa.string(), " as it is "),
        ("é", pa.binary(), b"\xc3\xa9"),
        ("[1, null]", pa.list_(pa.int8()), [1, None]),
        (
            '{"t": "2020-01-01", "d": 0.10}',
            pa.struct([("t", WALL), ("d", pa.decimal128(4, 2))]),
            {"t": wall(2020, 1, 1), "d": Decimal("0.10")},
        ),
        ('{"a": 2}', pa.map_(pa.string(), pa.float64()), [("a", 2.0)]),
        ('[{"key": "a", "value": 2}]', pa.map_(pa.string(), pa.float64()), [("a", 2.0)]),
    ],
)
def test_a_text_that_fits(cell: str, kind: pa.DataType, value: object) -> None:
    assert text([cell, None], kind) == ([value, None], [None, None])
    assert text([cell, "?"], kind)[0][0] == value


@pytest.mark.parametrize(
    ("cell", "kind", "reason"),
    [
        ("5.0", pa.int64(), "is not a whole number"),
        ("0x1F", pa.int64(), "is not a number"),
        ("1_000", pa.int64(), "is not a number"),
        ("", pa.int64(), "is not a number"),
        ("٣", pa.int64(), "is not a number"),
        ("300", pa.int8(), "is out of range for int8"),
        ("9" * 5000, pa.int64(), "is out of range for int64"),
        ("9007199254740993", pa.float64(), "would lose digits as double"),
        ("9007199254740993.0", pa.float64(), "would lose digits as double"),
        ("1e400", pa.float64(), "is out of range for double"),
        ("1e-400", pa.float64(), "is out of range for double"),
        ("nan(5)", pa.float64(), "is not a number"),
        ("1e300", pa.float32(), "is out of range for float"),
        ("16777217.0", pa.float32(), "would lose digits as float"),
        ("0.126", pa.decimal128(10, 2), "has more digits after the point than decimal(10, 2)"),
        ("123456789", pa.decimal128(10, 2), "is out of range for decimal(10, 2)"),
        ("1e99999999999999999999", pa.decimal128(10, 2), "is out of range for decimal(10, 2)"),
        ("NA", pa.decimal128(10, 2), "is not a number"),
        ("maybe", pa.bool_(), "is neither true nor false"),
        ("2021-02-29", pa.date32(), "is not a date of the calendar"),
        ("2021-02-28T00:00", pa.date32(), "is not a date"),
        ("0000-01-01 00:00", WALL, "is not a date of the calendar"),
        ("2020-01-01T00:00:60", WALL, "is not a time of the clock"),
        ("2020-01-01T24:00", WALL, "is not a time of the clock"),
        ("2020-01-01T00:00Z", WALL, "has an offset, and the column holds wall clock times"),
        ("2020-01-01T00:00:00.1234567", WALL, "has digits finer than a microsecond"),
        ("soon", INSTANT, "is not a time"),
        ("2020-01-01T00:00", INSTANT, "has no offset, and the dataset has no time zone"),
        ("2020-01-01Z", INSTANT, "is not a time"),
        ('{"x": 1, "x": 2}', pa.struct([("x", pa.int8())]), "has an object that names a field twice"),
        ('{"y": 1}', pa.struct([("x", pa.int8())]), "has a field that the column lacks"),
        ("[300]", pa.list_(pa.int8()), "has a part that is out of range for int8"),
        ("[", pa.list_(pa.int8()), "is not JSON"),
        ('["1"]', pa.list_(pa.bool_()), None),
    ],
)
def test_a_text_that_does_not_fit(cell: str, kind: pa.DataType, reason: str | None) -> None:
    assert text([cell, None], kind)[1] == [reason, None]


ALPHABET = "0123456789+-.eExXnaifNIty:TZ/_ (,\0"
HOSTILE = st.one_of(
    st.text(ALPHABET, max_size=12),
    st.from_regex(r"[+-]?[0-9]{0,22}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9](:[0-6][0-9](:[0-6][0-9](\.[0-9]{0,9})?)?)?"
        r"(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?",
        fullmatch=True,
    ),
    st.sampled_from(["nan", "-NaN", "inf", "infinity", "Infinit", "true", "FALSE", "t", "0x1F", "1e", "e1", "."]),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORED[:-2], ids=str)
@settings(max_examples=300, deadline=None)
@given(st.lists(HOSTILE, max_size=20))
def test_what_arrow_reads_is_what_the_strict_reader_reads(kind: pa.DataType, cells: list[str]) -> None:
    way = AWARE if kind == INSTANT else way_of(kind)
    for one in cells:
        try:
            quick = way.fast(pa.array([one]))
        except pa.ArrowInvalid:
            continue
        try:
            slow = way.cell(one)
        except Unfit as unfit:
            raise AssertionError(f"Arrow reads {one!r} as {quick[0]!r}, which {unfit}") from unfit
        assert exact(quick[0]) == exact(pa.scalar(slow, kind))


@pytest.mark.parametrize("kind", STORED, ids=str)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | HOSTILE, max_size=40), st.lists(st.integers(0, 100), max_size=3), st.integers(1, 10))
def test_a_cell_means_the_same_whoever_stands_beside_it(
    kind: pa.DataType, cells: list[str | None], cuts: list[int], times: int
) -> None:
    column = chunked(pa.array(cells * times, pa.string()), cuts)
    result = fit(column, kind, zone="America/New_York", from_text=True)
    reasons = [None] * len(column) if result.reasons is None else result.reasons.to_pylist()
    for at, cell in enumerate(cells):
        alone = fit(pa.chunked_array([[cell]], pa.string()), kind, zone="America/New_York", from_text=True)
        assert exact(alone.values[0]) == exact(result.values[at])
        assert (None if alone.reasons is None else alone.reasons[0].as_py()) == reasons[at]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.datetimes()
            | st.datetimes(wall(2024, 1, 1), wall(2026, 1, 1))
            | st.datetimes(wall(2038, 1, 1), wall(2200, 1, 1)),
            st.sampled_from([None, "Z", "+01:00", "-0530", "+14"]),
        ),
        max_size=40,
    ),
    st.sampled_from(
        ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "UTC"]
    ),
)
def test_each_text_time_has_its_own_offset_or_the_zones(cells: list[tuple[datetime, str | None]], zone: str) -> None:
    texts = [clock.isoformat() + (offset or "") for clock, offset in cells]
    result = fit(pa.chunked_array([pa.array(texts, pa.string())]), INSTANT, zone=zone, from_text=True)
    reasons = [None] * len(cells) if result.reasons is None else result.reasons.to_pylist()
    for (clock, offset), value, reason in zip(cells, result.values, reasons, strict=True):
        if offset is None:
            moment = clock.replace(tzinfo=ZoneInfo(zone))
            ahead = moment.utcoffset()
            skipped = ahead < moment.replace(fold=1).utcoffset()
            assert (reason == f"does not exist in {zone} (clock change)") == skipped
        else:
            ahead = {
                "Z": timedelta(),
                "+01:00": timedelta(hours=1),
                "-0530": -timedelta(hours=5, minutes=30),
                "+14": timedelta(hours=14),
            }[offset]
            skipped = False
            assert reason is None
        if not skipped:
            micros = (clock.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
            assert value.value == micros - ahead // timedelta(microseconds=1)


@pytest.mark.parametrize("bad", [1, 7, 100, 600])
@pytest.mark.parametrize(
    ("kind", "good", "odd"),
    [
        (pa.int64(), "17", "+17"),
        (pa.int8(), "17", "170"),
        (pa.float64(), "1.5", "one"),
        (pa.decimal128(5, 2), "1.55", "1.555"),
        (pa.date32(), "2020-02-28", "2020-02-30"),
        (WALL, "2020-02-28T10:00", "2020-02-28T10:00:61"),
        (INSTANT, "2020-02-28T10:00Z", "2020-02-28T10:00"),
        (pa.list_(pa.int64()), "[1]", "[x]"),
    ],
    ids=str,
)
def test_odd_cells_among_many_stay_in_their_rows(kind: pa.DataType, good: str, odd: str, bad: int) -> None:
    cells = [odd if row * 13 % 997 < bad else good for row in range(2000)]
    expected = dict(zip([good, odd], zip(*text([good, odd], kind, "UTC"), strict=True), strict=True))
    assert list(zip(*text(cells, kind, "UTC"), strict=True)) == [expected[cell] for cell in cells]
    # no two alike, so that no dictionary helps
    padded = [cell + " " * row for row, cell in enumerate(cells)]
    assert list(zip(*text(padded, kind, "UTC"), strict=True)) == [expected[cell] for cell in cells]


@pytest.mark.parametrize("bad", [1, 7, 100, 600, 997])
def test_odd_decimals_among_many_stay_in_their_rows(bad: int) -> None:
    numbers = [Decimal(row) + (Decimal("0.5") if row * 13 % 997 < bad else 0) for row in range(2000)]
    column = pa.chunked_array([pa.array(numbers, pa.decimal128(20, 2))])
    result = fit(column, pa.int16())
    assert result.values.to_pylist() == [int(number) if number % 1 == 0 else None for number in numbers]
    assert result.reasons.is_valid().to_pylist() == [number % 1 != 0 for number in numbers]


def test_the_nights_of_new_york() -> None:
    values, reasons = text(
        ["2013-07-04 23:30:00", "2013-07-05T01:00:00Z", "2025-03-09 02:30", "2025-11-02 01:30", "2050-07-01 00:00"],
        INSTANT,
        zone="America/New_York",
    )
    assert [None if value is None else value.strftime("%m-%dT%H:%M") for value in values] == [
        "07-05T03:30",
        "07-05T01:00",
        None,
        "11-02T05:30",
        "07-01T04:00",
    ]
    assert reasons == [None, None, "does not exist in America/New_York (clock change)", None, None]


# --- the type of a column of text -------------------------------------------------------------------------------------


def kind_of(*batches: list[str | None]) -> pa.DataType | None:
    types = TextTypes()
    for batch in batches:
        types.add(pa.array(batch, pa.string()))
    return types.kind


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([None], None),
        (["true", "False"], pa.bool_()),
        (["1", "0"], pa.int64()),
        (["1", "2.5", "-0"], pa.float64()),
        (["02134", "1"], pa.string()),
        (["+49", "1"], pa.string()),
        (["NA", "Namibia"], pa.string()),
        (["18446744073709551616"], pa.string()),
        (["9007199254740993"], pa.int64()),
        (["9007199254740993", "1.5"], pa.string()),
        (["9007199254740993.0"], pa.string()),
        (["nan", "1.5"], pa.string()),
        (["1e400"], pa.string()),
        ([""], pa.string()),
        (["2020-02-30"], pa.string()),
        (["2020-02-29"], pa.date32()),
        (["2020-02-29", "2020-02-29 10:00"], WALL),
        (["2020-02-29T10:00Z", "2020-02-29T10:00:00.5+01:00"], INSTANT),
        (["2020-02-29T10:00Z", "2020-02-29T10:00"], pa.string()),
        (["true", "1"], pa.string()),
        ([" 1", "2 "], pa.int64()),
        (["1", "-0"], pa.float64()),
        (["1", "00"], pa.string()),
        (["1", "-01"], pa.string()),
    ],
)
def test_the_narrowest_type_of_all_texts(cells: list[str | None], kind: pa.DataType | None) -> None:
    assert kind_of(cells) == kind
    assert kind_of(*[[cell] for cell in reversed(cells)]) == kind
    assert kind_of(cells, cells, cells) == kind


LIKELY_KINDS = [
    HOSTILE,
    st.integers(-(2**64), 2**64).map(str),
    st.floats().map(repr),
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.booleans().map(str),
]
LIKELY = st.one_of(LIKELY_KINDS)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.one_of(*(st.lists(st.none() | one, max_size=8) for one in [LIKELY, *LIKELY_KINDS])), st.data())
def test_neither_order_nor_batches_change_the_type_and_every_text_fits_it(
    cells: list[str | None], data: st.DataObject
) -> None:
    kind = kind_of(cells)
    shuffled = data.draw(st.permutations(cells))
    cut = data.draw(st.integers(0, len(cells)))
    assert kind_of(shuffled[:cut], [], shuffled[cut:]) == kind
    if kind is not None:
        values, reasons = text(cells, kind) if kind != INSTANT else ([], text_reasons(cells))
        assert not any(reasons)
        if kind == pa.int64():
            assert [None if value is None else str(value) for value in values] == [
                cell and cell.strip() for cell in cells
            ]


def text_reasons(cells: list[str | None]) -> list[str | None]:
    result = fit(pa.chunked_array([pa.array(cells, pa.string())]), INSTANT, from_text=True)
    return [] if result.reasons is None else result.reasons.to_pylist()


def test_what_spoiled_a_better_type() -> None:
    types = TextTypes()
    types.add(pa.array([None, *map(str, range(50)), "n/a"]), first_line=2)
    types.add(pa.array(["7", "-"]), first_line=100)
    assert types.kind == pa.string()
    assert types.spoilers.kind == pa.int64()
    assert [(spoiler.text, spoiler.line) for spoiler in types.spoilers.texts] == [("n/a", 53), ("-", 101)]
    types.add(pa.array(["word"] * 50))
    assert types.spoilers is None


def test_nothing_spoiled_what_is_text_or_what_is_not() -> None:
    types = TextTypes()
    types.add(pa.array(["a", "1", "2"]))
    assert types.spoilers is None
    types = TextTypes()
    types.add(pa.array(["1", "2"]))
    assert types.spoilers is None


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float64(), None),
        (pa.int32(), pa.float64(), pa.float64()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.int16(), pa.float32(), pa.float32()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.null(), pa.int8(), pa.int8()),
        (pa.date32(), WALL, WALL),
        (pa.date32(), INSTANT, None),
        (WALL, INSTANT, None),
        (pa.decimal128(10, 2), pa.decimal128(12, 4), pa.decimal128(12, 4)),
        (pa.decimal128(10, 2), pa.int32(), pa.decimal128(12, 2)),
        (pa.decimal128(38, 2), pa.decimal128(38, 30), None),
        (pa.decimal128(10, 2), pa.float64(), None),
        (pa.string(), pa.int64(), None),
        (pa.bool_(), pa.int8(), None),
        (pa.list_(pa.null()), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (
            pa.struct([("x", pa.int32()), ("y", pa.string())]),
            pa.struct([("z", pa.bool_()), ("x", pa.int64())]),
            pa.struct([("x", pa.int64()), ("y", pa.string()), ("z", pa.bool_())]),
        ),
        (pa.struct([("x", pa.int32())]), pa.struct([("x", pa.string())]), None),
        (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int16()), pa.map_(pa.string(), pa.int16())),
    ],
)
def test_the_type_that_holds_both(one: pa.DataType, other: pa.DataType, both: pa.DataType | None) -> None:
    assert wider(one, other) == both
    if not pat.is_struct(one):
        assert wider(other, one) == both


@pytest.mark.parametrize("one", FLAT, ids=str)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_wider_type_holds_every_value_of_both(one: pa.DataType, data: st.DataObject) -> None:
    other = data.draw(st.sampled_from([kind for kind in FLAT if wider(one, kind) is not None]))
    both = wider(one, other)
    if pat.is_temporal(one) or both not in STORED:
        return  # nanoseconds and far dates exceed what tables store
    for kind in (one, other):
        assert meets(kind, both)
        assert fit(pa.chunked_array([data.draw(cells_of(kind))], kind), both).reasons is None


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (pa.string(), pa.int64()),
        (pa.int64(), pa.bool_()),
        (pa.bool_(), pa.int64()),
        (WALL, INSTANT),
        (INSTANT, pa.date32()),
        (pa.date32(), INSTANT),
        (pa.binary(), pa.string()),
        (WALL, pa.int64()),
        (pa.duration("us"), pa.int64()),
        (pa.time64("us"), WALL),
        (pa.list_(pa.int64()), pa.int64()),
        (pa.struct([("x", pa.int64())]), pa.struct([("y", pa.int64())])),
        (pa.struct([("x", pa.int64()), ("x", pa.int64())]), pa.struct([("x", pa.int64())])),
    ],
)
def test_types_that_never_meet(source: pa.DataType, kind: pa.DataType) -> None:
    assert not meets(source, kind)
    with pytest.raises(ValueError, match="does not meet"):
        fit(pa.chunked_array([], source), kind)


def test_typed_sources_carry_times_and_decimals_as_text() -> None:
    column = pa.chunked_array([pa.array(["1.10", "x"], pa.large_string())])
    assert fit(column, pa.decimal128(4, 2)).values.to_pylist() == [Decimal("1.10"), None]
    nested = pa.chunked_array([pa.array([["2020-01-01"]])])
    assert fit(nested, pa.list_(pa.date32())).values.to_pylist() == [[date(2020, 1, 1)]]
