"""What starts the demo's jobs: tiering by the clock, expiry by sensors, assets by their conditions."""

from __future__ import annotations

import warnings
from typing import Final

import dagster as dg

from tierlake.dagster_project.automation.sensors import ExpiryJob, retention_sensor
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.demo.jobs import expire_partitions, expiry, tiering
from tierlake.dagster_project.demo.source import TIMEZONE

__all__ = ["SCHEDULES", "SENSORS", "automation", "daily_tiering"]

daily_tiering = dg.ScheduleDefinition(
    name="daily_tiering",
    job=tiering,
    cron_schedule="0 6 * * *",
    execution_timezone=TIMEZONE,
    description="Every morning: what has grown old enough moves to a cheaper tier.",
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # conditions in Python, as not_expired, are in beta
    automation = dg.AutomationConditionSensorDefinition(
        "automation",
        target="*",
        use_user_code_server=True,
        description="Materializes what the assets' automation conditions ask for, and nothing that has expired.",
    )

SCHEDULES: Final = [daily_tiering]
SENSORS: Final = [
    automation,
    *(
        retention_sensor(asset, ExpiryJob(expiry.name, expire_partitions.name, {"dataset": asset.name}))
        for asset in DATASETS.values()
        if asset.spec.retention.expire_after is not None
    ),
]
