"""Bounds in the log must hold for every row, or be left out."""

import io
import json
import math
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stats import footer_stats


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
