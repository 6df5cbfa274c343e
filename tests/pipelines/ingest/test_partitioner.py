"""Every row goes to the partition that its time names, or to the rejects with a reason; none is lost."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.ingest.partitioner import Partitioner
from tierlake.pipelines.model.spec import PartitionSpec, TimePartition
from tierlake.pipelines.sources.row_origin import REASON_COLUMN, REJECT_COLUMN, REJECT_VALUE

NEW_YORK = TimePartition(column="t", timezone="America/New_York")
instants = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


def rows_by_key(assigned):
    return {str(key): part.to_pylist() for key, part in assigned.parts()}


@settings(deadline=None)  # the first call imports
@given(st.lists(st.tuples(instants, st.sampled_from(["JFK", "LGA", "a b/c", None])), max_size=40))
def test_rows_are_spread_by_local_day_and_column_in_their_order(rows):
    table = pa.table(
        {
            "t": pa.array([at for at, _ in rows], pa.timestamp("us", "UTC")),
            "origin": pa.array([origin for _, origin in rows], pa.string()),
            "n": pa.array(range(len(rows)), pa.int64()),
        }
    )
    assigned = Partitioner(PartitionSpec(time=NEW_YORK, by=("origin",))).assign(table)
    expected: dict[tuple[str, str], list[int]] = {}
    for number, (at, origin) in enumerate(rows):
        local = at.astimezone(ZoneInfo("America/New_York"))
        expected.setdefault((local.strftime("%Y-%m-%d"), origin or ""), []).append(number)
    found = {tuple(value for _, value in key.items): part.column("n").to_pylist() for key, part in assigned.parts()}
    assert found == expected
    assert assigned.bad.num_rows == 0
    assert "origin" not in assigned.good.column_names


@pytest.mark.parametrize(
    ("every", "value"), [("hour", "2013-07-04T23"), ("day", "2013-07-04"), ("month", "2013-07"), ("year", "2013")]
)
def test_widths_of_windows(every, value):
    at = datetime(2013, 7, 5, 3, 30, 1, 5, tzinfo=UTC)
    time = TimePartition(column="t", every=every, timezone="America/New_York", key="k")
    table = pa.table({"t": pa.array([at], pa.timestamp("us", "UTC"))})
    assert list(rows_by_key(Partitioner(PartitionSpec(time=time)).assign(table))) == [f"k={value}"]


def test_bad_times_are_kept_with_their_reason():
    days = [datetime(2013, 7, 4, 12), None, datetime(9999, 12, 31), datetime(1, 1, 1)]  # noqa: DTZ001 - UTC follows
    table = pa.table({"t": pa.array(days, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")), "n": range(4)})
    assigned = Partitioner(PartitionSpec(time=NEW_YORK)).assign(table)
    assert list(rows_by_key(assigned)) == ["date=2013-07-04", "date=9999-12-30"]
    assert [
        (row["n"], row[REJECT_COLUMN], row[REJECT_VALUE], row[REASON_COLUMN])
        for row in assigned.bad.drop_columns(["t"]).to_pylist()
    ] == [
        (1, "t", None, "t is null"),
        (3, "t", "0001-01-01 00:00:00.000000Z", "t is out of the calendar (0001 to 9999)"),
    ]


def test_dates_and_naive_timestamps_are_local():
    for kind in (pa.date32(), pa.timestamp("ns"), pa.timestamp("s")):
        table = pa.table({"t": pa.array([datetime(2013, 7, 4)], pa.timestamp("s")).cast(kind)})  # noqa: DTZ001
        assert list(rows_by_key(Partitioner(PartitionSpec(time=NEW_YORK)).assign(table))) == ["date=2013-07-04"]


def test_a_day_with_a_clock_change_holds_25_hours():
    start = datetime(2013, 11, 3, 4, tzinfo=UTC)
    times = [start + timedelta(hours=hour) for hour in range(25)]
    table = pa.table({"t": pa.array(times, pa.timestamp("us", "UTC"))})
    assigned = Partitioner(PartitionSpec(time=NEW_YORK)).assign(table)
    assert {str(key): part.num_rows for key, part in assigned.parts()} == {"date=2013-11-03": 25}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (pa.schema({"x": pa.int64()}), "lacks the column t"),
        (pa.schema({"t": pa.int64()}), "is int64, not a time"),
        (pa.schema({"t": pa.time32("s")}), "not a time"),
    ],
)
def test_data_that_cannot_be_partitioned_is_refused(schema, says):
    with pytest.raises(SchemaMismatch, match=says):
        Partitioner(PartitionSpec(time=NEW_YORK)).check(schema)


CLAIMS = pa.table(
    {"t": pa.array([datetime(2013, 7, 4, 12, tzinfo=UTC), datetime(2013, 8, 1, 12, tzinfo=UTC), None]), "id": [1, 2, 3]}
)


@pytest.mark.parametrize(
    ("every", "claimed"),
    [
        ("day", ["2013-07-04", "2013-08-01", None]),
        ("day", pa.array([date(2013, 7, 4), date(2013, 8, 1), date(2013, 8, 2)])),
        ("month", ["2013-07", "2013-08", "x"]),
        ("month", pa.array([date(2013, 7, 1), date(2013, 8, 1), None])),
        ("month", pa.array(["2013-07", "2013-08", "2013-08"]).dictionary_encode()),
    ],
)
def test_a_key_that_the_event_time_tells_too_is_taken_where_it_says_the_same(every, claimed):
    partitioner = Partitioner(PartitionSpec(time={"column": "t", "every": every, "key": "day"}))
    assigned = partitioner.assign(CLAIMS.append_column("day", claimed if isinstance(claimed, pa.Array) else [claimed]))
    assert (assigned.good.column_names, assigned.good.num_rows, assigned.bad.num_rows) == (["t", "id"], 2, 1)


@pytest.mark.parametrize(
    ("claimed", "says"),
    [
        (["2013-07-04", "2013-08-02", None], "says day=2013-08-02, and its t 2013-08-01 .* falls into day=2013-08-01"),
        (["2013-07-04", None, None], "says no day, and its t 2013-08-01"),
        (pa.array([date(2013, 7, 4), date(2013, 7, 1), None]), "says day=2013-07-01"),
    ],
)
def test_a_key_that_says_another_window_is_refused(claimed, says):
    partitioner = Partitioner(PartitionSpec(time={"column": "t", "key": "day"}))
    with pytest.raises(SchemaMismatch, match=says):
        partitioner.assign(CLAIMS.append_column("day", claimed if isinstance(claimed, pa.Array) else [claimed]))
