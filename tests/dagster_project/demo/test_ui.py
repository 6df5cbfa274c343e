"""The demo's whole year by the real command line, and the real UI in a real browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import dagster as dg
import pytest

from tests.dagster_project import browser, status
from tests.dagster_project.lake_assets import FLIGHTS
from tests.polling import until
from tierlake.connector.local_server.processes import free_ports
from tierlake.dagster_project.demo import headless, source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = "tierlake.dagster_project.demo.definitions"
DUE = 65  # days before 2013-03-07
QUARTER = {
    "flights": ("2013-01-01", "2013-03-31"),
    "weather": ("2013-01", "2013-03"),
    "departures": ("2013-01-01", "2013-03-31"),
    "monthly_summary": ("2013-01", "2013-03"),
    "monthly_report": ("2013-01", "2013-03"),
}
UNDO = """\
ops:
  flights_undo_expiry_op:
    config:
      partition: '2013-03-06'
"""


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a browser's pictures go: where `--screenshots` says, else they are thrown away."""
    if browser.CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    return request.config.getoption("--screenshots") or tmp_path / "screenshots"


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


DAEMON_SECONDS = 400


def finished(instance: dg.DagsterInstance, job: str) -> dg.DagsterRun:
    """The one run of a job, once it has come to its end."""
    only = dg.RunsFilter(job_name=job)
    until(lambda: any(run.is_finished for run in instance.get_runs(filters=only)), DAEMON_SECONDS)
    (run,) = instance.get_runs(filters=only)
    assert run.is_success
    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", ["seaweedfs", pytest.param("minio", marks=pytest.mark.soak)], indirect=True)
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
    flown = source.flights(year[0].start, year[1].end)
    table = flights.read()
    assert table.num_rows == flown.num_rows == 336_776
    for column in ("dep_delay", "arr_delay", "distance", "flight"):
        assert table[column].to_pandas().sum() == flown[column].to_pandas().sum()

    status.as_if_made(instance, "departures", FLIGHTS.partitions_def.get_partition_keys()[:DUE])
    headless.tick_retention(instance, "flights")
    available = status.available(instance, "flights", FLIGHTS.partitions_def)
    assert len(available) == 365 - DUE
    assert min(available) == "2013-03-07"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_a_session_in_the_browser(instance, lake, server, pictures, tmp_path) -> None:
    """What docs/dagster.md tells and shows; `--screenshots docs/screenshots` takes its pictures anew."""
    for asset, keys in QUARTER.items():
        headless.materialize(instance, asset, *keys)
    with ui(tmp_path) as base, browser.window(pictures) as window:
        graph = f"{base}/locations/{PROJECT}/asset-groups/nyc"
        window.open(graph, *QUARTER)
        window.click("Hide navigation")
        window.open(graph, *QUARTER, "24% filled", "25% filled")
        window.picture("graph")

        window.open(
            f"{base}/assets/departures?view=partitions&partition=2013-03-08",
            "Materialized (90)",
            "without_weather",
            "lake://",
            "sse-s3",
        )
        window.picture("partition", scroll_to="rows_in")
        window.open(f"{base}/assets/monthly_report?view=partitions&partition=2013-03")
        window.click("[Show Markdown]")
        assert window.shows_an_image()
        window.picture("report")

        window.open(f"{base}/assets/flights?view=partitions")
        window.click("Materialize…")
        window.fill_in("[2013-04-01...2013-04-10]")
        window.sees("10 partitions", "Backfills all partitions in a single run.")
        window.click("Launch backfill")
        window.sees("Created backfill")
        (backfill,) = instance.get_backfills()
        until(lambda: instance.get_backfill(backfill.backfill_id).status.value == "COMPLETED_SUCCESS", DAEMON_SECONDS)
        window.open(f"{base}/runs/b/{backfill.backfill_id}", "100% completed")
        window.picture("backfill")
        window.open(f"{base}/assets/flights?view=partitions", "Materialized (100)", "Missing (265)")

        window.open(f"{base}/locations/{PROJECT}/sensors/flights_retention")
        window.switch_on("Running")
        expiry = finished(instance, "flights_expiry")
        assert expiry.tags["dagster/sensor_name"] == "flights_retention"
        window.sees("1 run requested", expiry.run_id[:8])
        window.picture("tick")
        window.open(f"{base}/runs/{expiry.run_id}", "flights_expiry_op", "tombstone")

        window.open(
            f"{base}/assets/flights?view=partitions&partition=2013-03-06",
            "Materialized (35)",
            "Missing (330)",
            "No metadata entries",
        )
        window.picture("expired")
        window.open(f"{base}/assets/flights?view=events", "the table as it is now", "dagster/row_count")
        window.click("2013-03-06")
        window.sees("no longer available", "300 d old, kept for 300 d")
        window.picture("audit")

        window.open(
            f"{base}/locations/{PROJECT}/jobs/flights_undo_expiry/playground/setup?config={quote(UNDO)}",
            "flights_undo_expiry_op",
            "All defaults expanded",
        )
        window.picture("undo")
        window.launch()
        finished(instance, "flights_undo_expiry")
        window.open(
            f"{base}/assets/flights?view=partitions&partition=2013-03-06",
            "Materialized (36)",
            "Missing (329)",
            "dagster/partition_row_count",
        )
        window.picture("undone")

        for path in ("locations", f"runs/{expiry.run_id}", "assets/flights"):
            window.open(f"{base}/{path}")
            assert server.secret not in window.page.content()


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
