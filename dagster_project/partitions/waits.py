"""Waits for archived partitions: recorded as observations of the dataset's asset, where everybody can see them.

A run that could not read archived partitions records a wait, and so does a restore job that has requested them. The
restore sensor (`restores.restore_sensor`) reads both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Wait", "record_wait", "waits"]

_PARTITIONS: Final = "archived_partitions"
_RUN: Final = "waiting_run"
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Wait:
    """Partitions that are waited for.

    Attributes:
        storage_id: The id of the observation that records it.
        keys: Dagster keys.
        run_id: The run that failed without them; None where they have been requested and no run waits.
    """

    storage_id: int
    keys: tuple[str, ...]
    run_id: str | None


def record_wait(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str], run_id: str | None) -> None:
    """Record that partitions are waited for.

    Args:
        instance: The Dagster instance.
        asset_key: The dataset's asset.
        keys: Dagster keys of its partitions.
        run_id: The run that failed without them; None where they were only requested.
    """
    why = "archived: a run waits until they are restored" if run_id else "archived: asked for by a restore"
    facts = {_RUN: dg.MetadataValue.dagster_run(run_id)} if run_id else {}
    listed = dg.MetadataValue.json([str(key) for key in keys])
    instance.report_runless_asset_event(
        dg.AssetObservation(asset_key, description=why, metadata={_PARTITIONS: listed, **facts})
    )


def waits(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    *,
    after: int | None = None,
    storage_ids: Sequence[int] | None = None,
) -> Iterator[Wait]:
    """The recorded waits, oldest first.

    Args:
        instance: The Dagster instance.
        asset_key: The dataset's asset.
        after: Only what is newer than this storage id.
        storage_ids: Only these.
    """
    only = dg.AssetRecordsFilter(asset_key, after_storage_id=after, storage_ids=storage_ids)
    cursor, more = None, storage_ids is None or bool(storage_ids)
    while more:
        page = instance.fetch_observations(only, limit=_PAGE, cursor=cursor, ascending=True)
        cursor, more = page.cursor, page.has_more
        for record in page.records:
            observation = record.asset_observation
            if observation is not None and _PARTITIONS in observation.metadata:
                run: Any = observation.metadata.get(_RUN)
                keys: Any = observation.metadata[_PARTITIONS].value
                yield Wait(record.storage_id, tuple(keys), run.value if run else None)
