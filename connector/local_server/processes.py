"""A server as a child process: free ports, a start that is waited for, a stop that leaves nothing behind.

It knows nothing of S3: `connector.local_server.servers` says what to run and how to ask whether it answers.
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

# Reads one line from its parent. A line: all is well, the server was stopped. End of file: the parent is gone, however
# it went (kill -9 too), so the server goes as well; unless it went before and its number is somebody else's by now,
# which /proc tells by the time of the start.
WATCHDOG = """
born() { cut -d " " -f 22 "/proc/$1/stat" 2>/dev/null; }
started=$(born "$1")
read -r _ || [ "$(born "$1")" != "$started" ] || kill -TERM "$1"
"""


class ServerStartFailed(LakeError, RuntimeError):
    """A server was started and did not come up; the message ends with what it logged last."""

    code = "server_start_failed"


class ServerEnded(ServerStartFailed):
    """It ended by itself while it was waited for: often another process took one of its ports."""

    code = "server_ended"


class PortInUse(ServerStartFailed):
    """The port that was asked for is taken."""

    code = "port_in_use"


def free_ports(count: int, *, also_plus: int = 0) -> list[int]:
    """Finds ports of the loopback interface that nobody listens on.

    Nothing reserves them: another process may take one before the server does, which is why starts are tried again.

    Args:
        count: How many ports.
        also_plus: Only ports `p` for which `p + also_plus` is free too.

    Returns:
        That many different ports.
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
    """Raises if somebody listens on a port of the loopback interface.

    Raises:
        PortInUse: Somebody does.
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
    """A running child process with a log, in a session of its own: a Ctrl-C in the terminal is its parent's business.

    A watchdog, one more small process, ends the child when the parent dies without stopping it.

    Args:
        command: What to run.
        environ: Its whole environment.
        folder: Its working directory.
        log: The file that its output is appended to.
        keep_open: A file descriptor that the child inherits, such as a lock's: it is held as long as the child lives.
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
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, name: str, seconds: float = START_DEADLINE_SECONDS) -> None:
        """Waits until the child answers; stops it if it does not.

        Args:
            ready: Asks it once.
            name: What to call it in an error.
            seconds: How long to wait.

        Raises:
            ServerEnded: It ended by itself; the message has the end of its log.
            ServerStartFailed: It did not answer in time; likewise.
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
        """The last lines of what it has logged since its start."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def stop(self) -> None:
        """Asks it to end, makes it end if it does not, and waits. Stopping twice is fine."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        with contextlib.suppress(BrokenPipeError, ValueError):  # ValueError: told already
            self._watchdog.communicate(b"stopped\n")

    def _signal(self, number: signal.Signals) -> None:
        # The whole session: a server may have children of its own. Only while the leader has not been waited for,
        # or the number could be somebody else's.
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
