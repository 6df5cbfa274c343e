from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from dagster_project.datasets import DEPARTURES, MONTHLY_SUMMARY
from dagster_project.jobs import DOWNSTREAMS
from dagster_project.lineage import downstream_sight


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def seen(instance: dg.DagsterInstance, key: str) -> datetime | None:
    sight = downstream_sight(instance, DEPARTURES, DOWNSTREAMS)
    assert set(sight) == {"monthly_summary"}
    return sight["monthly_summary"](key)


def summarize(instance: dg.DagsterInstance, month: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(MONTHLY_SUMMARY.asset_key, partition=month))


def test_a_day_was_seen_when_its_month_was_summed_up(instance: dg.DagsterInstance) -> None:
    assert seen(instance, "date=2013-01-31") is None
    before = datetime.now(UTC)
    summarize(instance, "2013-01")
    assert seen(instance, "date=2013-02-01") is None
    for day in ("2013-01-01", "2013-01-31"):
        at = seen(instance, f"date={day}")
        assert at
        assert before <= at <= datetime.now(UTC)


def test_the_latest_time_counts(instance: dg.DagsterInstance) -> None:
    summarize(instance, "2013-01")
    first = seen(instance, "date=2013-01-15")
    summarize(instance, "2013-01")
    second = seen(instance, "date=2013-01-15")
    assert first
    assert second
    assert second > first


def test_who_waits_for_nobody_asks_nobody(instance: dg.DagsterInstance) -> None:
    assert downstream_sight(instance, MONTHLY_SUMMARY, DOWNSTREAMS) == {}


def test_dagsters_clock_is_taken_for_the_stores(instance: dg.DagsterInstance) -> None:
    summarize(instance, "2013-01")
    own = seen(instance, "date=2013-01-15")
    ahead = timedelta(hours=3)
    sight = downstream_sight(instance, DEPARTURES, DOWNSTREAMS, ahead)
    assert own is not None
    assert sight["monthly_summary"]("date=2013-01-15") == own - ahead
