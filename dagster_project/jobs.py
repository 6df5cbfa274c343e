"""Jobs that keep the datasets as their policies say: tiering, expiry and its undo.

Each takes a small configuration that a person can fill in at the launchpad, and that schedules and sensors fill in.
"""

from datetime import date
from typing import Any, Final

import dagster as dg
from pydantic import Field

from dagster_project.datasets import DATASETS, LakeAsset
from dagster_project.resources import LakeResource
from dagster_project.retention import Retention
from pipelines.errors import TableNotFound
from pipelines.plan import TieringPlan
from pipelines.results import ApplyResult

__all__ = ["ASSET_JOBS", "JOBS", "ExpiryConfig", "TieringConfig", "UndoConfig", "expiry", "tiering", "undo_expiry"]

_AS_OF = "By which day the policies judge, as 2014-01-01; empty takes the resource's today, else the clock."


class TieringConfig(dg.Config):
    """What to move."""

    datasets: list[str] = Field(default=[], description="Names of datasets; empty means all that have tiers.")
    as_of: str | None = Field(default=None, description=_AS_OF)


class ExpiryConfig(dg.Config):
    """What to expire."""

    dataset: str = Field(description="Name of the dataset, as flights.")
    partitions: list[str] = Field(
        default=[],
        description="Partition keys; empty expires all that the policy asks for. What it does not ask for stays.",
    )
    as_of: str | None = Field(default=None, description=_AS_OF)
    undo: bool = Field(default=True, description="False gives undo up: for plain Parquet in unversioned buckets.")


class UndoConfig(dg.Config):
    """What to bring back."""

    dataset: str = Field(description="Name of the dataset, as flights.")
    partition: str = Field(description="The partition key, as 2013-01-01.")


@dg.op
def move_to_tiers(context: dg.OpExecutionContext, config: TieringConfig, lake: LakeResource) -> None:
    """Plan and apply the tiers of datasets; every number is in the output's metadata."""
    names = config.datasets or [name for name, asset in DATASETS.items() if asset.spec.tiers]
    results: dict[str, ApplyResult] = {}
    metadata: dict[str, Any] = {}
    for name in names:
        try:
            dataset = lake.dataset(_asset(name).name)
        except TableNotFound:
            if config.datasets:
                raise
            context.log.info("%s does not exist yet", lake.uri(name))
            continue
        plan = dataset.plan_tiering(_day(config.as_of, lake))
        context.log.info("%s", plan)
        results[name] = plan.apply(run_id=context.run_id)
        context.log.info("%s: %s", name, results[name])
        metadata |= _tiering_metadata(name, plan, results[name])
    context.add_output_metadata(metadata)
    for result in results.values():
        result.raise_failures()


@dg.op
def expire_partitions(context: dg.OpExecutionContext, config: ExpiryConfig, lake: LakeResource) -> None:
    """Take partitions out of the table, then make Dagster show that they are gone."""
    expired = _retention(context, lake, config.dataset).expire(
        config.partitions or None, _day(config.as_of, lake), run_id=context.run_id, undo=config.undo
    )
    context.log.info("%s", expired.plan)
    for key, reason in expired.kept.items():
        context.log.warning("%s stays: %s", key, reason)
    if expired.wipe.reason and expired.wipe.partitions:
        context.log.warning("Dagster goes on showing what is gone: %s", expired.wipe.reason)
    context.add_output_metadata(
        {
            "expired": len(expired.result.done) if expired.result else 0,
            "bytes": expired.result.bytes if expired.result else 0,
            "wiped": len(expired.wipe.partitions),
            "wipe": expired.wipe.method.value,
            "kept": dg.MetadataValue.json(dict(expired.kept)),
            "partitions": dg.MetadataValue.json(list(expired.wipe.partitions)),
            "plan": _text(expired.plan),
        }
    )
    if expired.result:
        expired.result.raise_failures()


@dg.op
def bring_back(context: dg.OpExecutionContext, config: UndoConfig, lake: LakeResource) -> None:
    """Undo the expiry of one partition within its grace; Dagster shows it again."""
    result = _retention(context, lake, config.dataset).undo(config.partition, run_id=context.run_id)
    context.log.info("%s", result)
    context.add_output_metadata({"changed": result.changed, "files": result.files, "bytes": result.bytes})


@dg.job(description="Moves partitions to the tiers where their age puts them.")
def tiering() -> None:
    """The job of `schedules.daily_tiering`."""
    move_to_tiers()


@dg.job(description="Takes partitions past their retention out of a dataset; can be undone within the grace.")
def expiry() -> None:
    """The job of `sensors`."""
    expire_partitions()


@dg.job(name="undo_expiry", description="Brings an expired partition back, within its grace.")
def undo_expiry() -> None:
    """Started by a person."""
    bring_back()


flights_job = dg.define_asset_job("flights_job", selection="flights", description="Ingests days of flights.")
weather_job = dg.define_asset_job("weather_job", selection="weather", description="Ingests months of weather.")
monthly_summary_job = dg.define_asset_job(
    "monthly_summary_job", selection="monthly_summary", description="Sums up months of flights."
)

ASSET_JOBS: Final = [flights_job, weather_job, monthly_summary_job]
JOBS: Final = [tiering, expiry, undo_expiry]


def _asset(name: str) -> LakeAsset:
    if name not in DATASETS:
        raise dg.Failure(f"there is no dataset {name!r}; there are {', '.join(DATASETS)}", allow_retries=False)
    return DATASETS[name]


def _retention(context: dg.OpExecutionContext, lake: LakeResource, name: str) -> Retention:
    asset = _asset(name)
    return Retention(context.instance, asset, lake.dataset(asset.name), DATASETS)


def _day(said: str | None, lake: LakeResource) -> date | None:
    return date.fromisoformat(said) if said else lake.today()


def _tiering_metadata(name: str, plan: TieringPlan, result: ApplyResult) -> dict[str, Any]:
    return {
        f"{name}/moved": len(result.done),
        f"{name}/bytes": result.bytes,
        f"{name}/saved_per_month_usd": round(plan.saved_monthly, 6),
        f"{name}/one_off_usd": round(plan.one_off, 6),
        f"{name}/left_alone": len(plan.refused),
        f"{name}/failed": dg.MetadataValue.json(result.failed),
        f"{name}/plan": _text(plan),
    }


def _text(table: object) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"```\n{table}\n```")
