r"""The project without a UI or a daemon: real runs and real sensor ticks, all in the calling process.

They are recorded in the Dagster home like any others, and can be looked at later by `ui_command`. The lake is the one
that the environment names (`TIERLAKE_*`).

    with dagster_home(folder) as instance:
        materialize(instance, "flights", "2013-01-01", "2013-12-31")      # 365 partitions, one run, one commit
        tick = tick_retention(instance, "flights")                        # what the daemon does every five minutes
        undo(instance, "flights", "2013-01-01")
        available(instance, "flights")

The same from a shell:

    dagster asset materialize -m tierlake.dagster_project.demo.definitions --select flights \
        --partition-range 2013-01-01...2013-12-31

Jobs run within their code location, as under the daemon: an expiry looks the downstream assets up there. Dagster has no
public way to do that in the calling process: `ReconstructableRepository` is one of `dagster_internals`.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.automation.config import run_config
from tierlake.dagster_project.dagster_internals import ReconstructableRepository
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.demo.definitions import defs, lake
from tierlake.dagster_project.executors import configured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = [
    "RunFailed",
    "Tick",
    "available",
    "dagster_home",
    "materialize",
    "run_job",
    "tick_retention",
    "tier",
    "ui_command",
    "undo",
]

_MODULE: Final = "tierlake.dagster_project.demo.definitions"
_CONFIG: Final = """\
# no calls home, no pop-up that asks for an address
telemetry:
  enabled: false
nux:
  enabled: false
"""
_WITHOUT_RETRIES: Final[dict[str, Any]] = {"retries": {"disabled": {}}}
"""A person is waiting: a failure is shown at once."""

_RANGE_START: Final = "dagster/asset_partition_range_start"
_RANGE_END: Final = "dagster/asset_partition_range_end"
_RUN_KEY: Final = "dagster/run_key"
_SENSOR: Final = "dagster/sensor_name"


class RunFailed(RuntimeError):
    """A run did not succeed; the message names the step and the reason."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one evaluation of a sensor led to.

    Attributes:
        runs: The requested runs, finished; without those whose run key had been used before.
        requested: The number of requested runs.
        skipped: Why none was; empty otherwise.
    """

    runs: tuple[dg.DagsterRun, ...]
    requested: int
    skipped: str


@contextmanager
def dagster_home(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open a Dagster home, made when it is not there yet; DAGSTER_HOME names it meanwhile.

    Args:
        folder: Where Dagster keeps its runs and events (SQLite).
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
        instance: The Dagster instance.
        asset: Its name.
        first: Partition key, as `2013-01-01`.
        last: The range's last key, inclusive.
        log_level: The level from which on the run's log goes to stderr; the event log gets everything.

    Raises:
        RunFailed: The run did not succeed.
    """
    tags = {_RANGE_START: first, _RANGE_END: last or first}
    return run_job(instance, f"{asset}_job", tags=tags, log_level=log_level)


def tier(instance: dg.DagsterInstance, dataset: str, *, log_level: str = "WARNING") -> dg.DagsterRun:
    """Run a dataset's tiering job once.

    Raises:
        RunFailed: The run did not succeed.
    """
    return run_job(instance, f"{dataset}_tiering", log_level=log_level)


def tick_retention(instance: dg.DagsterInstance, dataset: str, *, log_level: str = "WARNING") -> Tick:
    """Evaluate a dataset's retention sensor once, and execute the runs that it requests.

    Raises:
        RunFailed: One of the runs did not succeed.
    """
    name = f"{dataset}_retention"
    sensor = defs.resolve_sensor_def(name)
    with dg.build_sensor_context(
        instance=instance, definitions=defs, sensor_name=name, resources={"lake": lake}
    ) as context:
        evaluation = sensor.evaluate_tick(context)
    for event in evaluation.asset_events:
        instance.report_runless_asset_event(event)
    requests = evaluation.run_requests or []
    runs = []
    for request in requests:
        tags = {**request.tags, _RUN_KEY: request.run_key or "", _SENSOR: name}
        used = dg.RunsFilter(tags={_RUN_KEY: tags[_RUN_KEY], _SENSOR: name})
        if not instance.get_runs(filters=used, limit=1):
            job = f"{dataset}_expiry"
            runs.append(run_job(instance, job, request.run_config, tags=tags, log_level=log_level))
    return Tick(tuple(runs), len(requests), evaluation.skip_message or "")


def undo(instance: dg.DagsterInstance, dataset: str, key: str, *, log_level: str = "WARNING") -> dg.DagsterRun:
    """Bring an expired partition back by the undo job.

    Raises:
        RunFailed: The run did not succeed: the partition never expired, or its grace is over.
    """
    job = f"{dataset}_undo_expiry"
    return run_job(instance, job, run_config(job, {"partition": key}), log_level=log_level)


def run_job(
    instance: dg.DagsterInstance,
    job: str,
    config: Mapping[str, Any] | None = None,
    *,
    tags: Mapping[str, str] | None = None,
    log_level: str = "WARNING",
) -> dg.DagsterRun:
    """Run a job of the project, within its code location.

    Args:
        instance: The Dagster instance.
        job: Its name.
        config: The run's configuration.
        tags: The run's.
        log_level: The level from which on the run's log goes to stderr; the event log gets everything.

    Raises:
        RunFailed: The run did not succeed.
    """
    location = ReconstructableRepository.for_module(_MODULE, "defs")
    logged = {"loggers": {"console": {"config": {"log_level": log_level}}}}
    in_process = {"execution": {"config": {"in_process": _WITHOUT_RETRIES}}}
    with dg.execute_job(
        location.get_reconstructable_job(job),
        instance,
        run_config={**(config or {}), **logged, **({} if os.environ.get(configured.VARIABLE) else in_process)},
        tags=dict(tags or {}),
    ) as result:
        if not result.success:
            raise RunFailed(_why(result))
        return result.dagster_run


def available(instance: dg.DagsterInstance, dataset: str) -> tuple[str, ...]:
    """The partitions that Dagster shows as available, in order."""
    asset = DATASETS[dataset].lake_asset()
    keys = asset.partitions_def.get_partition_keys()
    statuses = instance.get_status_by_partition(asset.asset_key, keys, asset.partitions_def) or {}
    return tuple(key for key in keys if statuses.get(key) is dg.AssetPartitionStatus.MATERIALIZED)


def ui_command(port: int) -> list[str]:
    """The command that serves the UI and the daemon; DAGSTER_HOME and TIERLAKE_* must be in its environment."""
    serve = ["dev", "-m", _MODULE, "-h", "127.0.0.1", "-p", str(port)]
    return [sys.executable, "-m", "dagster", *serve]


def _why(result: dg.JobExecutionResult) -> str:
    failures = [
        f"{event.step_key}: {event.step_failure_data.error_display_string.strip()}"
        for event in result.all_events
        if event.is_step_failure
    ]
    return f"run {result.run_id} failed\n" + "\n".join(failures)
