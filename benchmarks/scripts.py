"""The benchmarks that have no peers or need Dagster: scripts of their own, whose output is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.child import environ

FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """What there is, without `bench_`."""
    return sorted(file.stem.removeprefix("bench_") for file in FOLDER.glob("bench_*.py"))


def output(name: str) -> str:
    """Run one, and return what it printed.

    Raises:
        subprocess.CalledProcessError: It failed, as those do that hold a bound.
    """
    command = [sys.executable, str(FOLDER / f"bench_{name}.py")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ()).stdout
