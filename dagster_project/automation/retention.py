"""Expiry and undo as Dagster sees them: change the table, then make Dagster say what is true.

Everything here goes by what the table has (`reconcile`). A partition that is gone from it is wiped, whoever took it
out: so a run that died between the commit and the wipe is made good by the next tick, and so is `tierlake expire` from
a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster import DagsterError

from tierlake.connector.errors import LakeError
from tierlake.dagster_project.automation import reconcile
from tierlake.dagster_project.partitions.keys import KnownPartitions
from tierlake.dagster_project.partitions.lineage import downstream_sight
from tierlake.dagster_project.partitions.wipe import WipeResult, latest_storage_ids, wipe_partitions
from tierlake.pipelines.errors import UnknownPartition
from tierlake.pipelines.model.age import window_of_key
from tierlake.pipelines.model.partition_key import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from datetime import date

    from tierlake.dagster_project.automation.reconcile import Difference, Mended, Shown
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset
    from tierlake.dagster_project.partitions.lineage import Downstream, Sight
    from tierlake.pipelines import Dataset
    from tierlake.pipelines.lifecycle.outlook import ExpiryOutlook
    from tierlake.pipelines.lifecycle.plan import Expiration, ExpiryPlan
    from tierlake.pipelines.lifecycle.results import ApplyResult, UndoResult
    from tierlake.pipelines.tables.protocol import LiveFile

__all__ = ["Due", "Expired", "Retention"]

_RESOLUTION: Final = timedelta(seconds=2)
"""The server tells its time in whole seconds: clocks that differ by less are taken as equal."""


@dataclass(frozen=True, slots=True)
class Due:
    """What retention asks for now.

    Attributes:
        as_of: the instant that it was asked about.
        keys: Dagster keys to expire; those that were materialized without rows are among them.
        unknown: the dataset's keys to expire that are no partitions of the asset, or not any more.
        stamps: for each of both what tells this request from the next: of a Dagster key the storage id of its latest
            materialization, as it was before the table was looked at, of the others when their rows changed.
        refused: lake keys that are due and kept, each with the reason.
        next_key: the partition that comes due next; None where none will.
        next_at: when.
        shown: what Dagster showed, before the table was looked at.
        difference: in what the table differs from that.
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
        plan: what it went by.
        result: what changed in the table; None where nothing was to change.
        wipe: what Dagster was made to forget.
        kept: requested keys that were left alone, each with the reason: within its retention, held, waited for,
            malformed, unknown. Dagster's, the dataset's where Dagster has none.
        absent: requested keys that are neither in the table nor shown: there was nothing to do.
        unknown: the dataset's keys that are gone from the table and that Dagster does not know: nobody shows them.
        untold: why Dagster could not be told of some of these; empty where it was.
        mended: what else was made right; None where keys were named.
    """

    plan: ExpiryPlan
    result: ApplyResult | None
    wipe: WipeResult
    kept: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    untold: str = ""
    mended: Mended | None = None


@dataclass(slots=True)
class _SortedOut:
    """Requested partitions by what has become of them; `gone` and `forgotten` from Dagster's key to the dataset's."""

    gone: dict[str, str] = field(default_factory=dict)
    forgotten: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention of one dataset, in one Dagster instance.

    Attributes:
        instance: the Dagster instance.
        asset: the dataset's asset.
        dataset: the open dataset.
        downstreams: by name, what must have seen a partition before it goes (`retention.after`).
    """

    instance: dg.DagsterInstance
    asset: LakeAsset
    dataset: Dataset
    downstreams: Mapping[str, Downstream]

    def plan(self, as_of: date | None) -> ExpiryPlan:
        """The dataset's expiry plan, which waits for downstream assets where the spec says so."""
        sight = self._sight()
        return self.dataset.plan_expiry(as_of, materialized=sight)

    def due(self, as_of: date | None, *, since: str = "", shown: Shown | None = None) -> Due:
        """What would be expired now, what comes next, and in what Dagster differs from the table.

        Args:
            as_of: by which day the policy judges; None is now.
            since: see `reconcile.compare`.
            shown: what Dagster showed before the table was looked at; it is looked at now by default.
        """
        shown = shown or reconcile.look(self.instance, self.asset)
        outlook, difference = self._outlook(shown, as_of, since)
        known = self._known() if outlook.due else ()
        named = {key: self._known_as(key, known) for key in outlook.due}
        unknown = {str(key): _stamp(outlook.live[key]) for key, name in named.items() if name is None}
        return Due(
            as_of=outlook.as_of,
            keys=tuple(name for name in named.values() if name is not None),
            unknown=tuple(unknown),
            stamps={**shown.latest, **unknown},
            refused={refusal.key: refusal.reason for refusal in outlook.refused},
            next_key=None if outlook.next_key is None else str(outlook.next_key),
            next_at=outlook.next_at,
            shown=shown,
            difference=difference,
        )

    def _outlook(self, shown: Shown, as_of: date | None, since: str = "") -> tuple[ExpiryOutlook, Difference]:
        """What is due, those without rows included, and how the ledgers differ."""
        sight = self._sight()
        outlook = self.dataset.expiry_outlook(as_of, materialized=sight)
        difference = reconcile.compare(self.instance, self.asset, self.dataset, shown, outlook.live, since=since)
        if difference.empty:
            empty = [self.asset.keys.to_lake(key) for key in difference.empty]
            outlook = self.dataset.expiry_outlook(as_of, materialized=sight, empty=empty)
        return outlook, difference

    def expire(
        self, keys: Sequence[str | PartitionKey] | None, as_of: date | None, *, run_id: str | None, undo: bool = True
    ) -> Expired:
        """Take partitions out of the table, and wipe those that are gone.

        What Dagster does not know, or not any more (a dynamic partition that was removed, a window before a `start`
        that was moved), leaves the table like the others.

        Args:
            keys: Dagster's, as text, or the dataset's; None expires all that the policy asks for, and makes right
                whatever else Dagster shows wrongly. Of named keys, those that the policy does not ask for are refused.
            as_of: by which day the policy judges; None is now.
            run_id: the Dagster run, for both histories.
            undo: False gives undo up (see `ExpiryPlan.apply`).
        """
        shown = reconcile.look(self.instance, self.asset)
        since = "" if keys is None else self.dataset.state()  # whose rows others changed is no matter of named keys
        plan = self.plan(as_of)
        planned = {step.key: step for step in plan.steps}
        requested, kept = ({key: self._name(key) for key in planned}, {}) if keys is None else self._requested(keys)
        chosen = [key for key in requested if key in planned]
        result = plan.apply(keys=chosen, run_id=run_id, undo=undo) if chosen else None
        outlook, difference = self._outlook(shown, as_of, since)
        if keys is None:
            requested |= {str(key): self._name(str(key)) for key in outlook.due if key not in outlook.live}
        reasons = {refusal.key: refusal.reason for refusal in (*plan.refused, *outlook.refused)}
        reasons |= result.failed if result else {}
        sorted_out = self._sorted_out(requested, planned, reasons, shown, outlook, difference)
        facts = {str(name): _facts(plan, planned.get(key), run_id) for name, key in sorted_out.gone.items()}
        forgotten = {str(name): _facts(plan, planned.get(key), run_id) for name, key in sorted_out.forgotten.items()}
        wipe = wipe_partitions(self.instance, self.asset.asset_key, list(facts), up_to=shown.newest, metadata=facts)
        untold = self._forget(forgotten, shown.newest)
        mended = None
        if keys is None:
            self.dataset.settle()
            done = {*facts, *forgotten}
            left = replace(difference, gone=tuple(key for key in difference.gone if key not in done))
            mended = self._mended(shown, left, run_id)
        kept |= sorted_out.kept
        return Expired(plan, result, wipe, kept, tuple(sorted_out.absent), tuple(sorted_out.unknown), untold, mended)

    def _sorted_out(
        self,
        requested: Mapping[str, str],
        planned: Container[str],
        reasons: Mapping[str, str],
        shown: Shown,
        outlook: ExpiryOutlook,
        difference: Difference,
    ) -> _SortedOut:
        """What has become of each requested partition, by a look afterwards."""
        live, due = {str(key) for key in outlook.live}, {str(key) for key in outlook.due}
        known = self._known() if requested else ()
        out = _SortedOut()
        for key, text in requested.items():
            spelled = self.asset.keys.find_dagster(PartitionKey.parse(key))
            name = None if spelled is None else str(spelled)
            is_known = name is not None and name in known
            if key in live or (name in difference.empty and key not in due):
                out.kept[text] = reasons.get(key) or self._young(key)
            elif name in difference.silent:
                out.kept[text] = "nothing says whether it ever had rows: wipe it in Dagster, or materialize it"
            elif key not in planned and name not in shown.latest:
                if is_known or self.dataset.had_rows([key]):
                    out.absent.append(text)  # as it should be
                else:
                    out.kept[text] = "there is no such partition, neither in the table nor of the asset"
            elif name is not None and is_known:
                out.gone[name] = key
            else:
                out.unknown.append(key)
                out.forgotten |= {} if name is None else {name: key}
        return out

    def _name(self, key: str) -> str:
        """What a partition is called where people read it: Dagster's key, the dataset's where Dagster has none."""
        name = self.asset.keys.find_dagster(PartitionKey.parse(key))
        return key if name is None else str(name)

    def _requested(self, keys: Sequence[str | PartitionKey]) -> tuple[dict[str, str], dict[str, str]]:
        """The dataset's keys that were meant, each as it was written, and what no partition can have, each with why."""
        meant: dict[str, str] = {}
        wrong: dict[str, str] = {}
        parsed: dict[PartitionKey, str] = {}
        for key in keys:
            try:
                parsed[key if isinstance(key, PartitionKey) else self.asset.keys.to_lake(key)] = str(key)
            except (ValueError, LakeError) as error:
                wrong[str(key)] = str(error)
        faults = self.dataset.key_faults(parsed)
        for lake_key, text in parsed.items():
            if (fault := faults.get(lake_key)) is not None:
                wrong[text] = str(fault)
            else:
                meant[str(lake_key)] = text
        return meant, wrong

    def _young(self, key: str) -> str:
        after = self.dataset.spec.retention.expire_after
        window = window_of_key(self.dataset.spec, PartitionKey.parse(key))
        if after is None or window is None:
            return "it never expires"
        return f"within its retention until {window.end + after:%Y-%m-%d}"

    def _mended(self, shown: Shown, difference: Difference, run_id: str | None) -> Mended:
        everything = len(difference.gone) + len(difference.grey) + len(difference.changed)
        mended = reconcile.mend(
            self.instance, self.asset, self.dataset, shown, difference, run_id=run_id, at_once=max(everything, 1)
        )
        for event in mended.events:
            self.instance.report_runless_asset_event(event)
        return mended

    def _forget(self, facts: Mapping[str, Mapping[str, Any]], up_to: int | None) -> str:
        """Wipe what Dagster may have events of, though no partition: else a key that is added again shows as there.

        Returns:
            Why that could not be done; empty where it was.
        """
        shown = latest_storage_ids(self.instance, self.asset.asset_key, facts) if facts else {}
        keys = [key for key in facts if key in shown]
        try:
            wipe = wipe_partitions(self.instance, self.asset.asset_key, keys, up_to=up_to, metadata=facts)
        except DagsterError as error:  # Dagster+ may refuse keys that it does not know: the table's expiry stands
            return str(error)
        return wipe.reason if keys else ""

    def undo(self, key: str, *, run_id: str | None) -> UndoResult:
        """Bring an expired partition back; Dagster shows it again.

        Args:
            key: Dagster's key.
            run_id: the Dagster run, for both histories.

        Raises:
            UnknownPartition: it never expired, or no partition can have this key.
            PolicyRefused: the grace is over.
        """
        meant, wrong = self._requested([key])
        if wrong:
            raise UnknownPartition(wrong[key], hint="write the partition as Dagster shows it")
        (lake_key,) = meant
        result = self.dataset.undo_expiry(lake_key, run_id=run_id)
        if key not in latest_storage_ids(self.instance, self.asset.asset_key, [key]):
            for event in reconcile.reports(self.instance, self.asset, self.dataset, [key]):
                self.instance.report_runless_asset_event(event)
        return result

    def _sight(self) -> dict[str, Sight]:
        """When downstream assets saw partitions, by the server's clock as partitions' changes are."""
        ahead = datetime.now(UTC) - self.dataset.now() if self.downstreams else timedelta(0)
        if abs(ahead) < _RESOLUTION:
            ahead = timedelta(0)
        return downstream_sight(self.instance, self.asset, self.downstreams, ahead)

    def _known(self) -> KnownPartitions:
        """What Dagster has partitions for: thousands of a cron schedule take a while."""
        return KnownPartitions(self.asset.partitions_def, self.instance)

    def _known_as(self, key: PartitionKey, known: Container[str]) -> str | None:
        name = self.asset.keys.find_dagster(key)
        return name if name is not None and name in known else None


def _stamp(files: Sequence[LiveFile]) -> int:
    """Tells a partition from the same one ingested again, where Dagster has no events that do."""
    return max(int(file.modified.timestamp() * 1000) for file in files)


def _facts(plan: ExpiryPlan, step: Expiration | None, run_id: str | None) -> dict[str, Any]:
    """What the audit says of one partition."""
    facts: dict[str, Any] = {"dagster/uri": plan.uri}
    if step is None:
        facts["reason"] = "no rows in the table"
    else:
        facts |= {"reason": step.reason, "bytes": step.bytes, "files": len(step.files)}
        facts |= {"rows": step.rows} if step.rows is not None else {}
    if run_id:
        facts["run"] = dg.MetadataValue.dagster_run(run_id)
    return facts
