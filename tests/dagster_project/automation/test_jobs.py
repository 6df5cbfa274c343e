"""The jobs of an asset, as a person starts them: by keys, ranges, a selected partition, and as a dry run."""

from __future__ import annotations

import random
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pytest

from tests.dagster_project import status
from tests.dagster_project.test_io_manager import one_server
from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.io_manager import LakeParquetIOManager

if TYPE_CHECKING:
    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = one_server

OLD = [f"2013-01-0{day}" for day in (1, 2, 3, 4)]
MARCH = "2013-03-01"
"""When the old ones are old enough for another tier; on `TODAY` they are due to expire, and stay where they are."""
NEW = ["2013-12-30", "2013-12-31"]


def noise(seed: str) -> bytes:
    return random.Random(seed).randbytes(70_000)  # noqa: S311 - the same each time


def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    keys = [str(key) for key in context.partition_keys]
    return pd.DataFrame(
        {
            "at": [
                datetime.fromisoformat(f"{key.rpartition('|')[2]}T05:00:00+00:00") for key in keys for _ in range(3)
            ],
            "city": [key.partition("|")[0] if "|" in key else "Oslo" for key in keys for _ in range(3)],
            "note": ["<b>|*bold*", None, "x" * 200] * len(keys),
            "n": [1 << 60, 1, 2] * len(keys),
            "blob": [noise(f"{key} {row}") for key in keys for row in range(3)],  # worth a move
        }
    )


class Project:
    """One dataset in a code location, and its jobs."""

    def __init__(self, instance: dg.DagsterInstance, lake: LakeResource, **attributes: Any) -> None:
        self.instance, self.lake = instance, lake
        given = {
            "start": "2013-01-01",
            "partition": {"time": {"column": "at", "every": "day", "timezone": "UTC"}},
            "tiers": [{"after": "30d", "tier": "warm"}],
            "retention": {"expire_after": "300d", "grace": "7d"},
        } | attributes
        self.component = LakeDataset(key="visits", source=f"{__name__}.visits", **given)
        resources = {"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)}
        self.defs = dg.Definitions.merge(self.component.definitions(), dg.Definitions(resources=resources))
        self.asset = self.component.lake_asset()
        self.key = self.asset.asset_key

    def run(self, verb: str, key: str | None = None, **config: Any) -> dg.ExecuteInProcessResult:
        name = f"visits_{verb}"
        job = self.defs.resolve_job_def(name)
        given = {"ops": {f"{name}_op": {"config": config}}} if config else None
        return job.execute_in_process(run_config=given, instance=self.instance, partition_key=key, raise_on_error=False)

    def materialize(self, *keys: str) -> None:
        for key in keys:
            assert self.run("job", key).success

    def run_days(self, verb: str, first: str, last: str, **config: Any) -> dg.ExecuteInProcessResult:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        job = self.defs.resolve_job_def(f"visits_{verb}")
        given = {"ops": {f"visits_{verb}_op": {"config": config}}} if config else None
        return job.execute_in_process(run_config=given, instance=self.instance, tags=tags, raise_on_error=False)

    def materialize_days(self, first: str, last: str) -> None:
        assert self.run_days("job", first, last).success

    def shown(self) -> set[str]:
        """By Dagster's events and its status, which agree, and by the table."""
        shown = status.available(self.instance, self.key.path, self.asset.partitions_def)
        parts = self.lake.dataset("visits").partitions()
        assert shown == {str(self.asset.keys.to_dagster(part.key)) for part in parts}
        return shown

    def classes(self) -> dict[str, str]:
        parts = self.lake.dataset("visits").partitions()
        return {str(self.asset.keys.to_dagster(part.key)): part.storage_class for part in parts}

    def versions(self) -> dict[str, str | None]:
        tags = self.instance.event_log_storage.get_latest_tags_by_partition(
            self.key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        return {key: values.get("dagster/data_version") for key, values in tags.items()}


def output_metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def reason(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data
    return f"{failure.error_display_string} {failure.user_failure_data and failure.user_failure_data.metadata}"


def test_a_range_is_moved_expires_and_comes_back(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    project = Project(instance, lake)
    project.materialize_days(OLD[0], OLD[1])
    versions = project.versions()
    assert project.run("tiering", partitions=["..2013-01"], as_of=MARCH).success
    assert project.classes() == dict.fromkeys(OLD[:2], "STANDARD_IA")
    assert project.versions() == versions
    assert project.run("expiry", partitions=[f"{OLD[0]}..{OLD[1]}"]).success
    assert project.shown() == set()
    assert project.run("undo_expiry", OLD[1], partitions=["2013-01-01"]).success
    assert project.shown() == set(OLD[:2])


def test_a_range_that_is_selected_for_a_run_is_all_that_it_touches(
    instance: dg.DagsterInstance, lake: LakeResource
) -> None:
    project = Project(instance, lake)
    project.materialize_days(OLD[0], OLD[2])
    assert project.run_days("tiering", OLD[0], OLD[1], as_of=MARCH).success
    assert [key for key, own in project.classes().items() if own == "STANDARD"] == [OLD[2]]
    assert project.run_days("expiry", OLD[0], OLD[1]).success
    assert project.shown() == {OLD[2]}
    assert project.run_days("undo_expiry", OLD[1], OLD[1]).success
    assert project.shown() == set(OLD[1:3])


@pytest.mark.slow
def test_a_partition_is_moved_expires_and_comes_back(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    project = Project(instance, lake)
    project.materialize_days(OLD[0], OLD[-1])
    project.materialize_days(*NEW)
    versions = project.versions()
    warm = dict.fromkeys(OLD, "STANDARD_IA")

    assert project.run("tiering", partitions=["2013-01*"], dry_run=True, as_of=MARCH).success
    assert set(project.classes().values()) == {"STANDARD"}
    assert project.run("tiering", partitions=[f"{OLD[0]}..{OLD[1]}"], as_of=MARCH).success
    assert project.run("tiering", OLD[2], as_of=MARCH).success  # as selected at the launchpad
    assert project.run("tiering", partitions=[NEW[0]], as_of=MARCH).success  # it is where it belongs
    assert project.classes() == {**warm, OLD[3]: "STANDARD", **dict.fromkeys(NEW, "STANDARD")}
    assert project.versions() == versions

    dry = project.run("expiry", partitions=["2013-01-02..2013-12-31"], dry_run=True)
    assert (dry.success, project.shown()) == (True, {*OLD, *NEW})
    assert output_metadata(dry)["expired"] == 3
    assert project.run("expiry", partitions=["date=2013-01-02..2013-12-31"]).success
    assert project.shown() == {OLD[0], *NEW}
    assert project.run("expiry", OLD[0]).success
    assert project.shown() == set(NEW)

    assert project.run("undo_expiry", partitions=["2013-01*"], dry_run=True).success
    assert project.shown() == set(NEW)
    assert "4 can come back: 2013-01-01 until" in reason(project.run("undo_expiry"))
    back = project.run("undo_expiry", OLD[3], partitions=["..2013-01-02"])
    assert output_metadata(back)["partitions"] == [OLD[0], OLD[1], OLD[3]]
    assert project.shown() == {OLD[0], OLD[1], OLD[3], *NEW}
    assert project.run("undo_expiry", partitions=["2013-01*"]).success
    assert project.shown() == {*OLD, *NEW}


@pytest.mark.slow
def test_what_no_partition_is_fails_and_changes_nothing(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    project = Project(instance, lake)
    project.materialize_days(*OLD[:2])
    project.materialize_days(*NEW)
    for verb in ("tiering", "expiry", "undo_expiry"):
        message = reason(project.run(verb, partitions=["2012-01*"]))
        assert "no partition of visits is 2012-01*: the table has 4, from 2013-01-01 to 2013-12-31" in message, verb
    assert "2012-01-01 is not in the table" in reason(project.run("tiering", partitions=["2012-01-01"]))
    for dry_run in (True, False):
        kept = project.run("expiry", partitions=[OLD[0], NEW[0]] if not dry_run else [NEW[0]], dry_run=dry_run)
        assert "2013-12-30: within its retention until 2014-10-27" in reason(kept)
    assert project.shown() == {OLD[1], *NEW}


@pytest.mark.slow
def test_two_dimensions(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    project = Project(
        instance,
        lake,
        partition={"time": {"column": "at", "every": "day", "timezone": "UTC"}, "by": ["city"]},
        values={"city": ["Kyiv", "Oslo"]},
    )
    keys = [f"{city}|{day}" for city in ("Kyiv", "Oslo") for day in OLD[:2]]
    project.materialize(*keys)
    assert project.run("tiering", partitions=["date=2013-01-01"], as_of=MARCH).success
    assert [key for key, own in project.classes().items() if own == "STANDARD_IA"] == [keys[0], keys[2]]
    assert project.run("expiry", partitions=["Kyiv|2013-01*"]).success
    assert project.shown() == set(keys[2:])
    assert project.run("expiry", dg.MultiPartitionKey({"city": "Oslo", "date": OLD[0]})).success
    assert project.shown() == {keys[3]}
    assert project.run("undo_expiry", partitions=["*|2013-01-01..2013-01-02"]).success
    assert project.shown() == set(keys)


@pytest.mark.slow
def test_metadata_follows_what_is_done_to_a_partition(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    """A move is an observation, with the partition's class of now; its rows are as before."""
    project = Project(instance, lake, preview_rows=2)
    project.materialize(OLD[0])
    written = instance.get_latest_materialization_event(project.key).asset_materialization.metadata
    assert (written["dagster/partition_row_count"].value, written["storage_class"].value) == (3, "STANDARD")
    assert written["size"].value == f"{written['bytes'].value / 1000:.1f} KB"
    assert written["bytes"].value > 200_000
    preview = written["preview"]
    assert [record.data["n"] for record in preview.records] == [str(1 << 60), 1]
    assert [record.data["note"] for record in preview.records] == ["<b>|*bold*", None]
    assert {record.data["blob"] for record in preview.records} == {"70,000 bytes"}

    moved = project.run("tiering", as_of=MARCH)
    of_partition, of_table = instance.fetch_observations(project.key, limit=2, ascending=True).records
    facts = of_partition.asset_observation.metadata
    assert (of_partition.partition_key, of_partition.run_id) == (OLD[0], moved.run_id)
    assert {name: facts[name].value for name in ("storage_class", "tier", "dagster/partition_row_count")} == {
        "storage_class": "STANDARD_IA",
        "tier": "warm",
        "dagster/partition_row_count": 3,
    }
    assert facts["size"].value == written["size"].value
    assert of_table.asset_observation.metadata["table_size"].value == written["size"].value

    project.run("expiry")
    gone, table = instance.fetch_observations(project.key, limit=4, ascending=True).records[2:]
    assert (gone.partition_key, gone.asset_observation.metadata["rows"].value) == (OLD[0], 3)
    assert table.asset_observation.metadata["dagster/row_count"].value == 0


def test_a_preview_is_shown_where_somebody_asks_for_it(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    """The manager's number counts where the asset has none; a run over many partitions shows one preview."""
    project = Project(instance, lake)
    manager = LakeParquetIOManager(lake=lake, preview_rows=1)
    job = dg.Definitions.merge(
        project.component.definitions(), dg.Definitions(resources={"lake": lake, "lake_io_manager": manager})
    ).resolve_job_def("visits_job")
    tags = {"dagster/asset_partition_range_start": OLD[0], "dagster/asset_partition_range_end": OLD[3]}
    result = job.execute_in_process(instance=instance, tags=tags)
    previews = {
        event.partition: event.step_materialization_data.materialization.metadata.get("preview")
        for event in result.get_asset_materialization_events()
    }
    assert [key for key, preview in previews.items() if preview] == [OLD[3]]
    assert len(previews[OLD[3]].records) == 1
    assert [column.type for column in previews[OLD[3]].schema.columns] == [
        "string",
        "timestamp[us, tz=UTC]",
        "string",
        "string",
        "int64",
        "binary",
    ]


def test_the_asset_links_to_its_jobs_and_each_job_to_it(lake: LakeResource) -> None:
    project = Project(dg.DagsterInstance.ephemeral(), lake, restores=True)
    (spec,) = project.defs.resolve_all_asset_specs()
    links = spec.metadata["jobs"].value
    names = ["visits_tiering", "visits_expiry", "visits_undo_expiry", "visits_restore", "visits_policy"]
    assert [line.partition("]")[0] for line in links.splitlines()] == [f"- [{name}" for name in names]
    assert len(links) < 1000  # beyond that Dagster hides it behind a button
    for name in names:
        assert f"](/guess/{name}/playground): " in links
        job = project.defs.resolve_job_def(name)
        assert job.metadata["asset"].value == project.key
        assert job.description
        assert job.partitions_def == (None if name == "visits_policy" else project.asset.partitions_def)
