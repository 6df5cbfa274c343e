"""A server that several processes use: the first starts it, the last leaves it to stop by itself."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.polling import until
from tierlake.connector.local_server import shared
from tierlake.connector.local_server.folder import running_server
from tierlake.connector.local_server.processes import ServerStartFailed
from tierlake.connector.local_server.servers import EmbeddedServer

USER = """
import sys
from tierlake.connector.local_server.shared import shared_server
print(shared_server(sys.argv[1], idle_seconds=0).endpoint_url, flush=True)
sys.stdin.read()
"""
ENVIRON = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


def user(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRON,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_first_of_many_processes_starts_it_and_it_ends_after_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    users = [user(folder) for _ in range(3)]
    endpoints = {first_line(process) for process in users}
    seen = running_server(folder)
    assert seen is not None
    assert endpoints == {seen.endpoint_url}
    assert seen.secret not in repr(seen)
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (folder / "env.sh").stat().st_mode & 0o777 == 0o600
    for process in users[:2]:  # whoever started it is one of them, or is not
        end(process)
    assert running_server(folder) == seen
    end(users[2])
    until(lambda: running_server(folder) is None, 30)

    another = user(folder)
    assert first_line(another)
    assert running_server(folder) is not None
    end(another)


def test_it_stays_while_somebody_uses_it(tmp_path: Path) -> None:
    users = os.open(tmp_path / ".users", os.O_RDWR | os.O_CREAT)
    fcntl.flock(users, fcntl.LOCK_SH)
    seen: list[bool] = []

    def look(_seconds: float) -> None:
        seen.append(running_server(tmp_path) is not None)
        if len(seen) == 3:
            os.close(users)

    shared.keep(EmbeddedServer(tmp_path), idle_seconds=0, pause=look)
    assert seen == [True, True, True, True]
    assert running_server(tmp_path) is None


def test_a_server_that_a_person_started_is_used(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "lake") as server:
        process = user(tmp_path / "lake")
        assert first_line(process) == server.endpoint_url
        end(process)


def test_a_folder_in_which_it_cannot_start_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "objects").write_text("a file in the way")
    monkeypatch.setenv("PYTHONPATH", ENVIRON["PYTHONPATH"])
    with pytest.raises(ServerStartFailed, match="objects"):
        shared.shared_server(tmp_path)


@pytest.mark.parametrize(
    "spoiled", ["", "{}", "[]", '{"profile": "seaweedfs"}', '{"port": "x", "profile": "seaweedfs"}']
)
def test_a_spoiled_record_names_no_server(tmp_path: Path, spoiled: str) -> None:
    (tmp_path / "credentials.json").write_text('{"key": "k", "secret": "s"}')
    (tmp_path / "server.json").write_text(spoiled)
    assert running_server(tmp_path) is None
