"""Make Dagster show what the table has.

    shown, and not in the table     it is wiped; one that was materialized without rows stays
    in the table, and not shown     it is reported as materialized, with its numbers
    rows that others have changed   it is reported anew, with another data version

`comparison` finds in what the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster import DagsterError

from tierlake.dagster_project.automation.reports import reports
from tierlake.dagster_project.automation.wording import are, some, them
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.wipe import wipe_partitions

if TYPE_CHECKING:
    from tierlake.dagster_project.automation.comparison import Difference, Shown
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.pipelines import Dataset

__all__ = ["PARTITIONS_PER_TICK", "Reconciled", "reconcile"]

PARTITIONS_PER_TICK: Final = 1000
"""Partitions that one tick wipes, and that it reports: a tick has a minute. The rest follows with the next."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What Dagster shows rightly now.

    Attributes:
        wiped: Partitions that are shown as missing now.
        reported: Partitions that are shown as materialized now, or anew.
        left: The number of partitions that are left to the next ticks.
        obstacle: Why Dagster goes on showing what is gone; empty where it does not.
        events: The reports, for Dagster to store.
        unexplained: See `Difference`.
        is_complete: Whether no change was passed over because a run is, or was, at work on it: then a cursor can go on.
    """

    wiped: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    left: int = 0
    obstacle: str = ""
    events: tuple[dg.AssetMaterialization, ...] = field(default=(), repr=False)
    unexplained: tuple[str, ...] = ()
    is_complete: bool = True

    def __str__(self) -> str:
        """A sentence; empty where there is nothing to say."""
        clauses = []
        if self.wiped and not self.obstacle:
            clauses.append(f"{some(self.wiped)} left the table and {are(self.wiped)} shown as missing now")
        elif self.obstacle:
            clauses.append(f"{some(self.wiped)} left the table and {are(self.wiped)} still shown: {self.obstacle}")
        if self.reported:
            reported = self.reported
            clauses.append(f"{some(reported)} {are(reported)} shown now as the table has {them(reported)}")
        if self.left:
            clauses.append(f"{self.left} more with the next ticks")
        if self.unexplained:
            keys = self.unexplained
            clauses.append(
                f"{some(keys)} {are(keys)} shown, the table has no rows of {them(keys)}, and nothing says whether "
                "there ever were any: materialize or wipe what should not be shown"
            )
        return "; ".join(clauses)


def reconcile(
    instance: dg.DagsterInstance,
    asset: LakeAsset,
    dataset: Dataset,
    shown: Shown,
    difference: Difference,
    *,
    limit: int,
    run_id: str | None = None,
) -> Reconciled:
    """Wipe what is gone, and make the reports of what is there.

    Args:
        instance: The Dagster instance.
        asset: The dataset's asset.
        dataset: The open dataset.
        shown: What Dagster showed when the difference was taken: later materializations stay.
        difference: Between that and the table.
        limit: The number of partitions that are wiped, and that are reported, at most.
        run_id: The run that does it.

    Returns:
        What was wiped, and the events that are still to be stored.
    """
    gone, unreported = difference.gone[:limit], _still_unreported(instance, asset, shown, difference)
    facts: dict[str, Any] = {"dagster/uri": dataset.uri, "reason": "gone from the table"}
    if run_id is not None:
        facts["run"] = dg.MetadataValue.dagster_run(run_id)
    obstacle = ""
    try:
        wipe = wipe_partitions(instance, asset.asset_key, gone, up_to=shown.newest, metadata=dict.fromkeys(gone, facts))
        obstacle = wipe.reason if gone else ""
    except DagsterError as error:  # Dagster+ may refuse keys that it does not know
        obstacle = str(error)
    events = tuple(reports(instance, asset, dataset, unreported[:limit]))
    reported = tuple(event.partition for event in events if event.partition is not None)
    left = len(difference.gone) - len(gone) + len(unreported[limit:])
    passed_over = len(unreported) < len(difference.unshown) + len(difference.changed)
    is_complete = not left and not passed_over and not any(key in shown.latest for key in difference.in_progress)
    return Reconciled(gone, reported, left, obstacle, events, difference.unexplained, is_complete)


def _still_unreported(
    instance: dg.DagsterInstance, asset: LakeAsset, shown: Shown, difference: Difference
) -> tuple[str, ...]:
    """The partitions to report, without those that a run has reported itself since Dagster was looked at."""
    keys = (*difference.unshown, *difference.changed)
    latest = latest_storage_ids(instance, asset.asset_key, keys)
    return tuple(key for key in keys if latest.get(key) == shown.latest.get(key))
