"""MinIO, as `make minio` has built it: one server, or two of which the second is the first's remote tier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from connector.server import MinioServer, ServerMissing, minio_binary
from tests.servers.rig import Rig


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


@contextmanager
def minio_pair(hot: Rig, folder: Path) -> Iterator[MinioPair]:
    with MinioServer(folder) as cold:
        yield MinioPair(hot, Rig.of(cold))


def _skip_without_minio() -> None:
    try:
        minio_binary()
    except ServerMissing as error:
        pytest.skip(f"no MinIO: {error}")
