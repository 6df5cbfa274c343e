"""Projects of somebody who begins: made by `create-dagster` and `dagster project scaffold`, and used by `dg`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

_OTHERS: Final = ("AWS_", "TIERLAKE_")
_BIN: Final = Path(sys.executable).parent
_HOME: Final = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1}  # a session waits for each of its runs
"""


def environ(home: Path, *sources: Path) -> dict[str, str]:
    """An environment that names no store; Dagster's home is the test's own, without telemetry and calls home."""
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(_HOME)
    configuration = home / "dg.toml"
    configuration.write_text("[cli.telemetry]\nenabled = false\n")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)},
        "PYTHONPATH": os.pathsep.join(map(str, [*sources, ROOT / "src", ROOT])),
        "PATH": os.pathsep.join([str(_BIN), os.environ["PATH"]]),
        "DAGSTER_HOME": str(home),
        "DG_CLI_CONFIG": str(configuration),
        "COLUMNS": "200",
    }


def run(folder: Path, environment: Mapping[str, str], *command: str, fails: bool = False) -> str:
    """Run a program of this environment, as it is typed; returns all that it says."""
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    text = done.stdout + done.stderr
    assert bool(done.returncode) == fails, text
    return text


def new_project(folder: Path, environment: Mapping[str, str]) -> Path:
    """What `create-dagster project` makes, without an environment of its own: it would be downloaded."""
    run(folder.parent, environment, "create-dagster", "project", folder.name, "--no-uv-sync")
    return folder


def program(name: str) -> Path:
    """A program of this environment."""
    return _BIN / name
