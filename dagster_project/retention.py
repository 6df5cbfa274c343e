"""Expiry and undo as Dagster sees them: change the table, then make Dagster say what is true.

Everything here goes by what the table has. A partition that is gone from it is wiped, whoever took it out: so a run
that died between the commit and the wipe is made good by the next one, and so is `tierlake expire` from a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster import DagsterError

from dagster_project.lineage import downstream_sight
from dagster_project.partition_wipe import (
    WipeResult,
    latest_storage_ids,
    newest_storage_id,
    wipe_partitions,
)
from dagster_project.partitions import KnownPartitions
from dagster_project.reads import not_anew
from pipelines.layout import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from datetime import date

    from dagster_project.lake_asset import LakeAsset
    from dagster_project.lineage import Downstream, Sight
    from pipelines import Dataset
    from pipelines.plan import Expiration, ExpiryPlan
    from pipelines.results import ApplyResult, UndoResult
    from pipelines.tables.protocol import LiveFile

__all__ = ["Due", "Expired", "Retention"]

_RESOLUTION: Final = timedelta(seconds=2)
"""The server tells its time in whole seconds: clocks that differ by less are taken as equal."""


@dataclass(frozen=True, slots=True)
class Due:
    """What retention asks for now.

    Attributes:
        as_of: the instant that it was asked about.
        keys: Dagster keys to expire, and those that are gone already but still show as available.
        unknown: the dataset's keys to expire that are no partitions of the asset, or not any more.
        stamps: for each of both what tells this request from the next: of a Dagster key the storage id of its latest
            materialization, as it was before the table was looked at, of the others when their rows changed.
        refused: lake keys that are due and kept, each with the reason.
        next_key: the partition that comes due next; None where none will.
        next_at: when.
    """

    as_of: datetime
    keys: tuple[str, ...]
    unknown: tuple[str, ...]
    stamps: Mapping[str, int]
    refused: Mapping[str, str]
    next_key: str | None
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Expired:
    """What an expiry did.

    Attributes:
        plan: what it went by.
        result: what changed in the table; None where nothing was to change.
        wipe: what Dagster was made to forget.
        kept: keys that were asked for and are still in the table, each with the reason where there is one: Dagster's,
            the dataset's where Dagster has none.
        unknown: the dataset's keys that are gone from the table and that Dagster does not know: nobody shows them.
        untold: why Dagster could not be told of some of these; empty where it was.
    """

    plan: ExpiryPlan
    result: ApplyResult | None
    wipe: WipeResult
    kept: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    untold: str = ""


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

    def due(self, as_of: date | None) -> Due:
        """What would be expired now, and what comes next."""
        # before the table is looked at: what is materialized meanwhile is not gone
        shown = latest_storage_ids(self.instance, self.asset.asset_key)
        sight = self._sight()
        outlook = self.dataset.expiry_outlook(as_of, materialized=sight)
        absent = self._gone_but_shown(shown, outlook.live)
        known = self._known() if outlook.due or absent else ()
        named = {key: self._known_as(key, known) for key in outlook.due}
        gone = [key for key in absent if key in known]
        unknown = {str(key): _stamp(outlook.live[key]) for key, name in named.items() if name is None}
        return Due(
            as_of=outlook.as_of,
            keys=(*(name for name in named.values() if name is not None), *gone),
            unknown=tuple(unknown),
            stamps={**shown, **unknown},
            refused={refusal.key: refusal.reason for refusal in outlook.refused},
            next_key=None if outlook.next_key is None else str(outlook.next_key),
            next_at=outlook.next_at,
        )

    def expire(
        self, keys: Sequence[str | PartitionKey] | None, as_of: date | None, *, run_id: str | None, undo: bool = True
    ) -> Expired:
        """Take partitions out of the table, and wipe those that are gone.

        What Dagster does not know, or not any more (a dynamic partition that was removed, a window before a `start`
        that was moved), leaves the table like the others.

        Args:
            keys: Dagster's, as text, or the dataset's; None expires all that the policy asks for. What the policy does
                not ask for stays.
            as_of: by which day the policy judges; None is now.
            run_id: the Dagster run, for both histories.
            undo: False gives undo up (see `ExpiryPlan.apply`).
        """
        before = newest_storage_id(self.instance)
        plan = self.plan(as_of)
        planned = {step.key: step for step in plan.steps}
        asked = list(planned) if keys is None else [str(self._lake_key(key)) for key in keys]
        chosen = [key for key in asked if key in planned]
        result = plan.apply(keys=chosen, run_id=run_id, undo=undo) if chosen else None
        live = {str(key) for key in self.dataset.windows()}
        reasons = {refusal.key: refusal.reason for refusal in plan.refused} | (result.failed if result else {})
        known = self._known() if asked else ()
        facts: dict[str, dict[str, Any]] = {}
        forgotten: dict[str, dict[str, Any]] = {}
        kept: dict[str, str] = {}
        unknown: list[str] = []
        for key in asked:
            name = self.asset.keys.find_dagster(PartitionKey.parse(key))
            if key in live:
                kept[name or key] = reasons.get(key, "within its retention")
            elif name is not None and name in known:
                facts[str(name)] = _facts(plan, planned.get(key), run_id)
            else:
                unknown.append(key)
                forgotten |= {} if name is None else {str(name): _facts(plan, planned.get(key), run_id)}
        wipe = wipe_partitions(self.instance, self.asset.asset_key, list(facts), up_to=before, metadata=facts)
        untold = self._forget(forgotten, before)
        return Expired(plan, result, wipe, kept, tuple(unknown), untold)

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
            UnknownPartition: it never expired.
            PolicyRefused: the grace is over.
        """
        result = self.dataset.undo_expiry(self.asset.keys.to_lake(key), run_id=run_id)
        if key not in latest_storage_ids(self.instance, self.asset.asset_key, [key]):
            metadata = not_anew(self.instance, self.asset.asset_key, [key])[key]
            metadata |= {"dagster/uri": self.dataset.uri, "bytes": result.bytes, "files": result.files}
            if result.rows is not None:
                metadata["dagster/partition_row_count"] = result.rows
            if run_id:
                metadata["run"] = dg.MetadataValue.dagster_run(run_id)
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    self.asset.asset_key, partition=key, description="expiry undone", metadata=metadata
                )
            )
        return result

    def _lake_key(self, key: str | PartitionKey) -> PartitionKey:
        return key if isinstance(key, PartitionKey) else self.asset.keys.to_lake(key)

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

    def _gone_but_shown(self, shown: Iterable[str], live: Container[PartitionKey]) -> list[str]:
        """Partitions that an expiry took out of the table and that Dagster still calls available."""
        lake_keys = {key: self.asset.keys.find_lake(key) for key in sorted(shown)}
        absent = {key: str(name) for key, name in lake_keys.items() if name is not None and name not in live}
        if not absent:  # the usual case needs no look into the history
            return []
        last: dict[str, str] = {}
        for entry in self.dataset.history():  # newest first
            for lake_key in entry.keys:
                if entry.operation in {"expire", "undo"}:
                    last.setdefault(lake_key, entry.operation)
        return [key for key, lake_key in absent.items() if last.get(lake_key) == "expire"]


def _stamp(files: Sequence[LiveFile]) -> int:
    """Tells a partition from the same one ingested again, where Dagster has no events that do."""
    return max(int(file.modified.timestamp() * 1000) for file in files)


def _facts(plan: ExpiryPlan, step: Expiration | None, run_id: str | None) -> dict[str, Any]:
    """What the audit says of one partition."""
    facts: dict[str, Any] = {"dagster/uri": plan.uri}
    if step is None:
        facts["reason"] = "gone from the table already"
    else:
        facts |= {"reason": step.reason, "bytes": step.bytes, "files": len(step.files)}
        facts |= {"rows": step.rows} if step.rows is not None else {}
    if run_id:
        facts["run"] = dg.MetadataValue.dagster_run(run_id)
    return facts
