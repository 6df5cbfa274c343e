"""What a tick of the retention sensor asks for, without running it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from tests.dagster_project.lake_assets import FLIGHTS
from tests.dagster_project.ticks import evaluate
from tierlake.dagster_project.automation import attempts, run_requests
from tierlake.dagster_project.automation.config import op_config
from tierlake.dagster_project.automation.run_requests import AGAIN_TAG
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.demo.definitions import defs
from tierlake.dagster_project.demo.source import TIMEZONE
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.spec import RetentionSpec, WriteSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

SPEC = FLIGHTS.spec.model_copy(
    update={"retention": RetentionSpec(expire_after="300d"), "tiers": (), "write": WriteSpec()}
)
ASSET = LakeAsset(SPEC, FLIGHTS.partitions_def)
JOB = "flights_expiry"
DUE = ["2013-01-01", "2013-01-02", "2013-01-03"]
DAYS = [*DUE, "2013-12-30"]


def ingest(instance: dg.DagsterInstance, lake: LakeResource, days: Sequence[str]) -> Dataset:
    """A row a day, in the table and as Dagster sees it."""
    import pyarrow as pa

    hours = [ASSET.partitions_def.time_window_for_partition_key(day).start for day in days]
    table = pa.table({"time_hour": pa.array(hours, pa.timestamp("us", tz="UTC")), "n": range(len(days))})
    dataset = Dataset.create(ASSET.spec_in(lake), fs=lake.filesystem())
    dataset.ingest(table)
    for day in days:
        instance.report_runless_asset_event(dg.AssetMaterialization("flights", partition=day))
    return dataset


def tick(
    instance: dg.DagsterInstance, lake: LakeResource, asset: LakeAsset = ASSET, *, after: timedelta = timedelta(0)
):
    return evaluate(dataset_sensor(asset, clock=lambda: datetime.now(UTC) + after), instance, lake, defs)


def asked(execution: Any, by: str = "partitions") -> list[list[str]]:
    configs = [op_config(JOB, request.run_config) for request in execution.run_requests]
    return [config[by] for config in configs if by in config]


def finished(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """What the daemon and the run leave behind."""
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    instance.add_run(
        dg.DagsterRun(JOB, f"run-{instance.get_runs_count()}", dict(request.run_config), status=status, tags=tags)
    )


def test_one_request_with_all_that_is_due(instance, lake) -> None:
    ingest(instance, lake, DAYS)
    first, again = tick(instance, lake), tick(instance, lake)
    assert asked(first) == asked(again) == [DUE]
    (request,), (same,) = first.run_requests, again.run_requests
    assert request.run_key == same.run_key
    assert request.run_key.startswith("flights:2013-01-01..2013-01-03:")
    assert request.tags["tierlake/dataset"] == "flights"
    config = op_config(JOB, request.run_config)
    assert config["as_of"] == "2014-01-01"
    dg.validate_run_config(defs.resolve_job_def(JOB), request.run_config)


@pytest.mark.slow
def test_ingested_again_is_another_request(instance, lake) -> None:
    dataset = ingest(instance, lake, DAYS)
    (before,) = tick(instance, lake).run_requests
    assert dataset
    instance.report_runless_asset_event(dg.AssetMaterialization("flights", partition=DUE[1]))
    (after,) = tick(instance, lake).run_requests
    assert before.run_key != after.run_key


@pytest.mark.slow
def test_what_a_run_is_busy_with_is_not_asked_again(instance, lake) -> None:
    ingest(instance, lake, DAYS)
    (request,) = tick(instance, lake).run_requests
    finished(instance, request, dg.DagsterRunStatus.STARTED)
    waiting = tick(instance, lake)
    assert waiting.run_requests == []
    assert waiting.skip_message.startswith("a run is expiring 3 partitions")


@pytest.mark.slow
def test_a_failed_request_is_repeated_a_few_times(instance, lake) -> None:
    ingest(instance, lake, DAYS)
    keys = []
    ends = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS)
    for number, end in enumerate(ends):
        (request,) = tick(instance, lake, after=timedelta(minutes=16 * number)).run_requests
        assert request.tags.get(AGAIN_TAG, "").startswith(f"run run-{number - 1} " if number else "")
        keys.append(request.run_key)
        finished(instance, request, end)
    assert len(set(keys)) == attempts.ATTEMPTS
    over = tick(instance, lake, after=timedelta(minutes=30))
    assert over.run_requests == []
    assert over.skip_message.startswith(
        "2013-01-01, 2013-01-02, 2013-01-03 are due, and 3 runs or more did not expire them: run run-2 left it undone"
    )
    assert "`tierlake hold`" in over.skip_message
    assert asked(tick(instance, lake, after=timedelta(days=1, minutes=30))) == [[day] for day in DUE]


@pytest.mark.slow
def test_a_lost_run_is_asked_for_again(instance, lake) -> None:
    ingest(instance, lake, DAYS)
    (request,) = tick(instance, lake).run_requests
    finished(instance, request, dg.DagsterRunStatus.STARTED)
    assert tick(instance, lake, after=timedelta(minutes=50)).run_requests == []
    (again,) = tick(instance, lake, after=timedelta(minutes=61)).run_requests
    assert again.run_key != request.run_key
    assert "is taken for lost" in again.tags[AGAIN_TAG]


@pytest.mark.slow
def test_many_keys_go_in_batches(instance, lake, monkeypatch) -> None:
    ingest(instance, lake, DAYS)
    monkeypatch.setattr(run_requests, "KEYS_PER_RUN", 2)
    execution = tick(instance, lake)
    assert asked(execution) == [DUE[:2], DUE[2:]]
    assert len({request.run_key for request in execution.run_requests}) == 2


@pytest.mark.slow
def test_keys_that_dagster_does_not_know_are_asked_for_by_the_datasets_own(instance, lake) -> None:
    ingest(instance, lake, DAYS)
    later = LakeAsset(SPEC, time_windows("day", TIMEZONE, "2013-01-02", "2014-01-01"))
    execution = tick(instance, lake, later)
    assert asked(execution) == [DUE[1:]]
    assert asked(execution, "unknown") == [[f"date={DUE[0]}"]]
    assert len({request.run_key for request in execution.run_requests}) == 2
    for request in execution.run_requests:
        dg.validate_run_config(defs.resolve_job_def(JOB), request.run_config)
        finished(instance, request, dg.DagsterRunStatus.STARTED)
    assert tick(instance, lake, later).skip_message.startswith("a run is expiring 3 partitions")


@pytest.mark.slow
def test_why_nothing_is_asked(instance, lake) -> None:
    assert tick(instance, lake).skip_message == f"{lake.uri('flights')} does not exist yet"
    dataset = ingest(instance, lake, DAYS[-1:])
    assert tick(instance, lake).skip_message == (
        "nothing to expire as of 2014-01-01; next is date=2013-12-30 on 2014-10-27"
    )
    dataset.plan_expiry("2015-01-01").apply()
    healing = tick(instance, lake)  # Dagster does not know that it is gone
    assert healing.skip_message.startswith("2013-12-30 left the table and is shown as missing now; nothing to expire")
    assert instance.get_materialized_partitions(ASSET.asset_key) == set()
    assert dataset.undo_expiry(f"date={DAYS[-1]}").changed
    again = tick(instance, lake)  # nor that it is back
    assert again.skip_message.startswith("2013-12-30 is shown now as the table has it")
    assert [(event.partition, event.description) for event in again.asset_events] == [(DAYS[-1], "expiry undone")]


@pytest.mark.slow
def test_a_stale_cache_is_cleared_by_the_tick(instance, lake) -> None:
    from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

    from tierlake.dagster_project.partitions.wipe import wipe_partitions

    ingest(instance, lake, DAYS)
    asset_key = dg.AssetKey("flights")
    seen = get_and_update_asset_status_cache_value(instance, asset_key, ASSET.partitions_def)
    wipe_partitions(instance, asset_key, DUE[:1])
    instance.update_asset_cached_status_data(asset_key, seen)
    tick(instance, lake)
    statuses = instance.get_status_by_partition(asset_key, DAYS, ASSET.partitions_def)
    assert statuses[DUE[0]] is None
    assert statuses[DUE[1]] is dg.AssetPartitionStatus.MATERIALIZED
