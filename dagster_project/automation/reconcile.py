"""The two ledgers made one: what a dataset's table has, and what Dagster shows of its asset.

They are compared by their state, and not by what somebody remembers to have done. So it makes no difference who changed
one of them: a run that was killed between its commit and its event, `tierlake expire` or `tierlake undo` in a terminal,
another writer, another code location.

    shown, and not in the table     it is wiped; one that was materialized without rows stays
    in the table, and not shown     it is reported as materialized, with its numbers
    rows that others have changed   it is reported anew, with another data version

Dagster is looked at first: what is materialized while the table is read is not taken for gone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster import DagsterError

from tierlake.dagster_project.automation.attempts import is_at_work
from tierlake.dagster_project.partitions.keys import KnownPartitions
from tierlake.dagster_project.partitions.materializations import AT_ONCE, materialized
from tierlake.dagster_project.partitions.metadata import STATE, partition_metadata
from tierlake.dagster_project.partitions.reads import BEGAN, carried, run_starts
from tierlake.dagster_project.partitions.wipe import (
    latest_data_versions,
    latest_storage_ids,
    newest_storage_id,
    unfinished_attempts,
    wipe_partitions,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence

    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.partitions.materializations import Materialized
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.catalog import PartitionInfo

__all__ = ["MENDED_AT_ONCE", "Difference", "Mended", "Shown", "are", "compare", "look", "mend", "reports", "some"]

MENDED_AT_ONCE: Final = 1000
"""Partitions that one tick wipes, and that it reports: a tick has a minute. The rest follows with the next."""

_RESOLUTION: Final = timedelta(seconds=2)
"""Servers tell their time in whole seconds."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What Dagster shows of an asset, before the table is looked at.

    Attributes:
        latest: the storage id of each materialized partition's latest materialization.
        newest: of all events; what is stored later is above it. None where the storage does not number them.
    """

    latest: Mapping[str, int]
    newest: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """In what the ledgers differ; Dagster's keys.

    Attributes:
        gone: shown, and no more in the table.
        empty: shown, materialized without rows: the table has nothing of them to lose.
        silent: shown, not in the table, and nothing says whether they ever had rows.
        grey: in the table, and not shown.
        changed: shown, with rows that others have changed since.
        at_work: in the table and not shown yet, as a run is at work on them.
        unknown: in the table, and no partitions of the asset.
    """

    gone: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    grey: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    at_work: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mended:
    """What was made right.

    Attributes:
        wiped: partitions that are shown as missing now.
        reported: partitions that are shown as materialized now, or anew.
        left: how many are still to be done.
        untold: why Dagster goes on showing what is gone; empty where it does not.
        events: the reports, for Dagster to store.
        silent: see `Difference`.
        is_all_told: whether no change was passed over, as a run is, or was, at work on it: then a cursor can go on.
    """

    wiped: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    left: int = 0
    untold: str = ""
    events: tuple[dg.AssetMaterialization, ...] = field(default=(), repr=False)
    silent: tuple[str, ...] = ()
    is_all_told: bool = True

    def __str__(self) -> str:
        """A sentence; empty where nothing is to be said."""
        said = []
        if self.wiped and not self.untold:
            said.append(f"{some(self.wiped)} left the table and {are(self.wiped)} shown as missing now")
        elif self.untold:
            said.append(f"{some(self.wiped)} left the table and {are(self.wiped)} still shown: {self.untold}")
        if self.reported:
            said.append(f"{some(self.reported)} {are(self.reported)} shown now as the table has {_it(self.reported)}")
        if self.left:
            said.append(f"{self.left} more with the next ticks")
        if self.silent:
            said.append(
                f"{some(self.silent)} {are(self.silent)} shown, the table has no rows of {_it(self.silent)}, and "
                "nothing says whether there ever were any: materialize or wipe what should not be shown"
            )
        return "; ".join(said)


def look(instance: dg.DagsterInstance, asset: LakeAsset) -> Shown:
    """What Dagster shows now: to be called before the table is read."""
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
        instance: the Dagster instance.
        asset: the dataset's asset.
        dataset: the open dataset.
        shown: Dagster's look.
        live: the table's partitions, looked at afterwards.
        since: the state of the table up to which Dagster is known to have been told of changes; empty: nothing is
            known, and all materializations are read.
        added: keys of dynamic partitions that are about to be added, as `partitions.unknown_values` finds them.
    """
    names = {key: str(name) for key in live if (name := asset.keys.find_dagster(key)) is not None}
    there = {name: key for key, name in names.items()}
    absent = [key for key in shown.latest if key not in there and asset.keys.find_lake(key) is not None]
    gone, empty, silent = _absent(instance, asset, dataset, shown, absent)
    grey = [name for name in there if name not in shown.latest]
    changed = _changed(instance, asset, dataset, shown, there, since)
    at_work: set[str] = set()
    unknown: list[str] = []
    if grey or changed:
        known = KnownPartitions(asset.partitions_def, instance, added)
        unknown = [key for key in grey if key not in known]
        grey, changed = [key for key in grey if key in known], [key for key in changed if key in known]
        at_work = _at_work(instance, asset, {*grey, *changed})
    return Difference(
        gone=tuple(sorted(gone)),
        empty=tuple(sorted(empty)),
        silent=tuple(sorted(silent)),
        grey=tuple(key for key in grey if key not in at_work),
        changed=tuple(key for key in changed if key not in at_work),
        at_work=tuple(sorted(at_work)),
        unknown=tuple(unknown),
    )


def mend(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    dataset: Dataset,
    shown: Shown,
    difference: Difference,
    *,
    at_once: int,
    run_id: str | None = None,
) -> Mended:
    """Make Dagster show what the table has.

    Args:
        instance: the Dagster instance.
        asset: the dataset's asset.
        dataset: the open dataset.
        shown: the look that the difference rests on: what was materialized after it stays.
        difference: what to make right.
        at_once: how many partitions are wiped, and how many reported.
        run_id: the run that does it.

    Returns:
        What was wiped, and the events that are still to be stored.
    """
    gone, told = difference.gone[:at_once], _still_untold(instance, asset, shown, difference)
    facts: dict[str, Any] = {"dagster/uri": dataset.uri, "reason": "gone from the table"}
    if run_id is not None:
        facts["run"] = dg.MetadataValue.dagster_run(run_id)
    untold = ""
    try:
        wipe = wipe_partitions(instance, asset.asset_key, gone, up_to=shown.newest, metadata=dict.fromkeys(gone, facts))
        untold = wipe.reason if gone else ""
    except DagsterError as error:  # Dagster+ may refuse keys that it does not know
        untold = str(error)
    events = tuple(reports(instance, asset, dataset, told[:at_once]))
    reported = tuple(event.partition for event in events if event.partition is not None)
    left = len(difference.gone) - len(gone) + len(told[at_once:])
    passed_over = len(told) < len(difference.grey) + len(difference.changed)
    is_all_told = not left and not passed_over and not any(key in shown.latest for key in difference.at_work)
    return Mended(gone, reported, left, untold, events, difference.silent, is_all_told)


def _still_untold(
    instance: dg.DagsterInstance, asset: LakeAsset, shown: Shown, difference: Difference
) -> tuple[str, ...]:
    """What is to be reported, without what a run has told of itself since Dagster was looked at."""
    keys = (*difference.grey, *difference.changed)
    latest = latest_storage_ids(instance, asset.asset_key, keys if len(keys) <= AT_ONCE else None) if keys else {}
    return tuple(key for key in keys if latest.get(key) == shown.latest.get(key))


def reports(
    instance: dg.DagsterInstance, asset: LakeAsset, dataset: Dataset, keys: Sequence[str]
) -> Iterator[dg.AssetMaterialization]:
    """Materializations that tell what the table has of partitions; those that it has not are left out.

    Args:
        instance: the Dagster instance.
        asset: the dataset's asset.
        dataset: the open dataset.
        keys: Dagster's keys.
    """
    if not keys:
        return
    state = dataset.state()  # before the partitions: what changes in between is reported once more
    parts = {str(asset.keys.to_dagster(part.key)): part for part in _infos(asset, dataset, keys)}
    seen = latest_data_versions(instance, asset.asset_key)
    ahead = datetime.now(UTC) - dataset.now()
    written = {key: (part.changed + ahead).timestamp() for key, part in parts.items()}
    read = _presumed(instance, asset.asset_key, written)
    back = _undone(dataset, parts) if any(key not in seen for key in parts) else {}
    for key in keys:
        if (part := parts.get(key)) is None:
            continue
        version = data_version(part)
        if version == seen.get(key):  # rows have changed, and neither their number nor their time says so
            version = _digest(f"{version} {state}")
        words, facts = back.get(key, ("seen in the table", {}))
        metadata = {
            "dagster/uri": dataset.uri,
            STATE: state,
            **partition_metadata([part]),
            **read[key],
            **facts,
        }
        yield dg.AssetMaterialization(
            asset.asset_key,
            partition=key,
            metadata=metadata,
            tags={"dagster/data_version": version, **_dimension_tags(asset, part.key)},
            description=words,
        )


def _presumed(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, written: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """What partitions were made of that are reported as the table has them: nobody saw how they were made.

    A report is no reading. What an earlier event says goes on; where a run died after it had written the partition,
    that run's start counts; of what others wrote, the time at which it was written.

    Args:
        instance: knows the events.
        asset_key: the asset.
        written: by partition when its rows were written, in seconds since 1970 by Dagster's clock.
    """
    known = carried(instance, asset_key, list(written))
    runs = unfinished_attempts(instance, asset_key) if written.keys() - known.keys() else {}
    runs = {key: run_id for key, run_id in runs.items() if key in written and key not in known}
    starts = run_starts(instance, set(runs.values()))
    others = {key: {BEGAN: starts.get(runs[key], 0.0) if key in runs else at} for key, at in written.items()}
    return others | known


def data_version(part: PartitionInfo) -> str:
    """What tells a partition's rows from others: their number, and when they changed."""
    size = f"{part.files} {part.bytes}" if part.rows is None else part.rows
    return _digest(f"{size} {part.changed.isoformat()}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _infos(asset: LakeAsset, dataset: Dataset, keys: Iterable[str]) -> Iterable[PartitionInfo]:
    return dataset.partitions(keys=[asset.keys.to_lake(key) for key in keys])


def _dimension_tags(asset: LakeAsset, key: PartitionKey) -> dict[str, str]:
    name = asset.keys.to_dagster(key)
    if not isinstance(name, dg.MultiPartitionKey):
        return {}
    return {f"dagster/partition/{dimension}": value for dimension, value in name.keys_by_dimension.items()}


def _absent(
    instance: dg.DagsterInstance, asset: LakeAsset, dataset: Dataset, shown: Shown, absent: Collection[str]
) -> tuple[list[str], list[str], list[str]]:
    """Of partitions that the table has not: those that it had, those without rows, and those of which nobody knows."""
    if not absent:
        return [], [], []
    if dataset.dropped_at is not None:
        return list(absent), [], []
    told = materialized(instance, asset.asset_key, [shown.latest[key] for key in absent])
    counts = {key: told[key].rows if key in told else None for key in absent}
    unsaid = [key for key in absent if counts[key] is None]
    lake_keys = {key: asset.keys.to_lake(key) for key in unsaid}
    had_rows = dataset.had_rows(lake_keys.values()) if unsaid else frozenset()
    gone = [key for key in absent if counts[key] or (key in lake_keys and lake_keys[key] in had_rows)]
    empty = [key for key in absent if counts[key] == 0]
    silent = [key for key in unsaid if lake_keys[key] not in had_rows]
    return gone, empty, silent


def _changed(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    dataset: Dataset,
    shown: Shown,
    there: Mapping[str, PartitionKey],
    since: str,
) -> list[str]:
    """Partitions whose rows are others than those that their materialization tells of."""
    both = {name: key for name, key in there.items() if name in shown.latest}
    after = dataset.changed_after(since) if since else None
    candidates = both if after is None else {name: key for name, key in both.items() if key in after}
    told = materialized(instance, asset.asset_key, [shown.latest[name] for name in candidates])
    changes = dataset.changed_since({one.state for one in told.values() if one.state})
    verdicts = {
        name: changes.is_changed(candidates[name], one.state) if one.state else None for name, one in told.items()
    }
    changed = {name for name, verdict in verdicts.items() if verdict}
    if unclear := [name for name, verdict in verdicts.items() if verdict is None]:
        # it names no state, or one that the table has forgotten: its numbers and its time have to do
        parts = {str(asset.keys.to_dagster(part.key)): part for part in _infos(asset, dataset, unclear)}
        ahead = datetime.now(UTC) - dataset.now()
        # what has changed since the last tick is told in doubt once too often, all else in doubt not at all
        doubt = _RESOLUTION if after is None else -_RESOLUTION
        changed |= {name for name, part in parts.items() if _differs(told[name], part, ahead - doubt)}
    return [name for name in candidates if name in changed]


def _differs(told: Materialized, part: PartitionInfo, ahead: timedelta) -> bool:
    if told.rows is not None and part.rows is not None and told.rows != part.rows:
        return True
    return part.changed + ahead > told.at


def _at_work(instance: dg.DagsterInstance, asset: LakeAsset, keys: Container[str]) -> set[str]:
    """Those on which a run is at work: it will tell of them itself, or end."""
    runs: dict[str, set[str]] = {}
    for key, run_id in unfinished_attempts(instance, asset.asset_key).items():
        if key in keys:
            runs.setdefault(run_id, set()).add(key)
    return {key for run_id, of in runs.items() if is_at_work(instance, run_id) for key in of}


def _undone(dataset: Dataset, parts: Mapping[str, PartitionInfo]) -> dict[str, tuple[str, dict[str, Any]]]:
    """In words what was undone of partitions whose last removal was, and by whom."""
    acts = dataset.acts_after("")  # newest first
    reasons = {act.id: act.reason for act in acts}
    last: dict[str, tuple[str, dict[str, Any]] | None] = {}
    for act in acts:
        for lake_key in act.keys if act.operation in {"expire", "undo"} else ():
            words = (
                "drop undone"
                if reasons.get(act.undone or "", "").startswith("the dataset was dropped")
                else "expiry undone"
            )
            last.setdefault(lake_key, (words, _by(act.run_id, act.by)) if act.operation == "undo" else None)
    return {key: told for key, part in parts.items() if (told := last.get(str(part.key))) is not None}


def _by(run: str | None, by: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"undone_by": by} if by else {}
    return facts | ({"run": dg.MetadataValue.dagster_run(run)} if run else {})


def some(keys: Sequence[str]) -> str:
    """The first of many keys, and how many more there are, for a sentence."""
    shown = 3
    return ", ".join(keys[:shown]) + (f" and {len(keys) - shown} more" if len(keys) > shown else "")


def _it(keys: Sequence[str]) -> str:
    return "it" if len(keys) == 1 else "them"


def are(keys: Sequence[str]) -> str:
    """The verb that goes with them."""
    return "is" if len(keys) == 1 else "are"
