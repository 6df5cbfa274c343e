"""A server on this machine that keeps all its data in one folder: objects, credentials, keys and log.

This module has the common behaviour: one server a folder, credentials that are kept in it, a start that waits until
S3 answers, a stop that leaves nothing behind. `tierlake.connector.local_server.servers` has the servers themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import secrets
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tierlake.connector.local_server.private_file import write_private_file
from tierlake.connector.local_server.processes import (
    LOOPBACK,
    Child,
    ServerEnded,
    ServerStartFailed,
    check_port_is_free,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["REGION", "FolderInUse", "Launch", "LocalServer", "RunningServer", "client_environ", "running_server"]

REGION = "us-east-1"
START_ATTEMPTS = 3
PROBE_TIMEOUT_SECONDS = 2.0
SECRETS_FILE = "credentials.json"
SERVER_FILE = "server.json"


class FolderInUse(ServerStartFailed):
    """Another server uses this folder."""

    code = "folder_in_use"


class Launch(NamedTuple):
    """The command for one start of a server."""

    command: list[str]
    environ: dict[str, str]
    port: int
    litter: tuple[Path, ...] = ()  # files outside of its folder that the server may leave behind


class LocalServer(ABC):
    """A real S3 server in a child process; a context manager.

    Args:
        data: The folder for all its data; made if missing. Only one server at a time may use it.
        port: The port for S3; a free one if not given.
        key: The access key; the folder's, or a generated one, if not given.
        secret: The secret key; likewise.
    """

    #: The name of the server's profile.
    name: ClassVar[str]

    def __init__(
        self,
        data: str | os.PathLike[str],
        *,
        port: int | None = None,
        key: str | None = None,
        secret: str | None = None,
    ) -> None:
        self.data = Path(data).absolute()
        self.log = self.data / "server.log"
        self._given = {name: value for name, value in (("key", key), ("secret", secret)) if value is not None}
        self._secrets: dict[str, str] = {}
        self._port = port
        self._endpoint_url: str | None = None
        self._child: Child | None = None
        self._running = contextlib.ExitStack()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.data)!r}, {self._endpoint_url or 'stopped'}, secret=<hidden>)"

    @property
    def endpoint_url(self) -> str:
        """Where S3 answers.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._endpoint_url is None:
            raise RuntimeError(f"{self!r} is not running: use it in a with statement, or call start()")
        return self._endpoint_url

    @property
    def key(self) -> str:
        """The access key; known after the first start."""
        return self._secrets["key"]

    @property
    def secret(self) -> str:
        """The secret key; known after the first start."""
        return self._secrets["secret"]

    @property
    def pid(self) -> int | None:
        """The process id; None if the server is not running."""
        return self._child.pid if self._child is not None else None

    def environ(self) -> dict[str, str]:
        """Environment variables with which tierlake and any AWS client find this server."""
        return client_environ(self.name, self.endpoint_url, self.key, self.secret)

    def start(self) -> Self:
        """Start the server and wait until S3 accepts its credentials.

        Raises:
            ServerMissing: The program is not installed.
            FolderInUse: Another server uses the folder.
            PortInUse: The requested port is taken.
            ServerStartFailed: The server did not start; the message ends with its log.
        """
        if self._endpoint_url is not None:
            raise RuntimeError(f"{self!r} is running already")
        binary = self.binary()
        if self._port is not None:
            check_port_is_free(self._port)
        self.data.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(self._locked())
            self._settle_secrets()
            self._child, port = self._spawn(binary, lock, undo)
            self._running = undo.pop_all()
        self._endpoint_url = f"http://{LOOPBACK}:{port}"
        write_private_file(self.data / SERVER_FILE, json.dumps({"profile": self.name, "port": port}))
        return self

    def stop(self) -> None:
        """Stop the server and wait until it has ended. A second stop does nothing."""
        self._endpoint_url = self._child = None
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def binary(self) -> Path:
        """The path of the server's program.

        Raises:
            ServerMissing: The program is not installed.
        """

    @abstractmethod
    def launch(self, binary: Path) -> Launch:
        """The command for a start on ports that are free now."""

    def generated(self) -> dict[str, str]:
        """Secrets that are generated for a new folder and kept in it."""
        return {"key": f"tierlake-{secrets.token_hex(4)}", "secret": secrets.token_urlsafe(30)}

    def base_environ(self) -> dict[str, str]:
        """An environment without the user's credentials, configuration and home folder."""
        return {"PATH": os.defpath, "HOME": str(self.data)}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Lock the folder; return the lock file's descriptor, which the server inherits."""
        lock = os.open(self.data / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FolderInUse(
                    f"another server runs on {self.data}",
                    hint=f"`source {self.data}/env.sh` to use it; or stop it, or name another folder",
                ) from error
            yield lock
        finally:
            os.close(lock)

    def _settle_secrets(self) -> None:
        """Read the folder's credentials, or generate them; the caller's own win, and are kept."""
        path = self.data / SECRETS_FILE
        kept = json.loads(path.read_text()) if path.exists() else {}
        self._secrets = {**self.generated(), **kept, **self._given}
        if self._secrets != kept:
            write_private_file(path, json.dumps(self._secrets))

    def _spawn(self, binary: Path, lock: int, undo: contextlib.ExitStack) -> tuple[Child, int]:
        """Start the child, again on other ports if one was taken; return it and S3's port."""
        attempt = 1
        while True:
            launch = self.launch(binary)
            child = Child(launch.command, environ=launch.environ, folder=self.data, log=self.log, keep_open=lock)
            undo.callback(_remove, launch.litter)
            undo.callback(child.stop)
            try:
                child.wait_until(partial(self._answers, launch.port), name=f"{type(self).__name__} on {self.data}")
            except ServerEnded:
                if attempt == START_ATTEMPTS:
                    raise
                attempt += 1
            else:
                return child, launch.port

    def _answers(self, port: int) -> bool:
        return _answers(port, self.key, self.secret)


class RunningServer(NamedTuple):
    """What a client needs of a server that runs on a folder.

    Attributes:
        profile: The name of its profile.
        endpoint_url: Where S3 answers.
        key: The access key.
        secret: The secret key.
    """

    profile: str
    endpoint_url: str
    key: str
    secret: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.profile}, {self.endpoint_url}, secret=<hidden>)"


def running_server(data: Path) -> RunningServer | None:
    """The server that runs on a folder, whoever started it; None where none answers.

    Args:
        data: The folder.
    """
    try:
        kept = json.loads((data / SECRETS_FILE).read_text())
        started = json.loads((data / SERVER_FILE).read_text())
        port, profile = int(started["port"]), str(started["profile"])
        key, secret = str(kept["key"]), str(kept["secret"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):  # none was started, or its record is spoiled
        return None
    if not _answers(port, key, secret):
        return None
    return RunningServer(profile, f"http://{LOOPBACK}:{port}", key, secret)


def _answers(port: int, key: str, secret: str) -> bool:
    """Whether S3 accepts the credentials on the port: another program there would not."""
    request = AWSRequest("GET", f"http://{LOOPBACK}:{port}/")
    S3SigV4Auth(Credentials(key, secret), "s3", REGION).add_auth(request)
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/", headers=dict(request.headers.items()))
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def client_environ(profile: str, endpoint_url: str, key: str, secret: str) -> dict[str, str]:
    """Environment variables with which a process uses a server on this machine and no other.

    Args:
        profile: The server's profile.
        endpoint_url: Where S3 answers.
        key: The access key.
        secret: The secret key.
    """
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TIERLAKE_ENDPOINT_URL": endpoint_url,
        "TIERLAKE_PROFILE": profile,
    }


def _remove(paths: tuple[Path, ...]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
