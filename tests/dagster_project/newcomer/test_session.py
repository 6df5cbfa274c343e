"""Somebody's first hour with the component: every layout of a project, and a session in a browser."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import dagster as dg
import pytest

from tests.dagster_project import browser
from tests.dagster_project.newcomer import projects
from tests.polling import until
from tierlake.connector.local_server.folder import running_server
from tierlake.connector.local_server.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECONDS = 240  # for each run, on a busy machine
SOONER = {"after: 30d": "after: 7d", "after: 90d": "after: 21d", "expire_after: 365d": "expire_after: 75d"}
UNDO = """\
ops:
  {job}_op:
    config:
      partitions: ["{key}"]
"""
ONE_PROCESS = """\
import dagster as dg

defs = dg.Definitions(executor=dg.in_process_executor)
"""
"""A run takes a third of the time: its steps need no process each, which loads the project anew."""


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the browser's pictures go: where `--screenshots` says, else they are thrown away."""
    if browser.CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    return Path(request.config.getoption("--screenshots") or tmp_path / "pictures")


@contextmanager
def dg_dev(project: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """`dg dev` as somebody types it: the UI, the daemon and the code's server, until Ctrl-C."""
    (port,) = free_ports(1)
    command = [projects.program("dg"), "dev", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (project / "dev.log").open("w") as log,
        subprocess.Popen(
            command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            until(lambda: process.poll() is not None or _answers(f"http://127.0.0.1:{port}/server_info"), SECONDS)
            assert process.poll() is None, (project / "dev.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own
            return True
    except OSError:
        return False


def finished(instance: dg.DagsterInstance, job: str) -> dg.DagsterRun:
    """The one run of a job, once it has come to its end."""
    only = dg.RunsFilter(job_name=job)
    until(lambda: any(run.is_finished for run in instance.get_runs(filters=only)), SECONDS)
    (run,) = instance.get_runs(filters=only)
    assert run.is_success
    return run


def weather_lake(project: Path, environment: Mapping[str, str]) -> Path:
    """A new project with one scaffolded component, whose policies act on days that the UI offers by itself."""
    projects.new_project(project, environment)
    projects.run(project, environment, "dg", "scaffold", "defs", "tierlake.LakeDataset", "readings")
    component = project / "src/weather_lake/defs/readings/defs.yaml"
    text = component.read_text()
    for default, sooner in SOONER.items():
        assert default in text
        text = text.replace(default, sooner)
    component.write_text(text)
    (project / "src/weather_lake/defs/executor.py").write_text(ONE_PROCESS)
    return project


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_first_hour_in_the_browser(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the beginning of docs/dagster.md tells and shows; `--screenshots docs/images` takes its pictures anew."""
    environment = projects.environ(tmp_path / "home", tmp_path / "weather_lake" / "src")
    project = weather_lake(tmp_path / "weather_lake", environment)
    today = datetime.now(UTC).date()
    first, last = (str(today - timedelta(days=age)) for age in (80, 71))

    monkeypatch.setenv("DAGSTER_HOME", environment["DAGSTER_HOME"])
    with dg.DagsterInstance.get() as instance, dg_dev(project, environment) as base:
        location = f"{base}/locations/weather_lake"
        with browser.window(pictures) as window:
            window.open(f"{base}/assets/readings?view=overview", "Temperatures that two stations measure")
            assert running_server(project / ".lake") is None
            window.open(f"{base}/assets/readings?view=partitions")
            window.click("Materialize…")
            window.fill_in(f"[{first}...{last}]")
            window.sees("Backfills all partitions in a single run.")
            window.picture("materialize")
            window.click("Launch backfill")
            window.sees("Created backfill")
            finished(instance, "__ASSET_JOB")
            window.open(f"{base}/assets/readings?view=partitions&partition={first}", "Materialized (10)", "STANDARD")
            window.picture("materialized")
            server = running_server(project / ".lake")
            assert server is not None

            window.open(f"{base}/assets/readings?view=overview", "moves partitions to the tiers of their age")
            window.follow("readings_tiering")
            window.launch()
            tiering = finished(instance, "readings_tiering")
            window.open(f"{base}/runs/{tiering.run_id}?logs=moved", "5 partitions moved")
            window.picture("tiered")

            window.open(f"{location}/sensors/readings_retention", "Off until somebody switches it on")
            window.switch_on("Running")
            expiry = finished(instance, "readings_expiry")
            assert expiry.tags["dagster/sensor_name"] == "readings_retention"
            window.sees("Next tick", "1 run requested", expiry.run_id[:8])
            window.picture("expired")
            window.open(f"{base}/assets/readings?view=partitions&partition={first}", "Materialized (5)", "No metadata")

            undo = UNDO.format(job="readings_undo_expiry", key=first)
            window.open(
                f"{location}/jobs/readings_undo_expiry/playground/setup?config={quote(undo)}", "All defaults expanded"
            )
            window.launch()
            finished(instance, "readings_undo_expiry")
            window.open(
                f"{base}/assets/readings?view=partitions&partition={first}",
                "Materialized (6)",
                "dagster/partition_row_count",
            )
            window.picture("undone", scroll_to="undone_by")
            for path in ("locations", "assets/readings"):
                window.open(f"{base}/{path}")
                assert server.secret not in window.page.content()
