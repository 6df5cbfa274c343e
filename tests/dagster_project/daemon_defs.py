"""A code location that a daemon serves: days that an asset writes through the IO manager, and their retention."""

import dagster as dg
import pyarrow as pa

from tierlake.dagster_project.automation.jobs import expiry_job
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.model.spec import DatasetSpec

DAYS = ("2013-01-01", "2013-01-02", "2013-01-03")
LIVED = LakeAsset(
    DatasetSpec(uri="lake://any/lived", partition={"time": {"key": "date"}}, retention={"expire_after": "30d"}),
    time_windows("day", "UTC", DAYS[0], "2013-01-04"),
)


@dg.asset(partitions_def=LIVED.partitions_def, metadata=spec_metadata(LIVED.spec))
def lived(context: dg.AssetExecutionContext) -> pa.Table:
    """Three rows a day."""
    return pa.table({"date": [context.partition_key] * 3, "n": [1, 2, 3]})


job = expiry_job(LIVED)
lake = LakeResource()
defs = dg.Definitions(
    assets=[lived],
    jobs=[job],
    sensors=[dataset_sensor(LIVED)],
    resources={"lake": lake, "io_manager": LakeParquetIOManager(lake=lake)},
)
