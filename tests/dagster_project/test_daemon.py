"""The daemon, killed and started again in the middle of a backfill and of an expiry, ends where it should."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from tests.dagster_project import daemon_defs, status
from tests.polling import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.dagster_project.resources.lake import LakeResource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("server", ["seaweedfs"], indirect=True),
    # Dagster 1.13 calls its own deprecated function to launch a backfill
    pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning"),
]

BACKFILL = """
mutation($days: [String!]!) {
  launchPartitionBackfill(backfillParams: {assetSelection: [{path: ["lived"]}], partitionNames: $days}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
START_SENSOR = """
mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename } }
"""


DAEMON_SECONDS = 400
WORKSPACE = """
load_from:
- python_file: {{relative_path: {file}, attribute: defs, location_name: tests}}
"""


@contextmanager
def daemon(workspace: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon of our own; what is left of it is killed."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
    with log.open("ab") as told, subprocess.Popen(command, stdout=told, stderr=told) as process:
        try:
            yield process
        finally:
            process.kill()


def test_killed_and_started_again(instance: dg.DagsterInstance, lake: LakeResource, tmp_path: Path) -> None:
    log, served = tmp_path / "daemon.log", tmp_path / "workspace.yaml"
    served.write_text(WORKSPACE.format(file=daemon_defs.__file__))
    lived, days = daemon_defs.LIVED, set(daemon_defs.DAYS)

    def available() -> set[str]:
        found = status.available(instance, "lived", lived.partitions_def)
        assert found == {lived.keys.to_dagster(key) for key in lived.dataset_in(lake).windows()}
        return found

    def backfilled() -> bool:
        return instance.get_backfill(asked["backfillId"]).status is BulkActionStatus.COMPLETED_SUCCESS

    def expiring() -> bool:
        return any(began(run) for run in instance.get_runs() if run.job_name == daemon_defs.job.name)

    def began(run: dg.DagsterRun) -> bool:
        assert run.status is not dg.DagsterRunStatus.FAILURE
        return run.status in {dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS}

    with status.workspace(instance, Path(daemon_defs.__file__), "defs") as context:
        asked = status.ask(context, BACKFILL, days=list(daemon_defs.DAYS))["launchPartitionBackfill"]
        assert asked["__typename"] == "LaunchBackfillSuccess", asked
        with daemon(served, log) as first:
            until(lambda: instance.get_runs_count() > 0, DAEMON_SECONDS)
            first.kill()
        assert instance.get_backfill(asked["backfillId"]).status is BulkActionStatus.REQUESTED
        with daemon(served, log) as second:
            until(backfilled, DAEMON_SECONDS)
            assert available() == days
            assert lived.dataset_in(lake).read().num_rows == 3 * len(days)
            ran = instance.get_runs_count()

            (location,) = context.create_request_context().code_locations
            (repository,) = location.get_repositories()
            selector = {
                "repositoryName": repository,
                "repositoryLocationName": location.name,
                "sensorName": "lived_retention",
            }
            status.ask(context, START_SENSOR, selector=selector)
            until(expiring, DAEMON_SECONDS)
            second.kill()
        with daemon(served, log):
            until(lambda: all(began(run) and run.is_success for run in instance.get_runs()), DAEMON_SECONDS)
            assert available() == set()
    assert instance.get_runs_count() == ran + 1
