from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy
from alembic.script import ScriptDirectory

from tierlake.dagster_project.resources.lake import LakeResource

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Rig

TODAY = "2014-01-01"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Dagster 1.13 calls a method of its own that it has deprecated, where one resource holds another."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning"))


@pytest.fixture(autouse=True, scope="session")
def _books_are_made_quickly() -> Iterator[None]:
    """Dagster keeps a database for each run; making one reads 60 migrations anew, and each event waits for the disk."""

    def trust_the_machine(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", trust_the_machine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", cache(ScriptDirectory.from_config))
        yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", trust_the_machine)


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home of this test's own: SQLite, in its temporary folder, no telemetry."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


@pytest.fixture
def lake(server: Rig, make_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> LakeResource:
    """The lake of the project's definitions: a versioned bucket on each real server, named by the environment."""
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TIERLAKE_WAREHOUSE", f"lake://{make_bucket(versioned=True)}/wh")
    monkeypatch.setenv("TIERLAKE_TODAY", TODAY)
    return LakeResource()
