"""The demo's whole year by the real command line, and the real UI in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from connector.subprocesses import free_ports
from dagster_project import headless, nyc
from dagster_project.datasets import FLIGHTS
from tests.dagster_project import status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = "dagster_project.definitions"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HEADLESS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=30000",  # pages fetch what they show: this much of the page's own time
)
START_SENSOR = """
mutation($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { __typename ... on PythonError { message } }
}
"""
DUE = 65  # days before 2013-03-07


@contextmanager
def ui(tmp_path: Path) -> Iterator[str]:
    """The UI and the daemon on the instance that DAGSTER_HOME names."""
    (port,) = free_ports(1)
    command = headless.ui_command(port)
    with (tmp_path / "ui.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/server_info", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, "the webserver ended"
        assert time.monotonic() < deadline, "the webserver does not answer"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.2)


def page(url: str, tmp_path: Path) -> str:
    """The text of a page once it has fetched what it shows."""
    assert CHROMIUM
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", done.stdout, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def shown(base: str, tmp_path: Path, count: int) -> str:
    """The asset's page with all partitions, when it counts `count` as materialized; else as it is at the deadline."""
    text = ""
    deadline = time.monotonic() + 60
    while f"Materialized ({count})" not in text and time.monotonic() < deadline:
        text = page(f"{base}/assets/flights?view=partitions", tmp_path)
    return text


def expired_by_the_daemon(base: str, instance: dg.DagsterInstance) -> dg.DagsterRun:
    """Turn the retention sensor on, as a person does in the UI, and wait for the run that its tick asks for."""
    sensor = {"repositoryLocationName": PROJECT, "repositoryName": "__repository__", "sensorName": "flights_retention"}
    asked = json.dumps({"query": START_SENSOR, "variables": {"sensor": sensor}}).encode()
    request = urllib.request.Request(f"{base}/graphql", asked, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
        assert json.load(answer)["data"]["startSensor"]["__typename"] == "Sensor"
    deadline = time.monotonic() + 400
    only = dg.RunsFilter(job_name="expiry")
    while not (runs := instance.get_runs(filters=only)) or not runs[0].is_finished:
        assert time.monotonic() < deadline, "the sensor's run has not come to an end"
        time.sleep(0.5)
    (run,) = runs
    assert run.is_success
    assert run.tags["dagster/sensor_name"] == "flights_retention"
    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_year_is_one_command_one_run_and_one_commit(instance, lake) -> None:
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", PROJECT]
    command += ["--select", "flights", "--partition-range", "2013-01-01...2013-12-31"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    assert instance.get_runs_count() == 1
    flights = lake.dataset("flights")
    assert [entry.operation for entry in flights.history()].count("ingest") == 1
    assert len(status.available(instance, "flights", FLIGHTS.partitions_def)) == 365
    year = [FLIGHTS.partitions_def.time_window_for_partition_key(day) for day in ("2013-01-01", "2013-12-31")]
    source = nyc.flights(year[0].start, year[1].end)
    table = flights.read()
    assert table.num_rows == source.num_rows == 336_776
    for column in ("dep_delay", "arr_delay", "distance", "flight"):
        assert table[column].to_pandas().sum() == source[column].to_pandas().sum()

    status.as_if_made(instance, "departures", FLIGHTS.partitions_def.get_partition_keys()[:DUE])
    headless.tick_retention(instance, "flights")
    available = status.available(instance, "flights", FLIGHTS.partitions_def)
    assert len(available) == 365 - DUE
    assert min(available) == "2013-03-07"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_the_ui_shows_what_is_true(instance, lake, server, tmp_path) -> None:
    headless.materialize(instance, "flights", "2013-03-01", "2013-03-31")
    status.as_if_made(instance, "departures", sorted(f"2013-03-{day:02}" for day in range(1, 32)))
    with ui(tmp_path) as base:
        assert "Materialized (31)" in shown(base, tmp_path, 31)
        run = expired_by_the_daemon(base, instance)
        text = shown(base, tmp_path, 25)
        assert "Materialized (25)" in text
        assert "Missing (340)" in text
        headless.undo(instance, "flights", "2013-03-01")
        assert "Materialized (26)" in shown(base, tmp_path, 26)
        told = page(f"{base}/runs/{run.run_id}", tmp_path)
        assert "expire_partitions" in told
        assert "tombstone" in told
        for path in ("locations", f"runs/{run.run_id}", "assets/flights"):
            assert server.secret not in page(f"{base}/{path}", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_what_the_ui_asks_for_is_true_after_each_step(instance: dg.DagsterInstance, lake) -> None:
    days = {f"2013-03-{day:02}" for day in range(1, 32)}
    due = {f"2013-03-{day:02}" for day in range(1, 7)}
    with status.workspace(instance, PROJECT, "defs") as context:

        def asked() -> set[str]:
            return status.in_graphql(context, "flights", FLIGHTS.partitions_def)

        headless.materialize(instance, "flights", min(days), max(days))
        status.as_if_made(instance, "departures", sorted(days))
        assert asked() == days
        headless.tick_retention(instance, "flights")
        assert asked() == days - due
        headless.undo(instance, "flights", "2013-03-02")
        assert asked() == (days - due) | {"2013-03-02"}
        headless.materialize(instance, "flights", "2013-03-05", "2013-03-06")
        assert asked() == (days - due) | {"2013-03-02", "2013-03-05", "2013-03-06"}
