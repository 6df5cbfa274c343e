"""MinIO, as `make minio` has built it: one server, two of which the second is the first's remote tier, one with TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.rig import Rig
from tests.servers.tls import LOOPBACK, make_certificate
from tierlake.connector.local_server.folder import REGION, Launch
from tierlake.connector.local_server.servers import MinioServer, ServerMissing, minio_binary


@dataclass(frozen=True)
class MinioPair:
    """Two servers that can reach each other; setting the tier up is the test's, or our code's, business."""

    hot: Rig
    cold: Rig


@contextmanager
def minio_rig(folder: Path) -> Iterator[Rig]:
    _skip_without_minio()
    with MinioServer(folder) as server:
        yield Rig.of(server)


class _MinioOverTls(MinioServer):
    def launch(self, binary: Path) -> Launch:
        certificates = self.data / "certificates"
        certificates.mkdir(exist_ok=True)
        certificate, key = make_certificate(certificates)
        # MinIO looks for these names.
        certificate.replace(certificates / "public.crt")
        key.replace(certificates / "private.key")
        plain = super().launch(binary)
        return plain._replace(command=[*plain.command, "--certs-dir", str(certificates)])

    @property
    def certificate(self) -> Path:
        return self.data / "certificates" / "public.crt"

    def _answers(self, port: int) -> bool:
        """Whether S3 accepts the credentials: it is healthy before it is initialized."""
        client = boto3.client(
            "s3",
            endpoint_url=f"https://{LOOPBACK}:{port}",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=REGION,
            verify=str(self.certificate),
            config=Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}),
        )
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        else:
            return True
        finally:
            client.close()


@contextmanager
def minio_tls_rig(folder: Path) -> Iterator[Rig]:
    """One that speaks TLS alone, with a certificate that no public authority has signed."""
    _skip_without_minio()
    with _MinioOverTls(folder) as server:
        url = server.endpoint_url.replace("http://", "https://")
        yield replace(Rig.of(server), endpoint_url=url, certificate=server.certificate)


@contextmanager
def minio_pair(hot: Rig, folder: Path) -> Iterator[MinioPair]:
    with MinioServer(folder) as cold:
        yield MinioPair(hot, Rig.of(cold))


def _skip_without_minio() -> None:
    try:
        minio_binary()
    except ServerMissing as error:
        pytest.skip(f"no MinIO: {error}")
