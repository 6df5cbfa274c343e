"""A child process that is told what to do by lines of JSON, and replies by them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Self

from benchmarks.relay import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHOWN_LINES = 5
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class ContenderError(Exception):
    """A contender that failed, or answered wrongly."""


class Child:
    """A process that runs a module of ours; use it as a context manager.

    Args:
        python: The interpreter.
        module: What it runs: it reads the start, says that it has started, and then replies to each line.
        start: What it has to know.
        variables: Of its environment, beside those that all have. `{folder}` stands for a folder of its own, `{port}`
            for a free port, `{root}` for this code, and `{baseline}` for the next argument.
        baseline: Where other code is.

    Attributes:
        variables: As the process has them.
    """

    def __init__(
        self,
        python: Path,
        module: str,
        start: Mapping[str, Any],
        variables: Mapping[str, str] = NO_VARIABLES,
        baseline: Path | None = None,
    ) -> None:
        self._command = [str(python), "-m", module]
        self._start = start
        self._variables, self._baseline = variables, baseline

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="tierlake-child-")  # both end in __exit__
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        known = {"folder": self._folder.name, "port": _free_port(), "root": ROOT, "baseline": self._baseline}
        self.variables = {name: value.format_map(known) for name, value in self._variables.items()}
        self._child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environ() | self.variables,
        )
        try:
            self.ask(json.dumps(self._start))
        except ContenderError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._folder, self._child, self._errors:
            assert self._child.stdin is not None
            try:
                self._child.stdin.close()
            except BrokenPipeError:
                self._child.kill()

    def errors(self) -> str:
        """What it has written to standard error so far."""
        file = self._errors.fileno()  # whose position is the process's too: reading must not move it
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def kill(self) -> None:
        """End it at once: whoever waits for its reply gets an error."""
        self._child.kill()

    def ask(self, line: str) -> Any:
        """Tell it a line, and wait for its reply.

        Raises:
            ContenderError: It has ended, or was killed.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(f"{line}\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise ContenderError(self._last_words()) from None
        reply = self._child.stdout.readline()
        if not reply:
            raise ContenderError(self._last_words())
        return json.loads(reply)

    def _last_words(self) -> str:
        self._child.wait()
        lines = self.errors().strip().splitlines()
        return "\n".join(lines[-SHOWN_LINES:]) or f"exit code {self._child.returncode}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def environ() -> dict[str, str]:
    """The environment of a contender: no credentials, endpoint, proxy or observer of the user's."""
    users = ("AWS_", "OTEL_", "TIERLAKE_", "TRACEPARENT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(users)}
    return kept | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "DAFT_PROGRESS_BAR": "0",
        "DO_NOT_TRACK": "true",
        "NO_PROXY": "127.0.0.1",
    }


def replies() -> IO[str]:
    """In the child: where its replies go; what libraries print goes to stderr from then on."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lines
