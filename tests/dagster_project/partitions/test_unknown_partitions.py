"""What Dagster does not know as a partition any more expires and changes its tier all the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from tests.dagster_project import status
from tests.dagster_project.ticks import evaluate
from tierlake.dagster_project.automation import jobs
from tierlake.dagster_project.automation.observe import observation_sensor
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.partitions.keys import KeyNames, time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.lineage import Downstream, downstream_readings
from tierlake.pipelines import Dataset
from tierlake.pipelines.lifecycle.outlook import Reading
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

OLD, ALSO_OLD, NEW = "2013-01-01", "2013-01-02", "2013-12-30"
ALL = [OLD, ALSO_OLD, NEW]
DYNAMIC = dg.DynamicPartitionsDefinition(name="days")
CITIES = dg.StaticPartitionsDefinition(["Oslo", "Kyiv"])


def windows(start: str) -> dg.PartitionsDefinition[str]:
    return time_windows("day", "UTC", start, "2014-01-01")


KINDS: dict[str, tuple[dg.PartitionsDefinition[str], dg.PartitionsDefinition[str]]] = {
    "moved start": (windows(OLD), windows(ALSO_OLD)),
    "narrowed list": (dg.StaticPartitionsDefinition(ALL), dg.StaticPartitionsDefinition(ALL[1:])),
    "removed dynamic": (DYNAMIC, DYNAMIC),
    "removed value": (
        dg.MultiPartitionsDefinition({"date": windows(OLD), "city": CITIES}),
        dg.MultiPartitionsDefinition({"date": windows(OLD), "city": dg.StaticPartitionsDefinition(["Kyiv"])}),
    ),
    "removed dynamic dimension": (
        dg.MultiPartitionsDefinition({"date": DYNAMIC, "city": CITIES}),
        dg.MultiPartitionsDefinition({"date": DYNAMIC, "city": CITIES}),
    ),
    "another partitioning": (dg.MultiPartitionsDefinition({"date": windows(OLD), "other": CITIES}), windows(OLD)),
}


class Life:
    """One dataset, its definitions before and after somebody changed them, one Dagster instance."""

    def __init__(self, instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
        self.instance, self.lake = instance, lake
        self.before, self.after = KINDS[kind]
        multi = isinstance(self.after, dg.MultiPartitionsDefinition)
        self.spec = DatasetSpec(
            uri="lake://any/raw/visits",
            partition={"time": {"column": "at"}, "by": ["city"] if multi else []},
            tiers=[{"after": "1d", "tier": "warm"}],
            retention={"expire_after": "300d"},
        )
        instance.add_dynamic_partitions("days", ALL)
        self.use(self.before if kind != "another partitioning" else self.after)
        self.dataset = Dataset.create(self.asset.spec_in(lake), fs=lake.filesystem())

    def use(self, partitions_def: dg.PartitionsDefinition[str]) -> None:
        """The definitions of a code location from now on."""
        self.asset = LakeAsset(self.spec, partitions_def)
        self.job, self.tiering = jobs.expiry_job(self.asset), jobs.tiering_job(self.asset)
        self.sensor = dataset_sensor(self.asset)
        self.observer = observation_sensor(self.asset)
        external = dg.AssetSpec(self.asset.asset_key, partitions_def=partitions_def)
        self.defs = dg.Definitions(
            assets=[external],
            jobs=[self.job, self.tiering],
            sensors=[self.sensor, self.observer],
            resources={"lake": self.lake},
        )

    def ingest(self, *days: str, tell: bool = True) -> None:
        import pyarrow as pa

        at = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days for _ in range(2)]
        rows = {"at": pa.array(at, pa.timestamp("us", tz="UTC")), "city": ["Oslo", "Kyiv"] * len(days)}
        self.dataset.ingest(pa.table(rows))
        for part in self.dataset.partitions() if tell else ():
            if any(day in str(part.key) for day in days):
                key = self.asset.keys.to_dagster(part.key)
                self.instance.report_runless_asset_event(dg.AssetMaterialization(self.asset.asset_key, partition=key))

    def tick(self) -> Sequence[dg.RunRequest]:
        return list(evaluate(self.sensor, self.instance, self.lake, self.defs).run_requests or [])

    def run(self, job: dg.JobDefinition, config: Any = None) -> dict[str, Any]:
        """Run a job, and return the metadata of its op."""
        resolved = self.defs.resolve_job_def(job.name)
        result = resolved.execute_in_process(instance=self.instance, run_config=config)
        assert result.success
        outputs = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
        return {name: value.value for name, value in outputs[0].step_output_data.metadata.items()}

    def live(self) -> set[str]:
        return {str(part.key) for part in self.dataset.partitions()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "moved start",
        "removed dynamic",
        "removed value",
        pytest.param("narrowed list", marks=pytest.mark.slow),
        pytest.param("removed dynamic dimension", marks=pytest.mark.slow),
    ],
)
def test_it_expires_and_shows_nowhere(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    life = Life(instance, lake, kind)
    life.ingest(*ALL)
    everything = life.live()
    life.use(life.after)
    if "dynamic" in kind:
        instance.delete_dynamic_partition("days", OLD)
    known = set(map(str, life.after.get_partition_keys(dynamic_partitions_store=instance)))
    names = {key: str(life.asset.keys.to_dagster(PartitionKey.parse(key))) for key in everything}
    unknown = sorted(key for key in everything if names[key] not in known and NEW not in key)
    assert unknown

    early = {"ops": {f"{life.tiering.name}_op": {"config": {"as_of": "2013-01-20"}}}}
    assert life.run(life.tiering, early)["raw/visits/moved"] == len([key for key in everything if NEW not in key])

    requests = {
        tuple(sorted(request.run_config["ops"][f"{life.job.name}_op"]["config"])): request for request in life.tick()
    }
    strange = requests["as_of", "unknown"]
    assert strange.run_config["ops"][f"{life.job.name}_op"]["config"]["unknown"] == unknown
    facts = life.run(life.job, strange.run_config)
    assert facts["unknown_to_dagster"] == unknown
    assert (facts["expired"], facts["wiped"], facts["wipe_obstacle"]) == (len(unknown), 0, "")
    life.run(life.job, requests["as_of", "partitions"].run_config)
    assert life.live() == {key for key in everything if NEW in key}
    assert life.tick() == []

    # whoever makes it a partition again finds it missing
    life.use(life.before)
    instance.add_dynamic_partitions("days", [OLD])
    left = {names[key] for key in everything if NEW in key}
    assert status.available(instance, life.asset.asset_key.path, life.before) == left

    # it comes again, by somebody who tells Dagster nothing, and goes again
    life.use(life.after)
    if "dynamic" in kind:
        instance.delete_dynamic_partition("days", OLD)
    life.ingest(OLD, tell=False)
    again = [
        request for request in life.tick() if request.run_config["ops"][f"{life.job.name}_op"]["config"].get("unknown")
    ]
    assert len(again) == 1
    assert again[0].run_key != strange.run_key
    life.run(life.job, again[0].run_config)
    assert not set(unknown) & life.live()


@pytest.mark.slow
def test_keys_that_dagster_cannot_spell_expire(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    import pyarrow as pa

    life = Life(instance, lake, "removed value")
    at = pa.array([datetime(2013, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", tz="UTC"))
    life.dataset.ingest(pa.table({"at": at, "city": ["a|b", None, "Oslo"]}))
    (partitions, keys) = life.tick()
    life.run(life.job, partitions.run_config)
    assert life.run(life.job, keys.run_config)["unknown_to_dagster"] == [
        "date=2013-01-01/city=",
        "date=2013-01-01/city=a%7Cb",
    ]
    assert life.live() == set()


@pytest.mark.slow
def test_events_of_another_partitioning_stop_no_tick(instance: dg.DagsterInstance, lake: LakeResource) -> None:
    life = Life(instance, lake, "another partitioning")
    instance.report_runless_asset_event(
        dg.AssetMaterialization(life.asset.asset_key, partition=dg.MultiPartitionKey({"date": OLD, "other": "Oslo"}))
    )
    life.ingest(OLD)
    (request,) = life.tick()
    assert life.run(life.job, request.run_config)["expired"] == 1
    evaluate(life.observer, instance, lake, life.defs)


def test_nobody_waits_for_what_nobody_can_see(instance: dg.DagsterInstance, server: object) -> None:
    """Downstream of a day that is no partition any more, there is nothing to run; of the others there is."""
    spec = DatasetSpec(
        uri="lake://any/raw/visits",
        partition={"time": {"column": "at"}},
        retention={"expire_after": "300d", "after": ["sums"]},
    )
    asset = LakeAsset(spec, windows(ALSO_OLD))
    downstream = Downstream(dg.AssetKey("sums"), windows(OLD))
    seen = downstream_readings(instance, asset, {"sums": downstream})["sums"]
    old, also_old = (PartitionKey.parse(f"date={day}") for day in (OLD, ALSO_OLD))
    assert seen([old, also_old]) == {also_old: (Reading(ALSO_OLD),)}


def test_keys_have_one_spelling(server: object) -> None:
    names = KeyNames(("date", "city"))
    assert names.find_lake("Oslo|2013-01-01") == PartitionKey.parse("date=2013-01-01/city=Oslo")
    assert names.find_lake("2013-01-01") is None
    assert names.find_lake("a|b|2013-01-01") is None
    assert names.find_dagster(PartitionKey.parse("date=2013-01-01/city=a%7Cb")) is None
