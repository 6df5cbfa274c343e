"""Automation conditions that take retention into account.

`AutomationCondition.on_missing()` and `eager()` would ingest a partition again that has just expired: it is missing.
Combined with `not_expired`, they leave it alone:

    @dg.asset(automation_condition=dg.AutomationCondition.on_missing() & not_expired(FLIGHTS.spec), ...)

It is a condition in Python, so its sensor must evaluate in the code location:
`dg.AutomationConditionSensorDefinition("automation", target="*", use_user_code_server=True)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from tierlake.dagster_project.partitions.keys import KeyNames
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.model.instant import instant_after
from tierlake.pipelines.model.time_window import as_instant, window_of

if TYPE_CHECKING:
    from datetime import datetime

    from tierlake.pipelines.model.spec import DatasetSpec, TimePartition

__all__ = ["NotExpired", "not_expired"]


def not_expired(spec: DatasetSpec) -> dg.AutomationCondition[dg.AssetKey]:
    """True for partitions that the dataset's retention would not take away at once.

    Args:
        spec: The spec of the asset's dataset, with the asset's partition keys (see `partitions`), whatever
            kind they are of. Where one has no time in it, it never expires.
    """
    return NotExpired(spec)


class NotExpired(dg.AutomationCondition[dg.AssetKey]):
    """See `not_expired`. The day is TIERLAKE_TODAY where that is set, else the time of the evaluation."""

    def __init__(self, spec: DatasetSpec) -> None:
        """Go by this spec's retention."""
        self._spec = spec

    @property
    def name(self) -> str:
        """The name in the UI."""
        return "not_expired"

    @property
    def description(self) -> str:
        """The description in the UI."""
        return f"Within the retention of {self._spec.name}"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """Take away the candidates whose window ended longer ago than the retention."""
        candidates = context.candidate_subset
        time, after = self._spec.partition.time, self._spec.retention.expire_after
        if time is None or after is None:
            return dg.AutomationResult(context, candidates)
        today = LakeResource().today()
        # a time without a zone is this machine's, as Dagster takes it
        as_of = as_instant(today, time.timezone) if today else context.evaluation_time.astimezone()
        names = KeyNames.of(self._spec.name, self._spec.partition, context.partitions_def)
        kept = {
            key
            for _, key in candidates.expensively_compute_asset_partitions()
            if key is not None and not ((end := _end(key, names, time)) and instant_after(end, after) <= as_of)
        }
        return dg.AutomationResult(context, candidates.compute_intersection_with_partition_keys(kept))


def _end(key: str, names: KeyNames, time: TimePartition) -> datetime | None:
    window = window_of(names.to_lake(key).as_dict()[time.key], time.every, time.timezone)
    return window.end if window else None
