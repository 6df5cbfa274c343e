"""Table and Dagster are made one by their state, whoever changed one of them, and whoever died in between."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.events import AssetMaterializationPlannedData
from deltalake import DeltaTable

from tests.dagster_project import status
from tests.dagster_project.ticks import Ticks
from tierlake.dagster_project.automation import jobs, sensors
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.event_storage import latest_data_versions
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.materializations import materialized
from tierlake.dagster_project.partitions.metadata import PARTITION_ROWS, spec_metadata
from tierlake.pipelines import Dataset
from tierlake.pipelines.metastore import removal
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

OLD = ["2013-01-01", "2013-01-02", "2013-01-03"]
YOUNG = ["2013-12-29", "2013-12-30"]
DAYS = [*OLD, *YOUNG]
QUIET = "nothing to expire as of 2014-01-01; next is date=2013-12-29 on 2014-10-26"


def rows(days: Sequence[str], each: int = 1) -> pa.Table:
    at = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days for _ in range(each)]
    return pa.table({"at": pa.array(at, pa.timestamp("us", tz="UTC")), "v": range(len(at))})


class Life:
    """A dataset of ours, its definitions and a Dagster instance; ticks and runs as the daemon does them."""

    def __init__(self, instance: dg.DagsterInstance, lake: LakeResource, name: str = "visits", **spec: Any) -> None:
        said = {"retention": {"expire_after": "300d"}, "tiers": [{"after": "5d", "tier": "warm"}], **spec}
        self.spec = DatasetSpec(uri=f"lake://any/{name}", partition={"time": {"column": "at"}}, **said)
        self.asset = LakeAsset(self.spec, time_windows("day", "UTC", OLD[0], "2014-01-01"))
        self.instance, self.lake = instance, lake
        self.expiry = jobs.expiry_job(self.asset)
        self.tiering = jobs.tiering_job(self.asset)
        self.undo = jobs.undo_job(self.asset)
        self.sensor = sensors.dataset_sensor(self.asset)
        external = dg.AssetSpec(self.asset.asset_key, partitions_def=self.asset.partitions_def)
        self.defs = dg.Definitions(
            assets=[external],
            jobs=[self.expiry, self.tiering, self.undo],
            sensors=[self.sensor],
            resources={"lake": lake},
        )
        self.tick = Ticks(self.sensor, instance, lake, self.defs)
        self.dataset = Dataset.create(self.asset.spec_in(lake), fs=lake.filesystem())

    def made(self, days: Sequence[str], each: int = 1) -> None:
        """As by a run: rows in the table, and an event that says how many."""
        self.dataset.ingest(rows(days, each), keys=[f"date={day}" for day in days])
        self.event(days, each)

    def event(self, days: Sequence[str], count: int | None) -> None:
        metadata = {} if count is None else {PARTITION_ROWS: count}
        for day in days:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(self.asset.asset_key, partition=day, metadata=metadata)
            )

    def ran(self, job: dg.JobDefinition, **config: Any) -> dg.ExecuteInProcessResult:
        resolved = self.defs.resolve_job_def(job.name)
        ops = {"ops": {f"{job.name}_op": {"config": config}}}
        return resolved.execute_in_process(instance=self.instance, run_config=ops, raise_on_error=False)

    def shown(self) -> set[str]:
        return status.available(self.instance, self.asset.name, self.asset.partitions_def)

    def log(self) -> DeltaTable:
        handle = self.dataset._handle
        return DeltaTable(f"s3://{handle.table.root}", storage_options=handle.fs.delta_options())

    def dies_before_confirming(self, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
        """The process ends between the table's commit and the journal's confirmation."""
        with monkeypatch.context() as patch:
            for module in (
                "tierlake.pipelines.lifecycle.expiry",
                "tierlake.pipelines.ingest.run",
                "tierlake.pipelines.lifecycle.undo",
            ):
                patch.setattr(f"{module}.completed", _killed, raising=False)
            with pytest.raises(KeyboardInterrupt):
                act()


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def failed_of(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return event.step_failure_data.user_failure_data.metadata["failures"].value


def outputs(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def test_whoever_takes_partitions_out_they_are_missing(
    instance: dg.DagsterInstance, lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(instance, lake)
    life.made(DAYS)
    assert life.tick().run_requests
    # another writer, who writes no journal
    life.log().delete("date = '2013-01-01'")
    tick = life.tick()
    assert "2013-01-01" not in life.shown()
    assert all("2013-01-01" not in str(request.run_config) for request in tick.run_requests)

    # a run that was killed after the commit
    plan = life.dataset.plan_expiry(date(2014, 1, 1))
    life.dies_before_confirming(monkeypatch, plan.apply)
    assert life.tick().skip_message == f"2013-01-02, 2013-01-03 left the table and are shown as missing now; {QUIET}"
    assert life.shown() == set(YOUNG)
    entry = next(entry for entry in life.dataset.history() if entry.operation == "expire")
    assert entry.keys == ("date=2013-01-02", "date=2013-01-03")
    record = next(life.dataset._handle.journal.records(removal.RemovalRecord))
    assert record.committed_at is not None
    assert life.tick().skip_message == QUIET

    # a terminal brings one back
    assert life.dataset.undo_expiry("date=2013-01-02").changed
    tick = life.tick()
    assert tick.skip_message.startswith("2013-01-02 is shown now as the table has it; nothing to expire")
    assert life.shown() == {"2013-01-02", *YOUNG}
    latest = latest_storage_ids(instance, life.asset.asset_key)
    back = materialized(instance, life.asset.asset_key, [latest["2013-01-02"]])["2013-01-02"]
    assert back.rows == 1


@pytest.mark.slow
def test_an_expiry_of_a_plain_table_that_died_is_settled(
    instance: dg.DagsterInstance, lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(instance, lake, format="parquet")
    life.made(DAYS)
    plan = life.dataset.plan_expiry(date(2014, 1, 1))
    life.dies_before_confirming(monkeypatch, lambda: plan.apply(keys=[f"date={day}" for day in OLD[:2]]))
    (request,) = life.tick().run_requests
    assert life.shown() == {OLD[2], *YOUNG}
    entry = next(entry for entry in life.dataset.history() if entry.operation == "expire")
    assert entry.keys == ("date=2013-01-01", "date=2013-01-02")
    assert request.run_config["ops"]["visits_expiry_op"]["config"]["partitions"] == [OLD[2]]
    assert life.dataset.undo_expiry("date=2013-01-01").changed
    life.tick()
    assert life.shown() == {OLD[0], OLD[2], *YOUNG}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # single-run backfills
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_rows_that_others_change_are_told_once(instance: dg.DagsterInstance, lake: LakeResource, format_: str) -> None:
    """By real runs: what they commit is no change by others, whatever the tick remembers, in the same second too."""
    days = time_windows("day", "UTC", OLD[0], "2014-01-01")
    spec = DatasetSpec(uri="lake://any/visits", format=format_, partition={"time": {"column": "at"}})

    @dg.asset(partitions_def=days, metadata=spec_metadata(spec), backfill_policy=dg.BackfillPolicy.single_run())
    def visits(context) -> Any:
        return rows([day for day in context.partition_keys if day != OLD[2]])

    sensor = sensors.dataset_sensor(LakeAsset(spec, days))
    resources = {"lake": lake, "io_manager": LakeParquetIOManager(lake=lake)}
    defs = dg.Definitions(assets=[visits], sensors=[sensor], resources=resources)
    job = defs.resolve_implicit_global_asset_job_def()
    span = {"dagster/asset_partition_range_start": OLD[0], "dagster/asset_partition_range_end": OLD[2]}
    tick = Ticks(sensor, instance, lake, defs)

    def versions() -> dict[str, str]:
        return latest_data_versions(instance, dg.AssetKey("visits"))

    assert job.execute_in_process(instance=instance, tags=span).success
    quiet = "all 3 partitions are shown as the table has them"
    assert (tick().skip_message, tick().skip_message) == (quiet, quiet)
    assert job.execute_in_process(instance=instance, tags=span).success
    assert tick().skip_message == quiet
    before = versions()

    lake.dataset("visits").ingest(rows(OLD[1:2], each=2))  # from a terminal
    if format_ == "delta":
        lake.dataset("visits").compact()
    told = tick()
    assert told.skip_message == "2013-01-02 is shown now as the table has it"
    assert {key for key, version in versions().items() if version != before[key]} == {OLD[1]}
    if format_ == "delta":  # a listing does not tell
        assert told.asset_events[0].metadata[PARTITION_ROWS].value == 2
    tick.cursor = None
    assert tick().skip_message == quiet

    assert job.execute_in_process(instance=instance, partition_key=OLD[1]).success
    assert tick().skip_message == quiet
    assert status.available(instance, "visits", days) == set(OLD)


@pytest.mark.slow
def test_a_run_that_died_after_its_commit_is_told_of(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    life = Life(instance, lake)
    life.made(OLD[:1])
    life.dataset.ingest(rows(YOUNG))
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    for day, state in zip(YOUNG, (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED), strict=True):
        run = dg.DagsterRun("visits_job", status=state)
        instance.add_run(run)
        about = AssetMaterializationPlannedData(life.asset.asset_key, partition=day)
        instance.report_dagster_event(
            dg.DagsterEvent(planned.value, "visits_job", event_specific_data=about), run_id=run.run_id
        )
    tick = life.tick()
    assert [event.partition for event in tick.asset_events] == YOUNG[:1]  # the other run may come to its end
    assert life.shown() == {OLD[0], YOUNG[0]}
    instance.delete_run(run.run_id)
    life.tick()
    assert life.shown() == {OLD[0], *YOUNG}


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_change_that_was_passed_over_while_a_run_was_at_work_is_told_of_when_it_died(
    instance: dg.DagsterInstance, lake: LakeResource, format_: str
) -> None:
    life = Life(instance, lake, format=format_)
    life.made(YOUNG)
    assert life.tick().skip_message == QUIET
    run = dg.DagsterRun("visits_job", status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    about = AssetMaterializationPlannedData(life.asset.asset_key, partition=YOUNG[0])
    planned = dg.DagsterEvent(
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value, "visits_job", event_specific_data=about
    )
    instance.report_dagster_event(planned, run_id=run.run_id)
    life.dataset.ingest(rows(YOUNG[:1], 7))
    assert not life.tick().asset_events  # the run may tell of it itself
    instance.report_run_failed(run)
    assert [event.partition for event in life.tick().asset_events] == YOUNG[:1]
    assert life.tick().skip_message == QUIET
    for typed in ("anything", "[]", "null", '{"version": 1}', '{"version": 1, "state": 3, "act": null}'):
        life.tick.cursor = typed  # a person may, in the UI
        assert life.tick().skip_message == QUIET


@pytest.mark.slow
def test_partitions_without_rows_come_due_like_the_others(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    life = Life(instance, lake)
    life.made([OLD[0]])
    life.event([OLD[1], YOUNG[0]], 0)
    life.event([OLD[2]], None)  # somebody's own event, which does not say
    (request,) = life.tick().run_requests
    config = request.run_config["ops"]["visits_expiry_op"]["config"]
    assert config["partitions"] == [OLD[0], OLD[1]]
    facts = outputs(life.ran(life.expiry, **config))
    assert (facts["expired"], facts["wiped"], facts["kept"]) == (1, 2, {})
    assert life.shown() == {OLD[2], YOUNG[0]}
    silent = life.tick().skip_message
    assert silent.startswith(
        "2013-01-03 is shown, the table has no rows of it, and nothing says whether there ever were"
    )
    assert "nothing to expire as of 2014-01-01" in silent


@pytest.mark.slow
def test_a_job_checks_its_keys(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    life = Life(instance, lake)
    life.made([*OLD, YOUNG[0]])
    life.event([YOUNG[1]], 0)
    life.dataset.hold("date=2013-01-02", reason="audit")
    before = latest_storage_ids(instance, life.asset.asset_key)
    named = [*DAYS, "2026-12-77", "nonsense", "2012-06-01", "2013-02-01", "2013-1-1"]
    strange = ["date=2013-01-1", "origin=JFK", "nothing at all", "date=2011-01-01"]
    result = life.ran(life.expiry, partitions=named, unknown=strange)
    refused = failed_of(result)
    assert {key: reason.split(":")[0].split("(")[0] for key, reason in refused.items()} == {
        "2013-01-02": "held",
        "2013-12-29": "within its retention until 2014-10-26",
        "2013-12-30": "within its retention until 2014-10-27",
        "2026-12-77": refused["2026-12-77"].split(":")[0],
        "nonsense": refused["nonsense"].split(":")[0],
        "2012-06-01": "there is no such partition, neither in the table nor of the asset",
        "2013-1-1": refused["2013-1-1"].split(":")[0],
        "date=2013-01-1": refused["date=2013-01-1"].split(":")[0],
        "origin=JFK": refused["origin=JFK"].split(":")[0],
        "nothing at all": refused["nothing at all"].split(":")[0],
        "date=2011-01-01": "there is no such partition, neither in the table nor of the asset",
    }
    assert "is not the key of one day" in refused["2026-12-77"]
    assert "is not the key of one day" in refused["nonsense"]
    assert "write date=2013-01-01" in refused["2013-1-1"]
    assert "write date=..." in refused["origin=JFK"]
    assert life.shown() == {OLD[1], *YOUNG}  # the two that were right are gone
    after = latest_storage_ids(instance, life.asset.asset_key)
    assert after == {key: before[key] for key in (OLD[1], *YOUNG)}
    # once more: those that are gone are gone, and nothing else is done
    again = life.ran(life.expiry, partitions=[OLD[0], OLD[2]])
    facts = outputs(again)
    assert (facts["expired"], facts["wiped"], facts["absent"]) == (0, 0, [OLD[0], OLD[2]])

    undone = life.ran(life.undo, partition="2013-01-77")
    (event,) = [event for event in undone.all_events if event.is_step_failure]
    assert "is not the key of one day" in event.step_failure_data.user_failure_data.description
    assert life.ran(life.undo, partition=OLD[0]).success
    assert life.shown() == {OLD[0], OLD[1], *YOUNG}


@pytest.mark.slow
def test_metadata_follows_the_table(
    instance: dg.DagsterInstance, lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(instance, lake)
    life.made(DAYS, each=2)
    life.dataset.ingest(rows(YOUNG), mode="append")
    life.event(YOUNG, 3)
    life.tick()
    versions = latest_data_versions(instance, life.asset.asset_key)

    def told(partition: str | None) -> dict[str, Any]:
        records = instance.fetch_observations(life.asset.asset_key, limit=100).records  # newest first
        seen = next(one.asset_observation for one in records if one.asset_observation.partition == partition)
        return {"is": seen.description, **{name: value.value for name, value in seen.metadata.items()}}

    life.dataset.plan_tiering(date(2013, 1, 7)).apply().raise_failures()  # the journal's first act, from a terminal
    life.tick()
    assert (told(OLD[0])["storage_class"], told(OLD[0])["is"]) == ("STANDARD_IA", "moved to another tier")
    assert life.ran(life.tiering, as_of="2013-01-20").success
    assert (told(OLD[1])["storage_class"], told(OLD[1])["is"]) == ("STANDARD_IA", "moved to another tier")
    assert (told(None)["storage_class"], told(None)["dagster/row_count"]) == ("STANDARD+STANDARD_IA", 12)
    assert "metadata" not in (life.tick().skip_message or "")  # the run has told itself

    def while_a_tick_looks(*args: Any, **said: Any) -> Any:
        record = removal.begun(*args, **said)
        life.tick()
        return record

    with monkeypatch.context() as patch:  # between what a terminal intends and what it does
        patch.setattr("tierlake.pipelines.maintenance.rewrite.begun", while_a_tick_looks)
        life.dataset.compact(f"date={YOUNG[0]}")
    life.tick()
    assert told(YOUNG[0])["files"] == 1
    life.dataset.plan_tiering(date(2014, 1, 20)).apply().raise_failures()
    life.tick()
    assert (told(YOUNG[0])["files"], told(YOUNG[0])["storage_class"]) == (1, "STANDARD_IA")
    assert told(YOUNG[1])["files"] == 2
    assert latest_data_versions(instance, life.asset.asset_key) == versions

    facts = outputs(life.ran(life.expiry))
    assert (facts["expired"], facts["kept"]) == (3, {})
    assert (told(None)["partitions"], told(None)["dagster/row_count"]) == (2, 6)
    assert told(OLD[0])["is"] == "no longer available"


@pytest.mark.slow
def test_a_missing_table_wipes_nothing_and_a_dropped_one_all(
    instance: dg.DagsterInstance, lake: LakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(instance, lake)
    life.made(YOUNG)
    with monkeypatch.context() as patch:
        patch.setenv("TIERLAKE_WAREHOUSE", lake.uri("elsewhere"))
        message = life.tick().skip_message
    assert "elsewhere/visits does not exist, and Dagster shows 2 of its partitions: they stay" in message
    assert life.shown() == set(YOUNG)
    monkeypatch.setattr(sensors, "PARTITIONS_PER_TICK", 1)
    assert life.dataset.drop(reason="moved").changed
    assert life.tick().skip_message.startswith(
        "2013-12-29 left the table and is shown as missing now; 1 more with the "
    )
    assert life.tick().skip_message.startswith(
        "2013-12-30 left the table and is shown as missing now; nothing to expir"
    )
    assert life.shown() == set()
    assert life.dataset.undrop().changed
    told = [event.description for _ in YOUNG for event in life.tick().asset_events if event.partition]
    assert told == ["drop undone", "drop undone"]
    assert life.shown() == set(YOUNG)
