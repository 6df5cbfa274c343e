"""What a worker observes: what its own environment says, and the rest as whoever sent the work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

SENT = """
from tierlake.connector import observe
from tierlake.connector.observe import hooks
from tierlake.pipelines.runtime.handed_on import Carried, HandedOn
work = HandedOn(lambda: [sink.name for sink in hooks.sinks()], None, Carried(None, {}, observe.Observing(**SENT)))
print(*work())
"""


@pytest.mark.parametrize(
    ("sent", "own", "observed"),
    [
        ({"log": "json"}, {}, "log"),
        ({"log": "json"}, {"TIERLAKE_LOG": "off"}, ""),
        ({"log": "json"}, {"TIERLAKE_TRACES": "file:run.json"}, "log trace_file"),
        ({"log": "json", "metrics": "nowhere"}, {}, "log"),
        ({"metrics": "nowhere"}, {"TIERLAKE_METRICS": "prometheus:0"}, "metrics"),
    ],
)
def test_a_worker_observes(sent, own, observed, monkeypatch, tmp_path):
    for name, value in {**own, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}.items():
        monkeypatch.setenv(name, value)
    code = SENT.replace("SENT", repr(sent))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == observed
