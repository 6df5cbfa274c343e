"""What the README shows is what happens: its Python runs in a process of its own, its paths and commands exist.

`tests/docs` runs its other blocks.
"""

import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from tests import ROOT
from tierlake.pipelines.cli.app import COMMANDS

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

(BUCKET_APPLY,) = re.findall(r"^\$ (tierlake bucket apply .*)$", README, re.MULTILINE)


def blocks(language, page=README):
    return [text for name, text in BLOCK.findall(page) if name == language]


@pytest.fixture
def emptied(seaweedfs, monkeypatch):
    """The embedded server, as `source env.sh` makes it known, with the bucket that the README's command makes."""
    for name, value in seaweedfs.environ().items():
        monkeypatch.setenv(name, value)
    seaweedfs.drop_bucket("warehouse")
    program = [sys.executable, "-m", "tierlake.pipelines.cli"]
    subprocess.run([*program, *shlex.split(BUCKET_APPLY)[1:]], check=True, capture_output=True)
    yield seaweedfs
    seaweedfs.drop_bucket("warehouse")


def test_its_python_runs_from_top_to_bottom(emptied, tmp_path):
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")) + "\nprint(len(dataset.read()), fs.profile.name)\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 minio"
    assert "1 file" in done.stdout  # the explanation of a partition
    heads = emptied.heads("warehouse")
    assert {head["ServerSideEncryption"] for head in heads.values()} == {"AES256"}
    assert "scratch/flights.parquet" in heads


def test_the_floor_that_it_shows_is_that_of_the_suite():
    floor, total = re.findall(
        r"^Required test coverage of ([\d.]+)% reached. Total coverage: ([\d.]+)%$", README, re.MULTILINE
    )[0]
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]
    assert float(floor) == coverage["fail_under"] <= float(total)


def test_it_is_read_in_a_few_minutes():
    assert len(README.splitlines()) < 200


def test_the_folders_that_contributing_lists_exist():
    (listing,) = blocks("", CONTRIBUTING)
    folder = ROOT
    for line in listing.splitlines():
        names = re.match(r"(?P<indent> *)(?P<names>[\w./, ]*?)(?:  +|$| (?=[a-z]+,))", line)
        assert names is not None, line
        for name in re.findall(r"[\w./]+", names["names"]):
            inside = ROOT if not names["indent"] else folder
            path = inside / name
            assert path.exists(), f"{path} of {line!r}"
            if not names["indent"] and name.endswith("/"):
                folder = path


def test_the_files_and_commands_it_names_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
    named = {
        name for extra in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", README, re.MULTILINE) for name in extra.split(", ")
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name.strip("`") for name in named} <= set(extras)
    for path in re.findall(r"`([\w/]+\.(?:py|md|yaml))`", README):
        assert list(ROOT.rglob(path)) or path == "spec.yaml", path
    for command in re.findall(r"(?:`|\$ .*)tierlake (\w[\w-]*)", README):
        assert command in {*COMMANDS, "demo"}, command
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
