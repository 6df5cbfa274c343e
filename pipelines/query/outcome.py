"""What a plan makes of partitions, as far as a catalog needs it for the bill."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Outcome", "PricedPlan"]


class Outcome(NamedTuple):
    """What a plan makes of a partition.

    Attributes:
        tier: Where it goes; None where it leaves the table.
        saved_monthly: Dollars of storage a month; None where there is no price.
    """

    tier: str | None
    saved_monthly: float | None


class PricedPlan(Protocol):
    """A plan of either kind."""

    def outcomes(self) -> Mapping[str, Outcome]:
        """What becomes of each partition with a step, by its key."""
        ...
