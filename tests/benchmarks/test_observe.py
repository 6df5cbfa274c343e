"""The cost of being observed is measured against code that is observed, and against code that cannot be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from benchmarks.child import environ
from benchmarks.harness import Measurement, Plan, Process
from benchmarks.interpreters import Interpreters
from benchmarks.works import WORKS, observe
from tests import ROOT
from tests.polling import until

# The events of one read, with the seam and without it.
EVENTS = """
import json, sys
from benchmarks import clients
from benchmarks.model import Place
from benchmarks.works import files, observe

place = Place(**json.loads(sys.stdin.readline()))
start = observe.without_the_seam(files.tierlake) if sys.argv[1] == "removed" else files.tierlake
act = start(place)

from tierlake.connector.observe import hooks

class Counted:
    name, events = "counted", []
    def take(self, event): self.events.append(str(event))
    def flush(self, seconds): pass
    def close(self): pass

hooks.add(Counted())
print(json.dumps({"rows": act("any").num_rows, "events": Counted.events}))
"""


def events(stage, what: str) -> dict[str, Any]:
    command = [sys.executable, "-c", EVENTS, what]
    start = json.dumps(stage.place.values())
    done = subprocess.run(command, input=start, env=environ(), cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_without_the_seam_nothing_can_be_observed(stages):
    stage = stages("observe-files")
    seen, unseen = events(stage, "there"), events(stage, "removed")
    assert seen["rows"] == unseen["rows"] > 0
    assert len(seen["events"]) > stage.place.facts["files"]
    assert unseen["events"] == []


@pytest.mark.slow
def test_what_is_observed_is_observed(stages):
    stage = stages("observe-files")
    gets = stage.place.facts["files"]
    with Process(Path(sys.executable), stage.work, stage.work.contender(observe.ALL), stage.place) as process:
        process.run("any")

        def told() -> int:
            lines = [json.loads(line) for line in process.errors().splitlines(keepends=True) if line.endswith("\n")]
            return sum(line.get("operation") == "get_object" for line in lines)

        until(lambda: told() >= gets, 30)  # a thread of its own writes them
        host = process.variables["TIERLAKE_METRICS"].removeprefix("prometheus:")
        metrics = urlopen(f"http://{host}/metrics", timeout=10).read().decode()
        assert Path(process.variables["TIERLAKE_TRACES"].removeprefix("file:")).parent.is_dir()
    counts = re.findall(r'tierlake_request_count_total{[^}]*operation="get_object"[^}]*} ([0-9.]+)', metrics)
    assert sum(map(float, counts)) >= gets


@pytest.mark.slow
@pytest.mark.parametrize("name", ["observe-columns", "observe-files"])
def test_all_read_the_same_by_the_same_requests(stages, small, name):
    stage = stages(name)
    plan = Plan(small, Interpreters(), 0, tell=lambda _: None, baseline=ROOT)
    result = Measurement(WORKS[name], plan, stage.place).result()
    assert set(result.contenders) == {observe.OFF, observe.LOGS, observe.ALL, observe.REMOVED, observe.BASELINE}
    assert {one.requests["GET"] for one in result.contenders.values()} == {
        result.contenders[observe.OFF].requests["GET"]
    }
