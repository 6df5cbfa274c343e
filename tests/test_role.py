"""The rights that `iam-policy --role operator` prints are enough for the test suite itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Every way to write, every way to move, and the life of a dataset; `make test-role` runs all there is (ten minutes).
MODULES = (
    "connector/objects/test_multipart.py",
    "connector/objects/test_metadata.py",
    "connector/objects/test_transition.py",
    "pipelines/cli/test_life.py",
    "pipelines/lifecycle/test_legal_hold.py",
)


@pytest.mark.slow
@pytest.mark.timeout(1500)  # its tests have theirs
def test_an_operators_rights_are_enough_for_the_suite():
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--role",
            "operator",
            "-q",
            "-m",
            "not slow and not soak",
            *(HERE / one for one in MODULES),
        ],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
