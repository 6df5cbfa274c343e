"""A real daemon, real workers, a terminal: whoever died in between, the UI and the table agree a few ticks later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.dagster_project import lives_defs, status
from tests.dagster_project.lives import World
from tests.dagster_project.lives_defs import ASSETS, DAYS, MONTHS
from tests.dagster_project.test_daemon import DAEMON_SECONDS, START_SENSOR
from tests.polling import until
from tests.servers import Rig

pytestmark = [pytest.mark.soak, pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)]

JANUARY = DAYS[:2]
TIERLAKE = Path(sys.executable).with_name("tierlake")
PAUSED = "tests.dagster_project.lives_paused"
"""For other processes alone: where it is imported, commits pause."""

WORKSPACE = f"load_from: [python_module: {{module_name: {PAUSED}, location_name: tests}}]\n"
TERMINATE = """
mutation($run: String!) { terminateRun(runId: $run) { __typename ... on TerminateRunFailure { message } } }
"""


@contextmanager
def daemon(folder: Path) -> Iterator[None]:
    workspace = folder / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
    with (folder / "daemon.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.kill()


class Script:
    """What a person does at the UI and at a terminal, and what they see."""

    def __init__(self, world: World) -> None:
        self.world, self.instance = world, world.instance

    def run(self, launch: Callable[..., dg.DagsterRun], *args: Any, **options: Any) -> dg.DagsterRun:
        run = launch(*args, **options)
        until(lambda: self.now(run).is_finished, DAEMON_SECONDS)
        return self.now(run)

    def now(self, run: dg.DagsterRun) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run.run_id)
        assert found
        return found

    def start_sensor(self, asset: str) -> None:
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": self.world.location,
            "sensorName": f"{asset}_retention",
        }
        status.ask(self.world.context, START_SENSOR, selector=selector)

    def paused(self) -> tuple[int, dg.DagsterRun]:
        """The worker that waits at the switch, and its run."""
        until(lives_defs.switch("pid").exists, DAEMON_SECONDS)
        process = int(lives_defs.switch("pid").read_text())
        lives_defs.switch("pid").unlink()
        (run,) = self.instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        return process, run

    def agree(self, asset: str, keys: set[str]) -> None:
        """The table has these, and soon all that Dagster shows are these."""
        definition = ASSETS[asset].partitions_def
        assert self.world.table(asset).keys() == keys

        def seen() -> bool:
            shown = status.in_graphql(self.world.context, asset, definition)
            events = set(map(str, self.instance.get_materialized_partitions(dg.AssetKey(asset))))
            return shown == events == keys

        until(seen, DAEMON_SECONDS)
        assert self.world.table(asset).keys() == keys


@pytest.fixture
def script(
    instance: dg.DagsterInstance,
    server: Rig,
    make_bucket: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Script]:
    warehouse = f"lake://{make_bucket(versioned=True)}/wh"
    source = tmp_path / "source.json"
    said = {
        **server.environ(),
        "TIERLAKE_WAREHOUSE": warehouse,
        "TIERLAKE_TODAY": "2013-03-03",
        lives_defs.SOURCE: str(source),
        lives_defs.PAUSE: str(tmp_path / "pause"),
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with status.workspace(instance, PAUSED) as context, daemon(tmp_path):
        yield Script(World(context, server, warehouse, source, "tests"))


def test_whoever_died_in_between(script: Script) -> None:
    world, pause = script.world, lives_defs.switch
    # a run fails at its second step; the source is mended, and all of the run is executed again
    world.rows, world.failing = {day: world.new_ids(3) for day in JANUARY}, {"plain"}
    world.write_source()
    failed = script.run(world.launch, "daily", JANUARY)
    assert failed.status is dg.DagsterRunStatus.FAILURE
    world.rows, world.failing = {day: world.new_ids(2) for day in JANUARY}, set()
    world.write_source()
    assert script.run(world.again, failed, "ALL_STEPS").is_success
    assert world.table("days") == world.table("plain") == world.rows
    assert script.run(world.launch, "monthly", MONTHS[:1]).is_success

    # a worker is killed after its expiry's commit, before it could say so anywhere
    pause("committed").touch()
    script.start_sensor("days")
    process, _ = script.paused()
    os.kill(process, signal.SIGKILL)
    pause("committed").unlink()
    script.agree("days", set())
    assert [entry.keys for entry in world.dataset("days").history() if entry.operation == "expire"] == [
        tuple(f"date={day}" for day in JANUARY)
    ]

    # a person terminates an expiry; it is asked for again
    pause("commit").touch()
    script.start_sensor("plain")
    _, run = script.paused()
    answer = status.ask(world.context, TERMINATE, run=run.run_id)["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    until(lambda: script.now(run).is_finished, DAEMON_SECONDS)
    assert script.now(run).status is dg.DagsterRunStatus.CANCELED
    assert world.table("plain").keys() == set(JANUARY)
    pause("commit").unlink()
    until(lambda: not world.table("plain"), DAEMON_SECONDS)
    script.agree("plain", set())

    # somebody brings a day back at a terminal
    undo = [TIERLAKE, "undo", world.lake.uri("days"), f"date={JANUARY[0]}"]
    subprocess.run(undo, check=True, capture_output=True)
    script.agree("days", {JANUARY[0]})
    assert world.table("days") == {JANUARY[0]: world.rows[JANUARY[0]]}
