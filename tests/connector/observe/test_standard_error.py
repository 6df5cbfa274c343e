"""A standard error that is closed, full, or a pipe that nobody reads: the work goes on, and the process ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT
from tierlake.connector.observe.standard_error import StandardError

WORK = """
import sys
from tierlake.connector import observe
from tests.connector.observe.test_lines import REQUEST
observe.configure(observe.Observing(log="json"))
for _ in range(int(sys.argv[1])):
    observe.emit(REQUEST)
print("done", dict(observe.dropped()) if len(sys.argv) > 2 else "", flush=True)
if len(sys.argv) > 2:
    observe.flush(10)
    print(dict(observe.dropped()), flush=True)
"""


def process(*arguments: object, **streams: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORK, *map(str, arguments)]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, **streams)


def test_lines_are_whole_in_a_pipe() -> None:
    with process(1000, stderr=subprocess.PIPE) as child:
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, "done \n")
    lines = err.splitlines()
    assert len(lines) == 1000
    assert all(line.startswith('{"timestamp"') and line.endswith("}") for line in lines)


def test_a_pipe_that_nobody_reads_holds_up_neither_the_work_nor_its_end() -> None:
    reading, writing = os.pipe()
    try:
        begun = time.monotonic()
        with process(5000, stderr=writing) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "done \n"
            assert child.wait(30) == 0
        assert time.monotonic() - begun < 25
    finally:
        os.close(reading)
        os.close(writing)


def test_a_full_disk_only_costs_the_lines() -> None:
    with Path("/dev/full").open("w") as full, process(50, "tell", stderr=full) as child:
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert out.splitlines()[-1] == "{'log': 50}"


def test_a_closed_stream_only_costs_the_lines() -> None:
    with process(50, "tell", preexec_fn=lambda: os.close(2)) as child:
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert out.splitlines()[-1] == "{'log': 50}"


def test_a_stream_that_was_put_in_its_place_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    StandardError().write(["one", "two"])
    assert capsys.readouterr().err == "one\ntwo\n"


@pytest.mark.parametrize("stream", [None, "closed"])
def test_no_stream_is_an_error_of_the_write(
    stream: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed = (tmp_path / "closed").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream else None)
    with pytest.raises(OSError, match="no standard error"):
        StandardError().write(["one"])
