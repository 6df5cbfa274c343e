"""Stock time windows: mapped onto the dataset's where they are the same, refused with what to write where not."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from tierlake.dagster_project.partitions.keys import KeyNames
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec, PartitionSpec
from tierlake.pipelines.model.time_window import window_of

BERLIN, HOWE, SAO_PAULO = "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def partition(every: str, timezone: str = "UTC") -> PartitionSpec:
    return PartitionSpec(time={"column": "at", "every": every, "timezone": timezone, "key": "window"})


def hours(start: str, end: str, **options: Any) -> dg.HourlyPartitionsDefinition:
    return dg.HourlyPartitionsDefinition(start, end_date=end, **options)


NIGHT = ("2025-10-26-01:00", "2025-10-26-04:00")
WITH_OFFSET = {"fmt": "%Y-%m-%d-%H:%M%z", "timezone": BERLIN}

SAME = [
    (dg.MonthlyPartitionsDefinition("2013-06-01"), "month", "UTC", {"2013-07-01": "2013-07"}),
    (dg.MonthlyPartitionsDefinition("201306", fmt="%Y%m"), "month", "UTC", {"201307": "2013-07", "202605": "2026-05"}),
    (
        hours(*NIGHT, timezone=BERLIN),
        "hour",
        BERLIN,
        {"2025-10-26-02:00": "2025-10-26T02", "2025-10-26-02:00+0100": "2025-10-26T02+0100"},
    ),
    (
        hours("2025-10-26-01:00+0200", "2025-10-26-04:00+0100", **WITH_OFFSET),
        "hour",
        BERLIN,
        {"2025-10-26-02:00+0200": "2025-10-26T02", "2025-10-26-02:00+0100": "2025-10-26T02+0100"},
    ),
    (hours("2025-10-25-23:00", "2025-10-26-04:00"), "hour", BERLIN, {"2025-10-26-01:00": "2025-10-26T02+0100"}),
    (hours(*NIGHT, timezone=BERLIN), "hour", "UTC", {"2025-10-26-02:00+0100": "2025-10-26T01"}),
    (
        hours("2025-10-25-22", "2025-10-26-02", minute_offset=30, fmt="%Y-%m-%d-%H"),
        "hour",
        "Asia/Kolkata",
        {"2025-10-25-22": "2025-10-26T04"},
    ),
    (
        dg.DailyPartitionsDefinition("2013-01-01", hour_offset=5, end_date="2013-02-01"),
        "day",
        "Etc/GMT+5",
        {"2013-01-03": "2013-01-03"},
    ),
    (
        dg.DailyPartitionsDefinition("2013-01-01", hour_offset=10, end_date="2013-02-01"),
        "day",
        "Pacific/Kiritimati",  # a day ahead
        {"2013-01-03": "2013-01-04"},
    ),
    (
        dg.DailyPartitionsDefinition("18.10.2013-00", fmt="%d.%m.%Y-%H", timezone=SAO_PAULO, end_date="23.10.2013-00"),
        "day",
        SAO_PAULO,
        {"20.10.2013-00": "2013-10-20"},  # a day without midnight
    ),
    (
        dg.DailyPartitionsDefinition("20101104", fmt="%Y%m%d", timezone="America/St_Johns", end_date="20101110"),
        "day",
        "Canada/Newfoundland",  # the same clock
        {"20101107": "2010-11-07"},
    ),
    (dg.TimeWindowPartitionsDefinition("13", fmt="%y", cron_schedule="@yearly"), "year", "UTC", {"25": "2025"}),
]


@pytest.mark.parametrize(("definition", "every", "timezone", "some"), SAME)
def test_windows_that_are_the_same_are_mapped_both_ways(definition, every, timezone, some) -> None:
    names = KeyNames.of("flights", partition(every, timezone), definition)
    keys = definition.get_partition_keys(NOW)
    assert set(some) <= set(keys)
    for key in keys:
        lake_key = names.to_lake(key)
        assert names.to_dagster(lake_key) == names.find_dagster(lake_key) == key
        theirs, ours = definition.time_window_for_partition_key(key), window_of(lake_key.items[0][1], every, timezone)
        assert ours
        assert [end.astimezone(UTC) for end in (theirs.start, theirs.end)] == [
            end.astimezone(UTC) for end in (ours.start, ours.end)
        ]
    assert {key: names.to_lake(key).as_dict()["window"] for key in some} == some


def test_what_is_no_key_of_the_definition_is_told_apart() -> None:
    names = KeyNames.of("flights", partition("month"), dg.MonthlyPartitionsDefinition("201301", fmt="%Y%m"))
    assert [names.find_lake(key) for key in ("2013-07", "20137", "nonsense", "201313")] == [None] * 4
    foreign = [PartitionKey.of({"window": value}) for value in ("", "nonsense", "201307", "2013-07-01", "2013-07")]
    assert [names.find_dagster(key) for key in foreign] == [None] * 4 + ["201307"]


def test_a_dimension_of_windows_is_mapped_too() -> None:
    both = dg.MultiPartitionsDefinition(
        {"window": dg.MonthlyPartitionsDefinition("201301", fmt="%Y%m"), "city": dg.StaticPartitionsDefinition(["a"])}
    )
    spec = partition("month").model_copy(update={"by": ("city",)})
    names = KeyNames.of("flights", spec, both)
    assert str(names.to_lake("a|201307")) == "window=2013-07/city=a"
    assert names.to_dagster(names.to_lake("a|201307")) == dg.MultiPartitionKey({"window": "201307", "city": "a"})


WEEKS = dg.WeeklyPartitionsDefinition("2013-01-06")
STATIC = dg.StaticPartitionsDefinition(["a", "b"])
DAYS = dg.DailyPartitionsDefinition("2013-01-01")

OTHERS = [
    (
        WEEKS,
        partition("day"),
        "each Sunday at 00:00 in UTC, and the dataset's windows are days",
        r"by: \[that column\]",
    ),
    (dg.DailyPartitionsDefinition("2013-01-01", hour_offset=5), partition("day"), "each day at 05:00", "no age"),
    (
        dg.DailyPartitionsDefinition("2013-01-01", timezone=BERLIN),
        partition("day"),
        "in Europe/Berlin, and the dataset's windows are days of UTC",
        r"column: at, every: day, timezone: Europe/Berlin, key: window\}.*or .*time_windows\(.day., .UTC., start",
    ),
    (dg.MonthlyPartitionsDefinition("2013-01-01"), partition("day"), "on day 1 of each month", "every: month"),
    (dg.MonthlyPartitionsDefinition("2013-01-05", day_offset=5), partition("month"), "on day 5 of", "time_windows"),
    (hours("2013-01-01-00:00", "2013-01-02-00:00"), partition("hour", "Asia/Kolkata"), "hours of Asia/Kolkata", "UTC"),
    (hours("2025-01-01-00:00", "2025-01-02-00:00", timezone=HOWE), partition("hour", HOWE), "part of an hour", "hour"),
    (DAYS, PartitionSpec(), "its dataset is not partitioned", "spec_metadata"),
    (
        dg.MultiPartitionsDefinition({"day": DAYS, "city": STATIC}),
        partition("day").model_copy(update={"by": ("city",)}),
        "the dimensions city, day, and its dataset is partitioned by window, city",
        r'MultiPartitionsDefinition\(\{"window": ..., "city": ...\}\)',
    ),
    (DAYS, partition("day").model_copy(update={"by": ("city",)}), "partitions of one dimension", "name each dimension"),
]


@pytest.mark.parametrize(("definition", "spec", "says", "hint"), OTHERS)
def test_others_are_refused_where_the_asset_is_defined(definition, spec, says, hint) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        LakeAsset(DatasetSpec(uri="lake://elsewhere/flights", partition=spec), definition)
    assert refused.match("^flights: ")
    with pytest.raises(SpecError, match=says):
        spec_metadata(DatasetSpec(uri="lake://elsewhere/flights", partition=spec), definition)
    assert re.search(hint, refused.value.hint or "")


def test_weeks_are_partitions_by_their_text() -> None:
    names = LakeAsset(DatasetSpec(uri="lake://elsewhere/flights", partition={"by": ["week"]}), WEEKS).keys
    assert str(names.to_lake("2013-01-06")) == "week=2013-01-06"


def test_keys_cost_in_proportion() -> None:
    definition = dg.HourlyPartitionsDefinition("2013-01-01-00:00", timezone=BERLIN)
    names = KeyNames.of("flights", partition("hour", BERLIN), definition)
    keys = definition.get_partition_keys(NOW)[:2000]
    counts = []
    for number in (1000, 2000):
        count = 0

        def note(_: object, event: str, __: object) -> None:
            nonlocal count
            count += event in {"call", "c_call"}

        sys.setprofile(note)
        try:
            mapped = [names.find_dagster(names.to_lake(key)) for key in keys[-number:]]
        finally:
            sys.setprofile(None)
        assert mapped == keys[-number:]
        counts.append(count)
    assert counts[1] <= 2.1 * counts[0]
