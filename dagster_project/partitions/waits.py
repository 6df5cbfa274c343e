"""Who waits for archived partitions: written down as observations of the dataset's asset, where everybody can see them.

A run that could not read what is archived says so, and so does a restore job that has asked for it. The restore sensor
(`restores.restore_sensor`) reads both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Wait", "report", "waits"]

_PARTITIONS: Final = "archived_partitions"
_RUN: Final = "waiting_run"
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Wait:
    """Partitions that somebody wants to read.

    Attributes:
        storage_id: of the observation that says so.
        keys: Dagster keys.
        run_id: the run that failed without them; None where somebody has asked for them and no run waits.
    """

    storage_id: int
    keys: tuple[str, ...]
    run_id: str | None


def report(instance: dg.DagsterInstance, asset_key: dg.AssetKey, keys: Sequence[str], run_id: str | None) -> None:
    """Write down that partitions are waited for.

    Args:
        instance: the Dagster instance.
        asset_key: the dataset's asset.
        keys: Dagster keys of its partitions.
        run_id: the run that failed without them; None where they were only asked for.
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
    """What has been written down, oldest first.

    Args:
        instance: the Dagster instance.
        asset_key: the dataset's asset.
        after: only what is newer than this storage id.
        storage_ids: only these.
    """
    only = dg.AssetRecordsFilter(asset_key, after_storage_id=after, storage_ids=storage_ids)
    cursor, more = None, storage_ids is None or bool(storage_ids)
    while more:
        page = instance.fetch_observations(only, limit=_PAGE, cursor=cursor, ascending=True)
        cursor, more = page.cursor, page.has_more
        for record in page.records:
            seen = record.asset_observation
            if seen is not None and _PARTITIONS in seen.metadata:
                run: Any = seen.metadata.get(_RUN)
                keys: Any = seen.metadata[_PARTITIONS].value
                yield Wait(record.storage_id, tuple(keys), run.value if run else None)
