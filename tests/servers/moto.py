"""moto's server: AWS's answers where no other server has them (archived classes, restore, KMS headers).

In a process of its own: deltalake holds Python's lock while it reads a log's history, and a server in the same process
would never answer.
"""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.rig import Rig
from tierlake.connector.local_server.processes import LOOPBACK, Child, free_ports


@contextmanager
def moto_rig() -> Iterator[Rig]:
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "held").open("wb") as held:
        child = Child(
            [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)],
            environ=os.environ,
            folder=Path(folder),
            log=Path(folder, "server.log"),
            keep_open=held.fileno(),
        )
        try:
            child.wait_until(lambda: _answers(port), name="moto")
            yield Rig("moto", f"http://{LOOPBACK}:{port}", "moto", "moto-secret")
        finally:
            child.stop()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/moto-api/data.json")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
