"""Retention waits for downstream assets: which changes of a partition has a rollup read?

Dagster is queried in batches: for 10,000 partitions that a few hundred months are made of, a handful of queries.
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
    from tierlake.dagster_project.partitions.reads import Read

__all__ = ["OVER_TIME", "Downstream", "Readings", "downstream_readings", "downstreams_in"]

Readings: TypeAlias = Callable[[Collection[PartitionKey]], Mapping[PartitionKey, Sequence[Reading]]]
"""From partitions of a dataset to what the partitions of one downstream asset that depend on them have read."""

OVER_TIME: Final = dg.TimeWindowPartitionMapping()
"""A month depends on its days, and a day on its month."""

_REMEDY_GONE: Final = (
    "which expired before it read the last change: materialize it again (it expires anew), or take it out of `after`"
)
_REMEDY_UNKNOWN: Final = "of which nobody knows what it has read: materialize it again"


@dataclass(frozen=True, slots=True)
class Downstream:
    """An asset that is computed from a dataset's partitions.

    Attributes:
        asset_key: Its key.
        partitions_def: Its partitions; None where it has none.
        mapping: How its partitions depend on the dataset's.
    """

    asset_key: dg.AssetKey
    partitions_def: dg.PartitionsDefinition[str] | None
    mapping: dg.PartitionMapping = OVER_TIME


def downstreams_in(repository: dg.RepositoryDefinition | None, upstream: LakeAsset) -> dict[str, Downstream]:
    """The assets of `retention.after` by their names in the spec, as a code location defines them.

    One that is not there, or does not depend on the dataset, is left out: the dataset's partitions then wait for it.

    Args:
        repository: The code location's definitions; None where Dagster does not pass them.
        upstream: The dataset whose partitions may expire.
    """
    if repository is None or not upstream.spec.retention.after:
        return {}
    graph = repository.asset_graph
    downstreams = {}
    for name in upstream.spec.retention.after:
        key = dg.AssetKey(name.split("/"))
        if graph.has(key) and upstream.asset_key in graph.get(key).parent_keys:
            mapping = graph.get_partition_mapping(key, upstream.asset_key)
            downstreams[name] = Downstream(key, graph.get(key).partitions_def, mapping)
    return downstreams


def downstream_readings(
    instance: dg.DagsterInstance,
    upstream: LakeAsset,
    downstreams: Mapping[str, Downstream],
    ahead: timedelta = timedelta(0),
) -> dict[str, Readings]:
    """For each name in the upstream's `retention.after`: what it has read of the upstream's partitions.

    All of a downstream's partitions that depend on one count. A key that is no partition of the upstream asset, or not
    any more, cannot be read by any: it is not waited for.

    Args:
        instance: Knows the materializations.
        upstream: The dataset whose partitions may expire.
        downstreams: The assets that are computed from it, by name.
        ahead: How far Dagster's clock is ahead of the store's, by which partitions change.
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
    dependents = {partition for partitions in over.values() for partition in partitions}
    reads = latest_reads(instance, downstream.asset_key, dependents)
    starts = cache(lambda: run_starts(instance, {read.run_id for read in reads.values() if read.began is None}))

    @cache
    def step_began(run_id: str, step: str) -> datetime | None:
        return _instant(step_start(instance, run_id, step), ahead)

    def run_began(run_id: str) -> datetime | None:
        return _instant(starts().get(run_id), ahead)

    def reading(partition: str | None) -> Reading:
        read, by = reads.get(partition), partition or ""
        if read is None:
            return Reading(by)
        later: list[Callable[[], datetime | None]] = []
        if read.began is None:  # the run's own start is enough for most, and one query reads those of all
            later.append(partial(run_began, read.run_id))
        if read.run_id:
            later.append(partial(step_began, read.run_id, read.step))
        return _reading_of(read, by, upstream.name, ahead, later)

    readings = {partition: reading(partition) for partition in dependents}
    none_yet = (Reading(remedy="of which no partition depends on it yet"),)
    return {key: tuple(readings[one] for one in over.get(name, ())) or none_yet for key, name in names.items()}


def _reading_of(
    read: Read, by: str, upstream: str, ahead: timedelta, later: Sequence[Callable[[], datetime | None]]
) -> Reading:
    reading = Reading(
        by,
        state=read.states.get(upstream, ""),
        at=_instant(read.began or None, ahead),
        later=tuple(later),
        remedy=_REMEDY_GONE if read.is_gone else "",
    )
    return replace(reading, remedy=_REMEDY_UNKNOWN) if reading.is_of_nothing else reading


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
    """A superset of the downstream partitions that depend on the upstream's.

    Mapping thousands of the upstream's takes longer than mapping each of the downstream's, of which there are fewer.
    """
    every = over.get_partition_keys()
    if len(keys) > len(every):
        return every
    some = upstream.partitions_def.subset_with_partition_keys(keys)
    mapped = downstream.mapping.get_downstream_partitions_for_partitions(some, upstream.partitions_def, over)
    return mapped.get_partition_keys()


def _computed_from(
    upstream: LakeAsset, downstream: Downstream, over: dg.PartitionsDefinition[str], partition: str
) -> Iterable[str]:
    one = over.subset_with_partition_keys([partition])
    mapped = downstream.mapping.get_upstream_mapped_partitions_result_for_partitions(one, over, upstream.partitions_def)
    return mapped.partitions_subset.get_partition_keys()
