"""One server for many processes that know nothing of each other: the first that needs it starts it.

    server = shared_server(".lake")
    LakeFileSystem(profile=server.profile, endpoint_url=server.endpoint_url, key=server.key, secret=server.secret)

The server runs under a keeper, a process of its own, so that it outlives whoever was first. Each process that uses it
holds a shared lock on a file in the folder, which the kernel releases however the process ends. Once the keeper has
had that lock to itself for a while, nobody is left, and it stops the server. A keeper that dies takes the server with
it (`processes.Child`), and the next use starts another.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import LakeError
from tierlake.connector.local_server.env_file import env_file
from tierlake.connector.local_server.folder import SERVER_FILE, running_server
from tierlake.connector.local_server.processes import LOG_TAIL_LINES, PortInUse, ServerStartFailed
from tierlake.connector.local_server.servers import EmbeddedServer, weed_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tierlake.connector.local_server.folder import LocalServer, RunningServer

__all__ = ["IDLE_SECONDS", "keep", "shared_server"]

IDLE_SECONDS: Final = 60.0
"""How long the server stays after the last process that used it: the next run of a schedule finds it running."""

START_SECONDS: Final = 90.0
LOOK_EVERY_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05
_USERS: Final = ".users"
_START: Final = ".start"
_KEEPER_LOG: Final = "keeper.log"

_used: Final[dict[Path, int]] = {}
"""The descriptor that holds this process's lock on a folder; it is never closed."""
_one_at_a_time: Final = threading.Lock()


def shared_server(data: str | os.PathLike[str], *, idle_seconds: float = IDLE_SECONDS) -> RunningServer:
    """The server of a folder, SeaweedFS where none runs yet; it stays while this process lives.

    A server that somebody started on the folder (`tierlake server --data`) is used as well, and is not kept.

    Args:
        data: The folder for all its data; made if missing, with a `.gitignore` that hides it.
        idle_seconds: How long it stays without a user, if this call starts it.

    Raises:
        ServerMissing: The program is not installed.
        ServerStartFailed: The server did not start; the message ends with its log.
    """
    folder = Path(data).absolute()
    with _one_at_a_time:
        if folder not in _used:
            _made(folder)
            _used[folder] = _lock(folder / _USERS, fcntl.LOCK_SH)
        return running_server(folder) or _started(folder, idle_seconds)


def keep(
    server: LocalServer, *, idle_seconds: float = IDLE_SECONDS, pause: Callable[[float], None] = time.sleep
) -> None:
    """Run a folder's server until nobody has used it for a while.

    Args:
        server: The server, not started yet.
        idle_seconds: How long it stays without a user.
        pause: Waits between two looks.
    """
    with server:
        env_file(server)
        users = os.open(server.data / _USERS, os.O_RDWR | os.O_CREAT, 0o600)
        idle_since: float | None = None
        while True:
            now = time.monotonic()
            if not _locked_at_once(users):
                idle_since = None
            elif idle_since is not None and now - idle_since >= idle_seconds:
                break  # with the lock: who comes now waits until the server has stopped, and starts another
            else:
                idle_since = now if idle_since is None else idle_since
                fcntl.flock(users, fcntl.LOCK_UN)
            pause(LOOK_EVERY_SECONDS)
    os.close(users)


def _made(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", encoding="utf-8")


def _started(folder: Path, idle_seconds: float) -> RunningServer:
    """Start a keeper and wait for its server, unless another process is just doing so."""
    weed_binary()
    with _start_lock(folder), (folder / _KEEPER_LOG).open("w+b") as log:
        if running := running_server(folder):
            return running
        keeper = _keeper(folder, idle_seconds, log.fileno())
        deadline = time.monotonic() + START_SECONDS
        while True:
            is_over = keeper.poll() is not None or time.monotonic() > deadline
            if running := running_server(folder):
                return running
            if is_over:
                log.seek(0)
                tail = "\n".join(log.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
                raise ServerStartFailed(f"the server of {folder} did not start:\n{tail}")
            time.sleep(_POLL_SECONDS)


def _keeper(folder: Path, idle_seconds: float, log: int) -> subprocess.Popen[bytes]:
    """A process that nobody waits for: it outlives this one."""
    return subprocess.Popen(  # noqa: S603 - this module
        [sys.executable, "-m", __name__, str(folder), str(idle_seconds)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


@contextmanager
def _start_lock(folder: Path) -> Iterator[None]:
    held = _lock(folder / _START, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(held)


def _lock(path: Path, kind: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, kind)
    return descriptor


def _locked_at_once(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _main(folder: Path, idle_seconds: float) -> None:
    """What a keeper does; on the port of before where that is free, as other processes may remember it."""
    try:
        port = int(json.loads((folder / SERVER_FILE).read_text())["port"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        port = None
    try:
        keep(EmbeddedServer(folder, port=port), idle_seconds=idle_seconds)
    except PortInUse:
        keep(EmbeddedServer(folder), idle_seconds=idle_seconds)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), float(sys.argv[2]))
    except LakeError as error:
        sys.exit(str(error))
