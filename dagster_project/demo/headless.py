r"""The project without a UI or a daemon: real runs and real sensor ticks, all in the calling process.

What happens here is recorded in the Dagster home like anything else, and can be looked at later by `ui_command`. The
lake is the one that the environment names (`TIERLAKE_*`).

    with dagster_home(folder) as instance:
        materialize(instance, "flights", "2013-01-01", "2013-12-31")      # 365 partitions, one run, one commit
        tick = tick_retention(instance, "flights")                        # what the daemon does every five minutes
        undo(instance, "flights", "2013-01-01")
        available(instance, "flights")

The same from a shell:

    dagster asset materialize -m tierlake.dagster_project.demo.definitions \
        --select flights --partition-range 2013-01-01...2013-12-31
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.demo import jobs
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.demo.definitions import defs, lake
from tierlake.dagster_project.executors import configured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "RunFailed",
    "Tick",
    "available",
    "dagster_home",
    "materialize",
    "tick_retention",
    "tier",
    "ui_command",
    "undo",
]

_CONFIG: Final = """\
# no calls home, no pop-up that asks for an address
telemetry:
  enabled: false
nux:
  enabled: false
"""
_AT_ONCE: Final[dict[str, Any]] = {"retries": {"disabled": {}}}
"""Somebody is waiting here: what fails is told, not tried again."""

_RANGE_START: Final = "dagster/asset_partition_range_start"
_RANGE_END: Final = "dagster/asset_partition_range_end"
_RUN_KEY: Final = "dagster/run_key"
_SENSOR: Final = "dagster/sensor_name"


class RunFailed(RuntimeError):
    """A run did not succeed; the message says which step and why."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one evaluation of a sensor led to.

    Attributes:
        runs: the runs that it asked for, finished; without those whose run key had been used before.
        requested: how many it asked for.
        skipped: why it asked for none; empty where it did.
    """

    runs: tuple[dg.DagsterRun, ...]
    requested: int
    skipped: str


@contextmanager
def dagster_home(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open a Dagster home, made when it is not there yet; DAGSTER_HOME names it meanwhile.

    Args:
        folder: where Dagster keeps its runs and events (SQLite).
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "dagster.yaml"
    if not config.exists():
        config.write_text(_CONFIG, encoding="utf-8")
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(folder.resolve())
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


def materialize(
    instance: dg.DagsterInstance, asset: str, first: str, last: str | None = None, *, log_level: str = "WARNING"
) -> dg.DagsterRun:
    """Materialize one partition, or a range of them as one run.

    Args:
        instance: the Dagster instance.
        asset: its name.
        first: partition key, as `2013-01-01`.
        last: the range's last key, inclusive.
        log_level: from which level on the run's log goes to stderr; the event log gets everything.

    Raises:
        RunFailed: the run did not succeed.
    """
    tags = {_RANGE_START: first, _RANGE_END: last or first}
    return _execute(_INGEST[asset], instance, {}, tags, log_level)


def tier(instance: dg.DagsterInstance, datasets: Sequence[str] = (), *, log_level: str = "WARNING") -> dg.DagsterRun:
    """Run the tiering job once; no names means all datasets that have tiers.

    Raises:
        RunFailed: the run did not succeed.
    """
    config = jobs.TieringConfig(datasets=list(datasets))
    return _execute(_tiering, instance, {jobs.move_to_tiers.name: config}, {}, log_level)


def tick_retention(instance: dg.DagsterInstance, dataset: str, *, log_level: str = "WARNING") -> Tick:
    """Evaluate a dataset's retention sensor once, and execute the runs that it asks for.

    Raises:
        RunFailed: one of the runs did not succeed.
    """
    name = f"{dataset}_retention"
    sensor = defs.resolve_sensor_def(name)
    with dg.build_sensor_context(
        instance=instance, definitions=defs, sensor_name=name, resources={"lake": lake}
    ) as context:
        asked = sensor.evaluate_tick(context)
    for event in asked.asset_events:
        instance.report_runless_asset_event(event)
    runs = []
    for request in asked.run_requests or []:
        tags = {**request.tags, _RUN_KEY: request.run_key or "", _SENSOR: name}
        used = dg.RunsFilter(tags={_RUN_KEY: tags[_RUN_KEY], _SENSOR: name})
        if not instance.get_runs(filters=used, limit=1):
            runs.append(_execute(_expiry, instance, request.run_config, tags, log_level))
    return Tick(tuple(runs), len(asked.run_requests or []), asked.skip_message or "")


def undo(instance: dg.DagsterInstance, dataset: str, key: str, *, log_level: str = "WARNING") -> dg.DagsterRun:
    """Bring an expired partition back by the undo job.

    Raises:
        RunFailed: the run did not succeed: the partition never expired, or its grace is over.
    """
    config = jobs.UndoConfig(dataset=dataset, partition=key)
    return _execute(_undo_expiry, instance, {jobs.bring_back.name: config}, {}, log_level)


def available(instance: dg.DagsterInstance, dataset: str) -> tuple[str, ...]:
    """The partitions that Dagster shows as available, in order."""
    asset = DATASETS[dataset]
    keys = asset.partitions_def.get_partition_keys()
    statuses = instance.get_status_by_partition(asset.asset_key, keys, asset.partitions_def) or {}
    return tuple(key for key in keys if statuses.get(key) is dg.AssetPartitionStatus.MATERIALIZED)


def ui_command(port: int) -> list[str]:
    """The command that serves the UI and the daemon; DAGSTER_HOME and TIERLAKE_* must be in its environment."""
    serve = ["dev", "-m", "tierlake.dagster_project.demo.definitions", "-h", "127.0.0.1", "-p", str(port)]
    return [sys.executable, "-m", "dagster", *serve]


def _execute(
    job: Callable[[], dg.JobDefinition],
    instance: dg.DagsterInstance,
    ops: Mapping[str, Any],
    tags: Mapping[str, str],
    log_level: str,
) -> dg.DagsterRun:
    config: Mapping[str, Any] = ops if "ops" in ops else _run_config(ops)
    quiet = {"loggers": {"console": {"config": {"log_level": log_level}}}}
    here = {} if os.environ.get(configured.VARIABLE) else {"execution": {"config": {"in_process": _AT_ONCE}}}
    with dg.execute_job(
        dg.reconstructable(job),
        instance,
        run_config={**config, **quiet, **here},
        tags=dict(tags),
    ) as result:
        if not result.success:
            raise RunFailed(_why(result))
        return result.dagster_run


def _run_config(ops: Mapping[str, dg.Config]) -> dict[str, Any]:
    return {"ops": {name: {"config": config.model_dump()} for name, config in ops.items()}}


def _why(result: dg.JobExecutionResult) -> str:
    failures = [
        f"{event.step_key}: {event.step_failure_data.error_display_string.strip()}"
        for event in result.all_events
        if event.is_step_failure
    ]
    return f"run {result.run_id} failed\n" + "\n".join(failures)


def _flights() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.flights_job.name)


def _weather() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.weather_job.name)


def _departures() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.departures_job.name)


def _monthly_summary() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.monthly_summary_job.name)


def _monthly_report() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.monthly_report_job.name)


def _tiering() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.tiering.name)


def _expiry() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.expiry.name)


def _undo_expiry() -> dg.JobDefinition:
    return defs.resolve_job_def(jobs.undo_expiry.name)


# Dagster finds a job again by the name of a function at the top of a module
_INGEST: Final = {
    "flights": _flights,
    "weather": _weather,
    "departures": _departures,
    "monthly_summary": _monthly_summary,
    "monthly_report": _monthly_report,
}
