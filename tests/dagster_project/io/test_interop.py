"""What other IO managers of Dagster wrote is read, tiered and expired by ours as it lies."""

import io
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from dagster_deltalake import DeltaLakePyarrowIOManager, DeltaLakePyArrowTypeHandler, S3Config
from dagster_deltalake.config import ClientConfig
from upath import UPath

from tests.dagster_project import status
from tests.dagster_project.ticks import evaluate
from tests.servers import Rig
from tierlake.dagster_project.automation.jobs import expiry_job, tiering_job, undo_job
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.model.spec import DatasetSpec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("server", ["seaweedfs"], indirect=True),
    # dagster-deltalake 0.29.27 calls both, the latter since it fails to count the rows by deltalake 1.6
    pytest.mark.filterwarnings("ignore:The `dict` method is deprecated", "ignore:The 'warn' method is deprecated"),
]

OLD, NEW = "2013-01-01", "2013-12-30"
DAYS = time_windows("day", "UTC", "2013-01-01", "2014-01-01")
POLICY = {"tiers": [{"after": "1d", "tier": "warm"}], "retention": {"expire_after": "300d"}}
TRIPS = LakeAsset(
    DatasetSpec(uri="lake://any/raw/trips", partition={"time": {"key": "date"}}, **POLICY),
    DAYS,
)


class PandasHandler(DeltaLakePyArrowTypeHandler):
    """As dagster-deltalake-pandas 0.29.27 has it, whose pin of pandas keeps it from being installed beside pandas 3."""

    def from_arrow(self, obj: pa.RecordBatchReader, target_type: type) -> Any:
        return obj.read_pandas()

    def to_arrow(self, obj: Any) -> tuple[pa.RecordBatchReader, dict[str, Any]]:
        return pa.Table.from_pandas(obj).to_reader(), {}

    @property
    def supported_types(self) -> Sequence[type[object]]:
        return [pd.DataFrame]


class PandasIOManager(DeltaLakePyarrowIOManager):
    """Likewise."""

    @staticmethod
    def type_handlers() -> Sequence[Any]:
        return [PandasHandler()]


class ParquetFiles(dg.UPathIOManager):
    """The habit of dagster-aws' managers, with Parquet instead of pickle: `<prefix>/<asset key>/<partition>.parquet`.

    They are `UPathIOManager`s that put one object by boto3 under the path which that class makes.
    """

    extension = ".parquet"

    def __init__(self, admin: Any, bucket: str, prefix: str) -> None:
        self.admin, self.bucket = admin, bucket
        super().__init__(base_path=UPath(prefix))

    def dump_to_path(self, context: dg.OutputContext, obj: pd.DataFrame, path: UPath) -> None:
        self.admin.put_object(Bucket=self.bucket, Key=path.as_posix(), Body=obj.to_parquet())

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pd.DataFrame:
        found = self.admin.get_object(Bucket=self.bucket, Key=path.as_posix())["Body"].read()
        return pd.read_parquet(io.BytesIO(found))

    def path_exists(self, path: UPath) -> bool:
        return False

    def make_directory(self, path: UPath) -> None:
        """A store has none."""


def place(lake: LakeResource) -> tuple[str, str]:
    bucket, _, prefix = lake.uri("").removeprefix("lake://").rstrip("/").partition("/")
    return bucket, prefix


def by_deltalake(lake: LakeResource, server: Rig) -> PandasIOManager:
    bucket, prefix = place(lake)
    theirs = S3Config(
        access_key_id=server.key, secret_access_key=server.secret, region="us-east-1", endpoint=server.endpoint_url
    )
    client = ClientConfig(allow_http=True)
    return PandasIOManager(root_uri=f"s3://{bucket}/{prefix}", storage_options=theirs, client_options=client)


def by_files(lake: LakeResource, server: Rig) -> dg.IOManager:
    return ParquetFiles(server.admin, *place(lake))


@dg.asset(key_prefix="raw", partitions_def=DAYS, metadata={"partition_expr": "date"})
def trips(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Three rows a day, with the day itself among the columns."""
    return pd.DataFrame({"date": [date.fromisoformat(context.partition_key)] * 3, "n": [1, 2, 3]})


@pytest.mark.parametrize("theirs", [by_files, by_deltalake])
def test_a_partition_that_theirs_wrote_is_read_tiered_expired_and_brought_back(
    instance: dg.DagsterInstance, lake: LakeResource, server: Rig, theirs: Any
) -> None:
    jobs = expiry_job(TRIPS), undo_job(TRIPS), tiering_job(TRIPS)
    expire, undo, tier = jobs
    sensor = dataset_sensor(TRIPS)
    defs = dg.Definitions(assets=[trips], jobs=jobs, sensors=[sensor], resources={"lake": lake})
    seen: list[pd.DataFrame] = []

    @dg.asset(partitions_def=DAYS, ins={"trips": dg.AssetIn(["raw", "trips"], input_manager_key="ours")})
    def report(trips: pd.DataFrame) -> None:
        seen.append(trips)

    def write(day: str) -> None:
        dg.materialize([trips], instance=instance, resources={"io_manager": theirs(lake, server)}, partition_key=day)

    def read(day: str) -> bool:
        resources = {"io_manager": theirs(lake, server), "ours": LakeParquetIOManager(lake=lake)}
        result = dg.materialize(
            [trips, report],
            selection=[report],
            instance=instance,
            resources=resources,
            partition_key=day,
            raise_on_error=False,
        )
        return result.success

    def tick() -> list[dg.RunRequest]:
        return list(evaluate(sensor, instance, lake, defs).run_requests or [])

    def execute(job: dg.JobDefinition, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
        ops = {"ops": {f"{job.name}_op": {"config": config}}}
        return job.execute_in_process(instance=instance, run_config=ops, resources={"lake": lake})

    def available() -> set[str]:
        found = status.available(instance, ["raw", "trips"], DAYS)
        assert found == {TRIPS.keys.to_dagster(part.key) for part in TRIPS.dataset_in(lake).partitions()}
        return found

    for day in (OLD, NEW, NEW):  # theirs replaces a partition, too
        write(day)
    assert available() == {OLD, NEW}
    assert read(OLD)
    assert [(len(frame), frame["n"].sum()) for frame in seen] == [(3, 6)]

    plan = TRIPS.dataset_in(lake).plan_tiering(lake.today())
    assert [*(step.key for step in plan.steps), *(no.key for no in plan.refused)]  # said, not dropped
    assert execute(tier, {}).success

    (request,) = tick()
    assert execute(expire, request.run_config["ops"][f"{expire.name}_op"]["config"]).success
    assert available() == {NEW}
    assert not read(OLD)
    assert tick() == []

    assert execute(undo, {"partition": OLD}).success
    assert available() == {OLD, NEW}
    assert read(OLD)
    execute(expire, {"partitions": [OLD]})
    write(OLD)
    assert available() == {OLD, NEW}
