"""What starts the demo's jobs: tiering by the clock, expiry by sensors."""

from __future__ import annotations

from typing import Final

import dagster as dg

from dagster_project.datasets import DATASETS
from dagster_project.jobs import expire_partitions, expiry, tiering
from dagster_project.nyc import TIMEZONE
from dagster_project.sensors import ExpiryJob, retention_sensor

__all__ = ["SCHEDULES", "SENSORS", "daily_tiering"]

daily_tiering = dg.ScheduleDefinition(
    name="daily_tiering",
    job=tiering,
    cron_schedule="0 6 * * *",
    execution_timezone=TIMEZONE,
    description="Every morning: what has grown old enough moves to a cheaper tier.",
)

SCHEDULES: Final = [daily_tiering]
SENSORS: Final = [
    retention_sensor(asset, ExpiryJob(expiry.name, expire_partitions.name, {"dataset": asset.name}))
    for asset in DATASETS.values()
    if asset.spec.retention.expire_after is not None
]
