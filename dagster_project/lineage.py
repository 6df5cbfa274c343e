"""Retention waits for what is downstream: when did a rollup last see a partition?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from dagster_project.partitions import KnownPartitions
from pipelines.layout import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from dagster_project.lake_asset import LakeAsset

    Sight: TypeAlias = Callable[[str | PartitionKey], datetime | None]

__all__ = ["OVER_TIME", "Downstream", "downstream_sight", "downstreams_in"]

_FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)

OVER_TIME: Final = dg.TimeWindowPartitionMapping()
"""How the demo's assets depend on each other: a month on its days."""


@dataclass(frozen=True, slots=True)
class Downstream:
    """An asset that is computed from a dataset's partitions.

    Attributes:
        asset_key: its key.
        partitions_def: its partitions; None where it has none.
        mapping: how its partitions depend on the dataset's.
    """

    asset_key: dg.AssetKey
    partitions_def: dg.PartitionsDefinition[str] | None
    mapping: dg.PartitionMapping = OVER_TIME


def downstreams_in(repository: dg.RepositoryDefinition | None, upstream: LakeAsset) -> dict[str, Downstream]:
    """The assets of `retention.after` by the name that the spec gives them, as a code location defines them.

    One that is not there, or does not depend on the dataset, is left out: the dataset's partitions then wait for it.

    Args:
        repository: the code location's definitions; None where Dagster does not tell.
        upstream: the dataset whose partitions may expire.
    """
    if repository is None or not upstream.spec.retention.after:
        return {}
    graph = repository.asset_graph
    found = {}
    for name in upstream.spec.retention.after:
        key = dg.AssetKey(name.split("/"))
        if graph.has(key) and upstream.asset_key in graph.get(key).parent_keys:
            mapping = graph.get_partition_mapping(key, upstream.asset_key)
            found[name] = Downstream(key, graph.get(key).partitions_def, mapping)
    return found


def downstream_sight(
    instance: dg.DagsterInstance,
    upstream: LakeAsset,
    downstreams: Mapping[str, Downstream],
    ahead: timedelta = timedelta(0),
) -> dict[str, Sight]:
    """For each name in the upstream's `retention.after`: when it last saw one of the upstream's partitions.

    An asset saw a partition when all of its own partitions that depend on it were materialized; the earliest of those
    materializations counts. Nobody can see what is no partition of the upstream asset, or not any more: it is not
    waited for.

    Args:
        instance: knows the materializations.
        upstream: the dataset whose partitions may expire.
        downstreams: what is computed from it, by name.
        ahead: by how much Dagster's clock is ahead of the store's, which tells when partitions change.
    """
    return {
        name: _sight(instance, upstream, downstreams[name], ahead)
        for name in upstream.spec.retention.after
        if name in downstreams
    }


def _sight(instance: dg.DagsterInstance, upstream: LakeAsset, downstream: Downstream, ahead: timedelta) -> Sight:
    times: dict[str | None, datetime | None] = {}
    known = KnownPartitions(upstream.partitions_def, instance)

    def last(partition: str | None) -> datetime | None:
        if partition not in times:
            times[partition] = _materialized_at(instance, downstream.asset_key, partition)
        return times[partition]

    def seen(key: str | PartitionKey) -> datetime | None:
        name = upstream.keys.find_dagster(PartitionKey.parse(str(key)))
        if name is None or name not in known:  # nothing that Dagster can run depends on it
            return _FOR_EVER
        over = _dependent(instance, upstream, downstream, name)
        found = [last(partition) for partition in over]
        instants = [instant for instant in found if instant is not None]
        return min(instants) - ahead if instants and len(instants) == len(found) else None

    return seen


def _dependent(instance: dg.DagsterInstance, upstream: LakeAsset, downstream: Downstream, key: str) -> list[str | None]:
    """The downstream partitions that are computed from one of the upstream's; [None] is all of the asset."""
    if downstream.partitions_def is None:
        return [None]
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        one = upstream.partitions_def.subset_with_partition_keys([key])
        over = downstream.mapping.get_downstream_partitions_for_partitions(
            one, upstream.partitions_def, downstream.partitions_def
        )
        return list(over.get_partition_keys())


def _materialized_at(instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition: str | None) -> datetime | None:
    only: Any = dg.AssetRecordsFilter(asset_key, asset_partitions=None if partition is None else [partition])
    records = instance.fetch_materializations(only, limit=1).records
    return datetime.fromtimestamp(records[0].timestamp, UTC) if records else None
