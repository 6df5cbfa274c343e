import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TIERLAKE = Path(sys.executable).with_name("tierlake")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture
def tierlake(tmp_path):
    """Runs the program as a shell does, without a terminal and without the developer's own settings."""

    def run(*arguments, env=None, stdin=""):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TIERLAKE_"))}
        done = subprocess.run(
            [TIERLAKE, *map(str, arguments)],
            env={**inherited, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), **(env or {})},
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run
