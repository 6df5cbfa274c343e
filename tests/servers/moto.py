"""moto's server: AWS's answers where no other server has them (archived classes, restore, KMS headers)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from tests.servers.rig import Rig


@contextmanager
def moto_rig() -> Iterator[Rig]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Rig("moto", f"http://{host}:{port}", "moto", "moto-secret")
    finally:
        server.stop()
