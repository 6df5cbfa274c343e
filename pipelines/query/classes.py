"""The storage classes of a dataset: which tier each stands for and what it costs, looked up once for each class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierlake.pipelines.costs.model import monthly_storage
from tierlake.pipelines.query.placement import MISSING, class_of_tier, tier_of_class

if TYPE_CHECKING:
    from tierlake.connector.profiles import Profile
    from tierlake.pipelines.model.spec import DatasetSpec, Tier
    from tierlake.pipelines.prices import PriceList, Rates
    from tierlake.pipelines.query.placement import PlacedPartition

__all__ = ["Classes"]


@dataclass(frozen=True, slots=True)
class Classes:
    """Tiers and rates by storage class.

    Attributes:
        spec: The dataset's description.
        profile: The server's profile.
        prices: The server's prices.
    """

    spec: DatasetSpec
    profile: Profile
    prices: PriceList
    _tiers: dict[str, Tier | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _targets: dict[Tier, str | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _rates: dict[tuple[str, Tier | None], Rates | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def tier(self, storage_class: str) -> Tier | None:
        """The hottest tier of a class on this server, or None."""
        if storage_class not in self._tiers:
            self._tiers[storage_class] = tier_of_class(self.spec, self.profile, storage_class)
        return self._tiers[storage_class]

    def tier_of(self, part: PlacedPartition) -> Tier | None:
        """The tier of a partition; None where its files are in several classes, or in one that is no tier."""
        classes = part.classes
        return self.tier(classes[0]) if len(classes) == 1 and classes[0] else None

    def target(self, tier: Tier) -> str | None:
        """The class of a tier; see `placement.class_of_tier`."""
        if tier not in self._targets:
            self._targets[tier] = class_of_tier(self.spec, self.profile, tier)
        return self._targets[tier]

    def rates(self, storage_class: str, tier: Tier | None = None) -> Rates | None:
        """The rates of a class; None where there is no price for it.

        Args:
            storage_class: As listings report it.
            tier: The tier that it stands for; by default the hottest one.
        """
        place = storage_class, tier or self.tier(storage_class)
        if place not in self._rates:
            self._rates[place] = self.prices.rates(*place)
        return self._rates[place]

    def monthly_hot(self, part: PlacedPartition) -> float | None:
        """What the storage of a partition would cost in the hot tier; None where that has no price."""
        hot = self.target("hot")
        rates = None if hot is None else self.rates(hot, "hot")
        if rates is None:
            return None
        sizes = [file.live.size for file in part.files if file.storage_class != MISSING]
        return monthly_storage(sizes, rates, self.rates("STANDARD", "hot"))

    def monthly(self, part: PlacedPartition) -> float | None:
        """Storage of a partition in dollars a month; None where there is no price for one of its classes."""
        cost = 0.0
        for storage_class in part.classes:
            if storage_class == MISSING:
                continue
            rates = self.rates(storage_class)
            if rates is None:
                return None
            sizes = [file.live.size for file in part.files if file.storage_class == storage_class]
            cost += monthly_storage(sizes, rates, self.rates("STANDARD", "hot"))
        return cost
