"""The tombstone wipe, and what Dagster says afterwards, on a real Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from tests.dagster_project import four_kinds
from tests.dagster_project.partitions.test_wipe import (
    EXAMPLES,
    available,
    check_what_the_ui_asks_for,
    kinds,
    report,
    run,
)
from tests.servers.postgres import postgres_programs, postgres_rig
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.event_storage import (
    clear_stale_status,
    latest_data_versions,
    newest_storage_id,
)
from tierlake.dagster_project.partitions.wipe import WipeMethod, wipe_partitions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("dagster_postgres", reason="dagster-postgres is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(postgres_programs() is None, reason="there is no Postgres (initdb, pg_ctl) on this machine"),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_rig() as url:
        yield url


@pytest.fixture
def instance(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance whose runs, events and schedules are in Postgres, empty."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        f"telemetry: {{enabled: false}}\nstorage: {{postgres: {{postgres_url: '{postgres}'}}}}\n"
    )
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        instance.run_storage.wipe()
        instance.event_log_storage.wipe()
        yield instance


@kinds
def test_wiped_is_missing_and_shows_again_when_materialized(instance: dg.DagsterInstance, kind: str) -> None:
    first, *rest = EXAMPLES[kind]
    run(instance, kind, EXAMPLES[kind])
    assert available(instance, kind) == set(EXAMPLES[kind])

    result = wipe_partitions(instance, dg.AssetKey(kind), [first])
    assert (result.method, result.events, result.reason) == (WipeMethod.TOMBSTONE, 2, "")
    assert available(instance, kind) == set(rest)

    instance.event_log_storage.reindex_events(force=True)
    instance.event_log_storage.reindex_assets(force=True)
    instance.wipe_asset_cached_status([dg.AssetKey(kind)])
    assert available(instance, kind) == set(rest)

    before = newest_storage_id(instance)
    run(instance, kind, [first])
    assert available(instance, kind) == set(EXAMPLES[kind])
    assert latest_storage_ids(instance, dg.AssetKey(kind))[first] > before


def test_the_ui_agrees_for_every_kind(instance: dg.DagsterInstance) -> None:
    check_what_the_ui_asks_for(instance)


def test_what_was_materialized_after_the_bound_stays(instance: dg.DagsterInstance) -> None:
    report(instance, "daily", EXAMPLES["daily"])
    seen = newest_storage_id(instance)
    report(instance, "daily", EXAMPLES["daily"][:1])
    wipe_partitions(instance, dg.AssetKey("daily"), EXAMPLES["daily"], up_to=seen)
    assert available(instance, "daily") == set(EXAMPLES["daily"][:1])


def test_a_stale_cache_is_reconciled(instance: dg.DagsterInstance) -> None:
    asset_key = dg.AssetKey("daily")
    report(instance, "daily", EXAMPLES["daily"])
    seen = get_and_update_asset_status_cache_value(instance, asset_key, four_kinds.DAYS)
    wipe_partitions(instance, asset_key, EXAMPLES["daily"][:1])
    instance.update_asset_cached_status_data(asset_key, seen)  # what a slow reader does
    assert clear_stale_status(instance, asset_key, four_kinds.DAYS) == set(EXAMPLES["daily"][:1])
    assert available(instance, "daily") == set(EXAMPLES["daily"][1:])


def test_a_wipe_takes_the_data_version_with_it(instance: dg.DagsterInstance) -> None:
    asset_key = dg.AssetKey("seen")
    for key in ("a", "b"):
        said = dg.AssetMaterialization(asset_key, partition=key, tags={"dagster/data_version": f"v-{key}"})
        instance.report_runless_asset_event(said)
    wipe_partitions(instance, asset_key, ["a"])
    assert latest_data_versions(instance, asset_key) == {"b": "v-b"}
