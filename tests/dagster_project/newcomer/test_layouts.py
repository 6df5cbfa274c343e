"""The component and the resources in each layout that `create-dagster` makes, and in a project of before `dg`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dagster_project.newcomer import projects
from tierlake.connector.local_server.folder import running_server

if TYPE_CHECKING:
    from collections.abc import Mapping

OLD = """
import dagster as dg

from tierlake import LakeDataset, LakeParquetIOManager, LakeResource

lake = LakeResource()
partition = {"time": {"column": "at", "every": "day"}}
visits = LakeDataset(key="visits", source="old_style.rows.read", start="2013-01-01", partition=partition)
resources = {RESOURCES}
defs = dg.Definitions.merge(visits.definitions(), dg.Definitions(resources=resources))
"""
ROWS = "def read(context):\n    return []\n"
LOADED = "All definitions loaded successfully."


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return projects.environ(tmp_path / "home")


def scaffold(project: Path, environment: Mapping[str, str], *words: str) -> str:
    return projects.run(project, environment, "dg", "scaffold", "defs", "tierlake.LakeDataset", *words)


@pytest.mark.slow
def test_a_project_is_valid_at_once_and_says_what_is_missing(tmp_path: Path, environment: dict[str, str]) -> None:
    project = projects.new_project(tmp_path / "weather_lake", environment)
    assert "Creating the resources `lake`" in scaffold(project, environment, "flights")
    checked = projects.run(project, environment, "dg", "check", "defs")
    assert "All component YAML validated successfully." in checked
    assert LOADED in checked
    assert running_server(project / ".lake") is None  # nothing was started
    assert not (project / ".lake").exists()

    (project / "src/weather_lake/defs/resources.py").unlink()
    refused = projects.run(project, environment, "dg", "check", "defs", fails=True)
    assert "needs the resources `lake` and `lake_io_manager`" in refused
    assert 'dg.Definitions(resources={"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)})' in refused


@pytest.mark.slow
def test_a_workspace_with_two_projects(tmp_path: Path, environment: dict[str, str]) -> None:
    workspace = tmp_path / "space"
    projects.run(tmp_path, environment, "create-dagster", "workspace", workspace.name, "--no-uv-sync")
    for name in ("first", "second"):
        project = projects.new_project(workspace / "projects" / name, environment)
        (project / ".venv").symlink_to(sys.prefix)  # what `uv sync` would make: an environment with tierlake in it
        said = scaffold(project, environment, "flights", "--every", "month", "--format", "python")
        assert str(project / f"src/{name}/defs/resources.py") in said
    checked = projects.run(workspace, environment, "dg", "check", "defs")
    assert LOADED in checked, checked


@pytest.mark.slow
def test_a_project_of_before_dg(tmp_path: Path, environment: dict[str, str]) -> None:
    project = tmp_path / "old_style"
    projects.run(tmp_path, environment, "dagster", "project", "scaffold", "--name", project.name)
    package = project / project.name
    (package / "rows.py").write_text(ROWS)
    validate = ("dagster", "definitions", "validate")
    complete = '{"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)}'
    (package / "definitions.py").write_text(OLD.replace("{RESOURCES}", complete))
    assert "Validation successful" in projects.run(project, environment, *validate)
    (package / "definitions.py").write_text(OLD.replace("{RESOURCES}", '{"lake": lake}'))
    refused = projects.run(project, environment, *validate, fails=True)
    assert "visits needs the resource `lake_io_manager`" in refused
