"""What `dagster` and `dg` load. Loading needs no server, and imports none of the libraries that move data."""

import dagster as dg

from tierlake.dagster_project.automation.checks import description_check, verify_check
from tierlake.dagster_project.demo.assets import ASSETS
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.demo.jobs import ASSET_JOBS, JOBS
from tierlake.dagster_project.demo.schedules import SCHEDULES, SENSORS
from tierlake.dagster_project.executors.configured import chosen_executor
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.lake import LakeResource

__all__ = ["defs"]

lake = LakeResource()

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=[make(asset) for asset in DATASETS.values() for make in (verify_check, description_check)],
    jobs=[*ASSET_JOBS, *JOBS],
    schedules=SCHEDULES,
    sensors=SENSORS,
    executor=chosen_executor(),
    resources={"lake": lake, "io_manager": LakeParquetIOManager(lake=lake)},
)
