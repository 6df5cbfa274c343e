"""What the connector's tests share."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from tests.servers.tls import tls_front
from tierlake.connector import LakeFileSystem


@pytest.fixture
def offline() -> LakeFileSystem:
    """A filesystem on an endpoint where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return LakeFileSystem(
        endpoint_url=f"http://127.0.0.1:{port}", key="k", secret="s", profile="minio", skip_instance_cache=True
    )


@pytest.fixture
def other_class(server) -> str:
    """A storage class besides STANDARD that the server takes."""
    return {"seaweedfs": "STANDARD_IA", "minio": "REDUCED_REDUNDANCY"}[server.name]


@pytest.fixture
def make_fs(server):
    """Makes filesystems on `server` with further options, none from the instance cache."""

    def make(**options) -> LakeFileSystem:
        return LakeFileSystem(**{**server.storage_options, **options}, skip_instance_cache=True)

    return make


@pytest.fixture
def make_offline():
    """Makes filesystems on an endpoint that nobody asks anything."""

    def make(**options) -> LakeFileSystem:
        place = {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s", "profile": "seaweedfs"}
        return LakeFileSystem(**{**place, **options}, skip_instance_cache=True)

    return make


@pytest.fixture
def over_tls(tmp_path):
    """Makes a filesystem that reaches a server through a proxy that ends TLS."""
    with ExitStack() as stack:

        def make(rig):
            front = stack.enter_context(tls_front(rig.endpoint_url, tmp_path))
            options = {**rig.storage_options, "endpoint_url": front.url}
            verified = {"verify": str(front.certificate)}
            return LakeFileSystem(**options, client_kwargs=verified, skip_instance_cache=True)

        yield make
