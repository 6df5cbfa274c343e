from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest

from dagster_project.datasets import DATASETS, FLIGHTS, WEATHER
from dagster_project.partitions import KeyNames, known_keys, time_windows
from pipelines.layout import PartitionKey
from pipelines.windows import window_of

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


def test_days_follow_the_clock_changes() -> None:
    partitions_def = time_windows("day", NEW_YORK, "2013-01-01", "2014-01-01")
    hours = {
        key: (window.end.timestamp() - window.start.timestamp()) / 3600
        for key in ("2013-03-09", "2013-03-10", "2013-11-03")
        for window in [partitions_def.time_window_for_partition_key(key)]
    }
    assert hours == {"2013-03-09": 24, "2013-03-10": 23, "2013-11-03": 25}


def test_without_an_end_the_clock_adds_partitions() -> None:
    from datetime import UTC, datetime

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
