"""Retention waits for what is downstream: what of a partition has a rollup read?

Dagster is asked in batches: for 10,000 partitions of which a few hundred months are made, a handful of queries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Final, TypeAlias

import dagster as dg

from tierlake.dagster_project.partitions.keys import KnownPartitions
from tierlake.dagster_project.partitions.reads import latest_reads, run_starts, step_start
from tierlake.pipelines.lifecycle.outlook import Reading
from tierlake.pipelines.model.partition_key import PartitionKey

if TYPE_CHECKING:
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset

__all__ = ["OVER_TIME", "Downstream", "Sight", "downstream_sight", "downstreams_in"]

Sight: TypeAlias = Callable[[Collection[PartitionKey]], Mapping[PartitionKey, Sequence[Reading]]]
"""From partitions of a dataset to what the partitions of one downstream asset that depend on them have read."""

OVER_TIME: Final = dg.TimeWindowPartitionMapping()
"""How the demo's assets depend on each other: a month on its days."""


_REMEDY_GONE: Final = (
    "which expired before it read the last change: materialize it again (it expires anew), or take it out of `after`"
)
_REMEDY_UNKNOWN: Final = "of which nobody knows what it has read: materialize it again"


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
    """For each name in the upstream's `retention.after`: what it has read of the upstream's partitions.

    All of a downstream's partitions that depend on one count. Nobody can see what is no partition of the upstream
    asset, or not any more: it is not waited for.

    Args:
        instance: knows the materializations.
        upstream: the dataset whose partitions may expire.
        downstreams: what is computed from it, by name.
        ahead: by how much Dagster's clock is ahead of the store's, which tells when partitions change.
    """
    known = cache(partial(KnownPartitions, upstream.partitions_def, instance))  # thousands of keys take a while
    return {
        name: partial(_readings, instance, upstream, downstreams[name], known, ahead)
        for name in upstream.spec.retention.after
        if name in downstreams
    }


def _readings(
    instance: dg.DagsterInstance,
    upstream: LakeAsset,
    downstream: Downstream,
    known: Callable[[], KnownPartitions],
    ahead: timedelta,
    keys: Collection[PartitionKey],
) -> dict[PartitionKey, tuple[Reading, ...]]:
    spelled = {key: name for key in keys if (name := upstream.keys.find_dagster(key)) is not None}
    names = {key: str(name) for key, name in spelled.items() if name in known()}
    over = _dependents(instance, upstream, downstream, set(names.values()))
    wanted = {partition for partitions in over.values() for partition in partitions}
    reads = latest_reads(instance, downstream.asset_key, wanted)
    starts = cache(lambda: run_starts(instance, {read.run_id for read in reads.values() if read.began is None}))

    @cache
    def began(run_id: str, step: str) -> datetime | None:
        return _instant(step_start(instance, run_id, step), ahead)

    def reading(partition: str | None) -> Reading:
        read, by = reads.get(partition), partition or ""
        if read is None:
            return Reading(by)
        later: list[Callable[[], datetime | None]] = []
        if read.began is None:  # the run's own start tells enough of most, and is asked for all of them at once
            later.append(lambda: _instant(starts().get(read.run_id), ahead))
        if read.run_id:
            later.append(lambda: began(read.run_id, read.step))
        reading = Reading(
            by,
            state=read.states.get(upstream.name, ""),
            at=_instant(read.began or None, ahead),
            later=tuple(later),
            remedy=_REMEDY_GONE if read.is_gone else "",
        )
        return replace(reading, remedy=_REMEDY_UNKNOWN) if reading.is_of_nothing else reading

    readings = {partition: reading(partition) for partition in wanted}
    nobody = (Reading(remedy="of which no partition depends on it yet"),)
    return {key: tuple(readings[one] for one in over.get(name, ())) or nobody for key, name in names.items()}


def _instant(timestamp: float | None, ahead: timedelta) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC) - ahead


def _dependents(
    instance: dg.DagsterInstance, upstream: LakeAsset, downstream: Downstream, keys: Collection[str]
) -> Mapping[str, Sequence[str | None]]:
    """The downstream partitions that are computed from each of the upstream's; [None] is all of the asset."""
    if downstream.partitions_def is None:
        return dict.fromkeys(keys, (None,))
    if downstream.partitions_def == upstream.partitions_def and _is_one_to_one(downstream.mapping):
        return {key: (key,) for key in keys}
    over: dict[str, list[str | None]] = {}
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        for partition in _candidates(upstream, downstream, downstream.partitions_def, keys):
            for key in _computed_from(upstream, downstream, downstream.partitions_def, partition):
                if key in keys:
                    over.setdefault(key, []).append(partition)
    return over


def _is_one_to_one(mapping: dg.PartitionMapping) -> bool:
    """Whether a partition depends on the one of the same key, where both assets have the same partitions."""
    return isinstance(mapping, dg.IdentityPartitionMapping) or mapping == dg.TimeWindowPartitionMapping()


def _candidates(
    upstream: LakeAsset, downstream: Downstream, over: dg.PartitionsDefinition[str], keys: Collection[str]
) -> Iterable[str]:
    """Downstream partitions among which all are that depend on some of the upstream's.

    Mapping thousands of the upstream's takes longer than looking at each of the downstream's, of which there are fewer.
    """
    every = over.get_partition_keys()
    if len(keys) > len(every):
        return every
    some = upstream.partitions_def.subset_with_partition_keys(keys)
    found = downstream.mapping.get_downstream_partitions_for_partitions(some, upstream.partitions_def, over)
    return found.get_partition_keys()


def _computed_from(
    upstream: LakeAsset, downstream: Downstream, over: dg.PartitionsDefinition[str], partition: str
) -> Iterable[str]:
    one = over.subset_with_partition_keys([partition])
    mapped = downstream.mapping.get_upstream_mapped_partitions_result_for_partitions(one, over, upstream.partitions_def)
    return mapped.partitions_subset.get_partition_keys()
