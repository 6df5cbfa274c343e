"""Another code location over the tables of `lives_defs`: it writes none of them, and its sensors expire them too."""

import dagster as dg

from tests.dagster_project.lives_defs import ASSETS, OVER
from tierlake.dagster_project.automation.jobs import expiry_job
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.resources.lake import LakeResource

_MANY_TO_ONE = [dg.AssetDep(name, partition_mapping=OVER) for name in ("days", "plain")]
_jobs = {name: expiry_job(asset) for name, asset in ASSETS.items()}

defs = dg.Definitions(
    assets=[
        dg.AssetSpec(name, partitions_def=asset.partitions_def, deps=_MANY_TO_ONE if name == "months" else ())
        for name, asset in ASSETS.items()
    ],
    jobs=list(_jobs.values()),
    sensors=[dataset_sensor(asset) for name, asset in ASSETS.items()],
    resources={"lake": LakeResource()},
    executor=dg.in_process_executor,
)
