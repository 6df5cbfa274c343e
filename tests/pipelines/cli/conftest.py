import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tierlake.pipelines.cli import main

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

    def run(*arguments, env=None):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TIERLAKE_"))}
        done = subprocess.run(
            [TIERLAKE, *map(str, arguments)],
            env={**inherited, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), **(env or {})},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def tierlake_here(tmp_path, monkeypatch):
    """The same in this process, where many commands follow each other; `answer` is what a person types when asked."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, env=None, answer=None):
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            stdin = io.StringIO("" if answer is None else f"{answer}\n")
            stdin.isatty = lambda: answer is not None
            patch.setattr("sys.stdin", stdin)
            patch.setattr("sys.excepthook", sys.excepthook)
            with pytest.raises(SystemExit) as ended:
                main([str(each) for each in arguments])
        return Answer(ended.value.code or 0, out.getvalue(), err.getvalue())

    return run
