"""A dataset that somebody else writes: each tick tells Dagster what its table has.

New and changed partitions are reported as materialized, with their numbers as metadata; those that have left the table
no longer show. So automation, backfills of what is downstream and retention work on it as on an asset of one's own.

What changes is told by the table (`reconcile`): a compaction, a change of tier and a restore change no row. The cursor
remembers up to which state of the table Dagster has been told. What it has forgotten is compared anew.
"""

from typing import Final

import dagster as dg

from tierlake.dagster_project.automation import reconcile
from tierlake.dagster_project.automation.sensors import Cursor
from tierlake.dagster_project.partitions.keys import unknown_values
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.resources.failures import told_tick
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import TableNotFound

__all__ = ["observation_sensor"]

_SHOWN: Final = 5


def observation_sensor(asset: LakeAsset) -> dg.SensorDefinition:
    """The sensor that reports what a dataset's table has; it is off until somebody turns it on."""

    @dg.sensor(
        name=f"{asset.identifier}_observation",
        minimum_interval_seconds=300,
        description=f"Tells Dagster which partitions of {asset.name} are there, whoever writes them.",
    )
    @told_tick
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        instance, before = context.instance, Cursor.read(context.cursor)
        shown = reconcile.look(instance, asset)
        try:
            dataset = asset.dataset_in(lake)
        except TableNotFound:
            return dg.SensorResult(skip_reason=f"{lake.uri(asset.name)} does not exist yet")
        state, live = dataset.state(), dataset.windows()
        names = [str(name) for key in live if (name := asset.keys.find_dagster(key)) is not None]
        added = unknown_values(names, asset.partitions_def, instance)
        difference = reconcile.compare(instance, asset, dataset, shown, live, since=before.state, added=added)
        if difference.unknown:
            shortened = ", ".join(difference.unknown[:_SHOWN])
            context.log.warning("%d keys are no partitions of the asset: %s", len(difference.unknown), shortened)
        mended = reconcile.mend(instance, asset, dataset, shown, difference, at_once=reconcile.MENDED_AT_ONCE)
        quiet = f"all {len(live)} partitions are as they were"
        return dg.SensorResult(
            skip_reason=str(mended) or quiet,
            asset_events=list(mended.events),
            dynamic_partitions_requests=[
                dg.AddDynamicPartitionsRequest(name, sorted(values)) for name, values in added.items()
            ],
            cursor=str(Cursor(state) if mended.is_all_told else before),
        )

    return tick
