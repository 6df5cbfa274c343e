"""Expiry and undo as Dagster sees them: change the table, then make Dagster say what is true.

Everything here goes by what the table has. A partition that is gone from it is wiped, whoever took it out: so a run
that died between the commit and the wipe is made good by the next one, and so is `tierlake expire` from a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.lineage import downstream_sight
from dagster_project.partition_wipe import (
    WipeResult,
    latest_storage_ids,
    newest_storage_id,
    wipe_partitions,
)
from pipelines.layout import PartitionKey

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from datetime import date, datetime

    from dagster_project.lake_asset import LakeAsset
    from dagster_project.lineage import Downstream
    from pipelines import Dataset
    from pipelines.plan import Expiration, ExpiryPlan
    from pipelines.results import ApplyResult, UndoResult

__all__ = ["Due", "Expired", "Retention"]


@dataclass(frozen=True, slots=True)
class Due:
    """What retention asks for now.

    Attributes:
        as_of: the instant that it was asked about.
        keys: Dagster keys to expire, and those that are gone already but still show as available.
        storage_ids: of the latest materialization of each Dagster key, as it was before the table was looked at.
        refused: lake keys that are due and kept, each with the reason.
        next_key: the partition that comes due next; None where none will.
        next_at: when.
    """

    as_of: datetime
    keys: tuple[str, ...]
    storage_ids: Mapping[str, int]
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
        kept: Dagster keys that were asked for and are still in the table, each with the reason where there is one.
    """

    plan: ExpiryPlan
    result: ApplyResult | None
    wipe: WipeResult
    kept: Mapping[str, str] = field(default_factory=dict)


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
        sight = downstream_sight(self.instance, self.asset, self.downstreams)
        return self.dataset.plan_expiry(as_of, materialized=sight)

    def due(self, as_of: date | None) -> Due:
        """What would be expired now, and what comes next."""
        # before the table is looked at: what is materialized meanwhile is not gone
        shown = latest_storage_ids(self.instance, self.asset.asset_key)
        sight = downstream_sight(self.instance, self.asset, self.downstreams)
        outlook = self.dataset.expiry_outlook(as_of, materialized=sight)
        gone = self._gone_but_shown(shown, outlook.live)
        return Due(
            as_of=outlook.as_of,
            keys=(*map(self.asset.keys.to_dagster, outlook.due), *gone),
            storage_ids=shown,
            refused={refusal.key: refusal.reason for refusal in outlook.refused},
            next_key=None if outlook.next_key is None else str(outlook.next_key),
            next_at=outlook.next_at,
        )

    def expire(
        self, keys: Sequence[str] | None, as_of: date | None, *, run_id: str | None, undo: bool = True
    ) -> Expired:
        """Take partitions out of the table, and wipe those that are gone.

        Args:
            keys: Dagster keys; None expires all that the policy asks for. What the policy does not ask for stays.
            as_of: by which day the policy judges; None is now.
            run_id: the Dagster run, for both histories.
            undo: False gives undo up (see `ExpiryPlan.apply`).
        """
        before = newest_storage_id(self.instance)
        plan = self.plan(as_of)
        planned = {step.key: step for step in plan.steps}
        asked = list(planned) if keys is None else [str(self.asset.keys.to_lake(key)) for key in keys]
        chosen = [key for key in asked if key in planned]
        result = plan.apply(keys=chosen, run_id=run_id, undo=undo) if chosen else None
        live = {str(key) for key in self.dataset.windows()}
        facts = {self._dagster_key(key): _facts(plan, planned.get(key), run_id) for key in asked if key not in live}
        wipe = wipe_partitions(self.instance, self.asset.asset_key, list(facts), up_to=before, metadata=facts)
        reasons = {refusal.key: refusal.reason for refusal in plan.refused} | (result.failed if result else {})
        kept = {self._dagster_key(key): reasons.get(key, "within its retention") for key in asked if key in live}
        return Expired(plan, result, wipe, kept)

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
            metadata: dict[str, Any] = {"dagster/uri": self.dataset.uri, "bytes": result.bytes, "files": result.files}
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

    def _dagster_key(self, key: str) -> str:
        return self.asset.keys.to_dagster(PartitionKey.parse(key))

    def _gone_but_shown(self, shown: Iterable[str], live: Container[PartitionKey]) -> list[str]:
        """Partitions that an expiry took out of the table and that Dagster still calls available."""
        lake_keys = {key: self.asset.keys.to_lake(key) for key in sorted(shown)}
        absent = {key: str(lake_key) for key, lake_key in lake_keys.items() if lake_key not in live}
        if not absent:  # the usual case needs no look into the history
            return []
        last: dict[str, str] = {}
        for entry in self.dataset.history():  # newest first
            for lake_key in entry.keys:
                if entry.operation in {"expire", "undo"}:
                    last.setdefault(lake_key, entry.operation)
        return [key for key, lake_key in absent.items() if last.get(lake_key) == "expire"]


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
