"""Metadata that follows the table: what a partition is now, where its materialization says what it was.

Tiering, compaction and expiry change no row, so they make no materialization and no data version. Each partition that
one of them has touched gets an observation with its files, bytes and classes of now, which its page shows beside the
materialization; the asset gets one with the numbers of the whole table. Dagster stores one event at a time: an act on
more than `OBSERVED_AT_MOST` partitions is observed on the newest of them, and counted on the asset.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.partitions.keys import KnownPartitions
from tierlake.dagster_project.partitions.metadata import STATE, partition_metadata
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.pipelines import Dataset

__all__ = ["FOLLOWED", "OBSERVED_AT_MOST", "Touched", "observations", "touched_after"]

OBSERVED_AT_MOST: Final = 500
"""Partitions of which an act is observed, each an event that waits for the disk."""

FOLLOWED: Final = {"tier": "moved to another tier", "compact": "compacted", "expire": "expired", "drop": "dropped"}
"""Acts that change the metadata of partitions or of the table, and no rows that stay; each in words."""

_STAYING: Final = frozenset({"tier", "compact"})
"""Acts whose partitions are in the table afterwards."""

_BEFORE_ALL: Final = "0"
"""Before the first act of a journal that is still empty."""

_MAY_BE_ALIVE: Final = timedelta(hours=1)
"""How long an act that was begun is waited for: afterwards its process counts as dead."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What acts have touched since an earlier act.

    Attributes:
        keys: The partitions, each with the act in words.
        act: The newest of these acts.
        is_any: Whether any of them changes the table's metadata.
    """

    keys: Mapping[PartitionKey, str]
    act: str
    is_any: bool


def touched_after(instance: dg.DagsterInstance, dataset: Dataset, act: str, limit: int) -> Touched:
    """What was touched since an act, by anybody; acts that runs of this instance have reported are left out.

    Args:
        instance: The Dagster instance.
        dataset: The open dataset.
        act: See `Dataset.acts_after`; empty means that there is nothing to compare with yet.
        limit: About how many partitions at most; the returned act is where the next call goes on.
    """
    if not act:
        return Touched({}, dataset.newest_act() or _BEFORE_ALL, is_any=False)
    keys: dict[PartitionKey, str] = {}
    newest, is_any = act, False
    for entry in reversed(dataset.acts_after(act)):  # oldest first
        is_at_work = entry.is_open and entry.operation in FOLLOWED and dataset.now() - entry.at < _MAY_BE_ALIVE
        if len(keys) >= limit or is_at_work:  # the next tick reports it, and newer ones
            break
        newest = entry.id
        if entry.operation not in FOLLOWED or _has_reported(instance, entry.run_id):
            continue
        is_any = True
        if entry.operation in _STAYING:
            keys |= {PartitionKey.parse(key): FOLLOWED[entry.operation] for key in entry.keys}
    return Touched(keys, newest, is_any)


def _has_reported(instance: dg.DagsterInstance, run_id: str | None) -> bool:
    run = instance.get_run_by_id(run_id) if run_id else None
    return run is not None and run.is_success


def observations(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    dataset: Dataset,
    touched: Mapping[PartitionKey, str],
    run_id: str | None = None,
) -> Iterator[dg.AssetObservation]:
    """Observations with the metadata of now: of partitions that were touched, and of the table.

    Args:
        instance: The Dagster instance.
        asset: The dataset's asset.
        dataset: The open dataset.
        touched: Partitions, each with the act in words; those that the table or Dagster lacks are left out.
        run_id: The run that did it.
    """
    state, catalog = dataset.state(), dataset.partitions()
    known = KnownPartitions(asset.partitions_def, instance) if touched else ()
    by: dict[str, Any] = {"run": dg.MetadataValue.dagster_run(run_id)} if run_id else {}
    named = [(part, asset.keys.find_dagster(part.key)) for part in catalog if part.key in touched]
    shown = [(part, str(name)) for part, name in named if name is not None and name in known]
    for part, name in shown[-OBSERVED_AT_MOST:]:
        metadata = {"dagster/uri": dataset.uri, STATE: state, **partition_metadata([part]), **by}
        yield dg.AssetObservation(asset.asset_key, partition=name, description=touched[part.key], metadata=metadata)
    total = catalog.total
    facts: dict[str, Any] = {
        "dagster/uri": dataset.uri,
        STATE: state,
        "partitions": total.partitions,
        "table_bytes": total.bytes,
        "table_size": formatting.size(total.bytes),
        "storage_class": "+".join(_classes(part.storage_class for part in catalog)) or "none: no rows",
        "partitions_by_class": dg.MetadataValue.json(dict(Counter(part.storage_class for part in catalog))),
        **by,
    }
    if len(shown) > OBSERVED_AT_MOST:
        facts["touched_partitions"] = len(shown)
        facts["note"] = f"only the newest {OBSERVED_AT_MOST} have an observation each; `tierlake ls` shows all"
    if total.rows is not None:
        facts["dagster/row_count"] = total.rows
    yield dg.AssetObservation(asset.asset_key, description="the table as it is now", metadata=facts)


def _classes(joined: Iterable[str]) -> list[str]:
    return sorted({name for one in joined for name in one.split("+")})
