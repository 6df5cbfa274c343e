"""A dataset that somebody else writes: each tick tells Dagster what its table has.

New and changed partitions are reported as materialized, with their numbers as metadata; those that have left the table
no longer show. So automation, backfills of what is downstream and retention work on it as on an asset of one's own.

What a partition holds is known by its data version: a digest of its rows, files and bytes. A change of tier is none.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from dagster_project.lake_asset import LakeAsset
from dagster_project.metadata import partition_metadata
from dagster_project.partition_wipe import latest_data_versions, latest_storage_ids, newest_storage_id, wipe_partitions
from dagster_project.partitions import known_keys, unknown_values
from dagster_project.resources import LakeResource
from pipelines.catalog import PartitionInfo
from pipelines.errors import TableNotFound

__all__ = ["observation_sensor"]

REPORTS_PER_TICK: Final = 1000
"""A tick has a minute; the rest follows with the next."""

_SHOWN: Final = 5


def observation_sensor(asset: LakeAsset) -> dg.SensorDefinition:
    """The sensor that reports what a dataset's table has; it is off until somebody turns it on."""

    @dg.sensor(
        name=f"{asset.identifier}_observation",
        minimum_interval_seconds=300,
        description=f"Tells Dagster which partitions of {asset.name} are there, whoever writes them.",
    )
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        before = newest_storage_id(context.instance)
        try:
            dataset = asset.dataset_in(lake)
        except TableNotFound:
            return dg.SkipReason(f"{lake.uri(asset.name)} does not exist yet")
        live = {asset.keys.to_dagster(part.key): part for part in dataset.partitions()}
        gone = sorted(set(latest_storage_ids(context.instance, asset.asset_key)) - {str(key) for key in live})
        wipe_partitions(context.instance, asset.asset_key, gone, up_to=before)

        seen = latest_data_versions(context.instance, asset.asset_key)
        changed = [key for key, part in live.items() if seen.get(key) != _data_version(part)]
        added = unknown_values(changed, asset.partitions_def, context.instance)
        known, unknown = known_keys(changed, asset.partitions_def, context.instance, added)
        if unknown:
            context.log.warning("%d keys are no partitions of the asset: %s", len(unknown), ", ".join(unknown[:_SHOWN]))
        if not known and not gone:
            return dg.SkipReason(f"all {len(live)} partitions are as they were")
        if len(known) > REPORTS_PER_TICK:
            context.log.info("%d of %d partitions now, the rest with the next ticks", REPORTS_PER_TICK, len(known))
        return dg.SensorResult(
            asset_events=list(_reports(asset, known[:REPORTS_PER_TICK], live, dataset.uri)),
            dynamic_partitions_requests=[
                dg.AddDynamicPartitionsRequest(name, sorted(values)) for name, values in added.items()
            ],
        )

    return tick


def _reports(
    asset: LakeAsset, keys: Sequence[str], live: Mapping[str, PartitionInfo], uri: str
) -> Iterable[dg.AssetMaterialization]:
    for key in keys:
        tags = {"dagster/data_version": _data_version(live[key])}
        if isinstance(key, dg.MultiPartitionKey):
            tags |= {f"dagster/partition/{name}": value for name, value in key.keys_by_dimension.items()}
        metadata: dict[str, Any] = {"dagster/uri": uri, **partition_metadata([live[key]])}
        yield dg.AssetMaterialization(
            asset.asset_key, partition=str(key), metadata=metadata, tags=tags, description="seen in the table"
        )


def _data_version(part: PartitionInfo) -> str:
    return hashlib.sha256(f"{part.rows} {part.files} {part.bytes}".encode()).hexdigest()[:16]
