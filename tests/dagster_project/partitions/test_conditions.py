from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from tests.dagster_project.lake_assets import FLIGHTS
from tierlake.dagster_project.partitions.conditions import not_expired
from tierlake.pipelines.model.spec import DatasetSpec

# Dagster's own tester of conditions uses what is in beta
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def requested(instance: dg.DagsterInstance, spec: DatasetSpec, now: datetime) -> list[str]:
    @dg.asset(
        partitions_def=FLIGHTS.partitions_def,
        automation_condition=dg.AutomationCondition.missing() & not_expired(spec),
    )
    def flights() -> None: ...

    result = dg.evaluate_automation_conditions(dg.Definitions([flights]), instance, evaluation_time=now)
    return sorted(result.get_requested_partitions(dg.AssetKey("flights")))


def test_missing_partitions_within_retention_only(instance: dg.DagsterInstance) -> None:
    days = requested(instance, FLIGHTS.spec, datetime(2014, 1, 1, 5, tzinfo=UTC))
    assert (days[0], days[-1], len(days)) == ("2013-03-07", "2013-12-31", 300)
    instance.report_runless_asset_event(dg.AssetMaterialization("flights", partition="2013-03-07"))
    assert requested(instance, FLIGHTS.spec, datetime(2014, 1, 1, 5, tzinfo=UTC))[0] == "2013-03-08"


def test_the_fixed_today_counts(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERLAKE_TODAY", "2014-10-27")
    assert requested(instance, FLIGHTS.spec, datetime(2030, 1, 1, tzinfo=UTC)) == ["2013-12-31"]


def test_without_retention_nothing_is_expired(instance: dg.DagsterInstance) -> None:
    spec = DatasetSpec(uri=FLIGHTS.spec.uri, partition=FLIGHTS.spec.partition)
    assert len(requested(instance, spec, datetime(2030, 1, 1, tzinfo=UTC))) == 365


CITIES_BY_DAY = DatasetSpec(
    uri="lake://warehouse/cities",
    partition={"time": {"column": "at", "every": "day"}, "by": ["city"]},
    retention={"expire_after": "30d"},
)
OLD, NEW = "2013-01-01", "2013-06-01"
DAY = DatasetSpec(uri=CITIES_BY_DAY.uri, partition={"time": {"column": "at"}}, retention={"expire_after": "30d"})


@pytest.mark.parametrize(
    ("spec", "partitions_def", "kept"),
    [
        (DAY, dg.StaticPartitionsDefinition([OLD, NEW, "undated"]), [NEW, "undated"]),
        (DAY, dg.DynamicPartitionsDefinition(name="days"), [NEW]),
        (
            CITIES_BY_DAY,
            dg.MultiPartitionsDefinition(
                {
                    "date": dg.DynamicPartitionsDefinition(name="days"),
                    "city": dg.StaticPartitionsDefinition(["Oslo", "Kyiv"]),
                }
            ),
            [f"Kyiv|{NEW}", f"Oslo|{NEW}"],
        ),
    ],
    ids=["static", "dynamic", "multi"],
)
def test_partitions_of_every_kind(
    instance: dg.DagsterInstance, spec: DatasetSpec, partitions_def: dg.PartitionsDefinition, kept: list[str]
) -> None:
    instance.add_dynamic_partitions("days", [OLD, NEW])

    @dg.asset(partitions_def=partitions_def, automation_condition=dg.AutomationCondition.missing() & not_expired(spec))
    def cities() -> None: ...

    now = datetime(2013, 6, 15, tzinfo=UTC)
    result = dg.evaluate_automation_conditions(dg.Definitions([cities]), instance, evaluation_time=now)
    assert sorted(result.get_requested_partitions(cities.key)) == kept


def test_the_demo_makes_what_changed_and_nothing_that_has_expired(instance: dg.DagsterInstance) -> None:
    """As of 2014-01-01, 2013-03-06 has expired: its flights have come back by undo, and are not made anew."""
    from tierlake.dagster_project.demo.definitions import defs

    now = datetime(2014, 1, 1, 5, tzinfo=UTC)
    first = dg.evaluate_automation_conditions(defs, instance, evaluation_time=now)
    assert first.get_requested_partitions(dg.AssetKey("departures")) == set()
    for name, key in (("weather", "2013-03"), ("flights", "2013-03-06"), ("flights", "2013-03-07")):
        instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key))
    second = dg.evaluate_automation_conditions(defs, instance, evaluation_time=now, cursor=first.cursor)
    assert second.get_requested_partitions(dg.AssetKey("departures")) == {"2013-03-07"}
    assert second.get_requested_partitions(dg.AssetKey("monthly_summary")) == set()  # the other days are not there
