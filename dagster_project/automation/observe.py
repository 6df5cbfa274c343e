"""A dataset that somebody else writes: each tick reports to Dagster what its table has.

New and changed partitions are reported as materialized, with their numbers as metadata; those that have left the table
no longer show. So automation, backfills of downstream assets and retention work on it as on an asset of one's own.

Changes are those of the table's rows (`comparison`): a compaction, a change of tier and a restore change none. The
cursor remembers up to which state of the table all changes have been reported. Without one, everything is compared
anew.
"""

from typing import Final

import dagster as dg

from tierlake.dagster_project.automation.comparison import compare, shown_now
from tierlake.dagster_project.automation.cursor import Cursor
from tierlake.dagster_project.automation.reconcile import PARTITIONS_PER_TICK, reconcile
from tierlake.dagster_project.automation.sensors import INTERVAL_SECONDS
from tierlake.dagster_project.automation.wording import default_status
from tierlake.dagster_project.partitions.keys import unknown_values
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.resources.failures import tick_errors
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import TableNotFound

__all__ = ["observation_sensor"]

_SHOWN: Final = 5


def observation_sensor(
    asset: LakeAsset, *, status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED
) -> dg.SensorDefinition:
    """The sensor that reports what a dataset's table has.

    Args:
        asset: The dataset's.
        status: Whether it is on before anybody has switched it on or off.
    """

    @dg.sensor(
        name=asset.definition_name("observation"),
        minimum_interval_seconds=INTERVAL_SECONDS,
        description=f"Reports which partitions of {asset.name} are there, whoever writes them. "
        f"{default_status(status)}",
        default_status=status,
    )
    @tick_errors
    def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        instance, before = context.instance, Cursor.read(context.cursor)
        shown = shown_now(instance, asset)
        try:
            dataset = asset.dataset_in(lake)
        except TableNotFound:
            return dg.SensorResult(skip_reason=f"{lake.uri(asset.name)} does not exist yet")
        state, live = dataset.state(), dataset.windows()
        names = [str(name) for key in live if (name := asset.keys.find_dagster(key)) is not None]
        added = unknown_values(names, asset.partitions_def, instance)
        difference = compare(instance, asset, dataset, shown, live, since=before.state, added=added)
        if difference.unknown:
            shortened = ", ".join(difference.unknown[:_SHOWN])
            context.log.warning("%d keys are no partitions of the asset: %s", len(difference.unknown), shortened)
        reconciled = reconcile(instance, asset, dataset, shown, difference, limit=PARTITIONS_PER_TICK)
        quiet = f"all {len(live)} partitions are as they were"
        return dg.SensorResult(
            skip_reason=str(reconciled) or quiet,
            asset_events=list(reconciled.events),
            dynamic_partitions_requests=[
                dg.AddDynamicPartitionsRequest(name, sorted(values)) for name, values in added.items()
            ],
            cursor=str(Cursor(state) if reconciled.is_complete else before),
        )

    return tick
