"""Duplicates within a source are left out on request, in bounded memory; late rows go where they belong."""

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.ingest.duplicates import last_of_each
from tierlake.pipelines.ingest.writer import WriterLimits


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2, None]), st.sampled_from(["a", None]), st.integers(0, 9)), max_size=40))
def test_the_last_of_each_key_in_order(rows):
    table = pa.table(
        {
            "n": pa.array([row[0] for row in rows], pa.int64()),
            "s": pa.array([row[1] for row in rows], pa.string()),
            "v": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    last = {row[:2]: position for position, row in enumerate(rows)}
    expected = [rows[position] for position in sorted(last.values())]
    assert [tuple(row.values()) for row in last_of_each(table, ["n", "s"]).to_pylist()] == expected


def test_the_last_row_of_each_key_is_kept(dataset, trips):
    first, second = trips(days=2), trips(days=1, fare=100.0)
    source = pa.concat_tables([first, second])
    result = dataset.ingest(source, unique_by=["at"])
    assert (result.rows, result.duplicates) == (20, 10)
    assert "10 duplicates" in str(result)
    assert sorted(dataset.read().column("fare").to_pylist()) == sorted(
        [*second.column("fare").to_pylist(), *first.column("fare").to_pylist()[10:]]
    )


def test_memory_bounds_change_nothing(bucket, fs):
    chance = random.Random(7)  # noqa: S311 - made-up rows
    keys = [chance.randrange(3000) for _ in range(20_000)]
    base = make_trips(days=1, each=1).column("at")[0].as_py()
    source = pa.table(
        {
            "at": pa.array([base] * len(keys), pa.timestamp("us", "UTC")),
            "key": pa.array(keys, pa.int64()),
            "v": pa.array(range(len(keys)), pa.int64()),
        }
    )
    expected = {key: position for position, key in enumerate(keys)}
    spec = trip_spec(bucket, write={"target_file_size": "64KB", "row_group_rows": 1000, "sort_by": ["key"]})
    dataset = Dataset.create(spec, fs=fs)
    tight = WriterLimits(memory_bytes=1 << 15)
    result = dataset.ingest(source, unique_by=["key", "date"], limits=tight)
    assert (result.rows, result.duplicates) == (len(expected), len(keys) - len(expected))
    back = dataset.read(["key", "v"]).to_pydict()
    assert dict(zip(back["key"], back["v"], strict=True)) == expected
    assert len(back["key"]) == len(expected)


@pytest.mark.parametrize(("columns", "problem"), [(["nothing"], "no column nothing"), (["date"], "partition columns")])
def test_what_rows_cannot_be_told_apart_by(delta, trips, columns, problem):
    with pytest.raises(SchemaMismatch, match=problem):
        delta.ingest(trips(), unique_by=columns)


def test_columns_that_the_source_lacks_make_no_rows_equal(delta, trips):
    delta.ingest(trips().append_column("id", pa.array(range(40))))
    with pytest.raises(SchemaMismatch, match=r"by id: the source lacks id\. There are at, city, fare"):
        delta.ingest(trips(), unique_by=["id"])
    nulls = trips().append_column("id", pa.array(range(40))).append_column("new", pa.nulls(40))
    assert delta.ingest(nulls, unique_by=["id", "new"]).duplicates == 0
    with pytest.raises(SchemaMismatch, match="by new: new is null in every row"):
        delta.ingest(nulls, unique_by=["new"])


def test_a_zero_has_no_sign_and_a_column_any_name():
    table = pa.table({"__row": [0.0, -0.0, float("nan"), float("nan"), 1.0], "0": [1, 1, 1, 1, 1]})
    assert last_of_each(table, ["__row", "0"]).column("__row").to_pylist()[::2] == [0.0, 1.0]


def test_lists_cannot_tell_rows_apart(delta, trips):
    source = trips(days=1).append_column("tags", pa.array([[1]] * 10))
    with pytest.raises(SchemaMismatch, match="tags"):
        delta.ingest(source, unique_by=["tags"])
    assert delta.read().num_rows == 0


def test_late_rows_go_to_the_partition_of_their_time(delta, trips):
    delta.ingest(trips())
    files = {str(part.key): part.files for part in delta.partitions()}
    late = trips(days=1, each=2, start=1, fare=500.0)
    result = delta.ingest(late, mode="append")
    assert [str(key) for key in result.partitions] == ["date=2013-01-02"]
    assert {str(part.key): part.files for part in delta.partitions()} == {**files, "date=2013-01-02": 2}
    assert delta.read(where=[("date", "==", "2013-01-02")]).num_rows == 12
    # one that has been tiered and even expired takes late rows too
    delta.plan_expiry("2013-10-29").apply().raise_failures()
    again = delta.ingest(trips(days=1, each=3), mode="append")
    assert [str(key) for key in again.partitions] == ["date=2013-01-01"]
    assert delta.read(where=[("date", "==", "2013-01-01")]).num_rows == 3
