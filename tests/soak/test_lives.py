"""Many lives of a Dagster instance, on SQLite and on Postgres; `TIERLAKE_SOAK_EXAMPLES` says how many of each."""

import os

import dagster as dg
import pytest

from tests.dagster_project.lives import worlds
from tests.dagster_project.test_lives_model import CONFIG, check, lives
from tests.dagster_project.test_lives_model import pytestmark as marks
from tests.servers.postgres import postgres_programs, postgres_rig

__all__ = ["lives"]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(14400), *marks]

STEPS = 12
EXAMPLES = int(os.environ.get("TIERLAKE_SOAK_EXAMPLES", "40"))


@pytest.fixture
def dagster_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def lives_on_postgres(server, make_bucket, dagster_home, monkeypatch):
    pytest.importorskip("dagster_postgres", reason="dagster-postgres is not installed")
    if postgres_programs() is None:
        pytest.skip("there is no Postgres (initdb, pg_ctl) on this machine")
    with postgres_rig() as url:
        config = f"{CONFIG}storage: {{postgres: {{postgres_url: '{url}'}}}}\n"
        (dagster_home / "dagster.yaml").write_text(config)
        bucket = make_bucket(versioned=True)
        with (
            dg.DagsterInstance.get() as instance,
            worlds(instance, server, bucket, dagster_home, monkeypatch) as begin,
        ):
            yield begin


def test_dagster_says_what_is_true_for_long(lives):
    check(lives, examples=EXAMPLES, steps=STEPS, same=False)


def test_dagster_says_what_is_true_on_postgres(lives_on_postgres):
    check(lives_on_postgres, examples=EXAMPLES, steps=STEPS, same=False)
