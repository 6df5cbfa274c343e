from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from tests.dagster_project.lake_assets import DATASETS, FLIGHTS, WEATHER
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.conditions import not_expired
from tierlake.dagster_project.partitions.keys import KeyNames, known_keys, time_windows
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.time_window import window_of

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("every", "start", "end", "keys"),
    [
        ("hour", "2013-01-01T22", "2013-01-02T01", ["2013-01-01T22", "2013-01-01T23", "2013-01-02T00"]),
        ("day", "2013-02-27", "2013-03-02", ["2013-02-27", "2013-02-28", "2013-03-01"]),
        ("month", "2013-11", "2014-02", ["2013-11", "2013-12", "2014-01"]),
        ("year", "2013", "2015", ["2013", "2014"]),
    ],
)
def test_dagsters_keys_are_the_datasets_values(every, start, end, keys) -> None:
    partitions_def = time_windows(every, NEW_YORK, start, end)
    assert partitions_def.get_partition_keys() == keys
    for key in keys:
        theirs, ours = partitions_def.time_window_for_partition_key(key), window_of(key, every, NEW_YORK)
        assert ours
        assert (theirs.start, theirs.end) == (ours.start, ours.end)


@pytest.mark.parametrize(
    ("every", "zone", "start", "end"),
    [
        ("hour", "Europe/Berlin", "2025-10-25T22", "2025-10-26T06"),
        ("hour", "Europe/Berlin", "2025-03-29T22", "2025-03-30T06"),
        ("hour", "America/New_York", "2013-11-02T22", "2013-11-03T06"),
        ("hour", "Antarctica/Troll", "2025-10-25T22", "2025-10-26T06"),  # two hours come again
        ("hour", "Asia/Kathmandu", "2013-07-04T22", "2013-07-05T06"),
        ("day", "America/Havana", "2013-11-01", "2013-11-06"),  # from 1 o'clock to midnight
        ("day", "America/Sao_Paulo", "2013-10-18", "2013-10-23"),  # no midnight
        ("day", "America/Sao_Paulo", "2013-02-14", "2013-02-19"),  # from midnight to 23 o'clock
        ("day", "America/St_Johns", "2010-11-04", "2010-11-10"),  # from one past midnight to 23:01
        ("month", "Africa/Cairo", "2010-08", "2010-11"),
    ],
)
def test_keys_and_windows_agree_where_the_clock_is_changed(every, zone, start, end) -> None:
    partitions_def = time_windows(every, zone, start, end)
    for key in partitions_def.get_partition_keys():
        theirs, ours = partitions_def.time_window_for_partition_key(key), window_of(key, every, zone)
        assert ours
        assert (theirs.start.astimezone(UTC), theirs.end.astimezone(UTC)) == (
            ours.start.astimezone(UTC),
            ours.end.astimezone(UTC),
        )


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "America/Caracas"])
def test_half_an_hour_that_comes_again_has_dagsters_key(zone) -> None:
    # Dagster's windows overlap there, seen with 1.13: its second one goes on into the next hour
    start, end = (
        ("2025-04-06T00", "2025-04-06T04") if zone == "Australia/Lord_Howe" else ("2007-12-09T01", "2007-12-09T05")
    )
    keys = time_windows("hour", zone, start, end).get_partition_keys()
    windows = [window_of(key, "hour", zone) for key in keys]
    assert len(keys) == 5
    assert all(window is not None for window in windows)
    assert sum((window.end - window.start for window in windows), timedelta()) == windows[-1].end - windows[0].start


def test_days_follow_the_clock_changes() -> None:
    partitions_def = time_windows("day", NEW_YORK, "2013-01-01", "2014-01-01")
    hours = {
        key: (window.end.timestamp() - window.start.timestamp()) / 3600
        for key in ("2013-03-09", "2013-03-10", "2013-11-03")
        for window in [partitions_def.time_window_for_partition_key(key)]
    }
    assert hours == {"2013-03-09": 24, "2013-03-10": 23, "2013-11-03": 25}


def test_without_an_end_the_clock_adds_partitions() -> None:
    partitions_def = time_windows("day", "UTC", "2013-01-01")
    now = datetime(2013, 1, 5, 12, tzinfo=UTC)
    assert partitions_def.get_partition_keys(now)[-1] == "2013-01-04"
    assert partitions_def.get_partition_keys(now + timedelta(days=1))[-1] == "2013-01-05"


def test_one_column() -> None:
    names = KeyNames(("date",))
    assert str(names.to_lake("2013-07-04")) == "date=2013-07-04"
    assert names.to_dagster(PartitionKey.parse("date=2013-07-04")) == "2013-07-04"


def test_two_dimensions_are_named_after_columns_in_any_order() -> None:
    names = KeyNames(("origin", "date"))
    key = dg.MultiPartitionKey({"date": "2013-07-04", "origin": "JFK"})
    assert str(names.to_lake(key)) == "origin=JFK/date=2013-07-04"
    assert names.to_lake("2013-07-04|JFK") == names.to_lake(key)  # as run configs and events write it
    assert names.to_dagster(names.to_lake(key)) == key == "2013-07-04|JFK"


def test_dimensions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="partitioned by"):
        KeyNames(("date", "origin")).to_lake("2013-07-04")
    with pytest.raises(ValueError, match="are not the columns"):
        KeyNames(("date", "carrier")).to_lake(dg.MultiPartitionKey({"date": "2013-07-04", "origin": "JFK"}))


def test_unknown_keys_are_told_apart(instance: dg.DagsterInstance) -> None:
    asked = ["2013-01-02", "2012-12-31", "nonsense", "2013-01-01"]
    assert known_keys(asked, FLIGHTS.partitions_def, instance) == (
        ["2013-01-02", "2013-01-01"],
        ["2012-12-31", "nonsense"],
    )


def test_the_demos_partitions() -> None:
    assert len(FLIGHTS.partitions_def.get_partition_keys()) == 365
    assert len(WEATHER.partitions_def.get_partition_keys()) == 12
    for asset in DATASETS.values():
        time = asset.spec.partition.time
        assert time
        assert str(asset.partitions_def.timezone) == time.timezone
        assert asset.spec.partition.columns == (time.key,)


BERLIN = DatasetSpec(
    uri="lake://elsewhere/readings",
    partition={"time": {"column": "at", "every": "hour", "timezone": "Europe/Berlin", "key": "hour"}},
    retention={"expire_after": "1d"},
)
NIGHT = time_windows("hour", "Europe/Berlin", "2025-10-26T01", "2025-10-26T04")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_each_hour_of_the_autumn_night_is_materialized_and_read_by_its_key(instance, lake) -> None:
    seen: dict[str, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.asset(name="readings", partitions_def=NIGHT, metadata=spec_metadata(BERLIN))
        def readings(context) -> Any:
            start = context.partition_time_window.start.astimezone(UTC)  # sums on the clock forget which hour it is
            return pa.table(
                {
                    "at": pa.array([start, start + timedelta(minutes=59)]),
                    "key": [context.partition_key] * 2,
                }
            )

        @dg.asset(name="downstream", partitions_def=NIGHT)
        def downstream(context, readings) -> None:
            seen[context.partition_key] = readings["key"].tolist()

    keys = NIGHT.get_partition_keys()
    assert keys == ["2025-10-26T01", "2025-10-26T02", "2025-10-26T02+0100", "2025-10-26T03"]
    for key in keys:
        resources = {"io_manager": LakeParquetIOManager(lake=lake)}
        assert dg.materialize([readings, downstream], partition_key=key, instance=instance, resources=resources).success
    assert seen == {key: [key, key] for key in keys}

    dataset = lake.dataset("readings")
    names = KeyNames(("hour",))
    assert [names.to_dagster(part.key) for part in dataset.partitions()] == keys
    assert {part.rows for part in dataset.partitions()} == {2}
    assert known_keys(keys, NIGHT, instance) == (keys, [])
    hours = [window.start for window in dataset.windows().values()]
    assert hours == [datetime(2025, 10, 25, 23, tzinfo=UTC) + timedelta(hours=number) for number in range(4)]

    # each hour expires by itself, a day after its end
    due = dataset.plan_expiry(datetime(2025, 10, 27, 1, 0, tzinfo=UTC))
    assert [step.key for step in due.steps] == ["hour=2025-10-26T01", "hour=2025-10-26T02"]


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`")
def test_an_hour_of_the_autumn_night_is_missing_until_it_expires(instance, monkeypatch) -> None:
    @dg.asset(partitions_def=NIGHT, automation_condition=dg.AutomationCondition.missing() & not_expired(BERLIN))
    def readings() -> None: ...

    monkeypatch.delenv("TIERLAKE_TODAY", raising=False)
    now = datetime(2025, 10, 27, 1, 30, tzinfo=UTC)
    for instant in (now, now.astimezone().replace(tzinfo=None)):  # of this machine's clock
        result = dg.evaluate_automation_conditions(dg.Definitions([readings]), instance, evaluation_time=instant)
        assert result.get_requested_partitions(dg.AssetKey("readings")) == {"2025-10-26T02+0100", "2025-10-26T03"}
