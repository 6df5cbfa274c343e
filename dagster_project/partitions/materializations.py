"""The latest materializations of an asset's partitions, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.partitions.metadata import PARTITION_ROWS, STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["AT_ONCE", "Materialized", "materialized"]

AT_ONCE: Final = 500
"""SQLite takes 999 bound variables a statement in its older builds."""


@dataclass(frozen=True, slots=True)
class Materialized:
    """A partition's materialization.

    Attributes:
        storage_id: of the event.
        at: when it was stored, by Dagster's clock.
        rows: how many it says that the partition has; None where it does not say. 0: it was materialized, and there is
            nothing in the table to have.
        state: of the table, where it says so.
        metadata: all that it says.
    """

    storage_id: int
    at: datetime
    rows: int | None
    state: str
    metadata: Mapping[str, Any]


def materialized(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, storage_ids: Iterable[int]
) -> dict[str, Materialized]:
    """Read materializations, by partition.

    Args:
        instance: the Dagster instance.
        asset_key: the asset.
        storage_ids: which, as `partition_wipe.latest_storage_ids` tells them.
    """
    by_partition: dict[str, Materialized] = {}
    ids = list(storage_ids)
    for start in range(0, len(ids), AT_ONCE):
        page = ids[start : start + AT_ONCE]
        only = dg.AssetRecordsFilter(asset_key, storage_ids=page)
        for record in instance.fetch_materializations(only, limit=len(page)).records:
            event = record.asset_materialization
            if event is not None and event.partition is not None:
                by_partition[event.partition] = _materialized(record, event)
    return by_partition


def _materialized(record: dg.EventLogRecord, event: dg.AssetMaterialization) -> Materialized:
    values = {name: value.value for name, value in event.metadata.items()}
    rows, state = values.get(PARTITION_ROWS), values.get(STATE)
    return Materialized(
        storage_id=record.storage_id,
        at=datetime.fromtimestamp(record.timestamp, UTC),
        rows=rows if isinstance(rows, int) else None,
        state=state if isinstance(state, str) else "",
        metadata=values,
    )
