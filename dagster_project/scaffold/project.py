"""Somebody's project, as a scaffold finds it: under which name a file in it is imported, and who provides the lake."""

from __future__ import annotations

import ast
import tomllib
from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["NoImportName", "code_folder", "module_name", "provider"]

LAKE: Final = "lake"
_RESOURCE: Final = "LakeResource"


class NoImportName(LakeError, ValueError):
    """A folder belongs to no package that Python could import."""

    code = "no_import_name"


def module_name(path: Path, project: Path | None) -> str:
    """The full name under which Python imports a module.

    Args:
        path: The module's file, or a package's folder.
        project: The project's folder, whose configuration names its root module.

    Raises:
        NoImportName: It belongs to no package.
    """
    root = _package_root(path, project)
    if root is None:
        raise NoImportName(
            f"{path} belongs to no Python package", hint="name your own function: --source my_project.flights.read"
        )
    return ".".join(path.relative_to(root).with_suffix("").parts)


def code_folder(path: Path, project: Path | None) -> Path:
    """The folder of the project's outermost package in which a path is; the project's where there is none.

    Args:
        path: A path in the project.
        project: The project's folder.
    """
    root = _package_root(path, project)
    if root is not None:
        return root / path.relative_to(root).parts[0]
    return project or path.parent


def provider(folder: Path) -> Path | None:
    """The file below a folder that provides the resource `lake`; None where none seems to.

    It is told by the code, and nothing of it is run: a call of `LakeResource`, or the name `lake` among resources.

    Args:
        folder: The outermost package's.
    """
    for path in sorted(folder.rglob("*.py")):
        try:
            text = path.read_text(encoding="utf-8")
            if LAKE in text.lower() and any(map(_provides, ast.walk(ast.parse(text)))):
                return path
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
    return None


def _provides(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Dict) and any(_is_lake(key) for key in node.keys)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name == _RESOURCE or (name == "dict" and any(word.arg == LAKE for word in node.keywords))


def _is_lake(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and key.value == LAKE


def _package_root(path: Path, project: Path | None) -> Path | None:
    """The folder from which Python imports: above the root module of the configuration, or the topmost package."""
    parents = list(path.parents)
    for name in _root_modules(project):
        first, *_ = name.split(".")
        for parent in reversed(parents):
            if parent.name == first and (project is None or project in parent.parents):
                return parent.parent
    packages = [parent for parent in parents if (parent / "__init__.py").exists()]
    return packages[-1].parent if packages else None


def _root_modules(project: Path | None) -> Iterator[str]:
    if project is None:
        return
    for file, section in (("dg.toml", ()), ("pyproject.toml", ("tool", "dg"))):
        try:
            found = tomllib.loads((project / file).read_text(encoding="utf-8"))
        except (FileNotFoundError, tomllib.TOMLDecodeError):
            continue
        for name in (*section, "project"):
            found = found.get(name, {})
        if isinstance(root := found.get("root_module"), str):
            yield root
