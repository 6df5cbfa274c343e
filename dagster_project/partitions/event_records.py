"""Dagster's event records by their storage ids: the latest one of each partition, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["MATERIALIZATION", "OBSERVATION", "PAGE", "event_records", "latest_storage_ids", "pages"]

MATERIALIZATION: Final = dg.DagsterEventType.ASSET_MATERIALIZATION
OBSERVATION: Final = dg.DagsterEventType.ASSET_OBSERVATION

PAGE: Final = 500
"""Items of a statement: SQLite takes 999 bound variables in its older builds."""

ItemT = TypeVar("ItemT")


def latest_storage_ids(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    keys: Iterable[str] | None = None,
    kind: dg.DagsterEventType = MATERIALIZATION,
) -> Mapping[str, int]:
    """The storage id of each partition's latest event, where there is one.

    Args:
        instance: The Dagster instance.
        asset_key: The asset.
        keys: Its partitions; None means all that have events.
        kind: `MATERIALIZATION` or `OBSERVATION`.
    """
    if keys is None:
        return instance.get_latest_storage_id_by_partition(asset_key, kind, None)
    requested = dict.fromkeys(keys)
    if not requested:
        return {}
    few = set(requested) if len(requested) <= PAGE else None
    latest = instance.get_latest_storage_id_by_partition(asset_key, kind, few)
    return {key: latest[key] for key in requested if key in latest}


def event_records(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    storage_ids: Iterable[int],
    kind: dg.DagsterEventType = MATERIALIZATION,
) -> Iterator[dg.EventLogRecord]:
    """Read records, a page a query.

    Args:
        instance: The Dagster instance.
        asset_key: The asset.
        storage_ids: As `latest_storage_ids` returns them.
        kind: `MATERIALIZATION` or `OBSERVATION`.
    """
    fetch: Any = instance.fetch_observations if kind is OBSERVATION else instance.fetch_materializations
    for page in pages(sorted(storage_ids)):
        yield from fetch(dg.AssetRecordsFilter(asset_key, storage_ids=list(page)), limit=PAGE).records


def pages(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    """Slices of `PAGE` items."""
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]
