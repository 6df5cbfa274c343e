"""Keys, ranges and patterns as a person writes them at the launchpad, for each kind of partitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest

from tierlake.dagster_project.automation.selection import chosen
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.pipelines.errors import SpecError, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.time_window import key_at

DAYS = time_windows("day", "UTC", "2013-01-01")
SCHEMA = pa.schema({"city": pa.string(), "number": pa.int64()})
CITIES = dg.StaticPartitionsDefinition(["Kyiv", "New York", "a..b", "50%", "x=y"])


def asset(partition: dict[str, object], definition: dg.PartitionsDefinition[str]) -> LakeAsset:
    return LakeAsset(DatasetSpec(uri="lake://w/visits", partition=partition), definition)


DAILY = asset({"time": {"column": "at", "every": "day", "key": "date"}}, DAYS)
HOURLY = asset({"time": {"column": "at", "every": "hour", "key": "hour"}}, time_windows("hour", "UTC", "2013-01-01T00"))
MONTHLY_IN_ANOTHER_SPELLING = asset(
    {"time": {"column": "at", "every": "month", "key": "month"}},
    dg.MonthlyPartitionsDefinition("01/2013", fmt="%m/%Y"),
)
BY_CITY = asset({"by": ["city"]}, CITIES)
BY_BOTH = asset(
    {"time": {"column": "at", "every": "day", "key": "date"}, "by": ["city"]},
    dg.MultiPartitionsDefinition({"date": DAYS, "city": CITIES}),
)


def of_days(*days: int) -> list[PartitionKey]:
    return [PartitionKey.of({"date": f"2013-{day // 100:02}-{day % 100:02}"}) for day in days]


def named(dataset: LakeAsset, text: str, there: list[PartitionKey]) -> list[str]:
    keys = chosen(dataset, [text], there, lambda: there, SCHEMA)
    return [one if isinstance(one, str) else str(dataset.keys.to_dagster(one)) for one in keys]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-01-02", ["2013-01-02"]),
        ("2014-01-02", ["2014-01-02"]),
        ("2013-01-02..2013-02-01", ["2013-01-02", "2013-01-31", "2013-02-01"]),
        ("..2013-01", ["2013-01-01", "2013-01-02", "2013-01-31"]),
        ("2013-02-28..", ["2013-02-28", "2013-12-01"]),
        ("2013-02*", ["2013-02-01", "2013-02-28"]),
        ("*-01", ["2013-01-01", "2013-02-01", "2013-12-01"]),
        ("date=2013-02-01..2013-02-28", ["2013-02-01", "2013-02-28"]),
        ("date=2013-02-28", ["2013-02-28"]),
    ],
)
def test_days(text: str, expected: list[str]) -> None:
    assert named(DAILY, text, of_days(101, 102, 131, 201, 228, 1201)) == expected


def test_hours_and_other_spellings() -> None:
    hours = [PartitionKey.of({"hour": f"2013-01-0{day}T{hour:02}"}) for day in (1, 2) for hour in (0, 23)]
    shown = [str(HOURLY.keys.to_dagster(key)) for key in hours]
    assert named(HOURLY, f"{shown[1]}..{shown[2]}", hours) == shown[1:3]
    assert named(HOURLY, "2013-01-01..2013-01-01", hours) == shown[:2]
    months = [PartitionKey.of({"month": month}) for month in ("2013-02", "2013-11", "2014-01")]
    assert named(MONTHLY_IN_ANOTHER_SPELLING, "11/2013..01/2014", months) == ["11/2013", "01/2014"]
    assert named(MONTHLY_IN_ANOTHER_SPELLING, "*/2013", months) == ["02/2013", "11/2013"]
    assert named(MONTHLY_IN_ANOTHER_SPELLING, "month=2013-02..2013-11", months) == ["02/2013", "11/2013"]
    with pytest.raises(SpecError, match="'13/2013' names no month"):
        named(MONTHLY_IN_ANOTHER_SPELLING, "01/2013..13/2013", months)


@pytest.mark.parametrize("city", ["a..b", "50%", "x=y", "New York"])
def test_a_key_of_odd_letters_is_itself(city: str) -> None:
    there = [PartitionKey.of({"city": name}) for name in CITIES.get_partition_keys()]
    assert named(BY_CITY, city, there) == [city]
    (key,) = (key for key in there if key.value("city") == city)
    assert named(BY_CITY, str(key), there) == [city]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kyiv|2013-01-02", ["Kyiv|2013-01-02"]),
        ("Kyiv|2013-01-01..2013-01-02", ["Kyiv|2013-01-01", "Kyiv|2013-01-02"]),
        ("N*|2013-01*", ["New York|2013-01-01", "New York|2013-01-02"]),
        ("date=2013-01-02", ["Kyiv|2013-01-02", "New York|2013-01-02"]),
        ("city=New%20York/date=2013-01-02", ["New York|2013-01-02"]),
        ("date=2013-01-0*/city=Kyiv", ["Kyiv|2013-01-01", "Kyiv|2013-01-02"]),
    ],
)
def test_two_dimensions(text: str, expected: list[str]) -> None:
    there = [
        PartitionKey.of({"date": f"2013-01-0{day}", "city": city}) for city in ("Kyiv", "New York") for day in (1, 2)
    ]
    assert [str(name) for name in named(BY_BOTH, text, there)] == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2015*", r"no partition of visits is 2015\*: the table has 2, from 2013-01-01 to 2013-01-02"),
        ("2015-01-01..2015-02-01", "no partition of visits is 2015"),
        ("date=2015*", "no partition of visits is date=2015"),
    ],
)
def test_a_match_of_nothing_says_what_there_is(text: str, why: str) -> None:
    with pytest.raises(UnknownPartition, match=why):
        named(DAILY, text, of_days(101, 102))


def test_a_range_of_what_is_there_and_not_meant_is_empty() -> None:
    assert chosen(DAILY, ["2013-01*"], [], lambda: of_days(101), SCHEMA) == []


def test_a_partition_without_a_value_is_in_no_range() -> None:
    there = [*of_days(101), PartitionKey.of({"date": None})]
    assert named(DAILY, "..2014", there) == ["2013-01-01"]


def test_two_dimensions_take_two_parts() -> None:
    with pytest.raises(UnknownPartition, match=r"2013\* names 1 dimensions, and visits has 2"):
        chosen(BY_BOTH, ["2013*"], [], list, SCHEMA)


def test_a_range_compares_values_not_texts() -> None:
    numbered = asset({"by": ["number"]}, dg.StaticPartitionsDefinition([str(number) for number in range(20)]))
    there = [PartitionKey.of({"number": str(number)}) for number in range(20)]
    assert named(numbered, "8..11", there) == ["8", "9", "10", "11"]
    assert named(numbered, "number=8..11", there) == ["8", "9", "10", "11"]
    with pytest.raises(SpecError, match="ends before it begins"):
        named(numbered, "11..8", there)


def test_a_range_knows_the_two_hours_of_the_autumn_night() -> None:
    definition = time_windows("hour", "America/New_York", "2013-01-01T00")
    hours = asset(
        {"time": {"column": "at", "every": "hour", "key": "hour", "timezone": "America/New_York"}}, definition
    )
    begin = datetime(2013, 11, 3, 4, tzinfo=UTC)
    texts = [key_at(begin + timedelta(hours=number), "hour", "America/New_York") for number in range(4)]
    there = [PartitionKey.of({"hour": text}) for text in texts]
    shown = [str(hours.keys.to_dagster(key)) for key in there]
    assert len(set(shown)) == 4
    assert named(hours, f"{shown[1]}..{shown[2]}", there) == shown[1:3]
    assert named(hours, f"{shown[2]}..", there) == shown[2:]
