"""What files cost where they lie, and whether moving them is worth it: functions over sizes and rates.

No server is asked; figures come from a price list. Bytes are priced as GiB-months, requests per 1,000, and an object
below a class's minimum is priced as if it had that size, which is why small files gain little by moving (compact them
first).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierlake.pipelines.prices import PriceList, Rates

__all__ = ["DEFAULT_HORIZON", "MONTH", "MoveCost", "monthly_storage", "move_cost"]

GIB = 2**30
MONTH = timedelta(days=365.25 / 12)
DEFAULT_HORIZON = timedelta(days=365)
"""How far ahead savings count where the policy has no next step: 12 months."""

Mover = Literal["copy", "tag"]


@dataclass(frozen=True, slots=True)
class MoveCost:
    """The money side of one partition's move.

    Attributes:
        monthly_before: storage a month where the files are, in dollars.
        monthly_after: storage a month where they would go.
        requests: what the moves themselves cost, once.
        retrieval: what reading the files out of their class costs, once.
        early_deletion: what is charged for leaving a class before its minimum duration, once.
        horizon: how long the files stay there: until the policy's next step.
    """

    monthly_before: float
    monthly_after: float
    requests: float
    retrieval: float
    early_deletion: float
    horizon: timedelta

    @property
    def one_off(self) -> float:
        """What the move costs."""
        return self.requests + self.retrieval + self.early_deletion

    @property
    def saved(self) -> float:
        """What it saves in storage until the next step; negative where the new place costs more."""
        return (self.monthly_before - self.monthly_after) * (self.horizon / MONTH)

    @property
    def pays(self) -> bool:
        """Whether it saves at least what it costs, and anything at all."""
        return self.saved > 0 and self.saved >= self.one_off


def monthly_storage(sizes: Sequence[int], rates: Rates, standard: Rates | None = None) -> float:
    """Storage of these objects in one class, in dollars a month.

    Args:
        sizes: bytes of each object.
        rates: the class's.
        standard: those of the hot class, by which part of an archived object's overhead is charged.
    """
    least, overhead = rates.min_bytes.value, rates.overhead_class.value
    billed = sum(max(size, least) + overhead for size in sizes)
    cost = billed / GIB * rates.storage.value
    if standard is not None:
        cost += len(sizes) * rates.overhead_std.value / GIB * standard.storage.value
    return cost


def move_cost(
    files: Sequence[tuple[int, datetime]],
    source: Rates,
    target: Rates,
    *,
    prices: PriceList,
    mover: Mover,
    as_of: datetime,
    horizon: timedelta,
) -> MoveCost:
    """Price a move of files from one class to another.

    Args:
        files: of each its bytes and since when it has been in its class.
        source: rates of the class where they are.
        target: rates of the class where they would go.
        prices: the list that both come from.
        mover: a `copy` pays for a write and for reading the bytes out of the class; a `tag` pays for the tag and the
            lifecycle transition.
        as_of: when the move happens.
        horizon: how long the files would stay there.
    """
    sizes = [size for size, _ in files]
    per_file = target.put.value if mover == "copy" else _tag_price(prices) + target.transition.value
    read = sum(sizes) / GIB * source.retrieval_gb.value if mover == "copy" else 0.0
    return MoveCost(
        monthly_before=monthly_storage(sizes, source, prices.standard),
        monthly_after=monthly_storage(sizes, target, prices.standard),
        requests=len(sizes) * per_file / 1000,
        retrieval=read,
        early_deletion=sum(_early_deletion(size, since, source, as_of) for size, since in files),
        horizon=max(horizon, timedelta(0)),
    )


def _tag_price(prices: PriceList) -> float:
    """Setting a tag is a PUT at the hot class's rate."""
    return prices.standard.put.value if prices.standard else 0.0


def _early_deletion(size: int, since: datetime, rates: Rates, as_of: datetime) -> float:
    least = timedelta(days=rates.min_days.value)
    stayed = max(as_of - since, timedelta(0))
    if stayed >= least:
        return 0.0
    return monthly_storage([size], rates) * ((least - stayed) / MONTH)
