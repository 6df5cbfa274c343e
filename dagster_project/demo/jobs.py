"""Jobs that keep the demo's datasets as their policies say: tiering, expiry and its undo.

Each takes a small configuration that a person can fill in at the launchpad, and that schedules and sensors fill in.
`dataset_jobs` makes the same for one dataset of anybody's project.
"""

from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from pydantic import Field

from tierlake.dagster_project.automation import ops
from tierlake.dagster_project.automation.retention import Retention
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.partitions.lake_asset import DATASET_TAG, POOL, LakeAsset
from tierlake.dagster_project.partitions.lineage import Downstream
from tierlake.dagster_project.resources.failures import tell_dagster
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import TableNotFound

if TYPE_CHECKING:
    from tierlake.pipelines.lifecycle.results import ApplyResult

__all__ = [
    "ASSET_JOBS",
    "DOWNSTREAMS",
    "JOBS",
    "ExpiryConfig",
    "TieringConfig",
    "UndoConfig",
    "expiry",
    "tiering",
    "undo_expiry",
]

DOWNSTREAMS: Final = {name: Downstream(asset.asset_key, asset.partitions_def) for name, asset in DATASETS.items()}


class TieringConfig(ops.MoveToTiers):
    """What to move."""

    datasets: list[str] = Field(default=[], description="Names of datasets; empty means all that have tiers.")


class ExpiryConfig(ops.Expire):
    """What to expire."""

    dataset: str = Field(description="Name of the dataset, as flights.")


class UndoConfig(ops.Undo):
    """What to bring back."""

    dataset: str = Field(description="Name of the dataset, as flights.")


@dg.op(pool=POOL)
def move_to_tiers(context: dg.OpExecutionContext, config: TieringConfig, lake: LakeResource) -> None:
    """Plan and apply the tiers of datasets; every number is in the output's metadata."""
    with tell_dagster(context):
        names = config.datasets or [name for name, asset in DATASETS.items() if asset.spec.tiers]
        as_of = ops.day_of(config, lake)
        results: list[ApplyResult] = []
        metadata: dict[str, Any] = {}
        for name in names:
            try:
                dataset = _asset(name).dataset_in(lake)
            except TableNotFound:
                if config.datasets:
                    raise
                context.log.info("%s does not exist yet", lake.uri(name))
                continue
            result, facts = ops.move_to_tiers(context, _asset(name), dataset, as_of)
            results.append(result)
            metadata |= facts
        context.add_output_metadata(metadata)
        for result in results:
            result.raise_failures()


@dg.op(pool=POOL)
def expire_partitions(context: dg.OpExecutionContext, config: ExpiryConfig, lake: LakeResource) -> None:
    """Take partitions out of the table, then make Dagster show that they are gone."""
    with tell_dagster(context):
        ops.expire(context, _retention(context, lake, config.dataset), config, ops.day_of(config, lake))


@dg.op(pool=POOL)
def bring_back(context: dg.OpExecutionContext, config: UndoConfig, lake: LakeResource) -> None:
    """Undo the expiry of one partition within its grace; Dagster shows it again."""
    with tell_dagster(context):
        ops.bring_back(context, _retention(context, lake, config.dataset), config)


@dg.job(description="Moves partitions to the tiers where their age puts them.")
def tiering() -> None:
    """The job of `schedules.daily_tiering`."""
    move_to_tiers()


@dg.job(description="Takes partitions past their retention out of a dataset; can be undone within the grace.")
def expiry() -> None:
    """The job of the retention sensors."""
    expire_partitions()


@dg.job(name="undo_expiry", description="Brings an expired partition back, within its grace.")
def undo_expiry() -> None:
    """Started by a person."""
    bring_back()


def _materializes(name: str, description: str) -> Any:
    """The job of one of the demo's assets; its runs are found by the dataset's tag."""
    return dg.define_asset_job(f"{name}_job", selection=name, description=description, tags={DATASET_TAG: name})


flights_job = _materializes("flights", "Ingests days of flights.")
weather_job = _materializes("weather", "Ingests months of weather.")
departures_job = _materializes("departures", "Cleans days of flights and joins the weather.")
monthly_summary_job = _materializes("monthly_summary", "Sums up months of departures.")
monthly_report_job = _materializes("monthly_report", "Draws the report of months.")

ASSET_JOBS: Final = [flights_job, weather_job, departures_job, monthly_summary_job, monthly_report_job]
JOBS: Final = [tiering, expiry, undo_expiry]


def _asset(name: str) -> LakeAsset:
    if name not in DATASETS:
        raise dg.Failure(f"there is no dataset {name!r}; there are {', '.join(DATASETS)}", allow_retries=False)
    return DATASETS[name]


def _retention(context: dg.OpExecutionContext, lake: LakeResource, name: str) -> Retention:
    return ops.retention_of(context, lake, _asset(name), DOWNSTREAMS)
