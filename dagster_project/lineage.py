"""Retention waits for what is downstream: when did a rollup last see a partition?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from pipelines.layout import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from dagster_project.datasets import LakeAsset

    Sight: TypeAlias = Callable[[str | PartitionKey], datetime | None]

__all__ = ["OVER_TIME", "downstream_sight"]

OVER_TIME: Final = dg.TimeWindowPartitionMapping()
"""How the demo's assets depend on each other: a month on its days."""


def downstream_sight(
    instance: dg.DagsterInstance, upstream: LakeAsset, datasets: Mapping[str, LakeAsset]
) -> dict[str, Sight]:
    """For each name in the upstream's `retention.after`: when it last saw one of the upstream's partitions.

    An asset saw a partition when all of its own partitions that depend on it were materialized; the earliest of those
    materializations counts.

    Args:
        instance: knows the materializations.
        upstream: the dataset whose partitions may expire.
        datasets: all managed datasets by name.
    """
    return {
        name: _sight(instance, upstream, datasets[name]) for name in upstream.spec.retention.after if name in datasets
    }


def _sight(instance: dg.DagsterInstance, upstream: LakeAsset, downstream: LakeAsset) -> Sight:
    times: dict[str, datetime | None] = {}

    def last(partition: str) -> datetime | None:
        if partition not in times:
            times[partition] = _materialized_at(instance, downstream.asset_key, partition)
        return times[partition]

    def seen(key: str | PartitionKey) -> datetime | None:
        upstream_key = upstream.keys.to_dagster(PartitionKey.parse(str(key)))
        one = upstream.partitions_def.subset_with_partition_keys([upstream_key])
        over = OVER_TIME.get_downstream_partitions_for_partitions(
            one, upstream.partitions_def, downstream.partitions_def
        ).get_partition_keys()
        found = [last(partition) for partition in over]
        instants = [instant for instant in found if instant is not None]
        return min(instants) if instants and len(instants) == len(found) else None

    return seen


def _materialized_at(instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition: str) -> datetime | None:
    only = dg.AssetRecordsFilter(asset_key, asset_partitions=[partition])
    records = instance.fetch_materializations(only, limit=1).records
    return datetime.fromtimestamp(records[0].timestamp, UTC) if records else None
