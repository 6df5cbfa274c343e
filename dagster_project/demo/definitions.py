"""What `dagster` and `dg` load. Loading needs no server, and imports none of the libraries that move data."""

import warnings

import dagster as dg

from tierlake.dagster_project.demo.assets import monthly_report
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.executors.configured import chosen_executor
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG
from tierlake.dagster_project.resources.lake import LakeResource

__all__ = ["defs", "lake"]

lake = LakeResource()

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # conditions in Python, as not_expired, are in beta
    automation = dg.AutomationConditionSensorDefinition(
        "automation",
        target="*",
        use_user_code_server=True,
        description="Materializes what the assets' automation conditions ask for, and nothing that has expired.",
    )
    monthly_report_job = dg.define_asset_job(
        "monthly_report_job",
        selection="monthly_report",
        description="Draws the report of months.",
        tags={DATASET_TAG: "monthly_report"},
    )
    defs = dg.Definitions.merge(
        *(dataset.definitions() for dataset in DATASETS.values()),
        dg.Definitions(
            assets=[monthly_report],
            jobs=[monthly_report_job],
            sensors=[automation],
            executor=chosen_executor(),
            resources={"lake": lake, "io_manager": LakeParquetIOManager(lake=lake)},
        ),
    )
