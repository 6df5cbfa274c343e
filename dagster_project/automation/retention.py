"""Expiry and undo as Dagster sees them: change the table, then make Dagster show what it has.

Everything here goes by what the table has (`comparison`). A partition that is gone from it is wiped, whoever took it
out: so the next tick repairs what a run left that died between the commit and the wipe, and follows `tierlake expire`
from a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster import DagsterError

from tierlake.dagster_project.automation.comparison import compare, shown_now
from tierlake.dagster_project.automation.reconcile import reconcile
from tierlake.dagster_project.automation.reports import reports
from tierlake.dagster_project.automation.requested import Ledgers, outcome_of, requested_keys, shown_name
from tierlake.dagster_project.partitions.event_records import latest_storage_ids
from tierlake.dagster_project.partitions.keys import KnownPartitions
from tierlake.dagster_project.partitions.lineage import downstream_readings
from tierlake.dagster_project.partitions.wipe import WipeMethod, WipeResult, wipe_partitions
from tierlake.pipelines.errors import UnknownPartition
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from datetime import date

    from tierlake.dagster_project.automation.comparison import Difference, Shown
    from tierlake.dagster_project.automation.reconcile import Reconciled
    from tierlake.dagster_project.automation.requested import Outcome
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.partitions.lineage import Downstream, Readings
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.plan import Expiration, ExpiryPlan
    from tierlake.pipelines.lifecycle.results import ApplyResult, UndoResult
    from tierlake.pipelines.tables.snapshot import LiveFile

__all__ = ["Due", "Expired", "Retention"]

_RESOLUTION: Final = timedelta(seconds=2)
"""The server gives its time in whole seconds: clocks that differ by less count as equal."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is past its retention now.

    Attributes:
        as_of: The instant by which that was judged.
        keys: Dagster keys to expire, including those that were materialized without rows.
        unknown: The dataset's keys to expire that are no partitions of the asset, or not any more.
        stamps: What distinguishes this request for a key from the next: for a Dagster key the storage id of its latest
            materialization, as it was before the table was looked at, for the others the time when their rows changed.
        refused: Lake keys that are due and kept, each with the reason.
        next_key: The partition that comes due next; None where none will.
        next_at: When.
        shown: What Dagster showed, before the table was looked at.
        difference: Between that and the table.
    """

    as_of: datetime
    keys: tuple[str, ...]
    unknown: tuple[str, ...]
    stamps: Mapping[str, int]
    refused: Mapping[str, str]
    next_key: str | None
    next_at: datetime | None
    shown: Shown
    difference: Difference


@dataclass(frozen=True, slots=True)
class Expired:
    """What an expiry did.

    Attributes:
        plan: The plan.
        result: What changed in the table; None where nothing was to change.
        wipe: The wipe in Dagster.
        kept: Requested keys that were left alone, each with the reason: within its retention, held, waited for,
            malformed, unknown. Dagster's, or the dataset's where Dagster has none.
        absent: Requested keys that are neither in the table nor shown: there was nothing to do.
        unknown: The dataset's keys that are gone from the table and are no partitions of the asset: nobody shows them.
        obstacle: Why Dagster keeps events of some of these; empty where it does not.
        reconciled: What else Dagster shows rightly now; None where keys were named.
    """

    plan: ExpiryPlan
    result: ApplyResult | None
    wipe: WipeResult
    kept: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    obstacle: str = ""
    reconciled: Reconciled | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention of one dataset, in one Dagster instance.

    Attributes:
        instance: The Dagster instance.
        asset: The dataset's asset.
        dataset: The open dataset.
        downstreams: By name, the assets that must have read a partition before it goes (`retention.after`).
    """

    instance: dg.DagsterInstance
    asset: LakeAsset
    dataset: Dataset
    downstreams: Mapping[str, Downstream]

    def plan(self, as_of: date | None) -> ExpiryPlan:
        """The dataset's expiry plan, which waits for the downstream assets that the spec names."""
        return self.dataset.plan_expiry(as_of, materialized=self._readings())

    def due(self, as_of: date | None, *, since: str = "", shown: Shown | None = None) -> Due:
        """What would be expired now, what comes next, and how the table differs from what Dagster shows.

        Args:
            as_of: The day by which the policy judges; None is now.
            since: See `comparison.compare`.
            shown: What Dagster showed before the table was looked at; None looks now.
        """
        shown = shown or shown_now(self.instance, self.asset)
        ledgers = self._ledgers(shown, as_of, since)
        outlook = ledgers.outlook
        known = self._known() if outlook.due else ()
        names = {key: self._known_name(key, known) for key in outlook.due}
        unknown = {str(key): _stamp(outlook.live[key]) for key, name in names.items() if name is None}
        return Due(
            as_of=outlook.as_of,
            keys=tuple(name for name in names.values() if name is not None),
            unknown=tuple(unknown),
            stamps={**shown.latest, **unknown},
            refused={refusal.key: refusal.reason for refusal in outlook.refused},
            next_key=None if outlook.next_key is None else str(outlook.next_key),
            next_at=outlook.next_at,
            shown=shown,
            difference=ledgers.difference,
        )

    def expire(
        self,
        keys: Sequence[str | PartitionKey] | None,
        as_of: date | None,
        *,
        run_id: str | None,
        undo: bool = True,
        dry_run: bool = False,
    ) -> Expired:
        """Take partitions out of the table, and wipe those that are gone.

        Keys that Dagster does not know, or not any more (a dynamic partition that was removed, a window before a
        `start` that was moved), leave the table like the others.

        Args:
            keys: Dagster's, as text, or the dataset's; None expires all that is due, and reconciles whatever else
                Dagster shows wrongly. Named keys that are not due are refused.
            as_of: The day by which the policy judges; None is now.
            run_id: The Dagster run, for both histories.
            undo: False gives undo up (see `ExpiryPlan.apply`).
            dry_run: Only make the checks.
        """
        shown = shown_now(self.instance, self.asset)
        since = "" if keys is None else self.dataset.state()  # named keys do not depend on changes by others
        plan = self.plan(as_of)
        planned = {step.key: step for step in plan.steps}
        malformed: dict[str, str] = {}
        if keys is None:
            requested = {key: shown_name(self.asset, key) for key in planned}
        else:
            requested, malformed = requested_keys(self.asset, self.dataset, keys)
        chosen = [key for key in requested if key in planned]
        result = plan.apply(keys=chosen, run_id=run_id, undo=undo, dry_run=dry_run) if chosen else None
        if dry_run:
            left = {key: text for key, text in requested.items() if key not in planned}
            outcome = self._outcome(left, plan, result, self._ledgers(shown, as_of, since))
            unwiped = WipeResult(self.asset.asset_key, (), WipeMethod.OBSERVATION, reason="a dry run")
            return Expired(plan, result, unwiped, kept={**malformed, **outcome.kept}, absent=tuple(outcome.absent))
        ledgers = self._ledgers(shown, as_of, since)
        if keys is None:
            empty = (str(key) for key in ledgers.outlook.due if key not in ledgers.outlook.live)
            requested |= {key: shown_name(self.asset, key) for key in empty}
        outcome = self._outcome(requested, plan, result, ledgers)
        gone = {name: _facts(plan, planned.get(key), run_id) for name, key in outcome.gone.items()}
        forgotten = {name: _facts(plan, planned.get(key), run_id) for name, key in outcome.forgotten.items()}
        return Expired(
            plan,
            result,
            wipe=wipe_partitions(self.instance, self.asset.asset_key, list(gone), up_to=shown.newest, metadata=gone),
            kept={**malformed, **outcome.kept},
            absent=tuple(outcome.absent),
            unknown=tuple(outcome.unknown),
            obstacle=self._forget(forgotten, shown.newest),
            reconciled=self._reconciled(ledgers, {*gone, *forgotten}, run_id) if keys is None else None,
        )

    def undo(self, key: str | PartitionKey, *, run_id: str | None) -> UndoResult:
        """Bring an expired partition back; Dagster shows it again. See `undo_all`."""
        (result,) = self.undo_all([key], run_id=run_id)
        return result

    def undo_all(
        self, keys: Sequence[str | PartitionKey], *, run_id: str | None, dry_run: bool = False
    ) -> tuple[UndoResult, ...]:
        """Bring expired partitions back; Dagster shows them again, also those before one that fails.

        Args:
            keys: Dagster's keys, or the dataset's.
            run_id: The Dagster run, for both histories.
            dry_run: Only make the checks.

        Raises:
            UnknownPartition: One never expired, or no partition can have this key; of the latter, nothing comes back.
            PolicyRefused: The grace is over.
        """
        requested, refused = requested_keys(self.asset, self.dataset, keys)
        if refused:
            raise UnknownPartition(next(iter(refused.values())), hint="write the partition as Dagster shows it")
        results: list[UndoResult] = []
        try:
            for lake_key in requested:
                results.append(self.dataset.undo_expiry(lake_key, dry_run=dry_run, run_id=run_id))  # noqa: PERF401
        finally:
            if not dry_run:
                self._show_again([PartitionKey.parse(result.key) for result in results])
        return tuple(results)

    def _show_again(self, keys: Sequence[PartitionKey]) -> None:
        names = [str(name) for key in keys if (name := self.asset.keys.find_dagster(key)) is not None]
        shown = latest_storage_ids(self.instance, self.asset.asset_key, names)
        hidden = [name for name in names if name not in shown]
        for event in reports(self.instance, self.asset, self.dataset, hidden):
            self.instance.report_runless_asset_event(event)

    def _ledgers(self, shown: Shown, as_of: date | None, since: str = "") -> Ledgers:
        """What is due, including partitions without rows, and how the table differs from what Dagster shows."""
        readings = self._readings()
        outlook = self.dataset.expiry_outlook(as_of, materialized=readings)
        difference = compare(self.instance, self.asset, self.dataset, shown, outlook.live, since=since)
        if difference.empty:
            empty = [self.asset.keys.to_lake(key) for key in difference.empty]
            outlook = self.dataset.expiry_outlook(as_of, materialized=readings, empty=empty)
        return Ledgers(shown, outlook, difference)

    def _outcome(
        self, requested: Mapping[str, str], plan: ExpiryPlan, result: ApplyResult | None, ledgers: Ledgers
    ) -> Outcome:
        reasons = {refusal.key: refusal.reason for refusal in (*plan.refused, *ledgers.outlook.refused)}
        return outcome_of(
            requested,
            self.asset,
            self.dataset,
            ledgers,
            known=self._known() if requested else (),
            planned={step.key for step in plan.steps},
            reasons=reasons | (result.failed if result else {}),
        )

    def _reconciled(self, ledgers: Ledgers, wiped: Container[str], run_id: str | None) -> Reconciled:
        self.dataset.settle()
        difference = ledgers.difference
        left = replace(difference, gone=tuple(key for key in difference.gone if key not in wiped))
        everything = len(left.gone) + len(left.unshown) + len(left.changed)
        reconciled = reconcile(
            self.instance, self.asset, self.dataset, ledgers.shown, left, run_id=run_id, limit=max(everything, 1)
        )
        for event in reconciled.events:
            self.instance.report_runless_asset_event(event)
        return reconciled

    def _forget(self, facts: Mapping[str, Mapping[str, Any]], up_to: int | None) -> str:
        """Wipe events of keys that are no partitions: otherwise a key that is added again would show as materialized.

        Returns:
            Why that could not be done; empty where it was.
        """
        shown = latest_storage_ids(self.instance, self.asset.asset_key, facts)
        keys = [key for key in facts if key in shown]
        try:
            wipe = wipe_partitions(self.instance, self.asset.asset_key, keys, up_to=up_to, metadata=facts)
        except DagsterError as error:  # Dagster+ may refuse keys that it does not know: the table's expiry stands
            return str(error)
        return wipe.reason if keys else ""

    def _readings(self) -> dict[str, Readings]:
        """When downstream assets read partitions, by the server's clock as partitions' changes are."""
        ahead = datetime.now(UTC) - self.dataset.now() if self.downstreams else timedelta(0)
        if abs(ahead) < _RESOLUTION:
            ahead = timedelta(0)
        return downstream_readings(self.instance, self.asset, self.downstreams, ahead)

    def _known(self) -> KnownPartitions:
        """The asset's partitions: the thousands of a cron schedule take a while."""
        return KnownPartitions(self.asset.partitions_def, self.instance)

    def _known_name(self, key: PartitionKey, known: Container[str]) -> str | None:
        name = self.asset.keys.find_dagster(key)
        return name if name is not None and name in known else None


def _stamp(files: Sequence[LiveFile]) -> int:
    """Distinguishes a partition from the same one ingested again, where Dagster has no events that do."""
    return max(int(file.modified.timestamp() * 1000) for file in files)


def _facts(plan: ExpiryPlan, step: Expiration | None, run_id: str | None) -> dict[str, Any]:
    """The audit's metadata of one partition."""
    facts: dict[str, Any] = {"dagster/uri": plan.uri}
    if step is None:
        facts["reason"] = "no rows in the table"
    else:
        facts |= {"reason": step.reason, "bytes": step.bytes, "files": len(step.files)}
        facts["size"] = formatting.size(step.bytes)
        facts |= {"rows": step.rows} if step.rows is not None else {}
    if run_id:
        facts["run"] = dg.MetadataValue.dagster_run(run_id)
    return facts
