"""What a dataset's jobs do: tiering, expiry and its undo, restores; every number is in the output's metadata."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.connector.errors import LakeError
from tierlake.dagster_project.automation.gauges import emit_figures
from tierlake.dagster_project.automation.requested import requested_keys, shown_name
from tierlake.dagster_project.automation.retention import Retention
from tierlake.dagster_project.automation.selection import chosen
from tierlake.dagster_project.automation.table_metadata import FOLLOWED, observations
from tierlake.dagster_project.partitions.lineage import downstreams_in
from tierlake.dagster_project.partitions.metadata import REASON
from tierlake.dagster_project.partitions.waits import record_wait
from tierlake.pipelines.errors import PartialFailure, UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierlake.dagster_project.automation.config import ExpiryConfig, RestoreConfig, TieringConfig, UndoConfig
    from tierlake.dagster_project.automation.retention import Expired
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.resources.lake import LakeResource
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.plan import TieringPlan
    from tierlake.pipelines.lifecycle.results import ApplyResult
    from tierlake.pipelines.query.restore import RestoreResult

__all__ = ["day_of", "describe", "expire", "move_to_tiers", "restore", "retention_of", "undo_expiry"]

_REASONS_SHOWN: Final = 5


def day_of(config: TieringConfig | ExpiryConfig, lake: LakeResource) -> date | None:
    """The day by which the policies judge: the run's own, else the resource's; None means the clock."""
    return date.fromisoformat(config.as_of) if config.as_of else lake.today()


def retention_of(context: dg.OpExecutionContext, lake: LakeResource, asset: LakeAsset) -> Retention:
    """Retention of a dataset, in an op; the code location knows the assets of `retention.after`."""
    # only where it is needed: an op that runs outside a code location has none, and Dagster raises
    downstreams = downstreams_in(context.repository_def, asset) if asset.spec.retention.after else {}
    return Retention(context.instance, asset, asset.dataset_in(lake), downstreams)


def describe(context: Any, asset: LakeAsset, dataset: Dataset) -> dict[str, str]:
    """Make the description in the code the stored one, as one change with the run in the history.

    A table without a stored description has none to change: the code's counts. Nor has a dataset that was dropped,
    whose partitions Dagster still has to forget.

    Returns:
        The fields that changed, each in words; empty where they were the same.

    Raises:
        SpecError: A field cannot change.
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


def _described_first(context: Any, asset: LakeAsset, dataset: Dataset, *, dry_run: bool) -> dict[str, str]:
    if not dry_run:
        return describe(context, asset, dataset)
    if dataset.is_described and (diff := dataset.diff(asset.described_at(dataset), with_effect=False)).differs:
        changes = "; ".join(map(str, diff.changes))
        context.log.warning("this is by the stored description; the run itself changes it first: %s", changes)
    return {}


def move_to_tiers(
    context: dg.OpExecutionContext, asset: LakeAsset, dataset: Dataset, config: TieringConfig, as_of: date | None
) -> None:
    """Plan and apply the tiers of a dataset, by the description in the code.

    Raises:
        UnknownPartition: A named partition that is not in the table.
        PartialFailure: Some partitions could not be moved.
    """
    described = _described_first(context, asset, dataset, dry_run=config.dry_run)
    plan = dataset.plan_tiering(as_of)
    context.log.info("%s", plan)
    keys = _keys_to_move(context, asset, dataset, plan, config)
    result = plan.apply(keys=keys, dry_run=config.dry_run, run_id=context.run_id)
    context.log.info("%s: %s", asset.name, result)
    if result.done and not config.dry_run:
        touched = {PartitionKey.parse(key): FOLLOWED["tier"] for key in result.done}
        _log_observations(context, asset, dataset, touched)
    context.add_output_metadata(_tiering_metadata(asset.name, plan, result) | _described(described, f"{asset.name}/"))
    emit_figures(context, dataset, as_of)
    result.raise_failures()


def _keys_to_move(
    context: dg.OpExecutionContext, asset: LakeAsset, dataset: Dataset, plan: TieringPlan, config: TieringConfig
) -> list[PartitionKey] | None:
    """The named partitions that the plan moves; None for all of it."""
    names = _named(context, config.partitions)
    if not names:
        return None
    planned = [PartitionKey.parse(step.key) for step in plan.steps]
    keys, malformed = requested_keys(asset, dataset, chosen(asset, names, planned, dataset.windows, dataset.schema))
    live = {str(key) for key in dataset.windows()}
    if unknown := [
        *malformed.values(),
        *(f"{text} is not in the table" for key, text in keys.items() if key not in live),
    ]:
        raise UnknownPartition(unknown[0], hint="write the partitions as Dagster shows them")
    reasons = {refusal.key: refusal.reason for refusal in plan.refused}
    for key in keys.keys() - {step.key for step in plan.steps}:
        context.log.info("%s stays where it is: %s", keys[key], reasons.get(key, "it belongs there"))
    return [key for key in planned if str(key) in keys]


def expire(context: dg.OpExecutionContext, retention: Retention, config: ExpiryConfig, as_of: date | None) -> None:
    """Take partitions out of the table, by the description in the code, then make Dagster show that they are gone.

    Without keys, Dagster is reconciled with the table in all else as well.

    Raises:
        UnknownPartition: A range or a pattern that stands for no partition.
        PartialFailure: Some could not be taken out, or were named and must stay; the others are gone.
    """
    described = _described_first(context, retention.asset, retention.dataset, dry_run=config.dry_run)
    names = _named(context, config.partitions)
    requested: list[str | PartitionKey] = [*map(_parsed, config.unknown)]
    if names:
        requested = [
            *chosen(
                retention.asset, names, _due(retention, as_of), retention.dataset.windows, retention.dataset.schema
            ),
            *requested,
        ]
    is_all = not names and not config.unknown
    expired = retention.expire(
        None if is_all else requested, as_of, run_id=context.run_id, undo=config.undo, dry_run=config.dry_run
    )
    _log_expired(context, expired)
    if not config.dry_run and (expired.result or expired.wipe.partitions):
        _log_observations(context, retention.asset, retention.dataset, {})
    context.add_output_metadata(_expiry_metadata(expired) | _described(described))
    emit_figures(context, retention.dataset, as_of)
    if expired.kept:
        shown = "; ".join(f"{key}: {reason}" for key, reason in list(expired.kept.items())[:_REASONS_SHOWN])
        raise PartialFailure(
            f"{retention.dataset.uri}: {len(expired.kept)} of what was to expire did not: {shown}",
            failures=expired.kept,
            hint="`tierlake plan expiry` says what the policy asks for; correct or leave out the others",
        )


def _due(retention: Retention, as_of: date | None) -> list[PartitionKey]:
    due = retention.due(as_of)
    return [*map(retention.asset.keys.to_lake, due.keys), *map(PartitionKey.parse, due.unknown)]


def _named(context: dg.OpExecutionContext, partitions: Sequence[str]) -> list[str]:
    """The partitions of a run's configuration, and the one or the range that was selected for the run."""
    is_selected = context.has_partition_key or context.has_partition_key_range
    return [*partitions, *(context.partition_keys if is_selected else ())]


def _parsed(text: str) -> str | PartitionKey:
    """A key as `ls` prints it; any other text stays text, and is refused as such."""
    try:
        return PartitionKey.parse(text)
    except LakeError:
        return text


def undo_expiry(context: dg.OpExecutionContext, retention: Retention, config: UndoConfig) -> None:
    """Undo the expiry of partitions within their grace; Dagster shows them again.

    Raises:
        UnknownPartition: None is named, or one that never expired.
        PolicyRefused: The grace is over.
    """
    asset, dataset = retention.asset, retention.dataset
    names = _named(context, [*config.partitions, *([config.partition] if config.partition else [])])
    expired = {PartitionKey.parse(one.key): one for one in dataset.undoable() if one.operation == "expire"}
    if not names:
        shown = ", ".join(
            f"{shown_name(asset, one.key)} until {one.undo_until:%Y-%m-%d}"
            for one in list(expired.values())[:_REASONS_SHOWN]
        )
        raise UnknownPartition(
            "no partition is named to come back",
            hint=f"name them in `partitions`; {len(expired)} can come back{f': {shown}' if shown else ''}",
        )
    keys = chosen(asset, names, expired, dataset.windows, dataset.schema)
    results = retention.undo_all(keys, run_id=context.run_id, dry_run=config.dry_run)
    for result in results:
        context.log.info("%s", result)
    if any(result.changed for result in results):
        _log_observations(context, asset, dataset, {})
    size = sum(result.bytes for result in results)
    context.add_output_metadata(
        {
            "changed": any(result.changed for result in results),
            "files": sum(result.files for result in results),
            "bytes": size,
            "size": formatting.size(size),
            "partitions": dg.MetadataValue.json([shown_name(asset, result.key) for result in results]),
        }
    )


def restore(context: dg.OpExecutionContext, asset: LakeAsset, dataset: Dataset, config: RestoreConfig) -> None:
    """Request restores of archived partitions, and record that they are waited for.

    Raises:
        UnknownPartition: No key is named, or one that no partition can have; then nothing is requested.
    """
    names = _named(context, config.partitions)
    if not names:
        raise UnknownPartition("no partition is named to be restored", hint="name them in `partitions`")
    lake_keys, malformed = requested_keys(
        asset, dataset, chosen(asset, names, dataset.waiting_for(), dataset.windows, dataset.schema)
    )
    if malformed:
        raise UnknownPartition(next(iter(malformed.values())), hint="write the partitions as Dagster shows them")
    keys = {shown_name(asset, key): PartitionKey.parse(key) for key in lake_keys}
    results: dict[str, RestoreResult] = {}
    coming: list[str] = []
    try:
        for key, lake_key in keys.items():
            results[key] = dataset.restore(lake_key, days=config.days, speed=config.speed, dry_run=config.dry_run)
            context.log.info("%s", results[key])
    finally:  # those before one that failed are coming too
        coming += [key for key, result in results.items() if result.archived or result.in_progress]
        if coming and not config.dry_run:
            record_wait(context.instance, asset.asset_key, coming, run_id=None)
    context.add_output_metadata(
        {
            "requested": dg.MetadataValue.json(coming),
            "files": sum(result.archived for result in results.values()),
            "bytes": sum(result.bytes for result in results.values()),
            "size": formatting.size(sum(result.bytes for result in results.values())),
            "readable": dg.MetadataValue.json([key for key in results if key not in coming]),
        }
    )


def _log_observations(
    context: dg.OpExecutionContext, asset: LakeAsset, dataset: Dataset, touched: Mapping[PartitionKey, str]
) -> None:
    """Record the table's metadata of now; where the store fails, the work of the op still stands."""
    try:
        for event in observations(context.instance, asset, dataset, touched, context.run_id):
            context.log_event(event)
    except LakeError as error:
        context.log.warning("done, and the table could not be looked at afterwards: %s: %s", error.code, error)


def _log_expired(context: dg.OpExecutionContext, expired: Expired) -> None:
    log = context.log
    log.info("%s", expired.plan)
    for note in expired.result.notes if expired.result else ():
        log.warning("%s", note)
    for key, reason in expired.kept.items():
        log.warning("%s stays: %s", key, reason)
    if expired.wipe.reason and expired.wipe.partitions:
        log.warning("Dagster goes on showing what is gone: %s", expired.wipe.reason)
    if expired.unknown:
        log.info("gone, and no partitions of the asset: %s", ", ".join(expired.unknown))
    if expired.obstacle:
        log.warning("Dagster keeps events of partitions that it does not know: %s", expired.obstacle)
    if expired.reconciled is not None and str(expired.reconciled):
        log.info("%s", expired.reconciled)


def _expiry_metadata(expired: Expired) -> dict[str, Any]:
    result, wipe, reconciled = expired.result, expired.wipe, expired.reconciled
    also_wiped = reconciled.wiped if reconciled else ()
    return {
        "expired": len(result.done) if result else 0,
        "bytes": result.bytes if result else 0,
        "size": formatting.size(result.bytes if result else 0),
        "wiped": len(wipe.partitions) + len(also_wiped),
        "wipe": wipe.method.value,
        "kept": dg.MetadataValue.json(dict(expired.kept)),
        "absent": dg.MetadataValue.json(list(expired.absent)),
        "partitions": dg.MetadataValue.json([*wipe.partitions, *also_wiped]),
        "shown_again": dg.MetadataValue.json(list(reconciled.reported if reconciled else ())),
        "unknown_to_dagster": dg.MetadataValue.json(list(expired.unknown)),
        "wipe_obstacle": expired.obstacle,
        "plan": _text(expired.plan),
    }


def _tiering_metadata(name: str, plan: TieringPlan, result: ApplyResult) -> dict[str, Any]:
    return {
        f"{name}/moved": len(result.done),
        f"{name}/bytes": result.bytes,
        f"{name}/size": formatting.size(result.bytes),
        f"{name}/saved_per_month_usd": round(plan.saved_monthly, 6),
        f"{name}/one_off_usd": round(plan.one_off, 6),
        f"{name}/left_alone": len(plan.refused),
        f"{name}/failed": dg.MetadataValue.json(result.failed),
        f"{name}/plan": _text(plan),
    }


def _described(changes: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}description": dg.MetadataValue.json(dict(changes))} if changes else {}


def _text(table: object) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"```\n{table}\n```")
