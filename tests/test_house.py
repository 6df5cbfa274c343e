"""The house keeps its promises: what is public exists, what ships is complete, what is written down is true."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import shutil
import subprocess
import tomllib
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import click
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests import ROOT
from tierlake.pipelines.cli.app import cli

PACKAGES = ("connector", "pipelines", "dagster_project")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

MODULES = sorted(
    module.name
    for module in [
        *pkgutil.walk_packages([str(ROOT / "src" / "tierlake")], "tierlake."),
        pkgutil.ModuleInfo(None, "tierlake", True),
    ]
    if not module.name.endswith("__main__")
)

# What the design promises to those who type it.
PROMISED = {
    "tierlake": {"Dataset", "DatasetSpec", "LakeDataset", "LakeFileSystem", "LakeSettings"},
    "tierlake.connector": {"LakeFileSystem", "LakeSettings"},
    "tierlake.pipelines": {"Dataset", "DatasetSpec"},
}

# Named as a place for what does not exist yet.
PLANNED = {"connector/observe/"}

# Of the machine this was written on, or of an index that somebody else may not have. In pieces, or they would find
# themselves.
NOT_OURS = re.compile(
    "|".join(
        [
            "/wo" + "rk/",
            "/ro" + "ot/",
            "/ho" + r"me/\w",
            r"files\.python" + "hosted",
            "proxy" + r"\.golang",
            "--index" + "-url",
        ]
    )
)
BINARY = {".png", ".gz", ".parquet", ".ipynb"}


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_exports_exists(name: str) -> None:
    module = import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(set(exported)) == len(exported)
    assert [missing for missing in exported if not hasattr(module, missing)] == []


@pytest.mark.parametrize("package", PROMISED)
def test_a_package_exports_what_the_design_promises(package: str) -> None:
    assert PROMISED[package] <= set(import_module(package).__all__)


def test_entry_points_load() -> None:
    points = metadata.distribution("tierlake").entry_points
    assert {point.group for point in points} >= {"fsspec.specs", "console_scripts", "tierlake.views"}
    for point in points:
        if point.group == "fsspec.specs":  # fsspec writes module:Class, or module.Class
            assert point.value == "tierlake.connector.filesystem:LakeFileSystem"
        assert point.load() is not None


def test_the_readme_names_commands_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for document in ("README.md", "CONTRIBUTING.md")
        for name in re.findall(r"(?:`|^\s*\$? ?)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)
    }
    assert named >= {"demo", "test", "minio"}
    assert named <= targets


def test_the_map_of_the_house_shows_what_is_there() -> None:
    document = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(rf"`((?:{'|'.join(PACKAGES)}|tests|src)/[\w./]*)`", document)
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists() and path not in PLANNED] == []


def test_the_readme_names_subcommands_that_exist() -> None:
    commands = set(cli.list_commands(click.Context(cli)))
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:`|^\$ (?:[A-Z_]+=\S+ )?)tierlake ([a-z][a-z-]*)", readme, re.MULTILINE))
    assert named >= {"server", "create", "ls"}
    assert named <= commands


def test_the_changelog_has_this_version() -> None:
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == PROJECT["project"]["version"] == metadata.version("tierlake")


def test_no_file_names_a_machine_or_an_index() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if path.suffix not in BINARY
        for match in NOT_OURS.finditer(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("name", "fewest"), [("constraints.txt", 100), ("constraints-lowest.txt", 100), ("constraints-peers.txt", 15)]
)
def test_constraints_are_versions_and_nothing_else(name: str, fewest: int) -> None:
    lines = (ROOT / name).read_text().splitlines()[1:]
    assert len(lines) > fewest
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+( ; .+)?", line)] == []


def test_the_lowest_versions_that_are_allowed_are_those_that_are_tested() -> None:
    tested = {
        (name, Version(version))
        for line in (ROOT / "constraints-lowest.txt").read_text().splitlines()[1:]
        for name, _, version in [line.partition(" ")[0].partition("==")]
    }
    project = PROJECT["project"]
    named = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (Requirement(one) for some in named for one in some):
        if requirement.name != "tierlake":
            (lowest,) = [Version(one.version) for one in requirement.specifier if one.operator == ">="]
            assert (requirement.name, lowest) in tested, f"{requirement}: run `make lock`, or raise the bound"


def test_the_peers_that_are_named_are_installed() -> None:
    installed = {
        name: Version(version.partition(" ")[0])
        for line in (ROOT / "constraints-peers.txt").read_text().splitlines()[1:]
        for name, _, version in [line.partition("==")]
    }
    for requirement in map(Requirement, PROJECT["dependency-groups"]["peers"]):
        assert installed[requirement.name] in requirement.specifier, f"{requirement}: run `make lock`"


def test_each_exception_to_the_rules_is_explained() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lint = text[text.index("[tool.ruff.lint]") : text.index("[tool.mypy]")]
    exceptions = re.findall(r'^  "[A-Z]+[0-9]*",.*$', lint, re.MULTILINE)
    assert len(exceptions) > 10
    assert [line for line in exceptions if not re.search(r"# \S", line)] == []


def test_pips_configuration_holds_for_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    venv = tool("venv")
    for variable in venv.UV_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    listed = """\
:env:.find-links='/wheels'
global.extra-index-url='\\nhttps://one.example/simple\\nhttps://two.example/simple'
global.index-url='https://global.example/simple'
install.index-url='https://install.example/simple'
list.format='columns'
"""
    expected = {
        "UV_DEFAULT_INDEX": "https://install.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_FIND_LINKS": "/wheels",
    }
    assert venv.uv_environ(venv.parse_pip_config(listed)) == expected
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example/simple")
    del expected["UV_DEFAULT_INDEX"]
    assert venv.uv_environ(venv.parse_pip_config(listed)) == expected


def test_pipelines_lists_afresh_by_one_verb() -> None:
    listing = re.compile(r"fs\.(find|ls|glob|walk|listdir|invalidate_cache\([^)\n]+\)\n.*fs\.find)\(|refresh=True")
    files = (ROOT / "pipelines").rglob("*.py")  # what users hand over is theirs to cache
    assert [str(path) for path in files if "sources" not in path.parts and listing.search(path.read_text())] == []
