import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tierlake.pipelines.cli.server import _stop_requests

TIERLAKE = Path(sys.executable).with_name("tierlake")
USE_IT = """
import fsspec, pandas as pd
fsspec.filesystem("lake").mkdir("warehouse")
pd.DataFrame({"x": [1, 2, 3]}).to_parquet("lake://warehouse/x.parquet")
print(pd.read_parquet("lake://warehouse/x.parquet")["x"].sum())
"""


@pytest.fixture
def started(tmp_path):
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [TIERLAKE, "server", "--data", tmp_path / "data", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def one_document(stream):
    text = ""
    for line in stream:
        text += line
        if line == "}\n":
            return json.loads(text)
    raise AssertionError(text)


@pytest.mark.parametrize("kind", ["seaweedfs", "minio"])
def test_a_server_is_usable_as_it_says_and_stops_on_ctrl_c(started, kind):
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tierlake/bin/minio"
    if kind == "minio" and not (cached.exists() or shutil.which("minio")):
        pytest.skip("MinIO is missing: make minio")
    process = started("--json", "--kind", kind)
    document = one_document(process.stdout)
    env_file = Path(document["env_file"])
    assert env_file.stat().st_mode & 0o777 == 0o600
    used = subprocess.run(
        ["sh", "-c", '. "$0"; "$1" -c "$2"', env_file, sys.executable, USE_IT],
        env={**os.environ, "AWS_SESSION_TOKEN": "of another account", "AWS_PROFILE": "nobody"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.stdout == "6\n", used.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    address = urlsplit(document["endpoint_url"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)


@pytest.mark.slow
def test_the_secret_is_told_in_the_file_alone(started):
    process = started()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=30)
    said = "".join(lines) + rest + errors
    script = next(Path(line.split()[1]) for line in lines if line.startswith("  source"))
    exported = [line.removeprefix("export ") for line in script.read_text().splitlines() if line.startswith("export ")]
    values = dict(line.split("=", 1) for line in exported)
    assert values["AWS_ENDPOINT_URL"] in said
    assert values["AWS_SECRET_ACCESS_KEY"].strip("'") not in said
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_is_heard_whichever_thread_it_reaches(number):
    before = signal.getsignal(number)
    done = threading.Event()
    library = threading.Thread(target=done.wait)
    library.start()
    try:
        with _stop_requests() as stop:
            signal.pthread_kill(library.ident, number)
            stop.settimeout(30)
            assert stop.recv(1) == bytes([number])
    finally:
        done.set()
        library.join()
    assert signal.getsignal(number) == before


def test_a_request_that_comes_with_the_handler_is_heard(monkeypatch):
    handle = signal.signal

    def handled_at_once(number, handler):
        before = handle(number, handler)
        if before is signal.default_int_handler:
            signal.raise_signal(number)
        return before

    monkeypatch.setattr(signal, "signal", handled_at_once)
    with _stop_requests() as stop:
        stop.settimeout(30)
        assert stop.recv(1) == bytes([signal.SIGINT])


def test_a_port_in_use_is_an_error_not_a_hang(started, tmp_path):
    first = started("--json")
    port = one_document(first.stdout)["endpoint_url"].rpartition(":")[2]
    second = subprocess.run(
        [TIERLAKE, "server", "--data", tmp_path / "other", "--port", port],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: port {port}")
