"""Runs that have to wait for archived partitions, on moto: named, asked back at the launchpad, started again."""

from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster.components.testing.utils import component_defs

from tests.dagster_project.ticks import Ticks
from tierlake.connector.objects.restore import RestoreStatus
from tierlake.dagster_project.automation import restores
from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines import Dataset
from tierlake.pipelines.query import restore as archives

# Dagster 1.13 reads YAML with what pydantic has deprecated, and links to the file with what is in beta
pytestmark = pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated", "ignore:.* is currently in beta")

EVENTS = """
key: events
start: "2013-01-01"
end: "2013-01-05"
partition: {time: {column: at, every: day}}
tiers: [{after: 90d, tier: archive}]
"""
FROZEN = ("2013-01-02", "2013-01-03")
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
DAILY = dg.AssetKey("daily")
DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-05")


def daily() -> dg.AssetsDefinition:
    """An asset that reads the days that it is for."""

    @dg.asset(
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        ins={"events": dg.AssetIn(input_manager_key="lake_io_manager")},
    )
    def daily(events) -> None:
        assert len(events) == 10 * len(set(events["date"]))

    return daily


@pytest.fixture
def lake(moto, monkeypatch):
    """Four days of a dataset that somebody else writes, two of them in DEEP_ARCHIVE."""
    bucket = moto.make_bucket()
    for name, value in moto.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TIERLAKE_WAREHOUSE", f"lake://{bucket}")
    lake = LakeResource()
    fs = lake.filesystem()
    dataset = Dataset.create(LakeDataset.resolve_from_yaml(EVENTS).lake_asset().spec_in(lake), fs=fs)
    hours = [f"2013-01-0{day}T0{hour}:00:00" for day in range(1, 5) for hour in range(10)]
    dataset.ingest(pa.table({"at": pa.array(hours).cast(pa.timestamp("us"))}))
    for day in FROZEN:
        (path,) = fs.for_table(f"{bucket}/events").find(f"{bucket}/events/date={day}")
        fs.transition(path, storage_class="DEEP_ARCHIVE")
    yield lake
    moto.drop_bucket(bucket)


class Project:
    """What a component makes of the dataset, and an asset that reads it."""

    def __init__(self, lake: LakeResource, instance: dg.DagsterInstance) -> None:
        self.lake, self.instance = lake, instance
        resources = {"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)}
        made = component_defs(component=LakeDataset.resolve_from_yaml(EVENTS), resources=resources)
        self.defs = dg.Definitions.merge(made, dg.Definitions(assets=[daily()]))
        self.tick = Ticks(self.defs.resolve_sensor_def("events_restores"), instance, lake, self.defs)
        for day in DAYS.get_partition_keys():
            instance.report_runless_asset_event(dg.AssetMaterialization("events", partition=day))

    def read(self, tags: Any = None, **options: Any) -> dg.ExecuteInProcessResult:
        job = self.defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance, asset_selection=[DAILY], raise_on_error=False, tags=tags, **options
        )

    def restore(self, **said: Any) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def("events_restore").execute_in_process(
            instance=self.instance, run_config={"ops": {"events_restore_op": {"config": said}}}
        )

    def observations(self) -> list[str]:
        records = self.instance.fetch_observations(dg.AssetKey("events"), limit=100, ascending=True).records
        return [record.asset_observation.description for record in records]


@pytest.fixture
def project(lake, instance):
    return Project(lake, instance)


@pytest.mark.slow
def test_a_run_that_had_to_wait_is_started_again_when_it_can_read(project, monkeypatch) -> None:
    assert project.tick().skip_message == "nobody waits for archived partitions of events"
    over = dict(zip(RANGE, ("2013-01-01", "2013-01-04"), strict=True))
    failed = project.read({**over, "team": "flights", "dagster/backfill": "b1"})
    (event,) = [event for event in failed.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data.metadata["partitions"].value == [f"date={day}" for day in FROZEN]

    waiting = project.tick()
    assert waiting.run_requests == []
    assert waiting.skip_message == (
        "1 run waits; 2013-01-02 is archived, and nobody has asked for it: start the restore job"
    )
    looks = archives.statuses
    with monkeypatch.context() as patch:  # moto restores at once; on AWS that takes hours
        on_its_way = RestoreStatus("", "DEEP_ARCHIVE", "in progress")
        patch.setattr(archives, "statuses", lambda handle, files: [on_its_way for _ in looks(handle, files)])
        assert project.tick().skip_message == "1 run waits; 2013-01-02 is being restored"
    project.restore(partitions=[FROZEN[0]])
    assert "2013-01-03 is archived" in project.tick().skip_message
    project.restore(partitions=[FROZEN[1]], days=2, speed="standard")

    (request,) = project.tick().run_requests
    assert request.run_key == f"{failed.run_id}:restored"
    assert request.asset_selection == [DAILY]
    about = {"tierlake/waited_as": failed.run_id, "tierlake/dataset": "events", "team": "flights"}
    assert about.items() | over.items() <= request.tags.items()
    assert "dagster/backfill" not in request.tags
    terminated = dg.DagsterRun("__ASSET_JOB", status=dg.DagsterRunStatus.CANCELED, tags=dict(request.tags))
    project.instance.add_run(terminated)
    (again,) = project.tick().run_requests
    assert (again.run_key, again.tags) == (f"{failed.run_id}:restored:1", request.tags)
    started = dg.DagsterRun("__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, tags=dict(request.tags))
    project.instance.add_run(started)
    assert project.tick().skip_message == "what was waited for can be read; 1 run is at it again"
    project.instance.delete_run(started.run_id)
    assert project.read(again.tags, run_config=again.run_config).success
    assert project.tick().skip_message == "what was waited for can be read"
    assert project.tick().skip_message == "nobody waits for archived partitions of events"


def test_what_was_only_asked_for_is_reported(project, monkeypatch) -> None:
    tried = project.restore(partitions=list(FROZEN), dry_run=True)
    (output,) = [event.step_output_data for event in tried.all_events if event.is_successful_output]
    assert output.metadata["requested"].value == list(FROZEN)
    assert project.observations() == []

    on_its_way = RestoreStatus("", "DEEP_ARCHIVE", "in progress")
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_requested", lambda handle, before, *_: [on_its_way] * len(before))
        project.restore(partitions=[FROZEN[0], "2013-01-01"])
    assert project.observations() == ["archived: asked for by a restore"]
    assert project.tick().skip_message.startswith("0 runs wait; 2013-01-02 is archived")
    project.lake.dataset("events").restore(f"date={FROZEN[0]}")
    found = project.tick()
    assert (found.run_requests, found.skip_message) == ([], "what was waited for can be read")
    assert project.observations()[-1] == "restored: can be read for now"


@pytest.mark.slow
def test_who_was_helped_otherwise_is_not_started_again(project) -> None:
    failed = project.read(partition_key=FROZEN[0])
    project.tick()
    project.restore(partitions=[FROZEN[0]])
    assert project.read({"dagster/parent_run_id": failed.run_id}, partition_key=FROZEN[0]).success
    assert project.tick().run_requests == []


@pytest.mark.slow
def test_a_partition_that_has_left_is_not_waited_for(project) -> None:
    project.read(partition_key=FROZEN[0])
    dataset = project.lake.dataset("events")
    assert "2013-01-02 is archived" in project.tick().skip_message
    dataset.ingest(pa.table({"at": pa.array([], pa.timestamp("us"))}), keys=[f"date={FROZEN[0]}"])
    (request,) = project.tick().run_requests  # it fails with what is true now
    assert request.tags["dagster/partition"] == FROZEN[0]


@pytest.mark.slow
def test_more_than_the_cursor_holds_waits_for_its_turn(project, monkeypatch) -> None:
    monkeypatch.setattr(restores, "OPEN", 1)
    first, second = (project.read(partition_key=day).run_id for day in FROZEN)
    assert project.tick().skip_message.startswith("1 run waits; 2013-01-02 is archived")
    for day in FROZEN:
        project.restore(partitions=[day])
    asked = []
    for _ in range(2):
        (request,) = project.tick().run_requests
        asked.append(request.run_key)
        assert project.read(request.tags, run_config=request.run_config).success
        project.tick()
    assert asked == [f"{first}:restored", f"{second}:restored"]


@pytest.mark.slow
def test_the_launchpad_checks_what_a_person_fills_in(project) -> None:
    job = project.defs.resolve_job_def("events_restore")

    def config(**said: object) -> dict[str, object]:
        return {"ops": {"events_restore_op": {"config": said}}}

    dg.validate_run_config(job, config(partitions=["2013-01-02"], days=3, speed="expedited"))
    for wrong in (config(partitions=["2013-01-02"], speed="fast"), config(partitions=["x"], tier="bulk")):
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(job, wrong)
