"""The materializations of an asset's partitions, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tierlake.dagster_project.partitions.event_records import event_records
from tierlake.dagster_project.partitions.metadata import PARTITION_ROWS, STATE

if TYPE_CHECKING:
    from collections.abc import Iterable

    import dagster as dg

__all__ = ["Materialized", "materialized"]


@dataclass(frozen=True, slots=True)
class Materialized:
    """A partition's materialization.

    Attributes:
        at: When it was stored, by Dagster's clock.
        rows: The partition's row count in its metadata; None without one. 0 means that the partition was materialized
            and the table has nothing of it.
        state: The table's state in its metadata; empty without one.
    """

    at: datetime
    rows: int | None
    state: str


def materialized(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, storage_ids: Iterable[int]
) -> dict[str, Materialized]:
    """Read materializations, by partition.

    Args:
        instance: The Dagster instance.
        asset_key: The asset.
        storage_ids: As `event_records.latest_storage_ids` returns them.
    """
    return {
        record.partition_key: _materialized(record)
        for record in event_records(instance, asset_key, storage_ids)
        if record.partition_key is not None
    }


def _materialized(record: dg.EventLogRecord) -> Materialized:
    event = record.asset_materialization
    values = {name: value.value for name, value in event.metadata.items()} if event is not None else {}
    rows, state = values.get(PARTITION_ROWS), values.get(STATE)
    return Materialized(
        at=datetime.fromtimestamp(record.timestamp, UTC),
        rows=rows if isinstance(rows, int) else None,
        state=state if isinstance(state, str) else "",
    )
