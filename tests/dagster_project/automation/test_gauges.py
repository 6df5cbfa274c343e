"""What metrics hear of a dataset from its sensors, jobs and checks."""

from __future__ import annotations

import time

import dagster as dg
import pyarrow as pa
import pytest

from tests.dagster_project.lake_assets import FLIGHTS
from tests.dagster_project.ticks import evaluate
from tests.observed import recording
from tierlake.connector.observe import Gauge
from tierlake.dagster_project.automation.checks import verify_check
from tierlake.dagster_project.automation.jobs import expiry_job
from tierlake.dagster_project.automation.observe import observation_sensor
from tierlake.dagster_project.automation.restores import restore_sensor
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.demo.definitions import defs
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.spec import RetentionSpec, WriteSpec

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

SPEC = FLIGHTS.spec.model_copy(
    update={"retention": RetentionSpec(expire_after="300d"), "tiers": (), "write": WriteSpec()}
)
ASSET = LakeAsset(SPEC, FLIGHTS.partitions_def)
DAYS = ("2013-01-01", "2013-01-02", "2013-12-30")


@pytest.fixture
def flights(instance, lake):
    """Three days, two of which are past their retention."""
    hours = [ASSET.partitions_def.time_window_for_partition_key(day).start for day in DAYS]
    dataset = Dataset.create(ASSET.spec_in(lake), fs=lake.filesystem())
    dataset.ingest(pa.table({"time_hour": pa.array(hours, pa.timestamp("us", tz="UTC")), "n": range(len(DAYS))}))
    for day in DAYS:
        instance.report_runless_asset_event(dg.AssetMaterialization("flights", partition=day))
    return dataset


def gauges(recorder):
    return {one.name: one.value for one in recorder.events if isinstance(one, Gauge) and "tier" not in one.labels}


@pytest.mark.parametrize("make", [dataset_sensor, observation_sensor, restore_sensor])
def test_a_sensor_says_when_it_has_ticked(instance, lake, flights, make):
    sensor = make(ASSET)
    with recording() as recorder:
        evaluate(sensor, instance, lake, defs)
    ticks = [one for one in recorder.events if isinstance(one, Gauge) and one.name == "sensor_tick_timestamp_seconds"]
    assert [one.labels for one in ticks] == [{"sensor": sensor.name}]
    assert ticks[0].value == pytest.approx(time.time(), abs=60)


def test_a_tick_that_fails_says_nothing(instance, lake, flights, monkeypatch):
    monkeypatch.setattr(LakeAsset, "dataset_in", lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
    with recording() as recorder, pytest.raises(RuntimeError):
        evaluate(dataset_sensor(ASSET), instance, lake, defs)
    assert "sensor_tick_timestamp_seconds" not in gauges(recorder)


def test_the_backlog_of_retention_costs_no_request(instance, lake, flights):
    sensor = dataset_sensor(ASSET)
    with recording() as recorder:
        evaluate(sensor, instance, lake, defs)
    assert gauges(recorder)["expiry_backlog"] == 2
    assert gauges(recorder)["figures_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


def test_an_expiry_leaves_no_backlog(instance, lake, flights):
    with recording() as recorder:
        done = expiry_job(ASSET).execute_in_process(instance=instance, resources={"lake": lake})
    assert done.success
    shown = gauges(recorder)
    assert shown["expiry_backlog"] == 0
    assert shown["incomplete_upload_count"] == 0
    assert "unencrypted_object_count" not in shown


def test_a_check_counts_what_is_not_encrypted(instance, lake, flights):
    asset = dg.AssetSpec(ASSET.asset_key, partitions_def=ASSET.partitions_def)
    checks = dg.Definitions(assets=[asset], asset_checks=[verify_check(ASSET)], resources={"lake": lake})
    job = checks.resolve_implicit_global_asset_job_def()
    with recording() as recorder:
        assert job.execute_in_process(instance=instance).success
    assert gauges(recorder)["unencrypted_object_count"] == 0
    assert gauges(recorder)["tiering_backlog"] == 0
