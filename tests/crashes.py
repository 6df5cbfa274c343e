"""A worker that dies inside native code says where: its last tracebacks are part of the summary.

pytest's own fault handler writes to the worker's stderr, which is far above the summary, or nowhere.
"""

from __future__ import annotations

import faulthandler
import os
import tempfile
from pathlib import Path

import pytest

_FOLDER = "PYTEST_CRASHES"
_TRACES = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


@pytest.hookimpl(trylast=True)  # after pytest has enabled its own
def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", None)
    if worker is None:
        config.stash[_TRACES] = folder = tempfile.TemporaryDirectory()
        os.environ[_FOLDER] = folder.name
    else:
        trace = Path(os.environ[_FOLDER], worker["workerid"])
        faulthandler.enable(trace.open("w"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for trace in sorted(Path(config.stash[_TRACES].name).iterdir()):
        if text := trace.read_text(errors="replace"):
            terminalreporter.section(f"worker {trace.name} crashed")
            terminalreporter.write_line(text)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _TRACES in config.stash:
        config.stash[_TRACES].cleanup()
