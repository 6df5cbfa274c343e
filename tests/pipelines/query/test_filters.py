"""Filters as lists mean what pandas means by them; what makes no sense is refused by name."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tierlake.pipelines.errors import SchemaMismatch, SpecError
from tierlake.pipelines.query.filters import expression_of

DAY = date(2013, 7, 4)
ROWS = pa.table(
    {
        "id": pa.array([0, 1, 2, 3]),
        "n": pa.array([1, 2, None, -3], pa.int64()),
        "i": pa.array([1, 2, None, 100], pa.int8()),
        "u": pa.array([1, 2, None, 2**64 - 1], pa.uint64()),
        "x": pa.array([1.0, math.nan, None, -0.0]),
        "f": pa.array([0.5, 1e10, None, 0.1], pa.float32()),
        "s": ["a", None, "b", ""],
        "b": [True, False, None, True],
        "d": pa.array([DAY, date.max, None, date(2013, 7, 5)]),
        "t": pa.array(
            [
                datetime(2013, 7, 4, tzinfo=UTC),
                None,
                datetime.max.replace(tzinfo=UTC),
                datetime(2013, 7, 5, tzinfo=UTC),
            ],
            pa.timestamp("us", "UTC"),
        ),
        "w": pa.array(
            [datetime(2013, 7, 4), None, datetime(9999, 12, 31), datetime(2013, 7, 5, 12)],  # noqa: DTZ001
            pa.timestamp("us"),
        ),
        "ns": pa.array([1372896000_000000000, None, None, 1372896000_000000001], pa.timestamp("ns")),
        "sec": pa.array([1372896000, None, None, 1372896001], pa.timestamp("s")),
        "d64": pa.array([DAY, None, None, date.max], pa.date64()),
        "p": pa.array([Decimal("1.10"), None, Decimal("99999999.99"), Decimal("0.10")], pa.decimal128(10, 2)),
        "y": [b"a", None, b"", b"b"],
        "c": pa.array(["a", None, "b", "a"]).dictionary_encode(),
        "z": pa.nulls(4),
        "uuid": pa.array([UUID(int=number).bytes if number else None for number in range(4)], pa.uuid()),
        "json": pa.array(["{}", None, "[]", "{}"], pa.json_()),
        "dec32": pa.array([Decimal("1.5"), None, Decimal(2), Decimal(-1)], pa.decimal32(5, 2)),
        "dec64": pa.array([Decimal("1.5"), None, Decimal(2), Decimal(-1)], pa.decimal64(12, 2)),
        "half": pa.array([1.5, None, math.nan, 0.1], pa.float16()),
        "l": pa.array([[1], None, [], [2]]),
        "st": pa.array([{"q": 1}, None, {"q": 2}, {"q": 3}]),
    }
)

CASES = [
    # nulls
    (("s", "==", None), [1]),
    (("s", "=", None), [1]),
    (("s", "!=", None), [0, 2, 3]),
    (("s", "in", [None, "a"]), [0, 1]),
    (("s", "not in", ["a"]), [1, 2, 3]),
    (("s", "not in", [None, "a"]), [2, 3]),
    (("s", "!=", "a"), [2, 3]),
    (("n", "==", pd.NA), [2]),
    (("t", "==", pd.NaT), [1]),
    (("l", "==", None), [1]),
    (("z", "==", None), [0, 1, 2, 3]),
    (("z", "==", 1), []),
    (("z", "!=", 1), []),
    # lists
    (("n", "in", []), []),
    (("n", "not in", []), [0, 1, 2, 3]),
    (("n", "in", np.array([1, 2])), [0, 1]),
    (("n", "in", pd.Series([1, 2])), [0, 1]),
    (("n", "in", pa.array([1, None])), [0, 2]),
    (("n", "in", (1, 2.5, 2**80)), [0]),
    # integers among other numbers
    (("n", ">", 1.5), [1]),
    (("n", ">=", 1.5), [1]),
    (("n", "<", 1.5), [0, 3]),
    (("n", "<=", -2.5), [3]),
    (("n", "==", 1.5), []),
    (("n", "!=", 1.5), [0, 1, 3]),
    (("n", "==", 1.0), [0]),
    (("n", "<", 2**70), [0, 1, 3]),
    (("n", ">", 2**70), []),
    (("n", ">=", -(2**70)), [0, 1, 3]),
    (("n", "<=", math.inf), [0, 1, 3]),
    (("n", ">", math.inf), []),
    (("n", "==", "2"), [1]),
    (("n", "==", Decimal(2)), [1]),
    (("n", "==", np.int32(2)), [1]),
    (("n", "==", pa.scalar(2)), [1]),
    (("i", "<", 1000), [0, 1, 3]),
    (("i", "==", 1000), []),
    (("u", ">", 2**63), [3]),
    (("u", ">", -1), [0, 1, 3]),
    # floating point numbers
    (("x", "==", 1), [0]),
    (("x", "!=", 1.0), [1, 3]),
    (("x", "==", math.nan), []),
    (("x", "in", [math.nan]), [1]),
    (("x", "==", 0), [3]),
    (("x", "in", [0.0]), [3]),
    (("x", ">", "0.5"), [0]),
    (("f", "==", 0.1), []),
    (("f", ">", 0.1), [0, 1, 3]),
    (("f", "==", "0.1"), [3]),
    (("f", "<", 1e300), [0, 1, 3]),
    (("f", ">", 1e300), []),
    (("x", "<", 10**400), [0, 3]),
    (("x", ">", -(10**400)), [0, 3]),
    (("n", "<", "1e999999999"), [0, 1, 3]),
    (("n", ">", "1e-999999999"), [0, 1]),
    # decimals
    (("p", ">", 1), [0, 2]),
    (("p", "==", 0.1), [3]),
    (("p", "==", "1.1"), [0]),
    (("p", "<", 1.105), [0, 3]),
    (("p", "==", 1.105), []),
    (("p", ">", 10**9), []),
    (("p", "<", 10**9), [0, 2, 3]),
    (("p", "<", "1e500"), [0, 2, 3]),
    (("p", ">", "-1e999999999"), [0, 2, 3]),
    (("p", ">", "1e-999999999"), [0, 2, 3]),
    (("p", "in", [1.1, Decimal("0.1")]), [0, 3]),
    (("dec32", "in", [1.5, None, "2.0"]), [0, 1, 2]),
    (("dec64", "not in", [1.5, None, 2.005]), [2, 3]),
    (("dec32", "<", 1.505), [0, 3]),
    (("half", "==", 1.5), [0]),
    (("half", ">", 0.0999), [0, 3]),
    (("half", "in", [1.5, None]), [0, 1]),
    # truth, text, bytes
    (("uuid", "==", UUID(int=2)), [2]),
    (("uuid", "!=", UUID(int=2).bytes), [1, 3]),
    (("uuid", "in", [UUID(int=3), None]), [0, 3]),
    (("uuid", "==", pa.scalar(UUID(int=3).bytes, pa.uuid())), [3]),
    (("json", "==", "{}"), [0, 3]),
    (("json", "!=", None), [0, 2, 3]),
    (("b", "==", False), [1]),
    (("b", "==", "false"), [1]),
    (("b", "in", [True]), [0, 3]),
    (("s", ">", "a"), [2]),
    (("y", "==", "a"), [0]),
    (("y", "==", b"a"), [0]),
    (("c", "==", "a"), [0, 3]),
    (("c", "in", ["b", None]), [1, 2]),
    # times
    (("d", "==", "2013-07-04"), [0]),
    (("d", "==", DAY), [0]),
    (("d", "==", pd.Timestamp("2013-07-04")), [0]),
    (("d", "in", [pd.Timestamp("2013-07-04"), pd.NaT]), [0, 2]),
    (("d", "<=", pd.Timestamp("2013-07-04")), [0]),
    (("d", ">", pd.Timestamp("2013-07-04 12:00")), [1, 3]),
    (("d", "==", np.datetime64("2013-07-04")), [0]),
    (("d", ">", datetime(2013, 7, 4, 5)), [1, 3]),  # noqa: DTZ001
    (("d", "<=", datetime(2013, 7, 4, 5)), [0]),  # noqa: DTZ001
    (("d", "<", datetime(9999, 12, 31, 5)), [0, 1, 3]),  # noqa: DTZ001
    (("t", "==", "2013-07-04T00:00:00Z"), [0]),
    (("t", "in", ["2013-07-04T02:00:00+02:00"]), [0]),
    (("t", ">", datetime(2013, 7, 4, tzinfo=UTC)), [2, 3]),
    (("t", "==", pd.Timestamp("2013-07-04", tz="UTC")), [0]),
    (("w", "==", "2013-07-04"), [0]),
    (("w", "==", DAY), [0]),
    (("w", "==", np.datetime64("2013-07-04", "ns")), [0]),
    (("w", ">", datetime(2013, 7, 4)), [2, 3]),  # noqa: DTZ001
    # times between those of a column, and beyond them
    (("w", ">=", pd.Timestamp("2013-07-04 00:00:00.000000001")), [2, 3]),
    (("w", "<", "2013-07-04T00:00:00.000000001"), [0]),
    (("w", "==", "2013-07-04T00:00:00.000000001"), []),
    (("w", "==", "2013-07-04T00:00:00.000000000"), [0]),
    (("w", "!=", np.datetime64("2013-07-04T00:00:00.000000001")), [0, 2, 3]),
    (("t", ">", "9999-12-31T23:59:59.999999999-12:00"), []),
    (("t", "<=", "9999-12-31T23:59:59.999999999-12:00"), [0, 2, 3]),
    (("ns", "<", "9999-12-31"), [0, 3]),
    (("ns", ">", "0001-01-01"), [0, 3]),
    (("ns", "==", pd.Timestamp("2013-07-04 00:00:00.000000001")), [3]),
    (("ns", "<=", np.datetime64("2013-07-04T00:00:00.000000001")), [0, 3]),
    (("ns", ">", "2013-07-04T00:00:00.0000000005"), [3]),
    (("sec", ">", "2013-07-03T23:59:59.5"), [0, 3]),
    (("sec", "==", "2013-07-04T00:00:00.5"), []),
    (("d64", "==", pd.Timestamp("2013-07-04")), [0]),
    (("d64", ">", "2013-07-04T00:00:01"), [3]),
]


@pytest.mark.parametrize(("condition", "ids"), CASES, ids=[str(case[0])[:60].split(" object at ")[0] for case in CASES])
def test_a_condition_finds(condition, ids):
    assert ROWS.filter(expression_of([condition], ROWS.schema))["id"].to_pylist() == ids


def test_lists_of_lists_are_alternatives():
    both = expression_of([("n", ">", 0), ("s", "==", None)], ROWS.schema)
    assert ROWS.filter(both)["id"].to_pylist() == [1]
    either = expression_of([[("n", "==", 1)], [("n", "<", 0), ("b", "==", True)]], ROWS.schema)
    assert ROWS.filter(either)["id"].to_pylist() == [0, 3]


@pytest.mark.slow
def test_long_lists_and_many_alternatives_are_taken():
    rows = ROWS.select(["id", "n", "d"])
    (many,) = [expression_of([("n", "in", [*range(100_000), None])], rows.schema)]
    assert rows.filter(many)["id"].to_pylist() == [0, 1, 2]
    either = expression_of([[("n", "==", number), ("id", ">=", 0)] for number in range(2000)], rows.schema)
    assert rows.filter(either)["id"].to_pylist() == [0, 1]
    all_of = expression_of([("n", "!=", number) for number in range(2, 2002)], rows.schema)
    assert rows.filter(all_of)["id"].to_pylist() == [0, 3]


def test_times_beyond_python_are_compared_as_arrow_has_them():
    days = pa.array([3_000_000, -800_000, 0], pa.int32()).cast(pa.date32())
    rows = pa.table({"id": [0, 1, 2], "d": days, "t": pa.array([2**62, None, 0]).cast(pa.timestamp("us", "UTC"))})

    def found(*condition):
        return rows.filter(expression_of([condition], rows.schema))["id"].to_pylist()

    assert found("d", "==", rows["d"][0]) == found("d", "in", rows["d"][:1]) == found("d", ">", "9999-12-31") == [0]
    assert found("t", ">=", rows["t"][0]) == found("t", ">", "9999-12-31T00:00:00Z") == [0]
    with pytest.raises(SchemaMismatch, match="that is date32"):
        found("t", "==", rows["d"][0])


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (("n", "==", "x"), "n is int64: that is not a number. write a whole number"),
        (("n", "==", True), "that is not a number"),
        (("n", "==", math.nan), "NaN is no value of it"),
        (("n", "<", None), "null has no order"),
        (("n", "==", [1, 2]), "write \\('n', 'in', "),
        (("n", "in", 1), "that is not a list"),
        (("n", "in", "12"), "that is not a list"),
        (("n", "in", [1, "x"]), "'x'"),
        (("b", "==", 0), "neither true nor false. write True or False"),
        (("b", "==", "maybe"), "write True or False"),
        (("s", "==", 1), "that is not text. write '1'"),
        (("s", "in", [DAY]), "write '2013-07-04'"),
        (("y", "==", 1), "y is binary"),
        (("p", "==", "cheap"), "not a number. write a number, such as Decimal"),
        (("d", "==", "July"), "write a date, such as 2013-07-04"),
        (("d", "==", datetime(2013, 7, 4, tzinfo=UTC)), "write it without an offset: 2013-07-04T00:00:00"),
        (("t", ">", "2013-07-04"), r"no offset. write the offset: 2013-07-04T00:00:00\+00:00"),
        (("t", ">", DAY), "no offset"),
        (("t", ">", datetime(2013, 7, 4)), "no offset"),  # noqa: DTZ001
        (("t", ">", 5), "that is no time"),
        (("w", "==", "2013-07-04T00:00:00Z"), "write it without an offset"),
        (("uuid", "==", "2"), "widths must match. write a value of fixed_size_binary.16."),
        (("l", "==", [1]), "nested values are not compared"),
        (("st", "in", [{"q": 1}]), r"field\('st', 'x'\)"),
        (("idd", "==", 1), "no column idd .*Did you mean 'id'"),
        (("nowhere", "==", 1), "There are id, n"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(condition, words):
    with pytest.raises(SchemaMismatch, match=words):
        expression_of([condition], ROWS.schema)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ([("n", "~", 1)], "no operator '~' .* the operators are =, ==, "),
        ([("n", "is", None)], "no operator 'is'"),
        ([("n", "==")], "no condition. a condition is"),
        ([("n", "==", 1, 2)], "no condition"),
        ([[("n", "==", number)] for number in range(6000)], "6,000 conditions; .* 'in'"),
        ([(1, "==", 1)], "no condition"),
        ([], "without a condition"),
        ([[]], "without a condition"),
        ([[("n", "==", 1)], ("n", "==", 2)], "mixes"),
        ([["n", "==", 1], [("n", "==", 2)]], "mixes"),
        (("n", "==", 1), "is no filter"),
        ("n == 1", "is no filter"),
        ({"n": 1}, "is no filter"),
        (None, "is no filter"),
    ],
)
def test_what_is_no_filter_is_refused(where, words):
    with pytest.raises(SpecError, match=words):
        expression_of(where, ROWS.schema)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (pc.field("q") == 1, "No match for FieldRef.Name"),
        (pc.field("n") == "x", "no kernel"),
        (pc.field("n") + 1, "must evaluate to bool"),
        (pc.field("t") > datetime(2013, 7, 4), "timestamp with timezone"),  # noqa: DTZ001
    ],
)
def test_an_expression_that_does_not_fit_is_refused_with_the_columns(expression, words):
    with pytest.raises(SchemaMismatch, match=f"(?s){words}.*n int64"):
        expression_of(expression, ROWS.schema)


@pytest.mark.parametrize(
    "condition",
    [case[0] for case in CASES if case[0][0] in "nisxbd"],
    ids=lambda case: str(case)[:60].split(" object at ")[0],
)
def test_pandas_means_the_same_where_it_takes_the_filter(condition, tmp_path):
    name, operator, value = condition
    pq.write_table(ROWS.select(["id", name]), tmp_path / "rows.parquet", write_statistics=False)
    try:
        theirs = pd.read_parquet(tmp_path / "rows.parquet", filters=[condition])["id"].tolist()
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        pytest.skip(f"pandas refuses it: {error!r}")
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        assert theirs == [], "the one thing that we mean otherwise: null is found"
        return
    if operator == "in" and 0.0 in value:
        return  # Arrow tells the signs of zero apart there, though they are equal
    assert ROWS.filter(expression_of([condition], ROWS.schema))["id"].to_pylist() == theirs
