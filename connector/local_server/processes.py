"""A server as a child process: free ports, a start that waits, a stop that leaves nothing behind.

This module knows nothing of S3: `connector.local_server.servers` has the commands and the check whether S3 answers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tierlake.connector.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Child", "PortInUse", "ServerEnded", "ServerStartFailed", "check_port_is_free", "free_ports"]

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65535
START_DEADLINE_SECONDS = 60.0
STOP_DEADLINE_SECONDS = 10.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 15

# Reads one line from its parent. A line says that the server was stopped. End of file says that the parent has ended,
# even by kill -9: then the watchdog ends the server too. If the server ended before, its number may by now be another
# process's: the start time in /proc tells.
WATCHDOG = """
born() { cut -d " " -f 22 "/proc/$1/stat" 2>/dev/null; }
started=$(born "$1")
read -r _ || [ "$(born "$1")" != "$started" ] || kill -TERM "$1"
"""


class ServerStartFailed(LakeError, RuntimeError):
    """A server did not start; the message ends with the end of its log."""

    code = "server_start_failed"


class ServerEnded(ServerStartFailed):
    """The server ended by itself during its start: often another process took one of its ports."""

    code = "server_ended"


class PortInUse(ServerStartFailed):
    """The requested port is taken."""

    code = "port_in_use"


def free_ports(count: int, *, also_plus: int = 0) -> list[int]:
    """Find ports of the loopback interface on which nobody listens.

    They are not reserved: another process may take one before the server does, so starts are tried again.

    Args:
        count: The number of ports.
        also_plus: Only ports `p` for which `p + also_plus` is free too.

    Returns:
        The ports, all different.
    """
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            held = stack.enter_context(socket.socket())
            held.bind((LOOPBACK, 0))
            port = held.getsockname()[1]
            if not also_plus:
                ports.append(port)
            elif port + also_plus <= HIGHEST_PORT:
                twin = stack.enter_context(socket.socket())
                with contextlib.suppress(OSError):
                    twin.bind((LOOPBACK, port + also_plus))
                    ports.append(port)
        return ports


def check_port_is_free(port: int) -> None:
    """Refuse a port of the loopback interface that is taken.

    Raises:
        PortInUse: Another process listens on it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortInUse(
                f"port {port} of {LOOPBACK} is in use", hint="Choose another, or none for a free one"
            ) from error


class Child:
    """A running child process with a log, in a session of its own: a Ctrl-C in the terminal reaches its parent only.

    A watchdog, one more small process, ends the child when the parent dies without stopping it.

    Args:
        command: The command.
        environ: The child's whole environment.
        folder: Its working directory.
        log: The file to which its output is appended.
        keep_open: A file descriptor that the child inherits, such as a lock's: it stays open while the child lives.
    """

    def __init__(
        self, command: Sequence[str], *, environ: Mapping[str, str], folder: Path, log: Path, keep_open: int
    ) -> None:
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a server of ours, its arguments made by us
                command,
                env=dict(environ),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(keep_open,),
            )
        self._watchdog = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", WATCHDOG, "tierlake-watchdog", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, name: str, seconds: float = START_DEADLINE_SECONDS) -> None:
        """Wait until the child answers; stop it if it does not.

        Args:
            ready: Checks once whether it answers.
            name: The child's name in errors.
            seconds: How long to wait.

        Raises:
            ServerEnded: The child ended by itself; the message has the end of its log.
            ServerStartFailed: The child did not answer in time; likewise.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            ended = not self.running
            if ended or time.monotonic() > deadline:
                self.stop()
                error = ServerEnded if ended else ServerStartFailed
                why = (
                    f"ended with exit code {self._process.returncode}" if ended else f"did not answer in {seconds:g} s"
                )
                raise error(f"{name} {why}. The end of {self._log}:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def log_tail(self) -> str:
        """The last lines that the child has logged since its start."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def stop(self) -> None:
        """Ask the child to end, kill it if it does not, and wait. A second stop does nothing."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        with contextlib.suppress(BrokenPipeError, ValueError):  # ValueError: the pipe is closed already
            self._watchdog.communicate(b"stopped\n")

    def _signal(self, number: signal.Signals) -> None:
        # The whole session: a server may have children of its own. Only before the wait for its leader: after it the
        # number could be another process's.
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
