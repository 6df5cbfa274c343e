"""What runs by the clock."""

from __future__ import annotations

from typing import Final

import dagster as dg

from dagster_project.jobs import tiering
from dagster_project.nyc import TIMEZONE

__all__ = ["SCHEDULES", "daily_tiering"]

daily_tiering = dg.ScheduleDefinition(
    name="daily_tiering",
    job=tiering,
    cron_schedule="0 6 * * *",
    execution_timezone=TIMEZONE,
    description="Every morning: what has grown old enough moves to a cheaper tier.",
)

SCHEDULES: Final = [daily_tiering]
