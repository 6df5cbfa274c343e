"""What the scaffold writes: it loads, each field is explained, and nothing of the project is overwritten."""

from __future__ import annotations

import ast
import re
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import yaml
from pydantic import ValidationError

from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.scaffold.fields import scaffold_fields
from tierlake.dagster_project.scaffold.parameters import ScaffoldParameters
from tierlake.dagster_project.scaffold.project import NoImportName, module_name, provider
from tierlake.dagster_project.scaffold.scaffolder import LakeDatasetScaffolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

pytestmark = pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated", "ignore:.* is currently in beta")

ROOT_MODULE = "somebodys_lake"
PYPROJECT = f'[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "{ROOT_MODULE}"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    defs = tmp_path / "src" / ROOT_MODULE / "defs"
    defs.mkdir(parents=True)
    for package in (defs, defs.parent):
        (package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    monkeypatch.syspath_prepend(tmp_path / "src")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == ROOT_MODULE]:
        del sys.modules[name]


@pytest.fixture
def scaffold(project: Path) -> Callable[..., Path]:
    def scaffold(name: str, scaffold_format: str = "yaml", **parameters: Any) -> Path:
        path = project / "src" / ROOT_MODULE / "defs" / name
        path.mkdir(parents=True)
        request = dg.ScaffoldRequest(
            type_name="tierlake.LakeDataset",
            target_path=path,
            scaffold_format=scaffold_format,  # type: ignore[arg-type]
            project_root=project,
            params=ScaffoldParameters(**parameters),
        )
        LakeDatasetScaffolder().scaffold(request)
        return path

    return scaffold


def attributes(folder: Path) -> dict[str, Any]:
    document = yaml.safe_load((folder / "defs.yaml").read_text())
    assert document["type"] == "tierlake.LakeDataset"
    return document["attributes"]


def component(values: dict[str, Any]) -> LakeDataset:
    return LakeDataset.resolve_from_yaml(yaml.safe_dump(values))


@pytest.mark.parametrize("every", ["hour", "day", "month", "year"])
def test_it_loads_and_its_source_returns_rows_of_the_run(scaffold: Callable[..., Path], every: str) -> None:
    values = attributes(scaffold("flights", every=every, column="seen_at", timezone="Europe/Berlin"))
    (asset,) = component(values).definitions().assets
    assert values["source"] == f"{ROOT_MODULE}.defs.flights.source.read"
    assert asset.descriptions_by_key[asset.key].startswith("Temperatures that two stations measure, in °C")

    module = import_module(f"{ROOT_MODULE}.defs.flights.source")
    keys = asset.partitions_def.get_partition_keys()
    windows = [asset.partitions_def.time_window_for_partition_key(key) for key in keys[:2]]
    context = SimpleNamespace(partition_time_window=dg.TimeWindow(windows[0].start, windows[-1].end))
    rows = module.read(context)
    assert rows["seen_at"][0].as_py() == windows[0].start
    assert rows["seen_at"][-1].as_py() < windows[-1].end
    assert rows.num_rows > 4
    assert module.read(context).equals(rows)


def test_each_field_of_the_component_is_there_with_a_comment(scaffold: Callable[..., Path]) -> None:
    text = (scaffold("flights") / "defs.yaml").read_text()
    blocks = text.partition("attributes:\n")[2].split("\n\n")
    names = [re.fullmatch(r"  (?:# )?(\w+): .*", block.strip("\n").splitlines()[-1])[1] for block in blocks]
    assert sorted(names) == sorted(LakeDataset.model_fields)
    for block in blocks:
        assert block.lstrip("\n").startswith("  # "), block
    assert max(map(len, text.splitlines())) <= 120


def test_each_example_makes_sense_once_it_is_no_comment(scaffold: Callable[..., Path]) -> None:
    values = attributes(scaffold("flights"))
    parameters = ScaffoldParameters()
    for field in scaffold_fields("flights", values["source"], parameters):
        changed = {**values, **field.needs, field.name: field.value}
        assert component(changed).definitions().jobs, field.name


def test_the_python_format_says_the_same(scaffold: Callable[..., Path]) -> None:
    folder = scaffold("visits", "python")
    text = (folder / "component.py").read_text()
    loaded = import_module(f"{ROOT_MODULE}.defs.visits.component").load(None)
    assert loaded.lake_asset() == component(attributes(scaffold("flights", key="visits"))).lake_asset()
    assert loaded.source == f"{ROOT_MODULE}.defs.visits.source.read"
    commented = re.sub(r"^( *)# (\w+=.*,)$", r"\1\2", text, flags=re.MULTILINE)
    (call,) = [node for node in ast.walk(ast.parse(commented)) if isinstance(node, ast.Call)]
    assert {word.arg for word in call.keywords} == set(LakeDataset.model_fields)


def test_a_source_of_ones_own_is_named_and_none_is_written(scaffold: Callable[..., Path]) -> None:
    mine = scaffold("mine", source="my_project.flights.read", start="2013-01-01", table_format="parquet")
    assert [path.name for path in mine.iterdir()] == ["defs.yaml"]
    values = attributes(mine)
    assert (values["source"], values["start"], values["format"]) == ("my_project.flights.read", "2013-01-01", "parquet")
    theirs = scaffold("theirs", source="none")
    assert [path.name for path in theirs.iterdir()] == ["defs.yaml"]
    assert component(attributes(theirs)).definitions().assets


def test_odd_names_become_keys_that_dagster_takes(scaffold: Callable[..., Path]) -> None:
    values = attributes(scaffold("raw/flights-2013 (new)"))
    assert values["key"] == "flights_2013__new_"
    assert component(values).definitions().jobs


def test_resources_are_written_once(scaffold: Callable[..., Path], project: Path, capfd: Any) -> None:
    scaffold("flights")
    path = project / "src" / ROOT_MODULE / "defs" / "resources.py"
    assert str(path) in capfd.readouterr().out
    lake = import_module(f"{ROOT_MODULE}.defs.resources").lake
    assert lake.embedded_server == str(project / ".lake")
    assert not (project / ".lake").exists()
    path.write_text("from tierlake import LakeResource\nmine = LakeResource()\n")
    scaffold("weather")
    assert path.read_text().endswith("mine = LakeResource()\n")
    assert {file.name for file in path.parent.glob("*.py")} == {"__init__.py", "resources.py"}


def test_other_resources_stay_and_the_lakes_go_beside_them(scaffold: Callable[..., Path], project: Path) -> None:
    path = project / "src" / ROOT_MODULE / "defs" / "resources.py"
    path.write_text("# a warehouse and an alert\n")
    scaffold("flights")
    assert path.read_text() == "# a warehouse and an alert\n"
    assert import_module(f"{ROOT_MODULE}.defs.lake").lake_resources().resources.keys() == {"lake", "lake_io_manager"}


@pytest.mark.parametrize(
    ("text", "provides"),
    [
        ("defs = dg.Definitions(resources={'lake': shared.lake()})", True),
        ("resources = dict(lake=shared(), other=1)", True),
        ("import tierlake\nlake = tierlake.LakeResource()", True),
        ("# LakeResource() comes later", False),
        ("def swim(lake): ...", False),
        ("broken(", False),
    ],
)
def test_who_provides_the_lake_is_told_by_the_code(tmp_path: Path, text: str, provides: bool) -> None:
    path = tmp_path / "a" / "somewhere.py"
    path.parent.mkdir()
    path.write_text(text)
    (tmp_path / "latin.py").write_bytes(b"# lake \xff")
    assert provider(tmp_path) == (path if provides else None)


def test_a_folder_outside_of_any_package_has_no_name(tmp_path: Path) -> None:
    with pytest.raises(NoImportName) as refused:
        module_name(tmp_path / "flights" / "source.py", tmp_path)
    assert "--source" in str(refused.value.hint)


def test_what_cannot_be_is_refused_before_anything_is_written(project: Path) -> None:
    for wrong in ({"timezone": "Mars"}, {"every": "week"}, {"sauce": "x"}):
        with pytest.raises(ValidationError):
            ScaffoldParameters(**wrong)
    leap_day = datetime(2024, 2, 29, tzinfo=UTC)
    assert ScaffoldParameters().first_key(leap_day) == "2023-01-01"
    assert ScaffoldParameters(every="hour").first_key(leap_day) == "2024-02-01T00"
    assert ScaffoldParameters(every="month").first_key(leap_day) == "2023-01"
