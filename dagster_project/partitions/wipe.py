"""Make Dagster forget that partitions are materialized, on the open-source storages.

`DagsterInstance.wipe_asset_partitions` raises NotImplementedError outside Dagster+. This module does what it promises,
and can be used alone:

    from tierlake.dagster_project.partitions.wipe import wipe_partitions

    result = wipe_partitions(instance, AssetKey("flights"), ["2013-01-01", "2013-01-02"])
    result.method     # NATIVE on Dagster+, TOMBSTONE on the SQL storages, else OBSERVATION
    result.reason     # why only the observation was possible; empty otherwise

Afterwards the partitions count as missing everywhere (status bar, tables, GraphQL, `get_materialized_partitions`,
backfills of missing partitions), for time-window, static, multi and dynamic partitions. They show again as soon as
anybody materializes them. The events themselves stay in the logs of their runs: they happened.

How: in one transaction, the rows of the asset's materialization, planned and failed events of these partitions lose
their `partition` and their tags, and the asset's cached status is cleared. No row is deleted: SQLite gives freed ids
away again, and a new event below an existing cursor would never be seen. An ASSET_WIPED event and one AssetObservation
a partition record the wipe; the observation carries on what the materialization had been made of (`reads.read_facts`).

Where the storage cannot do that (`event_storage.tombstone_obstacle`), the observations alone are reported, and the
result, the observations and a warning in the log give the reason.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import dagster as dg

from tierlake.dagster_project.partitions.event_records import OBSERVATION, event_records, latest_storage_ids
from tierlake.dagster_project.partitions.event_storage import report_wiped, tombstone, tombstone_obstacle
from tierlake.dagster_project.partitions.reads import read_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

__all__ = ["WipeMethod", "WipeResult", "wipe_partitions"]

_log = logging.getLogger(__name__)


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
        asset_key: The asset.
        partitions: The requested keys, without repetitions.
        method: How it was done.
        events: How many event rows lost their partition (0 unless the method is TOMBSTONE).
        reason: Why only the observation was possible; empty otherwise.
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
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    report: Callable[[dg.AssetObservation], None] | None = None,
) -> WipeResult:
    """Wipe the materialization history of partitions, and report it.

    A second wipe changes nothing but adds observations; where the wipe is impossible, not even these.

    Args:
        instance: The Dagster instance.
        asset_key: The asset.
        partition_keys: Dagster's partition keys (`str` of a MultiPartitionKey for two dimensions).
        up_to: A storage id, inclusive: events stored after it stay, so that a partition that somebody materialized
            meanwhile remains. None wipes all. Dagster+ does not know it.
        metadata: By partition key, what its AssetObservation carries.
        report: Takes each observation; an op passes `context.log_event`, so that they belong to its run. By default
            they are reported without a run.

    Returns:
        How it was done, and the reason where it could not be.
    """
    keys = tuple(dict.fromkeys(partition_keys))
    if not keys:
        return WipeResult(asset_key, (), WipeMethod.OBSERVATION, reason="no partitions given")
    facts = read_facts(instance, asset_key, keys)  # of the events that are about to be forgotten
    result = _native_or_planned(instance, asset_key, keys)
    if result.reason:
        _log.warning("%s keeps showing %d partitions: %s", asset_key, len(keys), result.reason)
    send = report or instance.report_runless_asset_event
    observed = _observed_before(instance, result) if result.reason else set()
    for key in keys:  # before the tombstone: a process that dies in between leaves both, and the next wipe repairs it
        if key not in observed:
            send(_observation(result, key, {**facts.get(key, {}), **(metadata or {}).get(key, {})}))
    if result.method is not WipeMethod.TOMBSTONE:
        return result
    events = tombstone(instance, asset_key, keys, up_to)
    report_wiped(instance, asset_key, keys)
    return replace(result, events=events)


def _observed_before(instance: dg.DagsterInstance, result: WipeResult) -> set[str]:
    """Partitions whose newest observation already gives the reason why they are still shown: each tick tries again."""
    shown = latest_storage_ids(instance, result.asset_key)
    observations = latest_storage_ids(instance, result.asset_key, result.partitions, OBSERVATION)
    ids = [storage_id for key, storage_id in observations.items() if storage_id > shown.get(key, 0)]
    return {
        record.partition_key
        for record in event_records(instance, result.asset_key, ids, OBSERVATION)
        if record.partition_key is not None and _wipe_reason(record) == result.reason
    }


def _wipe_reason(record: dg.EventLogRecord) -> Any:
    value = record.asset_observation.metadata.get("wipe_reason") if record.asset_observation else None
    return None if value is None else value.value


def _native_or_planned(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: tuple[str, ...]) -> WipeResult:
    """The result where Dagster wipes partitions itself; else the one that this module is about to bring about."""
    try:
        instance.wipe_asset_partitions(asset_key, keys)
    except NotImplementedError:
        obstacle = tombstone_obstacle(instance)
        method = WipeMethod.OBSERVATION if obstacle else WipeMethod.TOMBSTONE
        return WipeResult(asset_key, keys, method, reason=obstacle)
    return WipeResult(asset_key, keys, WipeMethod.NATIVE)


def _observation(result: WipeResult, key: str, metadata: Mapping[str, Any]) -> dg.AssetObservation:
    forgotten = result.method is not WipeMethod.OBSERVATION
    method = {"wipe": result.method.value} | ({"wipe_reason": result.reason} if result.reason else {})
    return dg.AssetObservation(
        asset_key=result.asset_key,
        partition=key,
        description="no longer available" if forgotten else f"gone, but shown: {result.reason}",
        metadata={**metadata, **method},
    )
