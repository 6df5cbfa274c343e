"""Metadata that follows the table: what a partition is now, told where its materialization says what it was.

Tiering, compaction and expiry change no row, so they make no materialization and no data version. Each partition that
one of them has touched gets an observation with its files, bytes and classes of now, which its page shows beside the
materialization; the asset gets one with the numbers of the whole table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.partitions.keys import KnownPartitions
from tierlake.dagster_project.partitions.metadata import STATE, partition_metadata
from tierlake.pipelines.model.partition_key import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.pipelines import Dataset

__all__ = ["FOLLOWED", "observations", "touched_after"]

FOLLOWED: Final = {"tier": "moved to another tier", "compact": "compacted", "expire": "expired", "drop": "dropped"}
"""Acts that change no row of what is in the table and still change what is true of it, each in words."""

_STAYING: Final = frozenset({"tier", "compact"})
"""Those whose partitions are in the table afterwards."""


_BEFORE_ALL: Final = "0"
"""Before the first act of a journal that is still empty."""

_MAY_BE_ALIVE: Final = timedelta(hours=1)
"""How long what was begun is waited for: afterwards its process is taken for dead."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What acts have touched since one of them.

    Attributes:
        keys: the partitions, each with what was done, in words.
        act: the newest act of these.
        is_any: whether anything was done that changes what is true of the table.
    """

    keys: Mapping[PartitionKey, str]
    act: str
    is_any: bool


def touched_after(instance: dg.DagsterInstance, dataset: Dataset, act: str, most: int) -> Touched:
    """What was done since an act, by whomever; what runs of this instance did and told of themselves is left out.

    Args:
        instance: the Dagster instance.
        dataset: the open dataset.
        act: see `Dataset.acts_after`; empty: there is nothing to compare with yet.
        most: not many more partitions than this; the rest is told of from the returned act on.
    """
    if not act:
        return Touched({}, dataset.newest_act() or _BEFORE_ALL, is_any=False)
    keys: dict[PartitionKey, str] = {}
    newest, is_any = act, False
    for entry in reversed(dataset.acts_after(act)):  # oldest first
        is_at_work = entry.is_open and entry.operation in FOLLOWED and dataset.now() - entry.at < _MAY_BE_ALIVE
        if len(keys) >= most or is_at_work:  # the next tick tells of it and of what is newer
            break
        newest = entry.id
        if entry.operation not in FOLLOWED or _has_told(instance, entry.run_id):
            continue
        is_any = True
        if entry.operation in _STAYING:
            keys |= {PartitionKey.parse(key): FOLLOWED[entry.operation] for key in entry.keys}
    return Touched(keys, newest, is_any)


def _has_told(instance: dg.DagsterInstance, run_id: str | None) -> bool:
    run = instance.get_run_by_id(run_id) if run_id else None
    return run is not None and run.is_success


def observations(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    dataset: Dataset,
    touched: Mapping[PartitionKey, str],
    run_id: str | None = None,
) -> Iterator[dg.AssetObservation]:
    """What is true now of partitions that were touched, and of the table.

    Args:
        instance: the Dagster instance.
        asset: the dataset's asset.
        dataset: the open dataset.
        touched: partitions, each with what was done, in words; those that the table or Dagster lacks are left out.
        run_id: the run that did it.
    """
    state, catalog = dataset.state(), dataset.partitions()
    known = KnownPartitions(asset.partitions_def, instance) if touched else ()
    by: dict[str, Any] = {"run": dg.MetadataValue.dagster_run(run_id)} if run_id else {}
    for part in catalog:
        name = asset.keys.find_dagster(part.key)
        if part.key in touched and name is not None and name in known:
            metadata = {"dagster/uri": dataset.uri, STATE: state, **partition_metadata([part]), **by}
            yield dg.AssetObservation(
                asset.asset_key, partition=str(name), description=touched[part.key], metadata=metadata
            )
    total = catalog.total
    facts: dict[str, Any] = {
        "dagster/uri": dataset.uri,
        STATE: state,
        "partitions": total.partitions,
        "table_bytes": total.bytes,
        "storage_class": "+".join(_classes(part.storage_class for part in catalog)) or "none: no rows",
        **by,
    }
    if total.rows is not None:
        facts["dagster/row_count"] = total.rows
    yield dg.AssetObservation(asset.asset_key, description="the table as it is now", metadata=facts)


def _classes(joined: Iterable[str]) -> list[str]:
    return sorted({name for one in joined for name in one.split("+")})
