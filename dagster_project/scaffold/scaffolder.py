"""`dg scaffold defs tierlake.LakeDataset flights`: a dataset that can be materialized at once."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import dagster as dg

from tierlake.dagster_project.scaffold.fields import ScaffoldField, scaffold_fields
from tierlake.dagster_project.scaffold.parameters import NO_SOURCE, ScaffoldParameters
from tierlake.dagster_project.scaffold.project import code_folder, module_name, provider
from tierlake.dagster_project.scaffold.texts import (
    component_python,
    component_yaml,
    resources_python,
    source_python,
)

__all__ = ["LakeDatasetScaffolder"]

_FILES: Final = {"resources.py": "resources", "lake.py": "lake_resources", "lake_resources.py": "lake_resources"}
"""Where the resources may be written, with the function's name; the first that is free."""

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_/]")


class LakeDatasetScaffolder(dg.Scaffolder[ScaffoldParameters]):
    """Writes a component whose every field is explained, a source with sample rows, and the resources if missing."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParameters]:
        """What the person may ask for."""
        return ScaffoldParameters

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParameters]) -> None:
        """Write the files.

        Args:
            request: Their place, the component's format, and what the person asked for.
        """
        parameters = request.params
        folder = request.target_path.parent if request.append else request.target_path
        key = parameters.key or _NOT_IN_NAMES.sub("_", folder.name)
        source = _source(folder, key, parameters, request.project_root)
        first = "tiers, retention" if source else "start, partition, tiers, retention"
        if parameters.source is None:
            first = f"source.py, start, partition, {first}"
        _write_component(request, scaffold_fields(key, source, parameters), first)
        if parameters.resources:
            _write_resources(folder, request.project_root)


def _source(folder: Path, key: str, parameters: ScaffoldParameters, project: Path | None) -> str | None:
    """The full name of the source; writes one with sample rows where the person named none."""
    if parameters.source is not None:
        return None if parameters.source.lower() == NO_SOURCE else parameters.source
    path = folder / "source.py"
    name = module_name(path, project)
    if not path.exists():
        path.write_text(source_python(key, parameters.column, parameters.every), encoding="utf-8")
    return f"{name}.read"


def _write_component(
    request: dg.ScaffoldRequest[ScaffoldParameters], fields: Iterator[ScaffoldField], first: str
) -> None:
    if request.append:
        with request.target_path.open("a", encoding="utf-8") as file:
            file.write("---\n" + component_yaml(request.type_name, fields, first))
    elif request.scaffold_format == "python":
        text = component_python(request.type_name, fields, first)
        (request.target_path / "component.py").write_text(text, encoding="utf-8")
    else:
        text = component_yaml(request.type_name, fields, first)
        (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


def _write_resources(folder: Path, project: Path | None) -> None:
    """Write the resources beside the component, unless the project has some already."""
    code = code_folder(folder / "defs.yaml", project)
    if (there := provider(code)) is not None:
        click.echo(f"Using the resource `lake` of {there}.")
        return
    place = _defs_folder(folder, code)
    path, function = next((place / name, function) for name, function in _FILES.items() if not (place / name).exists())
    levels = len(path.relative_to(project).parts) - 1 if project and project in path.parents else 0
    path.write_text(resources_python(function, levels), encoding="utf-8")
    click.echo(f"Creating the resources `lake` and `lake_io_manager` at {path}.")


def _defs_folder(folder: Path, code: Path) -> Path:
    """The folder from which Dagster loads definitions: `defs`, or the one above the component."""
    above = [parent for parent in folder.parents if code == parent or code in parent.parents]
    return next((parent for parent in reversed(above) if parent.name == "defs"), folder.parent)
