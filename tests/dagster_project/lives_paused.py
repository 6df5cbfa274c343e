"""The code location of `lives_defs`, for a real daemon: its ticks are close together, and its commits can be paused.

Where the file `<LIVES_PAUSE>.commit` or `<LIVES_PAUSE>.committed` exists, a run stops right before or right after its
commit, writes its process id to `<LIVES_PAUSE>.pid`, and goes on when the first file is gone.
"""

import os
import time
from typing import Any

import pytest

from tests.dagster_project.lives_defs import defs, switch
from tierlake.pipelines.tables.delta import LakeDeltaTable
from tierlake.pipelines.tables.plain import PlainParquetTable

__all__ = ["defs"]


def _pause(point: str) -> None:
    if switch(point).exists():
        half = switch("half")
        half.write_text(str(os.getpid()))
        half.rename(switch("pid"))
    while switch(point).exists():
        time.sleep(0.05)


def _pausing(commit: Any) -> Any:
    def around(self: Any, change: Any) -> Any:
        _pause("commit")
        made = commit(self, change)
        _pause("committed")
        return made

    return around


_patch = pytest.MonkeyPatch()
for _kind in (LakeDeltaTable, PlainParquetTable):
    _patch.setattr(_kind, "commit", _pausing(_kind.commit))
for _sensor in defs.sensors or ():
    _patch.setattr(_sensor, "_min_interval", 1)
