"""The schedule of a dataset's tiering: ages change with the clock, so there is nothing for a sensor to watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dagster as dg

from tierlake.dagster_project.automation.wording import default_status

if TYPE_CHECKING:
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset

__all__ = ["EVERY_MORNING", "tiering_schedule"]

EVERY_MORNING: Final = "0 6 * * *"


def tiering_schedule(
    asset: LakeAsset,
    job: dg.JobDefinition,
    cron: str = EVERY_MORNING,
    status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> dg.ScheduleDefinition:
    """The schedule of a tiering job.

    Args:
        asset: The dataset's.
        job: `jobs.tiering_job` of it.
        cron: When it runs, by the clock of the dataset's time zone.
        status: Whether it is on before anybody has switched it on or off.
    """
    time = asset.spec.partition.time
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=cron,
        execution_timezone=time.timezone if time else None,
        description=f"What has grown old enough of {asset.name} moves to a cheaper tier. {default_status(status)}",
        default_status=status,
    )
