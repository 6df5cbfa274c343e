"""How a dataset's table and what Dagster shows of its asset differ.

They are compared by their state, and not by what somebody remembers to have done. So it makes no difference who changed
one of them: a run that was killed between its commit and its event, `tierlake expire` or `tierlake undo` in a terminal,
another writer, another code location.

Dagster is looked at first: a partition that is materialized while the table is read does not count as gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from tierlake.dagster_project.automation.attempts import is_at_work
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.event_storage import newest_storage_id, unfinished_attempts
from tierlake.dagster_project.partitions.keys import KnownPartitions
from tierlake.dagster_project.partitions.materializations import materialized

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping

    import dagster as dg

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.partitions.materializations import Materialized
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.catalog import PartitionInfo

__all__ = ["Difference", "Shown", "compare", "shown_now"]

_RESOLUTION: Final = timedelta(seconds=2)
"""Servers give their time in whole seconds."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What Dagster shows of an asset, before the table is looked at.

    Attributes:
        latest: The storage id of each materialized partition's latest materialization.
        newest: The greatest storage id of all events; later events are above it. None where the storage does not number
            them.
    """

    latest: Mapping[str, int]
    newest: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How the table differs from what Dagster shows, in Dagster's keys.

    Attributes:
        gone: Shown, and no more in the table.
        empty: Shown, materialized without rows: the table has nothing of them to lose.
        unexplained: Shown, not in the table, and it is unknown whether they ever had rows.
        unshown: In the table, and not shown.
        changed: Shown, with rows that others have changed since.
        in_progress: In the table and not shown yet, as a run is at work on them.
        unknown: In the table, and no partitions of the asset.
    """

    gone: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()
    unshown: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    in_progress: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def shown_now(instance: dg.DagsterInstance, asset: LakeAsset) -> Shown:
    """What Dagster shows now; call it before the table is read."""
    newest = newest_storage_id(instance)
    return Shown(latest_storage_ids(instance, asset.asset_key), newest)


def compare(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    dataset: Dataset,
    shown: Shown,
    live: Collection[PartitionKey],
    *,
    since: str = "",
    added: Mapping[str, set[str]] | None = None,
) -> Difference:
    """Compare what Dagster showed with what the table has.

    Args:
        instance: The Dagster instance.
        asset: The dataset's asset.
        dataset: The open dataset.
        shown: What Dagster showed before.
        live: The table's partitions, read afterwards.
        since: The state of the table up to which all changes have been reported to Dagster; empty means unknown, and
            all materializations are read.
        added: Keys of dynamic partitions that are about to be added, as `keys.unknown_values` returns them.
    """
    lake_keys = {str(name): key for key in live if (name := asset.keys.find_dagster(key)) is not None}
    absent = [key for key in shown.latest if key not in lake_keys and asset.keys.find_lake(key) is not None]
    gone, empty, unexplained = _absent(instance, asset, dataset, shown, absent)
    unshown = [name for name in lake_keys if name not in shown.latest]
    changed = _changed(instance, asset, dataset, shown, lake_keys, since)
    in_progress: set[str] = set()
    unknown: list[str] = []
    if unshown or changed:
        known = KnownPartitions(asset.partitions_def, instance, added)
        unknown = [key for key in unshown if key not in known]
        unshown, changed = [key for key in unshown if key in known], [key for key in changed if key in known]
        in_progress = _in_progress(instance, asset, {*unshown, *changed})
    return Difference(
        gone=tuple(sorted(gone)),
        empty=tuple(sorted(empty)),
        unexplained=tuple(sorted(unexplained)),
        unshown=tuple(key for key in unshown if key not in in_progress),
        changed=tuple(key for key in changed if key not in in_progress),
        in_progress=tuple(sorted(in_progress)),
        unknown=tuple(unknown),
    )


def _absent(
    instance: dg.DagsterInstance, asset: LakeAsset, dataset: Dataset, shown: Shown, absent: Collection[str]
) -> tuple[list[str], list[str], list[str]]:
    """Partitions that the table lacks: those that it had, those without rows, and those of which neither is known."""
    if not absent:
        return [], [], []
    if dataset.dropped_at is not None:
        return list(absent), [], []
    latest = materialized(instance, asset.asset_key, [shown.latest[key] for key in absent])
    counts = {key: latest[key].rows if key in latest else None for key in absent}
    uncounted = {key: asset.keys.to_lake(key) for key in absent if counts[key] is None}
    had_rows = dataset.had_rows(uncounted.values()) if uncounted else frozenset()
    gone = [key for key in absent if counts[key] or (key in uncounted and uncounted[key] in had_rows)]
    empty = [key for key in absent if counts[key] == 0]
    unexplained = [key for key, lake_key in uncounted.items() if lake_key not in had_rows]
    return gone, empty, unexplained


def _changed(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    dataset: Dataset,
    shown: Shown,
    lake_keys: Mapping[str, PartitionKey],
    since: str,
) -> list[str]:
    """Partitions whose rows have changed since their materialization."""
    both = {name: key for name, key in lake_keys.items() if name in shown.latest}
    touched = dataset.changed_after(since) if since else None
    candidates = both if touched is None else {name: key for name, key in both.items() if key in touched}
    latest = materialized(instance, asset.asset_key, [shown.latest[name] for name in candidates])
    changes = dataset.changed_since({one.state for one in latest.values() if one.state})
    verdicts = {
        name: changes.is_changed(candidates[name], one.state) if one.state else None for name, one in latest.items()
    }
    changed = {name for name, verdict in verdicts.items() if verdict}
    if unclear := {name: candidates[name] for name, verdict in verdicts.items() if verdict is None}:
        # without a state, or with one that the table has forgotten, the row count and the time have to do
        parts = {str(asset.keys.to_dagster(part.key)): part for part in dataset.partitions(keys=unclear.values())}
        ahead = datetime.now(UTC) - dataset.now()
        # in doubt, a change since the last tick is reported once too often, any other change not at all
        doubt = _RESOLUTION if touched is None else -_RESOLUTION
        changed |= {name for name, part in parts.items() if _differs(latest[name], part, ahead - doubt)}
    return [name for name in candidates if name in changed]


def _differs(latest: Materialized, part: PartitionInfo, ahead: timedelta) -> bool:
    if latest.rows is not None and part.rows is not None and latest.rows != part.rows:
        return True
    return part.changed + ahead > latest.at


def _in_progress(instance: dg.DagsterInstance, asset: LakeAsset, keys: Container[str]) -> set[str]:
    """Partitions on which a run is at work: it will report them itself, or end."""
    runs: dict[str, set[str]] = {}
    for key, run_id in unfinished_attempts(instance, asset.asset_key).items():
        if key in keys:
            runs.setdefault(run_id, set()).add(key)
    return {key for run_id, own in runs.items() if is_at_work(instance, run_id) for key in own}
