"""The definitions of one dataset beside its asset: checks, jobs, schedule and sensors, as its description demands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from tierlake.dagster_project.automation.checks import description_check, verify_check
from tierlake.dagster_project.automation.jobs import (
    UnresolvedJob,
    expiry_job,
    ingest_job,
    job_links,
    policy_job,
    restore_job,
    tiering_job,
    undo_job,
)
from tierlake.dagster_project.automation.observe import observation_sensor
from tierlake.dagster_project.automation.restores import restore_sensor
from tierlake.dagster_project.automation.schedules import EVERY_MORNING, tiering_schedule
from tierlake.dagster_project.automation.sensors import dataset_sensor

if TYPE_CHECKING:
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset

__all__ = ["Automation", "dataset_definitions", "links_to_jobs"]


@dataclass(frozen=True, slots=True)
class Automation:
    """How a dataset is looked after, beyond its description.

    Attributes:
        is_written_here: Whether an asset of this code location writes it; otherwise a sensor reports what others write.
        restores: Whether there are archived partitions to request and to wait for; None goes by the tiers.
        tiering_cron: When the tiering job runs, by the clock of the dataset's time zone.
        hooks: Hooks of all its jobs.
        sensor_status: Whether its sensors are on before anybody has switched them on or off.
        schedule_status: Likewise, its schedule.
    """

    is_written_here: bool
    restores: bool | None = None
    tiering_cron: str = EVERY_MORNING
    hooks: frozenset[dg.HookDefinition] = field(default=frozenset())
    sensor_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED
    schedule_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED


def dataset_definitions(asset: LakeAsset, automation: Automation) -> dg.Definitions:
    """Make the definitions.

    Args:
        asset: The dataset's asset.
        automation: How it is looked after.
    """
    spec, hooks = asset.spec, set(automation.hooks)
    expires = spec.retention.expire_after is not None
    jobs: list[dg.JobDefinition | UnresolvedJob] = [policy_job(asset).with_hooks(hooks)]
    schedules: list[dg.ScheduleDefinition] = []
    sensors: list[dg.SensorDefinition] = []
    if automation.is_written_here:
        jobs.append(ingest_job(asset))
    else:
        sensors.append(observation_sensor(asset, status=automation.sensor_status))
    if spec.tiers:
        tiering = tiering_job(asset).with_hooks(hooks)
        jobs.append(tiering)
        schedules.append(tiering_schedule(asset, tiering, automation.tiering_cron, automation.schedule_status))
    if expires:
        jobs += [expiry_job(asset).with_hooks(hooks), undo_job(asset).with_hooks(hooks)]
    if expires or automation.is_written_here:
        sensors.append(dataset_sensor(asset, status=automation.sensor_status))
    if _restores(asset, automation):
        jobs.append(restore_job(asset).with_hooks(hooks))
        sensors.append(restore_sensor(asset, status=automation.sensor_status))
    return dg.Definitions(
        asset_checks=[verify_check(asset), description_check(asset)], jobs=jobs, schedules=schedules, sensors=sensors
    )


def links_to_jobs(asset: LakeAsset, automation: Automation) -> dict[str, Any]:
    """Definition metadata of the asset: links to the jobs of its lifecycle.

    Args:
        asset: The dataset's asset.
        automation: How it is looked after.
    """
    expires = asset.spec.retention.expire_after is not None
    jobs = {
        "tiering": "moves partitions to the tiers of their age" if asset.spec.tiers else "",
        "expiry": "takes partitions past their retention out of the table" if expires else "",
        "undo_expiry": "brings expired partitions back, within their grace" if expires else "",
        "restore": "makes archived partitions readable for some days" if _restores(asset, automation) else "",
        "policy": "makes the description in the code the stored one",
    }
    return job_links(asset, {verb: text for verb, text in jobs.items() if text})


def _restores(asset: LakeAsset, automation: Automation) -> bool:
    has_archive = any(step.tier == "archive" for step in asset.spec.tiers)
    return has_archive if automation.restores is None else automation.restores
