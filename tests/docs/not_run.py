"""What README and docs show and the tests do not run: each with its reason. What is not here, runs as it stands."""

from __future__ import annotations

import re
from importlib.util import find_spec

from tests.docs.pages import Block

COMMANDS = {
    r"make (demo|ui)\b": "tests/dagster_project/demo runs the demo; slow",
    r"make (test|minio|docs)\b": "this is the test; tests/docs/test_site.py builds the site",
    r"(pip|uv) install\b": "it needs a package index; tests/test_wheel.py installs the wheel",
    r"(source|cd) ": "the tests' own server, folder and variables stand in for it",
    r"tierlake server\b": "it serves until Ctrl-C; tests/pipelines/cli/test_server.py runs it",
    r"AWS_PROFILE=": "it needs an account at AWS",
    r"TIERLAKE_LOG=json TIERLAKE_LOG_LEVEL=error": "it shows a store that denies; tests/connector/observe",
    r"tierlake restore\b": "it needs an archived class; tests/pipelines/query/test_restore.py restores on moto",
    r"tierlake \S+ .*--dask\b": "it needs a cluster; tests/pipelines/ingest runs ingests on Dask",
    r"tierlake .*--profile minio\b": "it needs MinIO at the port of its default; the suites run on MinIO elsewhere",
    r"tierlake stats http://": "it needs a process that serves metrics; tests/pipelines/cli/test_stats.py has one",
    r"tierlake \S+ lake://warehouse/readings$": "it needs a scaffolded project; tests/dagster_project/newcomer",
    r"tierlake survey\b": "tests/pipelines/survey runs it",
    r"(dg|create-dagster|dagster|uvx create-dagster) ": "tests/dagster_project/newcomer runs such a session",
    r"dagster-celery\b": "it needs a broker",
    r"(docker|jq|export|cp deploy/) ?": "deploy/ has its own tests, in tests/deploy",
    r"mc ": "MinIO's own client",
}
"""Beginnings of commands."""

PYTHON = {
    "docs/dagster.md": "parts of a project; tests/dagster_project runs the demo's and a newcomer's",
    "docs/executors.md": "parts of a project; tests/dagster_project/executors runs them",
    "docs/engines.md": "it needs DuckDB's extensions, Spark or a cluster; tests/soak reads with Spark",
    "docs/how-to/minio.md": "it needs MinIO at the port of its default; the suites run on MinIO elsewhere",
    "docs/how-to/aws.md": "it needs an account at AWS",
    "docs/how-to/archive.md": "it needs an archived class; tests/pipelines/query/test_restore.py restores on moto",
    "docs/how-to/dagster-project.md": "parts of a project; tests/dagster_project/test_component.py loads it",
    "docs/operations.md": "parts of a project; tests/deploy checks them",
}
"""Pages whose Python is compiled only."""

BEFORE = re.compile(r"^# before: (\w+)", re.MULTILINE)
"""Begins a block of another library's Python, which is compiled only where that library is not installed."""

YAML = {
    "docs/executors.md": "tests/dagster_project/executors holds them to the executors' schemas",
    "docs/operations.md": "tests/deploy/test_operations.py holds them to Prometheus's checks",
}
"""Pages whose YAML is neither a dataset's, a bucket's nor a component's."""

EXITS = re.compile(r"# exits (\d)$")
"""Says in a page how a command ends, where that is not with 0."""


def reason(command: str) -> str | None:
    """Why a command is not run."""
    return next((why for pattern, why in COMMANDS.items() if re.match(pattern, command)), None)


def is_compiled_only(block: Block) -> bool:
    library = BEFORE.search(block.text)
    return block.page in PYTHON or (library is not None and find_spec(library[1]) is None)


def exit_codes(command: str) -> set[int]:
    if command.startswith("tierlake diff "):
        return {0, 1}  # 1 where there is a difference
    said = EXITS.search(command)
    return {int(said[1]) if said else 0}
