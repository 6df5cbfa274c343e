"""The code is the desired state: a description that differs shows, and a run makes it the stored one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster.components.testing.utils import component_defs

from tests.dagster_project.ticks import evaluate
from tierlake.dagster_project.automation.attempts import ATTEMPTS
from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.pipelines import Dataset

if TYPE_CHECKING:
    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = [
    pytest.mark.parametrize("server", ["seaweedfs"], indirect=True),
    # Dagster 1.13 reads YAML with what pydantic has deprecated
    pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated", "ignore:.* is currently in beta"),
]

EVENTS = """
key: events
source: tests.dagster_project.automation.test_descriptions.a_row_a_day
start: "2013-01-01"
end: "2014-01-01"
partition: {{time: {{column: at}}}}
format: {format}
tiers: [{{after: 30d, tier: warm}}]
retention: {{expire_after: {expire_after}}}
"""
DAYS = ["2013-06-01", "2013-12-01"]  # 213 and 30 days before TIERLAKE_TODAY


def a_row_a_day(context: dg.AssetExecutionContext) -> Any:
    import pyarrow as pa

    starts = [
        context.assets_def.partitions_def.time_window_for_partition_key(key).start for key in context.partition_keys
    ]
    return pa.table({"at": pa.array(starts, pa.timestamp("us", tz="UTC"))})


def definitions(lake: LakeResource, expire_after: str = "300d", table_format: str = "delta") -> dg.Definitions:
    resources = {"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)}
    text = EVENTS.format(expire_after=expire_after, format=table_format)
    return component_defs(component=LakeDataset.resolve_from_yaml(text), resources=resources)


@pytest.fixture
def dataset(instance: dg.DagsterInstance, lake: LakeResource) -> Dataset:
    """Two days, written by the file as it was first."""
    for day in DAYS:
        ran(definitions(lake), instance, "events_job", partition_key=day)
    return lake.dataset("events")


def ran(defs: dg.Definitions, instance: dg.DagsterInstance, job: str, **how: Any) -> Any:
    return defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **how)


def checked(defs: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    """The result of the asset check."""
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("events"), "described_as_stored"))
    job = dg.define_asset_job("check", selection)
    result = ran(dg.Definitions.merge(defs, dg.Definitions(jobs=[job])), instance, "check")
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, lake: LakeResource) -> Any:
    sensor = defs.resolve_sensor_def("events_retention")
    return evaluate(sensor, instance, lake, defs)


def days(dataset: Dataset) -> list[str]:
    return [key.as_dict()["date"] for key in dataset.windows()]


def changes(dataset: Dataset) -> list[tuple[str | None, str | None]]:
    return [(entry.reason, entry.run) for entry in dataset.history() if entry.operation == "apply"]


@pytest.mark.slow
def test_a_difference_shows_in_the_check_and_the_policy_job_applies_it_once(instance, lake, dataset) -> None:
    assert checked(definitions(lake), instance).passed
    changed = definitions(lake, "200d")
    check = checked(changed, instance)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    text = check.metadata["diff"].value
    assert "retention.expire_after  300d    200d" in text
    assert f"become due: date={DAYS[0]}" in text
    assert changes(dataset) == [], "to look changes nothing"

    result = ran(changed, instance, "events_policy")
    assert result.success
    expected = "as the code location describes it: retention.expire_after 300d -> 200d"
    assert changes(dataset) == [(expected, result.run_id)]
    assert ran(changed, instance, "events_policy").success
    assert len(changes(dataset)) == 1
    assert checked(changed, instance).passed
    assert days(dataset) == DAYS, "the policy job expires nothing"


@pytest.mark.slow
@pytest.mark.parametrize("job", ["events_job", "events_tiering", "events_expiry"])
def test_the_next_run_of_any_job_applies_it(instance, lake, dataset, job) -> None:
    how = {"partition_key": DAYS[1]} if job == "events_job" else {}
    result = ran(definitions(lake, "200d"), instance, job, **how)
    assert result.success
    assert [run for _, run in changes(dataset)] == [result.run_id]
    assert days(dataset) == (DAYS[1:] if job == "events_expiry" else DAYS), "an expiry goes by the new description"


def test_a_tick_asks_for_the_change_and_then_goes_by_it(instance, lake, dataset) -> None:
    assert tick(definitions(lake), instance, lake).run_requests == []
    changed = definitions(lake, "200d")
    (request,), (same,) = tick(changed, instance, lake).run_requests, tick(changed, instance, lake).run_requests
    assert request.run_key == same.run_key
    how = {"run_config": request.run_config, "tags": {**request.tags, "dagster/run_key": request.run_key}}
    assert ran(changed, instance, "events_expiry", **how).success
    assert (days(dataset), len(changes(dataset))) == (DAYS[1:], 1)
    assert tick(changed, instance, lake).run_requests == []
    dataset.apply_spec({"retention": {"expire_after": "300d"}})  # somebody at a terminal
    (again,) = tick(changed, instance, lake).run_requests
    assert again.run_key != request.run_key, "the same change once more is another request"


@pytest.mark.slow
def test_a_change_that_keeps_failing_is_not_asked_for_ever(instance, lake, dataset) -> None:
    assert dataset.spec.retention.expire_after.days == 300
    changed = definitions(lake, "200d")
    for number in range(ATTEMPTS - 1):
        (request,) = tick(changed, instance, lake).run_requests
        failed = dg.DagsterRun(
            "events_expiry",
            f"run-{number}",
            dict(request.run_config),
            status=dg.DagsterRunStatus.FAILURE,
            tags={**request.tags, "dagster/run_key": request.run_key},
        )
        instance.add_run(failed)
    over = tick(changed, instance, lake)
    assert over.run_requests == []
    assert "changing the description did not come to its end (run run-1 failed at " in over.skip_message
    assert "the next try is at " in over.skip_message


@pytest.mark.slow
def test_what_cannot_change_fails_by_name(instance, lake, dataset) -> None:
    other = definitions(lake, table_format="parquet")
    check = checked(other, instance)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    for job, how in (("events_policy", {}), ("events_expiry", {}), ("events_job", {"partition_key": DAYS[0]})):
        result = ran(other, instance, job, **how)
        assert not result.success
        told = str([event.event_specific_data for event in result.all_events if event.is_step_failure])
        assert "format: the files lie as that format has them" in told
    assert "as it cannot be: format" in tick(other, instance, lake).skip_message
    assert (changes(dataset), days(dataset)) == ([], DAYS)


@pytest.mark.slow
def test_a_table_that_nobody_described_has_nothing_to_change(instance, lake) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fs = lake.filesystem()
    with fs.open(f"{lake.uri('events')}/date={DAYS[0]}/theirs.parquet", "wb") as file:
        pq.write_table(pa.table({"v": [1]}), file)
    plain = definitions(lake, "200d", "parquet")
    assert checked(plain, instance).passed
    assert ran(plain, instance, "events_policy").success
    assert not lake.dataset("events").is_described


@pytest.mark.slow
def test_a_dropped_dataset_turns_missing_and_takes_no_description(instance, lake, dataset) -> None:
    key = dg.AssetKey("events")
    assert instance.get_materialized_partitions(key) == set(DAYS)
    dataset.drop()
    for expire_after in ("300d", "200d"):
        defs = definitions(lake, expire_after)
        result = tick(defs, instance, lake)
        for request in result.run_requests or []:
            assert ran(defs, instance, "events_expiry", run_config=request.run_config).success
        assert instance.get_materialized_partitions(key) == set()
    assert not ran(defs, instance, "events_job", partition_key=DAYS[0]).success, "nothing can be written"
    assert changes(dataset) == []
    dataset.undrop()
    assert ran(defs, instance, "events_policy").success
    assert len(changes(dataset)) == 1
