"""What to do with one partition: move it to its tier, leave it with a reason, or nothing.

A partition's tier goes by its age (`lifecycle.py`), the tier's storage class by the server's profile, the price by the
profile's list (`costs.model`). Plans and explanations both decide here, so that they never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tierlake.connector.errors import AccessDenied
from tierlake.pipelines.costs.model import DEFAULT_HORIZON, MoveCost, MoveRates, monthly_storage
from tierlake.pipelines.lifecycle.plan import PlannedFile, Refusal, TierMove
from tierlake.pipelines.model.age import is_past_retention, next_step, tier_at, window_of_key
from tierlake.pipelines.movers import get_mover
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.query.catalog import kept_because
from tierlake.pipelines.query.classes import Classes
from tierlake.pipelines.query.placement import MISSING
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.tables.tails import tail_to_keep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierlake.connector.profiles import Profile
    from tierlake.pipelines.metastore.document import DatasetDocument
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import DatasetSpec, Tier
    from tierlake.pipelines.model.time_window import Window
    from tierlake.pipelines.movers import Mover
    from tierlake.pipelines.prices import PriceList
    from tierlake.pipelines.query.placement import PlacedFile, PlacedPartition

__all__ = ["Decider", "decider", "planned_files", "price_note"]


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides for one partition at a time; asks the server once per tier.

    Attributes:
        handle: The dataset.
        as_of: The instant that ages count to.
        prices: What places and moves cost.
        mover: How files move.
        document: Holds and retentions, which put an expiry off.
        classes: The tiers and rates of storage classes.
    """

    handle: Handle
    as_of: datetime
    prices: PriceList
    mover: Mover
    document: DatasetDocument | None
    classes: Classes = field(init=False)
    _obstacles: dict[Tier, str | None] = field(default_factory=dict)
    _versions: list[bool] = field(default_factory=list)
    _moves: dict[tuple[str, Tier], MoveRates | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", Classes(self.handle.spec, self.handle.fs.profile, self.prices))

    @property
    def spec(self) -> DatasetSpec:
        """The dataset's policy."""
        return self.classes.spec

    @property
    def profile(self) -> Profile:
        """The server's profile."""
        return self.classes.profile

    def decide(self, part: PlacedPartition) -> TierMove | Refusal | None:
        """What to do with a partition: move it, leave it with a reason, or nothing since it is where it belongs."""
        spec = self.spec
        window = window_of_key(spec, part.key) if spec.tiers else None
        if window is None:
            return None
        age = window.age(self.as_of)
        tier = tier_at(spec, age)
        target = self.classes.target(tier)
        if target is not None and part.classes == (target,):
            return None
        why_not = self._obstacle(tier, target) or self._unmovable(part, age)
        if target is None or why_not is not None:
            return Refusal(key=str(part.key), reason=why_not or "")
        moving = [file for file in part.files if file.storage_class != target]
        until = self._until(part.key, window, age)
        tail = self._tail(part, target)
        cost = self._cost(moving, target, tier, (until - self.as_of) if until else DEFAULT_HORIZON, tail)
        if cost is not None and not cost.pays:
            return Refusal(key=str(part.key), reason=self._too_dear(cost, moving, target, until))
        return TierMove.of(
            key=str(part.key),
            files=planned_files(part),
            rows=part.rows,
            age=age,
            reason=self._reason(age, tier),
            tier=tier,
            storage_class=target,
            monthly_before=cost.monthly_before if cost else None,
            monthly_after=cost.monthly_after if cost else None,
            one_off=cost.one_off if cost else None,
            saved=cost.saved if cost else None,
            until=until,
        )

    def _obstacle(self, tier: Tier, target: str | None) -> str | None:
        """Why nothing can go to this tier on this server."""
        if target is None:
            return f"the server ({self.profile.name}) has no storage class for tier {tier}"
        if target in self.profile.archived_classes and tier != "archive":
            return (
                f"{target} needs a restore before it can be read, which only tier archive allows; the spec says {tier}"
            )
        if tier not in self._obstacles:
            self._obstacles[tier] = self.mover.obstacle(self.handle.fs, self.handle.table.root, tier, target)
        return self._obstacles[tier]

    def _unmovable(self, part: PlacedPartition, age: timedelta) -> str | None:
        """Why this partition should not move."""
        classes = part.classes
        if MISSING in classes:
            missing = sum(file.storage_class == MISSING for file in part.files)
            return f"{missing} of its {len(part.files)} files are not in the store; `tierlake verify` says which"
        archived = [storage_class for storage_class in classes if storage_class in self.profile.archived_classes]
        if archived:
            return f"it is archived in {', '.join(archived)} and must be restored before it can move"
        if is_past_retention(self.spec, age) and self._kept(part.key) is None:
            return "it is past its retention: the next expiry takes it out"
        return None

    def _kept(self, key: PartitionKey) -> str | None:
        return kept_because(self.document, key, self.as_of)

    def _until(self, key: PartitionKey, window: Window, age: timedelta) -> datetime | None:
        """When a partition that moves now moves again or expires; None where neither is in sight."""
        step = next_step(self.spec, age)
        if step is not None and step.what != "expire":
            return step.at(window)
        if self._kept(key) is None:
            return step.at(window) if step else None
        if self.document is None or str(key) in self.document.holds:
            return None
        retained = self.document.retains[str(key)]
        return max(retained, step.at(window)) if step else retained

    def _cost(
        self, moving: Sequence[PlacedFile], target: str, tier: Tier, horizon: timedelta, tail: str | None
    ) -> MoveCost | None:
        """What the move costs; None where there is no price for one of the classes."""
        costs: list[MoveCost] = []
        for source in sorted({file.storage_class for file in moving}):
            rates = self._move_rates(source, target, tier)
            if rates is None:
                return None
            own = [file for file in moving if file.storage_class == source]
            files = [(file.live.size, file.since) for file in own]
            tails = 0 if tail is None else [file.live.path for file in own].count(tail)
            costs.append(rates.cost(files, as_of=self.as_of, horizon=horizon, tails=tails))
        if len(costs) == 1:
            return costs[0]
        return MoveCost(
            monthly_before=sum(cost.monthly_before for cost in costs),
            monthly_after=sum(cost.monthly_after for cost in costs),
            requests=sum(cost.requests for cost in costs),
            retrieval=sum(cost.retrieval for cost in costs),
            early_deletion=sum(cost.early_deletion for cost in costs),
            horizon=max(horizon, timedelta(0)),
        )

    def _tail(self, part: PlacedPartition, target: str) -> str | None:
        """The file whose tail is kept beside the table; None where none is."""
        archived = self.profile.archived_classes
        if target not in archived:
            return None
        classes = {file.live.path: file.storage_class for file in part.files}
        return tail_to_keep(self.handle.table, classes, target, archived)

    def _move_rates(self, source: str, target: str, tier: Tier) -> MoveRates | None:
        """What moves from a class to a tier cost, computed once; None where there is no price for one of them."""
        way = source, tier
        if way not in self._moves:
            before, after = self.classes.rates(source), self.classes.rates(target, tier)
            self._moves[way] = (
                MoveRates.of(
                    before,
                    after,
                    prices=self.prices,
                    mover=self.mover.priced_as,
                    keeps_versions=self._keeps_versions(),
                )
                if before is not None and after is not None
                else None
            )
        return self._moves[way]

    def _keeps_versions(self) -> bool:
        """Whether the bucket keeps versions; asked once, and only where requests have a price."""
        hot = self.prices.standard
        if self.mover.priced_as != "copy" or hot is None or not hot.put.value:
            return False
        if not self._versions:
            try:
                self._versions.append(self.handle.fs.is_versioned(self.spec.bucket))
            except AccessDenied:
                self._versions.append(False)
        return self._versions[0]

    def monthly_in(self, part: PlacedPartition, tier: Tier) -> float | None:
        """What a partition's storage would cost a month in a tier; None where there is no price."""
        target = self.classes.target(tier)
        rates = self.classes.rates(target, tier) if target else None
        if rates is None:
            return None
        return monthly_storage([file.live.size for file in part.files], rates, self.prices.standard)

    def _reason(self, age: timedelta, tier: Tier) -> str:
        begins = next((step.after for step in self.spec.tiers if step.tier == tier), None)
        return f"{formatting.age(age)} old; {tier}" + (f" begins at {formatting.age(begins)}" if begins else "")

    def _too_dear(self, cost: MoveCost, moving: Sequence[PlacedFile], target: str, until: datetime | None) -> str:
        """The figures of a refusal."""
        before, after = formatting.money(cost.monthly_before), formatting.money(cost.monthly_after)
        if cost.monthly_after >= cost.monthly_before:
            reason = f"moving to {target} would not save: storage goes from {before} to {after} a month"
            rates = self.classes.rates(target)
            least = int(rates.min_bytes.value) if rates else 0
            small = sum(file.live.size < least for file in moving)
            if small:
                reason += f", as {small} files are smaller than the {least // 1024} KB that {target} charges at least"
                reason += " (compact first)"
            return reason
        span = f"until {formatting.day(until)}" if until else "in 12 months"
        return (
            f"moving to {target} costs {formatting.money(cost.one_off)} and saves {formatting.money(cost.saved)} "
            f"{span} (storage from {before} to {after} a month)"
        )


def decider(handle: Handle, as_of: datetime) -> Decider:
    """A decider for this dataset's partitions; reads the holds once."""
    profile = handle.fs.profile
    return Decider(
        handle=handle,
        as_of=as_of,
        prices=price_list(profile.price_list),
        mover=get_mover(profile.mover),
        document=handle.document.read() if handle.document else None,
    )


def planned_files(part: PlacedPartition) -> tuple[PlannedFile, ...]:
    """A partition's files as a plan remembers them."""
    return tuple(
        [
            PlannedFile.of(path=file.live.path, size=file.live.size, etag=file.etag, storage_class=file.storage_class)
            for file in part.files
        ]
    )


def price_note(prices: PriceList) -> str:
    """A remark on the price list behind a plan's figures."""
    return f"{prices.region}, {prices.dated}" + (f"; {prices.note}" if prices.note else "")
