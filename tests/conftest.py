"""Servers and buckets for the tests.

Servers start when the first test asks for them, once for each xdist worker, and stop at the end. `server` runs a test
on each real server; `bucket` and `fs` give it a place of its own there.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
from botocore.httpsession import get_cert_path
from hypothesis import HealthCheck, settings

from tests.observed import Recorder, recording
from tests.servers import MinioPair, Rig, minio_pair, minio_rig, minio_tls_rig, moto_rig, seaweedfs_rig
from tests.servers.roles import with_role
from tests.suites import assign_suites
from tierlake.connector import observe
from tierlake.connector.iam import ROLES

if TYPE_CHECKING:
    from tierlake.connector import LakeFileSystem

pytest_plugins = ["tests.crashes"]

# a busy machine is slow to make examples and to run them: that says nothing about them
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

REAL_SERVERS = ("seaweedfs", "minio")


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    assign_suites(items)
    for item in items:
        for mark in item.iter_markers("more_than_a_role") if config.getoption("--role") else ():
            if mark.kwargs.get("on", "") in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=mark.args[0]))


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one certificate: no test speaks to a public server, and each client loads all that it trusts."""
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    first, end, _ = Path(get_cert_path(True)).read_text().partition("-----END CERTIFICATE-----")
    file.write_text(f"{first}{end}\n")
    return file


@pytest.fixture(autouse=True)
def _nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, one_authority: Path) -> None:
    """No credentials, endpoint, profile or cached filesystem from outside, and no search for them on the network."""
    for name in os.environ:
        if name.startswith(("AWS_", "OTEL_", "TIERLAKE_", "TRACEPARENT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(one_authority))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    if "tierlake.connector.filesystem" in sys.modules:
        fsspec.get_filesystem_class("lake").clear_instance_cache()


@pytest.fixture(autouse=True)
def _nothing_is_observed() -> Iterator[None]:
    """What a test's settings switched on ends with it."""
    yield
    if observe.is_on():
        observe.configure(observe.Observing(log="off"))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Keeps all events of the test."""
    with recording() as sink:
        yield sink


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_reaches_children() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and children would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with seaweedfs_rig(tmp_path_factory.mktemp("seaweedfs")) as rig:
        yield rig


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with minio_rig(tmp_path_factory.mktemp("minio")) as rig:
        yield rig


@pytest.fixture(scope="session")
def minio_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """MinIO over TLS: there it takes customers' keys."""
    with minio_tls_rig(tmp_path_factory.mktemp("minio-tls")) as rig:
        yield rig


@pytest.fixture(scope="session")
def minio_tiers(minio: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioPair]:
    """The server `minio`, and a second one to be its remote tier."""
    with minio_pair(minio, tmp_path_factory.mktemp("minio-cold")) as pair:
        yield pair


@pytest.fixture(scope="session")
def moto() -> Iterator[Rig]:
    with moto_rig() as rig:
        yield rig


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="where the browser's pictures go, as docs/screenshots")
    parser.addoption("--role", choices=ROLES, help="run the code under test with this role's rights alone")


@pytest.fixture(scope="session", params=REAL_SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Each real server in turn; with `--role` for somebody who has that role's rights on the tests' buckets."""
    rig = request.getfixturevalue(request.param)
    role = request.config.getoption("--role")
    return with_role(rig, role, tmp_path_factory.mktemp("role")) if role else rig


@pytest.fixture(params=["native", pytest.param("s3fs", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine in turn, for all filesystems of a test and of its processes."""
    monkeypatch.setenv("TIERLAKE_ENGINE", request.param)
    return request.param


@pytest.fixture
def make_bucket(server: Rig) -> Iterator[Callable[..., str]]:
    """Makes buckets on `server` that go away afterwards; takes what `Rig.make_bucket` takes."""
    made: list[str] = []

    def make(**options: bool) -> str:
        made.append(server.make_bucket(**options))
        return made[-1]

    yield make
    for name in made:
        server.drop_bucket(name)


@pytest.fixture
def bucket(make_bucket: Callable[..., str]) -> str:
    """A bucket of the test's own."""
    return make_bucket()


@pytest.fixture
def fs(server: Rig) -> LakeFileSystem:
    """A filesystem on `server`, shared with nobody."""
    return fsspec.filesystem("lake", skip_instance_cache=True, **server.storage_options)
