from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from tests.dagster_project import four_kinds, status
from tierlake.dagster_project import dagster_internals
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.event_storage import clear_stale_status, newest_storage_id
from tierlake.dagster_project.partitions.wipe import WipeMethod, wipe_partitions

if TYPE_CHECKING:
    from collections.abc import Iterable

EXAMPLES = {
    "static": ["red", "green"],
    "daily": ["2013-01-02", "2013-01-03", "2013-01-07"],
    "dynamic": ["Oslo", "Kyiv"],
    "multi": ["red|2013-01-02", "blue|2013-01-03", "blue|2013-01-04"],
}

kinds = pytest.mark.parametrize(
    "kind", ["daily", "multi", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("static", "dynamic"))]
)


def run(instance: dg.DagsterInstance, kind: str, keys: Iterable[str], *, fail: bool = False) -> None:
    """Materialize partitions by real runs, one for each."""
    config = dg.RunConfig({kind: {"config": {"fail": fail}}})
    for key in keys:
        if kind == "dynamic":
            instance.add_dynamic_partitions("cities", [key])
        dg.materialize(
            [four_kinds.ASSETS[kind]],
            instance=instance,
            partition_key=key,
            run_config=config,
            raise_on_error=False,
        )


def report(instance: dg.DagsterInstance, kind: str, keys: Iterable[str]) -> None:
    """Report partitions as materialized, without a run, as a run's step would."""
    for key in keys:
        if kind == "dynamic":
            instance.add_dynamic_partitions("cities", [key])
        tags = {}
        if kind == "multi":
            color, _, day = key.partition("|")
            prefix = "dagster/partition/"
            tags = {f"{prefix}color": color, f"{prefix}day": day}
        instance.report_runless_asset_event(dg.AssetMaterialization(kind, partition=key, tags=tags))


def available(instance: dg.DagsterInstance, kind: str) -> set[str]:
    return status.available(instance, kind, four_kinds.KINDS[kind])


@kinds
def test_wiped_partitions_are_missing_and_the_others_are_not(instance: dg.DagsterInstance, kind: str) -> None:
    first, *rest = EXAMPLES[kind]
    run(instance, kind, EXAMPLES[kind])
    assert available(instance, kind) == set(EXAMPLES[kind])

    result = wipe_partitions(instance, dg.AssetKey(kind), [first, first])

    assert (result.method, result.partitions) == (WipeMethod.TOMBSTONE, (first,))
    assert result.events == 2  # planned and materialized
    assert result.reason == ""
    assert available(instance, kind) == set(rest)


@pytest.mark.slow
@kinds
def test_a_wiped_partition_shows_again_when_it_is_materialized(instance: dg.DagsterInstance, kind: str) -> None:
    report(instance, kind, EXAMPLES[kind])
    wipe_partitions(instance, dg.AssetKey(kind), EXAMPLES[kind])
    assert available(instance, kind) == set()

    run(instance, kind, EXAMPLES[kind][:1])
    assert available(instance, kind) == set(EXAMPLES[kind][:1])

    key = EXAMPLES[kind][1]
    instance.report_runless_asset_event(dg.AssetMaterialization(kind, partition=key))
    assert key in instance.get_materialized_partitions(dg.AssetKey(kind))


@pytest.mark.slow
@kinds
def test_a_failed_partition_is_forgotten_too(instance: dg.DagsterInstance, kind: str) -> None:
    key = EXAMPLES[kind][0]
    run(instance, kind, [key], fail=True)
    partitions_def, asset_key = four_kinds.KINDS[kind], dg.AssetKey(kind)
    failed = instance.get_status_by_partition(asset_key, [key], partitions_def)
    assert failed == {key: dg.AssetPartitionStatus.FAILED}

    wipe_partitions(instance, asset_key, [key])

    assert instance.get_status_by_partition(asset_key, [key], partitions_def) == {key: None}
    assert clear_stale_status(instance, asset_key, partitions_def) == frozenset()


@pytest.mark.slow
def test_what_the_ui_asks_for_agrees_for_every_kind(instance: dg.DagsterInstance) -> None:
    check_what_the_ui_asks_for(instance)


def check_what_the_ui_asks_for(instance: dg.DagsterInstance) -> None:
    """For every kind: GraphQL says the same after a wipe, and after a partition has come back."""
    for kind, keys in EXAMPLES.items():
        report(instance, kind, keys)
    with status.workspace(instance, Path(four_kinds.__file__), "defs") as context:
        for kind, keys in EXAMPLES.items():
            partitions_def = four_kinds.KINDS[kind]
            assert status.in_graphql(context, kind, partitions_def) == set(keys)
            wipe_partitions(instance, dg.AssetKey(kind), keys[1:])
            assert status.in_graphql(context, kind, partitions_def) == set(keys[:1])
            report(instance, kind, keys[-1:])
            assert status.in_graphql(context, kind, partitions_def) == {keys[0], keys[-1]}


@pytest.mark.slow
@kinds
def test_it_survives_a_reindex_and_a_restart(instance: dg.DagsterInstance, dagster_home: Path, kind: str) -> None:
    first, *rest = EXAMPLES[kind]
    report(instance, kind, EXAMPLES[kind])
    wipe_partitions(instance, dg.AssetKey(kind), [first])

    instance.event_log_storage.reindex_events(force=True)
    instance.event_log_storage.reindex_assets(force=True)
    instance.reindex()
    instance.wipe_asset_cached_status([dg.AssetKey(kind)])
    assert available(instance, kind) == set(rest)

    with dg.DagsterInstance.from_config(str(dagster_home)) as another:
        another.upgrade()
        assert available(another, kind) == set(rest)


def test_no_event_is_deleted_and_ids_only_grow(instance: dg.DagsterInstance) -> None:
    run(instance, "static", ["red"])
    before = newest_storage_id(instance)
    assert before
    runs = instance.get_runs()

    wipe_partitions(instance, dg.AssetKey("static"), ["red"])

    run(instance, "static", ["red"])
    after = latest_storage_ids(instance, dg.AssetKey("static"))
    assert after["red"] > before
    logged = [record.dagster_event for record in instance.all_logs(runs[0].run_id)]
    assert any(event and event.is_step_materialization for event in logged)


def test_what_was_materialized_after_the_bound_stays(instance: dg.DagsterInstance) -> None:
    report(instance, "daily", ["2013-01-02", "2013-01-03"])
    seen = newest_storage_id(instance)
    report(instance, "daily", ["2013-01-03"])

    wipe_partitions(instance, dg.AssetKey("daily"), ["2013-01-02", "2013-01-03"], up_to=seen)

    assert available(instance, "daily") == {"2013-01-03"}


def test_other_assets_keep_the_same_partition(instance: dg.DagsterInstance) -> None:
    for asset in ("a", "b"):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="red"))
    wipe_partitions(instance, dg.AssetKey("a"), ["red"])
    assert instance.get_materialized_partitions(dg.AssetKey("a")) == set()
    assert instance.get_materialized_partitions(dg.AssetKey("b")) == {"red"}


def test_the_audit_says_what_happened(instance: dg.DagsterInstance) -> None:
    report(instance, "static", ["red", "green"])
    metadata = {"red": {"files": 3}}

    wipe_partitions(instance, dg.AssetKey("static"), ["red", "green"], metadata=metadata)

    records = instance.fetch_observations(dg.AssetKey("static"), limit=10).records
    found = {record.partition_key: record.asset_observation for record in records}
    assert set(found) == {"red", "green"}
    assert found["red"]
    assert found["red"].metadata["files"] == dg.IntMetadataValue(3)
    assert found["red"].metadata["wipe"] == dg.TextMetadataValue("tombstone")
    runless = [entry.dagster_event for entry in instance.all_logs("")]
    (wiped,) = [event for event in runless if event and event.event_type is dg.DagsterEventType.ASSET_WIPED]
    assert wiped.asset_key == dg.AssetKey("static")


def test_observations_can_go_to_a_run(instance: dg.DagsterInstance) -> None:
    report(instance, "static", ["red"])
    sent: list[dg.AssetObservation] = []
    wipe_partitions(instance, dg.AssetKey("static"), ["red"], report=sent.append)
    assert [observation.partition for observation in sent] == ["red"]
    assert instance.fetch_observations(dg.AssetKey("static"), limit=10).records == []


def test_no_keys_is_nothing(instance: dg.DagsterInstance) -> None:
    assert wipe_partitions(instance, dg.AssetKey("static"), []).partitions == ()
    assert newest_storage_id(instance) == 0


def test_another_minor_version_of_dagster_gets_the_observation_alone(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    report(instance, "static", ["red"])
    monkeypatch.setattr(dagster_internals, "TESTED_DAGSTER_VERSION", "1.99.0")

    with caplog.at_level(logging.WARNING):
        result = wipe_partitions(instance, dg.AssetKey("static"), ["red"])

    assert result.method is WipeMethod.OBSERVATION
    assert dg.__version__ in result.reason
    assert dg.__version__ in caplog.text
    assert available(instance, "static") == {"red"}
    (record,) = instance.fetch_observations(dg.AssetKey("static"), limit=10).records
    assert record.asset_observation
    assert "wipe_reason" in record.asset_observation.metadata

    # each tick tries again: what is said of it is said once
    assert wipe_partitions(instance, dg.AssetKey("static"), ["red"]).method is WipeMethod.OBSERVATION
    assert instance.fetch_observations(dg.AssetKey("static"), limit=10).records == [record]
    report(instance, "static", ["red"])
    wipe_partitions(instance, dg.AssetKey("static"), ["red"])
    assert len(instance.fetch_observations(dg.AssetKey("static"), limit=10).records) == 2


def test_an_old_schema_gets_the_observation_alone(instance: dg.DagsterInstance, dagster_home: Path) -> None:
    report(instance, "static", ["red"])
    (index,) = dagster_home.glob("**/index.db")
    with sqlite3.connect(index) as connection:
        connection.execute("ALTER TABLE asset_event_tags RENAME TO elsewhere")
    connection.close()

    result = wipe_partitions(instance, dg.AssetKey("static"), ["red"])

    assert result.method is WipeMethod.OBSERVATION
    assert "asset_event_tags" in result.reason
    assert instance.get_materialized_partitions(dg.AssetKey("static")) == {"red"}


def test_dagsters_own_wipe_is_used_where_it_works(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[dg.AssetKey, list[str]]] = []

    def as_in_dagster_plus(_: dg.DagsterInstance, asset_key: dg.AssetKey, partition_keys: Iterable[str]) -> None:
        asked.append((asset_key, list(partition_keys)))

    monkeypatch.setattr(dg.DagsterInstance, "wipe_asset_partitions", as_in_dagster_plus)
    result = wipe_partitions(instance, dg.AssetKey("static"), ["red"])
    assert result.method is WipeMethod.NATIVE
    assert asked == [(dg.AssetKey("static"), ["red"])]


def test_a_stale_cache_written_back_is_reconciled(instance: dg.DagsterInstance) -> None:
    kind, asset_key, partitions_def = "daily", dg.AssetKey("daily"), four_kinds.DAYS
    report(instance, kind, EXAMPLES[kind])
    seen = get_and_update_asset_status_cache_value(instance, asset_key, partitions_def)
    assert seen
    wipe_partitions(instance, asset_key, ["2013-01-02"])
    instance.update_asset_cached_status_data(asset_key, seen)  # what a slow reader does
    assert "2013-01-02" in status.in_status(instance, kind, partitions_def)

    assert clear_stale_status(instance, asset_key, partitions_def) == {"2013-01-02"}

    assert available(instance, kind) == {"2013-01-03", "2013-01-07"}
    assert clear_stale_status(instance, asset_key, partitions_def) == frozenset()


def test_an_instance_in_memory_works_too() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, "static", ["red", "green"])
        assert wipe_partitions(instance, dg.AssetKey("static"), ["red"]).events == 1
        assert available(instance, "static") == {"green"}


def test_thousands_of_partitions(instance: dg.DagsterInstance) -> None:
    keys = [f"key-{number}" for number in range(5000)]
    instance.report_runless_asset_event(dg.AssetMaterialization("many", partition=keys[0]))
    (index,) = Path(instance.root_directory).glob("**/index.db")
    with sqlite3.connect(index) as connection:  # as if each had been materialized; one by one takes a minute
        copied = "run_id, event, dagster_event_type, timestamp, step_key, asset_key"
        copy = f"INSERT INTO event_logs ({copied}, partition) SELECT {copied}, ? FROM event_logs WHERE id = 1"  # noqa: S608
        connection.executemany(copy, [(key,) for key in keys[1:]])
    connection.close()
    sent: list[dg.AssetObservation] = []

    result = wipe_partitions(instance, dg.AssetKey("many"), keys[:4900], report=sent.append)

    assert (result.events, len(sent)) == (4900, 4900)
    assert instance.get_materialized_partitions(dg.AssetKey("many")) == set(keys[4900:])
