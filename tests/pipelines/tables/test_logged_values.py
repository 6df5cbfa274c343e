"""The log read by columns gives what its rows say, one by one."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierlake.pipelines.errors import PolicyRefused, SchemaMismatch
from tierlake.pipelines.model.partition_key import PartitionKey, spelled
from tierlake.pipelines.parquet.statistics import log_stats
from tierlake.pipelines.tables import logged_values
from tierlake.pipelines.tables.delta_commit import spelled_by_deltalake
from tierlake.pipelines.tables.logged_values import LoggedStatistics, logged_keys, logged_paths, logged_times
from tierlake.pipelines.tables.paths import data_path
from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = "lake/flights"
AT = datetime(2013, 7, 4, tzinfo=UTC)
segments = st.text(st.sampled_from("aZ09=_-.~+,@ %:/é\n\\*'&2F"), min_size=1, max_size=8)
logged = st.one_of(segments, st.lists(segments, min_size=1, max_size=4).map("/".join))
INSTANT = pa.timestamp("us", tz="UTC")
values: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=4),
    pa.int64(): st.integers(-3, 3),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.float64(): st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]),
    pa.decimal128(5, 2): st.decimals(-9, 9, places=2, allow_nan=False).map(lambda value: abs(value) + 0),
    pa.binary(): st.binary(max_size=3),
    INSTANT: st.datetimes(timezones=st.just(UTC)),
}


def refusing(act: Callable[[], object]) -> object:
    try:
        return act()
    except PolicyRefused as refused:
        return str(refused)


@given(st.lists(logged, max_size=6))
@settings(deadline=None)
def test_paths_are_those_of_each_row(paths: list[str]) -> None:
    def plain() -> list[tuple[str, str | None]]:
        stored = [data_path(ROOT, path) for path in paths]
        return [
            (path, None if spelled_by_deltalake(path) == one else one) for path, one in zip(stored, paths, strict=True)
        ]

    column = pa.chunked_array([pa.array(paths, pa.string())])
    assert refusing(lambda: logged_paths(ROOT, column)) == refusing(plain)


@given(st.data(), st.lists(st.sampled_from(list(values)), max_size=3), st.integers(0, 12))
@settings(deadline=None)
def test_keys_are_those_of_each_row(data: st.DataObject, kinds: list[pa.DataType], number: int) -> None:
    names = [f"c{place}" for place in range(len(kinds))]
    columns = {
        name: pa.array(data.draw(st.lists(st.none() | values[kind], min_size=number, max_size=number)), kind)
        for name, kind in zip(names, kinds, strict=True)
    }
    absent = [*names, "none_has_it"] if data.draw(st.booleans()) else names
    struct = pa.StructArray.from_arrays(list(columns.values()), names=names) if names else None
    expected = [
        PartitionKey.of((name, spelled(columns[name][row].as_py()) if name in columns else None) for name in absent)
        for row in range(number)
    ]
    assert logged_keys(struct, absent, number) == expected


def test_the_two_zeros_have_their_own_keys() -> None:
    struct = pa.StructArray.from_arrays([pa.array([0.0, -0.0, 0.0])], names=["x"])
    assert [str(key) for key in logged_keys(struct, ["x"], 3)] == ["x=0.0", "x=-0.0", "x=0.0"]


def test_files_of_a_partition_share_its_key() -> None:
    struct = pa.StructArray.from_arrays([pa.array(["a", "b", "a"])], names=["x"])
    first, second, third = logged_keys(struct, ["x"], 3)
    assert first is third
    assert first is not second


@given(st.lists(st.integers(-(10**11), 4 * 10**12)))
def test_times_are_those_of_each_row(numbers: list[int]) -> None:
    assert logged_times(numbers) == [datetime.fromtimestamp(number / 1000, UTC) for number in numbers]


def adds(rows: int) -> pa.Table:
    bounds = [{"d": date(2013, 1, 1), "n": number, "s": f"{number}", "x": Decimal(number)} for number in range(rows)]
    nulls: list[dict[str, int] | None] = [{"n": number} if number % 3 else None for number in range(rows)]
    return pa.table({"num_records": range(rows), "min": bounds, "max": bounds, "null_count": nulls})


def refused(error: Exception) -> SchemaMismatch:
    return SchemaMismatch(str(error))


def test_statistics_are_those_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged_values, "_AT_ONCE", 3)
    table = adds(10)
    statistics = LoggedStatistics(table, refused)
    for number in (7, 0, 9, 8, *range(10)):
        row = table.slice(number, 1).to_pylist()[0]
        expected = log_stats(row["num_records"], row["min"], row["max"], row["null_count"] or {})
        assert statistics.text(number) == expected


def test_each_statistic_is_converted_once_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans go by partitions, whose files lie anywhere in the log."""
    converted: list[int] = []
    monkeypatch.setattr(logged_values, "_AT_ONCE", 4)
    monkeypatch.setattr(logged_values, "log_stats", lambda rows, *_: converted.append(rows) or str(rows))
    statistics = LoggedStatistics(adds(40), refused)
    order = [number % 40 for number in range(0, 40 * 17, 17)]
    assert [statistics.text(number) for number in order] == [str(number) for number in order]
    assert sorted(converted) == list(range(40))


def test_a_date_beyond_python_is_no_bound() -> None:
    far = pa.StructArray.from_arrays([pa.array([10_000_000, 1], pa.int32()).cast(pa.date32())], names=["d"])
    statistics = LoggedStatistics(pa.table({"num_records": [1, 1], "min": far, "max": far}), refused)
    assert statistics.text(0) == '{"numRecords":1,"minValues":{},"maxValues":{},"nullCount":{}}'
    assert '"d":"1970-01-02"' in statistics.text(1)


def test_statistics_are_made_when_they_are_read_and_once() -> None:
    made = []

    def text() -> str:
        made.append(1)
        return "{}"

    file = LiveFile("a.parquet", 1, PartitionKey(()), 1, AT, text)  # type: ignore[arg-type]
    Snapshot(0, (file,), None).by_partition()
    assert not made
    assert file == LiveFile("a.parquet", 1, PartitionKey(()), 1, AT, "{}")
    assert file.stats == "{}"
    assert made == [1]


def test_a_file_goes_to_other_processes_with_its_statistics() -> None:
    table = adds(2)
    file = LiveFile("a.parquet", 1, PartitionKey(()), 1, AT, lambda: LoggedStatistics(table, refused).text(1))
    copy = pickle.loads(pickle.dumps(file))  # noqa: S301 - our own
    assert copy == file
    assert '"n":1' in (copy.stats or "")
    assert LiveFile("b.parquet", 1, PartitionKey(()), 1, AT).stats is None
