"""Figures of a dataset as it is now: what an operator looks at, and what alerts watch.

`Dataset.figures()` reads the description and the table, and lists the store once. What costs a request for each object
is left out unless it is asked for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from tierlake.connector.observe import gauge
from tierlake.pipelines.lifecycle.decision import decider
from tierlake.pipelines.lifecycle.planned import TierMove
from tierlake.pipelines.model.age import is_past_retention, window_of_key
from tierlake.pipelines.model.spec import TIER_ORDER
from tierlake.pipelines.query.catalog import kept_because
from tierlake.pipelines.query.placement import placed
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import emphasised
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.pipelines.lifecycle.decision import Decider
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.classes import Classes
    from tierlake.pipelines.query.placement import PlacedPartition

__all__ = ["Figures", "TierFigures", "read_figures"]

NumberT = TypeVar("NumberT", int, float)

MIXED: Final = "mixed"
"""Stands for partitions in several storage classes, or in one that is no tier."""
_UPLOAD_AGE: Final = "1d"
"""A younger upload may be under way."""


@dataclass(frozen=True, slots=True)
class TierFigures:
    """The partitions of one tier.

    Attributes:
        partitions: How many.
        rows: Their rows; None where the table does not know a file's.
        bytes: Their size.
        monthly_cost: Storage in dollars a month; None where a class has no price.
        monthly_hot: The same if all of them were in the hot tier.
    """

    partitions: int = 0
    rows: int | None = 0
    bytes: int = 0
    monthly_cost: float | None = 0.0
    monthly_hot: float | None = 0.0

    def with_partition(self, part: PlacedPartition, classes: Classes) -> TierFigures:
        """The same with another partition."""
        return TierFigures(
            partitions=self.partitions + 1,
            rows=_sum(self.rows, part.rows),
            bytes=self.bytes + part.bytes,
            monthly_cost=_sum(self.monthly_cost, classes.monthly(part)),
            monthly_hot=_sum(self.monthly_hot, classes.monthly_hot(part)),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Figures(Shown):
    """Figures of a dataset.

    Attributes:
        uri: The dataset.
        as_of: The instant that they are of.
        tiers: The partitions by tier, each tier of the policy among them; `mixed` are those in several classes.
        expiry_backlog: Partitions past their retention that nothing keeps, and that are not expired yet. None where
            `retention.after` names assets: only Dagster knows what they have read, and its sensor counts.
        tiering_backlog: Partitions that the next tiering moves.
        saved_monthly: Dollars a month that the tiers save against all partitions in the hot tier; None where a class
            has no price.
        checkpoint_age: Since the log's last checkpoint was written; None where there is none.
        incomplete_uploads: Multipart uploads that were begun a day ago or earlier; None where they were not counted.
        unencrypted_objects: Live files without the encryption of the policy, likewise.
    """

    uri: str
    as_of: datetime
    tiers: Mapping[str, TierFigures]
    expiry_backlog: int | None
    tiering_backlog: int
    saved_monthly: float | None
    checkpoint_age: timedelta | None = None
    incomplete_uploads: int | None = None
    unencrypted_objects: int | None = None

    def emit(self) -> None:
        """Give the figures to whoever observes, as gauges."""
        for tier, one in self.tiers.items():
            gauge("partition_count", one.partitions, tier=tier, dataset=self.uri)
            gauge("stored_bytes", one.bytes, tier=tier, dataset=self.uri)
            if one.rows is not None:
                gauge("stored_rows", one.rows, tier=tier, dataset=self.uri)
        others = {
            "expiry_backlog": self.expiry_backlog,
            "tiering_backlog": self.tiering_backlog,
            "saved_dollars_per_month": self.saved_monthly,
            "checkpoint_age_seconds": None if self.checkpoint_age is None else self.checkpoint_age.total_seconds(),
            "incomplete_upload_count": self.incomplete_uploads,
            "unencrypted_object_count": self.unencrypted_objects,
            "figures_timestamp_seconds": time.time(),
        }
        for name, value in others.items():
            if value is not None:
                gauge(name, value, dataset=self.uri)

    def __str__(self) -> str:
        """A table of the tiers, and a line for each other figure."""
        of = f"{self.uri} as of {self.as_of:%Y-%m-%d %H:%M}"
        return "\n".join([emphasised(self._summary()), of, "", self._table().text(), "", *self._facts()])

    def _summary(self) -> str:
        partitions = sum(one.partitions for one in self.tiers.values())
        costs = [one.monthly_cost for one in self.tiers.values()]
        cost = None if None in costs else sum(cost for cost in costs if cost is not None)
        size = formatting.size(sum(one.bytes for one in self.tiers.values()))
        amount = f"{formatting.partitions(partitions)}, {size}"
        due = f"{self.tiering_backlog:,} to move, {formatting.count(self.expiry_backlog)} to expire"
        return f"{amount}, {formatting.monthly(cost)}; {due}"

    def _parts(self) -> tuple[str | Table[tuple[str, TierFigures]], ...]:
        of = f"{self.uri} as of {self.as_of:%Y-%m-%d %H:%M}"
        return of, self._table(), "\n".join(self._facts())

    def _table(self) -> Table[tuple[str, TierFigures]]:
        return Table(["tier", ">partitions", ">rows", ">size", ">$/month"], list(self.tiers.items()), _cells)

    def _facts(self) -> list[str]:
        facts = [
            ("expiry backlog", _partitions(self.expiry_backlog)),
            ("tiering backlog", formatting.partitions(self.tiering_backlog)),
            ("saved", f"{formatting.monthly(self.saved_monthly)} against all in the hot tier"),
            ("last checkpoint", _ago(self.checkpoint_age)),
        ]
        if self.incomplete_uploads is not None:
            facts.append(("incomplete uploads", f"{self.incomplete_uploads:,} of a day and older"))
        if self.unencrypted_objects is not None:
            facts.append(("unencrypted", formatting.counted(self.unencrypted_objects, "live file")))
        width = max(len(name) for name, _ in facts)
        return [f"{name:<{width}}  {text}" for name, text in facts]


def _cells(figures: tuple[str, TierFigures]) -> tuple[str, ...]:
    tier, one = figures
    return (
        tier,
        formatting.count(one.partitions),
        formatting.count(one.rows),
        formatting.size(one.bytes),
        formatting.money(one.monthly_cost),
    )


def read_figures(handle: Handle, as_of: datetime, *, uploads: bool = False, encryption: bool = False) -> Figures:
    """Look at a dataset.

    Args:
        handle: The dataset.
        as_of: The instant that ages count to.
        uploads: Also count incomplete uploads, by a listing of them.
        encryption: Also count unencrypted files, by a request for each file.
    """
    with handle.table.one_look():
        snapshot = handle.table.snapshot()
        deciding = decider(handle, as_of)
        parts = placed(handle, snapshot, is_new=True)
        with collector_paused():
            tiers = tiers_of(parts.values(), deciding.classes)
            moving = sum(isinstance(deciding.decide(part), TierMove) for part in parts.values())
            expiring = sum(_is_due(deciding, key) for key in parts)
    checkpoint = handle.table.checkpointed_at()
    costs = [(one.monthly_hot, one.monthly_cost) for one in tiers.values()]
    known = [hot - cost for hot, cost in costs if hot is not None and cost is not None]
    paths = [f"{handle.table.root}/{file.path}" for file in snapshot.files]
    find = partial(handle.fs.abort_incomplete_uploads, handle.table.root, older_than=_UPLOAD_AGE, dry_run=True)
    return Figures(
        uri=handle.spec.uri,
        as_of=as_of,
        tiers=tiers,
        expiry_backlog=None if handle.spec.retention.after else expiring,
        tiering_backlog=moving,
        saved_monthly=sum(known) if len(known) == len(costs) else None,
        checkpoint_age=None if checkpoint is None else max(as_of - checkpoint, timedelta(0)),
        incomplete_uploads=len(find()) if uploads else None,
        unencrypted_objects=len(handle.fs.encryption_faults(paths)) if encryption else None,
    )


def _is_due(deciding: Decider, key: PartitionKey) -> bool:
    """Whether a partition is past its retention, and nothing keeps it."""
    window = window_of_key(deciding.spec, key)
    if window is None or not is_past_retention(deciding.spec, window.age(deciding.as_of)):
        return False
    return kept_because(deciding.document, key, deciding.as_of) is None


def tiers_of(parts: Iterable[PlacedPartition], classes: Classes) -> dict[str, TierFigures]:
    """The partitions by tier, the hottest first: all tiers of the policy, and those that have partitions."""
    tiers: dict[str, TierFigures] = {"hot": TierFigures(), **{step.tier: TierFigures() for step in classes.spec.tiers}}
    for part in parts:
        tier = classes.tier_of(part) or MIXED
        tiers[tier] = tiers.get(tier, TierFigures()).with_partition(part, classes)
    return {tier: tiers[tier] for tier in (*TIER_ORDER, MIXED) if tier in tiers}


def _partitions(number: int | None) -> str:
    return "known to Dagster" if number is None else formatting.partitions(number)


def _ago(span: timedelta | None) -> str:
    return "none" if span is None else f"{formatting.age(span)} ago"


def _sum(total: NumberT | None, part: NumberT | None) -> NumberT | None:
    return None if total is None or part is None else total + part
