"""No cache of a function grows without bound: what is kept for a process says of how many arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

FILES = [path for name in ("connector", "pipelines", "dagster_project") for path in sorted((ROOT / name).rglob("*.py"))]


def kept_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Those of modules and classes; what is in a function goes with its call."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from kept_functions(node.body)


def is_unbounded(decorator: ast.expr) -> bool:
    call = decorator if isinstance(decorator, ast.Call) else None
    name = ast.unparse(call.func if call else decorator).rpartition(".")[2]
    if name == "cache":
        return True
    sizes = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "maxsize")] if call else []
    return name == "lru_cache" and any(isinstance(size, ast.Constant) and size.value is None for size in sizes)


@pytest.mark.parametrize("package", ["connector", "pipelines", "dagster_project"])
def test_caches_have_a_size(package: str) -> None:
    def unbounded(path: Path) -> list[str]:
        functions = kept_functions(ast.parse(path.read_text()).body)
        return [
            f"{path.relative_to(ROOT)}: {function.name}"
            for function in functions
            if ast.unparse(function.args) and any(map(is_unbounded, function.decorator_list))
        ]

    found = [name for path in FILES if path.is_relative_to(ROOT / package) for name in unbounded(path)]
    assert found == []
