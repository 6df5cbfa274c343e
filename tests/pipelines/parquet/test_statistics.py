"""Bounds in the log must hold for every row, or be left out."""

import io
import json
import math
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.parquet.statistics import footer_stats, leaves_with_nan


def stats_of(table, **options):
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return json.loads(footer_stats(pq.read_metadata(io.BytesIO(buffer.getvalue()))))


@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), max_size=30),
    st.lists(st.one_of(st.none(), st.text(max_size=50)), max_size=30),
)
def test_bounds_hold_over_row_groups(numbers, texts):
    length = min(len(numbers), len(texts))
    table = pa.table({"n": pa.array(numbers[:length], pa.int64()), "s": pa.array(texts[:length], pa.string())})
    stats = stats_of(table, row_group_size=4)
    assert stats["numRecords"] == length
    for name, values in (("n", numbers[:length]), ("s", texts[:length])):
        present = [value for value in values if value is not None]
        if length:
            assert stats["nullCount"][name] == length - len(present)
        if name in stats["minValues"]:
            assert all(stats["minValues"][name] <= value for value in present)
        if name in stats["maxValues"]:
            assert all(value <= stats["maxValues"][name] for value in present)


def test_instants_are_rounded_outwards_to_milliseconds():
    at = datetime(2013, 7, 4, 12, 0, 0, 123_456, tzinfo=UTC)
    stats = stats_of(pa.table({"t": pa.array([at], pa.timestamp("us", "UTC")), "d": [date(2013, 7, 4)]}))
    assert stats["minValues"] == {"t": "2013-07-04T12:00:00.123Z", "d": "2013-07-04"}
    assert stats["maxValues"] == {"t": "2013-07-04T12:00:00.124Z", "d": "2013-07-04"}


def test_what_has_no_common_order_has_no_bounds():
    stats = stats_of(pa.table({"f": [1.0, math.inf], "b": [b"x", b"y"], "l": [[1], [2]], "flag": [True, False]}))
    assert stats["maxValues"] == {}
    assert stats["minValues"] == {"f": 1.0}


def test_what_python_cannot_hold_has_no_bounds():
    far = pa.array([2**62, None], pa.int64()).cast(pa.timestamp("us", "UTC"))
    day = pa.array([2**30, None], pa.int32()).cast(pa.date32())
    stats = stats_of(pa.table({"far": far, "day": day, "n": [1, 2]}))
    assert stats["maxValues"] == {"n": 2}
    assert stats["nullCount"] == {"far": 1, "day": 1, "n": 0}


def test_the_last_instant_has_no_upper_bound():
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    stats = stats_of(pa.table({"t": pa.array([last], pa.timestamp("us", "UTC"))}))
    assert (stats["minValues"], stats["maxValues"]) == ({"t": "9999-12-31T23:59:59.999Z"}, {})


def test_a_dot_in_a_name_is_no_nesting():
    stats = stats_of(pa.table({"a.b": [1, 2], "a": [{"b": 8}, None], "l": [[9], []]}))
    assert (stats["minValues"], stats["maxValues"], stats["nullCount"]) == ({"a.b": 1}, {"a.b": 2}, {"a.b": 0})


def test_both_zeros_lie_between_the_bounds():
    stats = stats_of(pa.table({"x": [0.0, -0.0]}))
    assert (math.copysign(1, stats["minValues"]["x"]), math.copysign(1, stats["maxValues"]["x"])) == (-1, 1)


def test_bounds_of_numbers_that_may_hide_a_nan_are_left_out_on_request():
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": [1.0, math.nan], "n": [1, 2]}), buffer)
    footer = pq.read_metadata(io.BytesIO(buffer.getvalue()))
    assert json.loads(footer_stats(footer, has_float_bounds=False))["maxValues"] == {"n": 2}
    assert json.loads(footer_stats(footer))["maxValues"] == {"x": 1.0, "n": 2}


def test_row_groups_and_columns_by_themselves():
    buffer = io.BytesIO()
    pq.write_table(pa.table({f"c{number}": range(20) for number in range(40)}), buffer, row_group_size=10)
    footer = pq.read_metadata(io.BytesIO(buffer.getvalue()))
    stats = json.loads(footer_stats(footer, groups=[1], columns={"c39"}))
    assert stats == {"numRecords": 10, "minValues": {"c39": 10}, "maxValues": {"c39": 19}, "nullCount": {"c39": 0}}


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=9), st.lists(st.floats(allow_nan=False), max_size=4))
def test_leaves_with_nan(values, nested):
    def has_nan(some):
        return any(value is not None and math.isnan(value) for value in some)

    inner = [{"m": [("k", value)], "l": [[value]]} for value in values]
    kind = pa.struct([("m", pa.map_(pa.string(), pa.float64())), ("l", pa.list_(pa.list_(pa.float32())))])
    table = pa.table(
        {
            "s": pa.array(inner, kind),
            "clean": pa.array([nested] * len(values), pa.list_(pa.float64())),
            "x": pa.array(values, pa.float64()),
        }
    )
    assert leaves_with_nan(table) == (frozenset({1, 2, 4}) if has_nan(values) else frozenset())
