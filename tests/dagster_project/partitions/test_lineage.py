from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import sqlalchemy as sa

from tests.dagster_project.lake_assets import DATASETS, DEPARTURES, MONTHLY_SUMMARY
from tierlake.dagster_project.demo.source import TIMEZONE
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.lineage import Downstream, downstream_readings
from tierlake.dagster_project.partitions.reads import BEGAN, READ, read_facts
from tierlake.dagster_project.partitions.wipe import wipe_partitions
from tierlake.pipelines.lifecycle.outlook import Reading
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = "an-id@7"
DOWNSTREAMS = {name: Downstream(asset.asset_key, asset.partitions_def) for name, asset in DATASETS.items()}


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def read(instance: dg.DagsterInstance, *days: str, ahead: timedelta = timedelta(0)) -> list[tuple[Reading, ...]]:
    sight = downstream_readings(instance, DEPARTURES, DOWNSTREAMS, ahead)
    assert set(sight) == {"monthly_summary"}
    keys = [PartitionKey.parse(f"date={day}") for day in days]
    found = sight["monthly_summary"](keys)
    return [tuple(found[key]) for key in keys]


def summarize(instance: dg.DagsterInstance, month: str, **states: str) -> None:
    metadata = {f"{READ}{name}": state for name, state in states.items()}
    event = dg.AssetMaterialization(MONTHLY_SUMMARY.asset_key, partition=month, metadata=metadata)
    instance.report_runless_asset_event(event)


def test_a_day_was_read_when_its_month_was_summed_up(instance: dg.DagsterInstance) -> None:
    assert read(instance, "2013-01-31") == [(Reading("2013-01"),)]
    before = datetime.now(UTC)
    summarize(instance, "2013-01")
    first, second, later = read(instance, "2013-01-01", "2013-01-31", "2013-02-01")
    assert later == (Reading("2013-02"),)
    assert first == second
    assert first[0].at
    assert before <= first[0].at <= datetime.now(UTC)
    assert first[0].state == ""


def test_the_latest_reading_counts(instance: dg.DagsterInstance) -> None:
    summarize(instance, "2013-01", departures="an-id@6")
    ((first,),) = read(instance, "2013-01-15")
    summarize(instance, "2013-01", departures=STATE, weather="another@3")
    ((second,),) = read(instance, "2013-01-15")
    assert (first.state, second.state) == ("an-id@6", STATE)
    assert first.at
    assert second.at
    assert second.at > first.at


def test_who_waits_for_nobody_asks_nobody(instance: dg.DagsterInstance) -> None:
    assert downstream_readings(instance, MONTHLY_SUMMARY, DOWNSTREAMS) == {}


def test_dagsters_clock_is_taken_for_the_stores(instance: dg.DagsterInstance) -> None:
    summarize(instance, "2013-01")
    ((own,),) = read(instance, "2013-01-15")
    ahead = timedelta(hours=3)
    ((shifted,),) = read(instance, "2013-01-15", ahead=ahead)
    assert own.at
    assert shifted.at == own.at - ahead


@contextmanager
def counted(instance: dg.DagsterInstance) -> Iterator[list[str]]:
    """The queries of events meanwhile."""
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "event_logs" in statement:
            statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    yield statements
    sa.event.remove(sa.Engine, "before_cursor_execute", count)


def test_thousands_of_days_of_months_are_a_handful_of_queries(instance: dg.DagsterInstance) -> None:
    days, months = (
        time_windows("day", "UTC", "2008-01-01", "2018-01-01"),
        time_windows("month", "UTC", "2008-01", "2018-01"),
    )
    spec = DatasetSpec(
        uri="lake://any/visits",
        partition={"time": {"column": "at"}},
        retention={"expire_after": "300d", "after": ["sums"]},
    )
    for month in months.get_partition_keys():
        event = dg.AssetMaterialization("sums", partition=month, metadata={f"{READ}visits": STATE})
        instance.report_runless_asset_event(event)
    wiped = months.get_partition_keys()[:50]
    wipe_partitions(instance, dg.AssetKey("sums"), wiped)
    keys = [PartitionKey.parse(f"date={day}") for day in days.get_partition_keys()]
    asset, sums = LakeAsset(spec, days), Downstream(dg.AssetKey("sums"), months)
    queries = []
    for some in (keys[: len(keys) // 2], keys):
        with counted(instance) as statements:
            found = downstream_readings(instance, asset, {"sums": sums})["sums"](some)
        queries.append(len(statements))
        assert set(found) == set(some)
        assert {len(readings) for readings in found.values()} == {1}
        assert {one.state for readings in found.values() for one in readings} == {STATE}
        assert {one.by for readings in found.values() for one in readings if one.remedy} == set(wiped)
    assert queries == [4, 4]


def test_what_is_reported_without_being_made_anew_has_read_what_was_read_before(instance: dg.DagsterInstance) -> None:
    def report(month: str) -> None:
        facts = read_facts(instance, MONTHLY_SUMMARY.asset_key, [month]).get(month, {BEGAN: 0.0})
        event = dg.AssetMaterialization(MONTHLY_SUMMARY.asset_key, partition=month, metadata=facts)
        instance.report_runless_asset_event(event)

    summarize(instance, "2013-01", departures=STATE)
    ((own,),) = read(instance, "2013-01-15")
    report("2013-01")
    assert read(instance, "2013-01-15") == [(own,)]
    report("2013-02")
    unknown = Reading("2013-02", remedy="of which nobody knows what it has read: materialize it again")
    assert read(instance, "2013-02-15") == [(unknown,)]


def test_only_what_is_asked_for_is_mapped_and_one_to_one_needs_no_mapping(instance: dg.DagsterInstance) -> None:
    summarize(instance, "2013-01", departures=STATE)
    same = Downstream(MONTHLY_SUMMARY.asset_key, DEPARTURES.partitions_def)
    found = downstream_readings(instance, DEPARTURES, {"monthly_summary": same})["monthly_summary"]
    day = PartitionKey.parse("date=2013-01-15")
    assert found([day]) == {day: (Reading("2013-01-15"),)}
    short = Downstream(MONTHLY_SUMMARY.asset_key, time_windows("month", TIMEZONE, "2013-06", "2013-08"))
    found = downstream_readings(instance, DEPARTURES, {"monthly_summary": short})["monthly_summary"]
    assert found([day]) == {day: (Reading(remedy="of which no partition depends on it yet"),)}
    whole = Downstream(MONTHLY_SUMMARY.asset_key, None)
    found = downstream_readings(instance, DEPARTURES, {"monthly_summary": whole})["monthly_summary"]
    assert found([day])[day][0].state == STATE


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_two_dimensions_by_the_same_and_by_one_of_them(instance: dg.DagsterInstance) -> None:
    days, cities = (
        time_windows("day", "UTC", "2013-01-01", "2013-01-11"),
        dg.StaticPartitionsDefinition(["Kyiv", "Oslo"]),
    )
    both = dg.MultiPartitionsDefinition({"date": days, "city": cities})
    spec = DatasetSpec(
        uri="lake://any/visits",
        partition={"time": {"column": "at"}, "by": ["city"]},
        retention={"expire_after": "300d", "after": ["same", "daily"]},
    )
    keys = [PartitionKey.parse(f"date=2013-01-0{day}/city=Oslo") for day in (1, 2)]
    one = dg.MultiPartitionKey({"date": "2013-01-01", "city": "Oslo"})
    for name, partition in (("same", one), ("daily", "2013-01-02")):
        event = dg.AssetMaterialization(name, partition=partition, metadata={f"{READ}visits": STATE})
        instance.report_runless_asset_event(event)
    downstreams = {
        "same": Downstream(dg.AssetKey("same"), both, dg.IdentityPartitionMapping()),
        "daily": Downstream(dg.AssetKey("daily"), days, dg.MultiToSingleDimensionPartitionMapping("date")),
    }
    sight = downstream_readings(instance, LakeAsset(spec, both), downstreams)
    found = {name: [(one.by, one.state) for key in keys for one in sight[name](keys)[key]] for name in sight}
    assert found["same"] == [("Oslo|2013-01-01", STATE), ("Oslo|2013-01-02", "")]
    assert found["daily"] == [("2013-01-01", ""), ("2013-01-02", STATE)]
