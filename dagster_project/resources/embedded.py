"""The lake on this machine: a server that the processes of one Dagster share, and its bucket."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tierlake.connector import LakeFileSystem

__all__ = ["embedded_filesystem"]

_log: Final = logging.getLogger(__name__)
_ready: Final[set[tuple[str, str]]] = set()
"""By endpoint and bucket: those that this process has looked at."""


def embedded_filesystem(folder: str, warehouse: str) -> LakeFileSystem:
    """The filesystem of the folder's server, with the warehouse's bucket in it; both are made if missing.

    Args:
        folder: All of the server's data.
        warehouse: The URI prefix of the datasets.

    Raises:
        ServerMissing: The program is not installed.
        ServerStartFailed: The server did not start; the message ends with its log.
    """
    from tierlake.connector import LakeFileSystem
    from tierlake.connector.bucket import ensure_bucket
    from tierlake.connector.local_server.shared import shared_server

    server = shared_server(Path(folder).expanduser())
    fs = LakeFileSystem(profile=server.profile, endpoint_url=server.endpoint_url, key=server.key, secret=server.secret)
    bucket = warehouse.partition("://")[2].partition("/")[0]
    if (server.endpoint_url, bucket) not in _ready:
        ensure_bucket(fs, bucket, versioning=True, encryption="sse-s3")
        _ready.add((server.endpoint_url, bucket))
        _log.info("the lake is at %s on this machine; its data is in %s", server.endpoint_url, folder)
    return fs
