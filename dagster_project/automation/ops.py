"""What the jobs do, whichever datasets they are for: tiering, expiry and its undo, with every number as metadata."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final, Literal

import dagster as dg
from pydantic import Field

from tierlake.connector.errors import LakeError
from tierlake.dagster_project.automation.retention import Retention
from tierlake.dagster_project.automation.table_metadata import FOLLOWED, observations
from tierlake.dagster_project.partitions import waits
from tierlake.dagster_project.partitions.lineage import downstreams_in
from tierlake.dagster_project.partitions.metadata import REASON
from tierlake.pipelines.errors import PartialFailure, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.partitions.lineage import Downstream
    from tierlake.dagster_project.resources.lake import LakeResource
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.plan import TieringPlan
    from tierlake.pipelines.lifecycle.results import ApplyResult
    from tierlake.pipelines.query.restore import RestoreResult

__all__ = [
    "AS_OF",
    "Expire",
    "MoveToTiers",
    "Restore",
    "Undo",
    "bring_back",
    "day_of",
    "describe",
    "expire",
    "move_to_tiers",
    "restore",
    "retention_of",
]

_REASONS_SHOWN: Final = 5

AS_OF: Final = "By which day the policies judge, as 2014-01-01; empty takes the resource's today, else the clock."


class MoveToTiers(dg.Config):
    """When to move to tiers."""

    as_of: str | None = Field(default=None, description=AS_OF)


class Expire(dg.Config):
    """What to expire."""

    partitions: list[str] = Field(
        default=[],
        description="Partition keys; empty expires all that the policy asks for. What it does not ask for stays.",
    )
    unknown: list[str] = Field(
        default=[],
        description="Likewise, of what Dagster does not know as a partition: keys as `tierlake ls` prints them.",
    )
    as_of: str | None = Field(default=None, description=AS_OF)
    undo: bool = Field(default=True, description="False gives undo up: for plain Parquet in unversioned buckets.")


class Undo(dg.Config):
    """What to bring back."""

    partition: str = Field(description="The partition key, as 2013-01-01.")


class Restore(dg.Config):
    """What to ask for."""

    partitions: list[str] = Field(description="Partition keys, as 2013-01-01.")
    days: int = Field(default=1, description="How long the readable copies stay; they cost like hot storage.")
    speed: Literal["bulk", "standard", "expedited"] = Field(
        default="bulk",
        description="bulk is cheapest and takes up to 48 hours, standard up to 12, expedited minutes (GLACIER alone).",
    )
    dry_run: bool = Field(default=False, description="True only tells what would be asked for.")


def day_of(config: MoveToTiers | Expire, lake: LakeResource) -> date | None:
    """By which day the policies judge: the run's own, else the resource's; None: by the clock."""
    return date.fromisoformat(config.as_of) if config.as_of else lake.today()


def describe(context: Any, asset: LakeAsset, dataset: Dataset) -> dict[str, str]:
    """Make the description in the code the stored one, as one change with the run in the history.

    A table that nobody described has none to change: the code's own counts. Nor has a dataset that was dropped, whose
    partitions Dagster still has to forget.

    Returns:
        The fields that changed, each in words; nothing where they were the same.

    Raises:
        SpecError: a field cannot change.
    """
    if not dataset.is_described:
        return {}
    if dataset.dropped_at is not None:
        context.log.warning("%s was dropped: its description stays; `tierlake undrop` takes it back", dataset.uri)
        return {}
    change = dataset.apply_spec(asset.described_at(dataset), reason=REASON, run_id=context.run_id)
    if change.changed:
        context.log.info("%s", change)
    return {one.field: str(one) for one in change.changes}


def retention_of(
    context: dg.OpExecutionContext,
    lake: LakeResource,
    asset: LakeAsset,
    downstreams: Mapping[str, Downstream] | None = None,
) -> Retention:
    """Retention of a dataset, in an op.

    Args:
        context: the op's.
        lake: where the dataset is.
        asset: which.
        downstreams: by name, what must have seen a partition before it goes; None looks it up in the code location.
    """
    if downstreams is None:  # an op that runs outside a code location has no repository, and raises when asked for it
        downstreams = downstreams_in(context.repository_def, asset) if asset.spec.retention.after else {}
    return Retention(context.instance, asset, asset.dataset_in(lake), downstreams)


def move_to_tiers(
    context: dg.OpExecutionContext, asset: LakeAsset, dataset: Dataset, as_of: date | None
) -> tuple[ApplyResult, dict[str, Any]]:
    """Plan and apply the tiers of a dataset, by the description in the code.

    Returns:
        What happened, and metadata that says so.
    """
    name, described = asset.name, describe(context, asset, dataset)
    plan = dataset.plan_tiering(as_of)
    context.log.info("%s", plan)
    result = plan.apply(run_id=context.run_id)
    context.log.info("%s: %s", name, result)
    if result.done:
        touched = {PartitionKey.parse(key): FOLLOWED["tier"] for key in result.done}
        _follow(context, asset, dataset, touched)
    return result, _tiering_metadata(name, plan, result) | _described_metadata(described, f"{name}/")


def expire(context: dg.OpExecutionContext, retention: Retention, config: Expire, as_of: date | None) -> None:
    """Take partitions out of the table, by the description in the code, then make Dagster show that they are gone.

    Without keys, whatever else Dagster shows wrongly of the table is made right as well.

    Raises:
        PartialFailure: some could not be taken out, or were named and must stay; the others are gone.
    """
    described = describe(context, retention.asset, retention.dataset)
    requested: list[str | PartitionKey] = [*config.partitions, *map(_parsed_if_possible, config.unknown)]
    expired = retention.expire(requested or None, as_of, run_id=context.run_id, undo=config.undo)
    context.log.info("%s", expired.plan)
    for note in expired.result.notes if expired.result else ():
        context.log.warning("%s", note)
    for key, reason in expired.kept.items():
        context.log.warning("%s stays: %s", key, reason)
    if expired.wipe.reason and expired.wipe.partitions:
        context.log.warning("Dagster goes on showing what is gone: %s", expired.wipe.reason)
    if expired.unknown:
        context.log.info("gone, and no partitions of the asset: %s", ", ".join(expired.unknown))
    if expired.untold:
        context.log.warning("Dagster keeps events of partitions that it does not know: %s", expired.untold)
    if expired.mended is not None and str(expired.mended):
        context.log.info("%s", expired.mended)
    if expired.result or expired.wipe.partitions:
        _follow(context, retention.asset, retention.dataset, {})
    mended = expired.mended
    context.add_output_metadata(
        {
            "expired": len(expired.result.done) if expired.result else 0,
            "bytes": expired.result.bytes if expired.result else 0,
            "wiped": len(expired.wipe.partitions) + (len(mended.wiped) if mended else 0),
            "wipe": expired.wipe.method.value,
            "kept": dg.MetadataValue.json(dict(expired.kept)),
            "absent": dg.MetadataValue.json(list(expired.absent)),
            "partitions": dg.MetadataValue.json([*expired.wipe.partitions, *(mended.wiped if mended else ())]),
            "shown_again": dg.MetadataValue.json(list(mended.reported if mended else ())),
            "unknown_to_dagster": dg.MetadataValue.json(list(expired.unknown)),
            "untold": expired.untold,
            "plan": _text(expired.plan),
            **_described_metadata(described),
        }
    )
    if expired.kept:
        shown = "; ".join(f"{key}: {reason}" for key, reason in list(expired.kept.items())[:_REASONS_SHOWN])
        raise PartialFailure(
            f"{retention.dataset.uri}: {len(expired.kept)} of what was to expire did not: {shown}",
            failures=expired.kept,
            hint="`tierlake plan expiry` says what the policy asks for; correct or leave out the others",
        )


def _parsed_if_possible(text: str) -> str | PartitionKey:
    """A key as `ls` prints it; what is none stays text, and is refused as such."""
    try:
        return PartitionKey.parse(text)
    except LakeError:
        return text


def bring_back(context: dg.OpExecutionContext, retention: Retention, config: Undo) -> None:
    """Undo the expiry of one partition within its grace; Dagster shows it again."""
    result = retention.undo(config.partition, run_id=context.run_id)
    context.log.info("%s", result)
    if result.changed:
        _follow(context, retention.asset, retention.dataset, {})
    context.add_output_metadata({"changed": result.changed, "files": result.files, "bytes": result.bytes})


def _follow(
    context: dg.OpExecutionContext, asset: LakeAsset, dataset: Dataset, touched: Mapping[PartitionKey, str]
) -> None:
    """Tell what the table is now; what was done stands, whether or not this can be told."""
    try:
        for event in observations(context.instance, asset, dataset, touched, context.run_id):
            context.log_event(event)
    except LakeError as error:
        context.log.warning("done, and the table could not be looked at afterwards: %s: %s", error.code, error)


def restore(context: dg.OpExecutionContext, asset: LakeAsset, dataset: Dataset, config: Restore) -> None:
    """Ask for archived partitions back, and write down that they are waited for.

    Raises:
        UnknownPartition: a key that no partition can have; then nothing is asked for.
    """
    try:
        keys = {key: asset.keys.to_lake(key) for key in config.partitions}
    except ValueError as error:
        raise UnknownPartition(str(error), hint="write the partitions as Dagster shows them") from error
    for fault in dataset.key_faults(keys.values()).values():
        raise fault
    asked: dict[str, RestoreResult] = {}
    coming: list[str] = []
    try:
        for key, lake_key in keys.items():
            asked[key] = dataset.restore(lake_key, days=config.days, speed=config.speed, dry_run=config.dry_run)
            context.log.info("%s", asked[key])
    finally:  # what was asked for before one failed is coming too
        coming += [key for key, result in asked.items() if result.archived or result.in_progress]
        if coming and not config.dry_run:
            waits.report(context.instance, asset.asset_key, coming, run_id=None)
    context.add_output_metadata(
        {
            "asked": dg.MetadataValue.json(coming),
            "files": sum(result.archived for result in asked.values()),
            "bytes": sum(result.bytes for result in asked.values()),
            "readable": dg.MetadataValue.json([key for key in asked if key not in coming]),
        }
    )


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


def _described_metadata(described: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}description": dg.MetadataValue.json(dict(described))} if described else {}


def _text(table: object) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"```\n{table}\n```")
