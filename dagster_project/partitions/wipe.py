"""Make Dagster forget that partitions are materialized, on the open-source storages.

`DagsterInstance.wipe_asset_partitions` raises NotImplementedError outside Dagster+. This module
does what it promises, and can be used alone:

    from tierlake.dagster_project.partitions.wipe import wipe_partitions

    result = wipe_partitions(instance, AssetKey("flights"), ["2013-01-01", "2013-01-02"])
    result.method     # NATIVE on Dagster+, TOMBSTONE on the SQL storages, else OBSERVATION
    result.reason     # why it fell back to the observation; empty where it did not

Afterwards the partitions count as missing everywhere (status bar, tables, GraphQL,
`get_materialized_partitions`, backfills of what is missing), for time-window, static, multi and
dynamic partitions. They show again as soon as anybody materializes them. The events themselves stay
in the logs of their runs: they happened.

How: in one transaction, the rows of the asset's materialization, planned and failed events of these
partitions lose their `partition` and their tags, and the asset's cached status is cleared. No row
is deleted: SQLite gives freed ids away again, and a new event below an existing cursor would never
be seen. An ASSET_WIPED event and one AssetObservation a partition say what was done; the observation
carries on what the materialization had been made of (`reads.carried`).

It uses Dagster's private parts (`dagster_internals`) and was tested with Dagster 1.13.27. On another
minor version, on a storage that is not a `SqlEventLogStorage`, or where the tables are not the
expected ones, it changes nothing, reports the observations alone, and says so: in its result, in
the observations and as a warning in the log.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

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
from tierlake.dagster_project.partitions.keys import known_keys
from tierlake.dagster_project.partitions.reads import carried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tierlake.dagster_project.dagster_internals import RawMetadataValue

__all__ = [
    "WipeMethod",
    "WipeResult",
    "latest_data_versions",
    "latest_storage_ids",
    "newest_storage_id",
    "reconcile_status",
    "unfinished_attempts",
    "wipe_partitions",
]

_EVENT_TYPES: Final = tuple(
    event_type.value
    for event_type in (
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
    )
)

_KEYS_PER_STATEMENT: Final = 500
"""SQLite takes 999 bound variables a statement in its older builds."""

_log = logging.getLogger(__name__)
ItemT = TypeVar("ItemT")


class WipeMethod(StrEnum):
    """What `wipe_partitions` could do on this instance."""

    NATIVE = "native"
    """Dagster's own partition wipe (Dagster+)."""

    TOMBSTONE = "tombstone"
    """The rows of the events lost their partition (SQL storages of open-source Dagster)."""

    OBSERVATION = "observation"
    """Nothing but the audit: Dagster goes on showing the partitions as materialized."""


@dataclass(frozen=True, slots=True)
class WipeResult:
    """What a wipe did.

    Attributes:
        asset_key: the asset.
        partitions: the keys asked for, without repetitions.
        method: how it was done.
        events: how many event rows lost their partition (0 unless the method is TOMBSTONE).
        reason: why only the observation was possible; empty otherwise.
    """

    asset_key: dg.AssetKey
    partitions: tuple[str, ...]
    method: WipeMethod
    events: int = 0
    reason: str = ""


def wipe_partitions(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    partition_keys: Iterable[str],
    *,
    up_to: int | None = None,
    metadata: Mapping[str, Mapping[str, RawMetadataValue]] | None = None,
    report: Callable[[dg.AssetObservation], None] | None = None,
) -> WipeResult:
    """Wipe the materialization history of partitions, and report it.

    Doing it again changes nothing but adds observations; where it cannot be done, not even these.

    Args:
        instance: the Dagster instance.
        asset_key: the asset.
        partition_keys: Dagster's partition keys (`str` of a MultiPartitionKey for two dimensions).
        up_to: a storage id, inclusive: events stored after it stay, so that a partition that
            somebody materialized meanwhile remains. None wipes all. Dagster+ does not know it.
        metadata: by partition key, what its AssetObservation carries.
        report: takes each observation; an op passes `context.log_event`, so that they belong to its
            run. By default they are reported without a run.

    Returns:
        How it was done, and the reason where it could not be.
    """
    keys = tuple(dict.fromkeys(partition_keys))
    if not keys:
        return WipeResult(asset_key, (), WipeMethod.OBSERVATION, reason="no partitions given")
    facts = carried(instance, asset_key, keys)  # of the events that are about to be forgotten
    result = _prepared(instance, asset_key, keys)
    if result.reason:
        _log.warning("%s keeps showing %d partitions: %s", asset_key, len(keys), result.reason)
    send = report or instance.report_runless_asset_event
    told = _told_in_vain(instance, result) if result.reason else set()
    for key in keys:  # before the tombstone: whoever dies in between leaves both, and the next wipe makes it good
        if key in told:
            continue
        send(_observation(result, key, {**facts.get(key, {}), **(metadata or {}).get(key, {})}))
    storage = instance.event_log_storage
    if result.method is not WipeMethod.TOMBSTONE or not isinstance(storage, SqlEventLogStorage):
        return result
    events = _tombstone(storage, asset_key, keys, up_to)
    instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_WIPED.value,
            event_specific_data=AssetWipedData(asset_key=asset_key, partition_keys=keys),
            job_name=RUNLESS_JOB_NAME,
        ),
        run_id=RUNLESS_RUN_ID,
    )
    return replace(result, events=events)


def _told_in_vain(instance: dg.DagsterInstance, result: WipeResult) -> set[str]:
    """Partitions whose newest observation says already why they go on being shown: each tick tries again."""
    shown, told = latest_storage_ids(instance, result.asset_key), set[str]()
    observed = instance.get_latest_storage_id_by_partition(result.asset_key, dg.DagsterEventType.ASSET_OBSERVATION)
    ids = [observed[key] for key in result.partitions if observed.get(key, 0) > shown.get(key, 0)]
    for some in _batches(ids):
        only = dg.AssetRecordsFilter(result.asset_key, storage_ids=list(some))
        for record in instance.fetch_observations(only, limit=len(some)).records:
            said = record.asset_observation.metadata.get("wipe_reason") if record.asset_observation else None
            if record.partition_key is not None and said is not None and said.value == result.reason:
                told.add(record.partition_key)
    return told


def _prepared(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: tuple[str, ...]) -> WipeResult:
    """How it can be done here; where Dagster does it itself, it is done."""
    try:
        instance.wipe_asset_partitions(asset_key, keys)
    except NotImplementedError:
        obstacle = _obstacle(instance.event_log_storage)
        method = WipeMethod.OBSERVATION if obstacle else WipeMethod.TOMBSTONE
        return WipeResult(asset_key, keys, method, reason=obstacle)
    return WipeResult(asset_key, keys, WipeMethod.NATIVE)


def _obstacle(storage: object) -> str:
    """Why the tombstone wipe must not be tried here; empty where it may."""
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
            found: set[str] = set()
            if inspector.has_table(table.name):
                found = {column["name"] for column in inspector.get_columns(table.name)}
            if missing := sorted(needed - found):
                return f"table {table.name} lacks {', '.join(missing)}: run `dagster instance migrate`"
    return ""


def _tombstone(storage: SqlEventLogStorage, asset_key: dg.AssetKey, keys: Sequence[str], up_to: int | None) -> int:
    """Take partition and tags from the events' rows; returns how many rows changed.

    The order matters where a storage commits each statement (Postgres under AUTOCOMMIT): the tags
    are found through the partitions, so they go first, and a wipe that was cut off can be repeated.
    """
    events, tags, assets = SqlEventLogStorageTable.c, AssetEventTagsTable.c, AssetKeyTable.c
    changed = 0
    with storage.index_transaction() as connection:
        for some in _batches(keys):
            chosen = sa.and_(
                events.asset_key == asset_key.to_string(),
                events.dagster_event_type.in_(_EVENT_TYPES),
                events.partition.in_(some),
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


def _batches(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), _KEYS_PER_STATEMENT):
        yield items[start : start + _KEYS_PER_STATEMENT]


def _observation(result: WipeResult, key: str, metadata: Mapping[str, RawMetadataValue]) -> dg.AssetObservation:
    forgotten = result.method is not WipeMethod.OBSERVATION
    said = {"wipe": result.method.value} | ({"wipe_reason": result.reason} if result.reason else {})
    return dg.AssetObservation(
        asset_key=result.asset_key,
        partition=key,
        description="no longer available" if forgotten else f"gone, but shown: {result.reason}",
        metadata={**metadata, **said},
    )


def latest_storage_ids(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Iterable[str] | None = None
) -> Mapping[str, int]:
    """The storage id of each partition's latest materialization, where there is one."""
    return instance.get_latest_storage_id_by_partition(
        asset_key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        set(keys) if keys is not None else None,
    )


def latest_data_versions(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[str, str]:
    """The data version of each partition's latest materialization; empty text where it said none."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    return {partition: said.get(DATA_VERSION_TAG, "") for partition, said in tags.items()}


def unfinished_attempts(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[str, str]:
    """By partition the run that was to materialize it and has not: it failed, was lost, or is still at work."""
    attempts = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations
    return {partition: run_id for partition, (run_id, _) in attempts(asset_key).items()}


def newest_storage_id(instance: dg.DagsterInstance) -> int | None:
    """The id of the newest event: what is stored from now on is above it (see `up_to`).

    None where the storage does not number its events.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return None
    return storage.get_maximum_record_id() or 0


def reconcile_status(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    partitions_def: dg.PartitionsDefinition[str],
) -> frozenset[str]:
    """Clear the asset's cached status where it contradicts its events.

    A status read that began before a wipe can write what it saw back after it. A sensor that calls
    this on each tick heals that.

    Returns:
        The partitions whose status was wrong; empty where nothing had to be done.
    """
    available, attempted = set(latest_storage_ids(instance, asset_key)), set(unfinished_attempts(instance, asset_key))
    status = get_and_update_asset_status_cache_value(instance, asset_key, partitions_def)
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        # sets, and the few that differ: a status asked for key by key takes a cron schedule's search each
        materialized, unfinished = _shown(status, partitions_def) if status else (set[str](), set[str]())
        doubtful = (unfinished - attempted) | ((materialized ^ available) - (unfinished & attempted))
    wrong = frozenset(known_keys(doubtful, partitions_def, instance)[0])
    if wrong:
        instance.wipe_asset_cached_status([asset_key])
    return wrong


def _shown(status: AssetStatusCacheValue, partitions_def: dg.PartitionsDefinition[str]) -> tuple[set[str], set[str]]:
    """The partitions that a status calls materialized, and those that it calls failed or in progress instead."""
    failed = status.deserialize_failed_partition_subsets(partitions_def)
    running = status.deserialize_in_progress_partition_subsets(partitions_def)
    unfinished = {str(key) for subset in (failed, running) for key in subset.get_partition_keys()}
    materialized = status.deserialize_materialized_partition_subsets(partitions_def).get_partition_keys()
    return set(map(str, materialized)) - unfinished, unfinished
