"""Dagster's event storage beyond its public interface, for the wipe and the sensors.

The parts are those of `dagster_internals`. On another minor version, on a storage that is not a
`SqlEventLogStorage`, or where the tables are not the expected ones, `tombstone_obstacle` returns a reason, and nothing
is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dagster as dg
import sqlalchemy as sa

from tierlake.dagster_project.dagster_internals import (
    DATA_VERSION_TAG,
    RUNLESS_JOB_NAME,
    RUNLESS_RUN_ID,
    TESTED_DAGSTER_VERSION,
    AssetEventTagsTable,
    AssetKeyTable,
    AssetStatusCacheValue,
    AssetWipedData,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    get_and_update_asset_status_cache_value,
    is_tested_version,
)
from tierlake.dagster_project.partitions.event_records import latest_storage_ids, pages
from tierlake.dagster_project.partitions.keys import known_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "clear_stale_status",
    "latest_data_versions",
    "newest_storage_id",
    "report_wiped",
    "tombstone",
    "tombstone_obstacle",
    "unfinished_attempts",
]

_EVENT_TYPES: Final = tuple(
    event_type.value
    for event_type in (
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
    )
)


def tombstone_obstacle(instance: dg.DagsterInstance) -> str:
    """Why `tombstone` must not be tried on an instance; empty where it may."""
    storage = instance.event_log_storage
    if not is_tested_version():
        return f"the wipe was tested with Dagster {TESTED_DAGSTER_VERSION}, not {dg.__version__}"
    if not isinstance(storage, SqlEventLogStorage):
        return f"{type(storage).__name__} is not one of Dagster's SQL event log storages"
    with storage.index_connection() as connection:
        inspector = sa.inspect(connection)
        for table, needed in (
            (SqlEventLogStorageTable, {"id", "asset_key", "dagster_event_type", "partition"}),
            (AssetEventTagsTable, {"event_id"}),
            (AssetKeyTable, {"asset_key", "cached_status_data"}),
        ):
            columns: set[str] = set()
            if inspector.has_table(table.name):
                columns = {column["name"] for column in inspector.get_columns(table.name)}
            if missing := sorted(needed - columns):
                return f"table {table.name} lacks {', '.join(missing)}: run `dagster instance migrate`"
    return ""


def tombstone(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str], up_to: int | None) -> int:
    """Take partition and tags from the rows of events; returns how many rows changed.

    The order matters where a storage commits each statement (Postgres under AUTOCOMMIT): the tags are located by the
    partitions, so they go first, and a wipe that was cut off can be repeated.

    Args:
        instance: Whose storage has no `tombstone_obstacle`.
        asset_key: The asset.
        keys: Its partitions.
        up_to: A storage id, inclusive; None means all events.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(tombstone_obstacle(instance))
    events, tags, assets = SqlEventLogStorageTable.c, AssetEventTagsTable.c, AssetKeyTable.c
    changed = 0
    with storage.index_transaction() as connection:
        for page in pages(keys):
            chosen = sa.and_(
                events.asset_key == asset_key.to_string(),
                events.dagster_event_type.in_(_EVENT_TYPES),
                events.partition.in_(page),
                events.id <= up_to if up_to is not None else sa.true(),
            )
            ids = sa.select(events.id).where(chosen)
            connection.execute(AssetEventTagsTable.delete().where(tags.event_id.in_(ids)))
            update = SqlEventLogStorageTable.update().where(chosen).values(partition=None)
            changed += connection.execute(update).rowcount
        connection.execute(
            AssetKeyTable.update().where(assets.asset_key == asset_key.to_string()).values(cached_status_data=None)
        )
    return changed


def report_wiped(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str]) -> None:
    """Store the event that Dagster+ stores for a partition wipe."""
    instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_WIPED.value,
            event_specific_data=AssetWipedData(asset_key=asset_key, partition_keys=keys),
            job_name=RUNLESS_JOB_NAME,
        ),
        run_id=RUNLESS_RUN_ID,
    )


def latest_data_versions(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[str, str]:
    """The data version of each partition's latest materialization; empty text without one."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    return {partition: values.get(DATA_VERSION_TAG, "") for partition, values in tags.items()}


def unfinished_attempts(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[str, str]:
    """By partition, the run that was to materialize it and has not: it failed, was lost, or is still under way."""
    attempts = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations
    return {partition: run_id for partition, (run_id, _) in attempts(asset_key).items()}


def newest_storage_id(instance: dg.DagsterInstance) -> int | None:
    """The id of the newest event; events that are stored later have greater ones.

    None where the storage does not number its events.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return None
    return storage.get_maximum_record_id() or 0


def clear_stale_status(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    partitions_def: dg.PartitionsDefinition[str],
) -> frozenset[str]:
    """Clear the asset's cached status where it contradicts its events.

    A read of the status that began before a wipe may write the status of before back after it. A sensor that calls this
    on each tick heals that.

    Returns:
        The partitions whose status was wrong; empty where nothing had to be done.
    """
    available, attempted = set(latest_storage_ids(instance, asset_key)), set(unfinished_attempts(instance, asset_key))
    status = get_and_update_asset_status_cache_value(instance, asset_key, partitions_def)
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        # only the few keys that differ are looked up: each look-up runs through a cron schedule
        materialized, unfinished = _cached(status, partitions_def) if status else (set[str](), set[str]())
        doubtful = (unfinished - attempted) | ((materialized ^ available) - (unfinished & attempted))
    wrong = frozenset(known_keys(doubtful, partitions_def, instance)[0])
    if wrong:
        instance.wipe_asset_cached_status([asset_key])
    return wrong


def _cached(status: AssetStatusCacheValue, partitions_def: dg.PartitionsDefinition[str]) -> tuple[set[str], set[str]]:
    """The partitions that a status calls materialized, and those that it calls failed or in progress instead."""
    failed = status.deserialize_failed_partition_subsets(partitions_def)
    running = status.deserialize_in_progress_partition_subsets(partitions_def)
    unfinished = {str(key) for subset in (failed, running) for key in subset.get_partition_keys()}
    materialized = status.deserialize_materialized_partition_subsets(partitions_def).get_partition_keys()
    return set(map(str, materialized)) - unfinished, unfinished
