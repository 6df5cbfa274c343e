"""Materializations that report partitions as the table has them, whoever wrote them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from tierlake.dagster_project.partitions.event_storage import latest_data_versions, unfinished_attempts
from tierlake.dagster_project.partitions.metadata import STATE, partition_metadata
from tierlake.dagster_project.partitions.reads import BEGAN, read_facts, run_starts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.catalog import PartitionInfo

__all__ = ["data_version", "reports"]


def reports(
    instance: dg.DagsterInstance, asset: LakeAsset, dataset: Dataset, keys: Sequence[str]
) -> Iterator[dg.AssetMaterialization]:
    """Materializations of partitions with their numbers of now; partitions that the table lacks are left out.

    Args:
        instance: The Dagster instance.
        asset: The dataset's asset.
        dataset: The open dataset.
        keys: Dagster's keys.
    """
    if not keys:
        return
    state = dataset.state()  # before the partitions: a change in between is reported once more
    infos = dataset.partitions(keys=[asset.keys.to_lake(key) for key in keys])
    parts = {str(asset.keys.to_dagster(part.key)): part for part in infos}
    versions = latest_data_versions(instance, asset.asset_key)
    ahead = datetime.now(UTC) - dataset.now()
    written = {key: (part.changed + ahead).timestamp() for key, part in parts.items()}
    reads = _presumed_reads(instance, asset.asset_key, written)
    undone = _undone(dataset, parts) if any(key not in versions for key in parts) else {}
    for key in keys:
        if (part := parts.get(key)) is None:
            continue
        version = data_version(part)
        if version == versions.get(key):  # rows have changed, but neither their number nor their time
            version = _digest(f"{version} {state}")
        description, facts = undone.get(key, ("seen in the table", {}))
        metadata = {"dagster/uri": dataset.uri, STATE: state, **partition_metadata([part]), **reads[key], **facts}
        yield dg.AssetMaterialization(
            asset.asset_key,
            partition=key,
            metadata=metadata,
            tags={"dagster/data_version": version, **_dimension_tags(asset, part.key)},
            description=description,
        )


def data_version(part: PartitionInfo) -> str:
    """Tells a partition's rows from others: a digest of their number, and of the time of their last change."""
    size = f"{part.files} {part.bytes}" if part.rows is None else part.rows
    return _digest(f"{size} {part.changed.isoformat()}")


def _presumed_reads(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, written: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """What partitions were made of, as metadata, where nobody saw how they were made.

    A report is no reading. The facts of an earlier event go on; where a run died after it had written the partition,
    that run's start counts; for rows of other writers, the time at which they were written.

    Args:
        instance: Knows the events.
        asset_key: The asset.
        written: When each partition's rows were written, in seconds since 1970 by Dagster's clock.
    """
    known = read_facts(instance, asset_key, list(written))
    runs = unfinished_attempts(instance, asset_key) if written.keys() - known.keys() else {}
    runs = {key: run_id for key, run_id in runs.items() if key in written and key not in known}
    starts = run_starts(instance, set(runs.values()))
    others = {key: {BEGAN: starts.get(runs[key], 0.0) if key in runs else at} for key, at in written.items()}
    return others | known


def _undone(dataset: Dataset, parts: Mapping[str, PartitionInfo]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Of partitions whose last removal was undone: which undo it was, in words, and metadata about who did it."""
    acts = dataset.acts_after("")  # newest first
    reasons = {act.id: act.reason for act in acts}
    last: dict[str, tuple[str, dict[str, Any]] | None] = {}
    for act in acts:
        if act.operation not in {"expire", "undo"}:
            continue
        is_drop = reasons.get(act.undone or "", "").startswith("the dataset was dropped")
        undo = ("drop undone" if is_drop else "expiry undone", _author(act.run_id, act.by))
        for lake_key in act.keys:
            last.setdefault(lake_key, undo if act.operation == "undo" else None)
    return {key: own for key, part in parts.items() if (own := last.get(str(part.key))) is not None}


def _author(run_id: str | None, user: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"undone_by": user} if user else {}
    return facts | ({"run": dg.MetadataValue.dagster_run(run_id)} if run_id else {})


def _dimension_tags(asset: LakeAsset, key: PartitionKey) -> dict[str, str]:
    name = asset.keys.to_dagster(key)
    if not isinstance(name, dg.MultiPartitionKey):
        return {}
    return {f"dagster/partition/{dimension}": value for dimension, value in name.keys_by_dimension.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
