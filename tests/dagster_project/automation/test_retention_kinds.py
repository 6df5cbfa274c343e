"""Expire, re-ingest, expire again, undo: by the jobs and the sensor of one dataset, for each kind of partition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from tests.dagster_project import status
from tests.dagster_project.ticks import evaluate
from tierlake.dagster_project.automation import jobs
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.pipelines import Dataset
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

OLD, NEW, UNKNOWN = "2013-01-01", "2013-12-30", "2013-01-09"
DAYS = dg.StaticPartitionsDefinition([OLD, NEW])
CITIES = dg.StaticPartitionsDefinition(["Oslo", "Kyiv"])
DYNAMIC = dg.DynamicPartitionsDefinition(name="days")

KINDS = {
    "static": (DAYS, [OLD]),
    "dynamic": (DYNAMIC, [OLD]),
    "multi": (dg.MultiPartitionsDefinition({"date": DAYS, "city": CITIES}), [f"Kyiv|{OLD}", f"Oslo|{OLD}"]),
    "multi-dynamic": (dg.MultiPartitionsDefinition({"date": DYNAMIC, "city": CITIES}), [f"Kyiv|{OLD}", f"Oslo|{OLD}"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "multi-dynamic",
        "dynamic",
        pytest.param("static", marks=pytest.mark.slow),
        pytest.param("multi", marks=pytest.mark.slow),
    ],
)
def test_the_whole_cycle(instance: dg.DagsterInstance, lake: LakeResource, kind: str) -> None:
    import pyarrow as pa

    partitions_def, due = KINDS[kind]
    multi = isinstance(partitions_def, dg.MultiPartitionsDefinition)
    spec = DatasetSpec(
        uri="lake://any/raw/visits",
        partition={"time": {"column": "at"}, "by": ["city"] if multi else []},
        retention={"expire_after": "300d"},
    )
    asset = LakeAsset(spec, partitions_def)
    instance.add_dynamic_partitions("days", [OLD, NEW])
    job, undo = jobs.expiry_job(asset), jobs.undo_job(asset)
    sensor = dataset_sensor(asset)
    external = dg.AssetSpec(asset.asset_key, partitions_def=partitions_def)
    defs = dg.Definitions(assets=[external], jobs=[job, undo], sensors=[sensor], resources={"lake": lake})
    dataset = Dataset.create(asset.spec_in(lake), fs=lake.filesystem())

    def ingest(*days: str) -> None:
        at = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days for _ in range(2)]
        rows = {"at": pa.array(at, pa.timestamp("us", tz="UTC")), "city": ["Oslo", "Kyiv"] * len(days)}
        dataset.ingest(pa.table(rows))
        for key in {asset.keys.to_dagster(part.key) for part in dataset.partitions()}:
            if any(day in key for day in days) and UNKNOWN not in key:
                instance.report_runless_asset_event(dg.AssetMaterialization(asset.asset_key, partition=key))

    def tick() -> list[dg.RunRequest]:
        return list(evaluate(sensor, instance, lake, defs).run_requests or [])

    def available() -> set[str]:
        """By the events, by the status cache and by the table."""
        found = status.available(instance, asset.asset_key.path, partitions_def)
        in_table = {str(asset.keys.to_dagster(part.key)) for part in dataset.partitions()}
        assert found == {key for key in in_table if UNKNOWN not in key}
        return found

    ingest(OLD, NEW, UNKNOWN)
    everything = available()
    first, strange = tick()
    asked = first.run_config["ops"]["raw__visits_expiry_op"]["config"]["partitions"]
    assert sorted(asked) == due
    asked = strange.run_config["ops"]["raw__visits_expiry_op"]["config"]["unknown"]
    assert asked == [key for key in map(str, sorted(dataset.windows())) if UNKNOWN in key]
    for request in (first, strange):
        defs.resolve_job_def(job.name).execute_in_process(instance=instance, run_config=request.run_config)
    assert not any(UNKNOWN in str(key) for key in dataset.windows())
    assert available() == everything - set(due)
    assert tick() == []

    ingest(OLD)
    (second,) = tick()
    assert second.run_key != first.run_key
    defs.resolve_job_def(job.name).execute_in_process(instance=instance, run_config=second.run_config)
    assert available() == everything - set(due)

    back = {"ops": {"raw__visits_undo_expiry_op": {"config": {"partition": due[0]}}}}
    defs.resolve_job_def(undo.name).execute_in_process(instance=instance, run_config=back)
    assert available() == everything - set(due[1:])
