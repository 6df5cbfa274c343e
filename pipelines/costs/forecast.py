"""What files will cost over a span of time under a policy: storage, moves, and classes that are left too early.

A policy's age counts from an instant that each lot of files names. For a dataset that is the end of the partition's
window; for a bucket's lifecycle rule it is the upload, as S3 knows no other
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html). So a backfill looks new to a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tierlake.pipelines.costs.model import DEFAULT_HORIZON, MONTH, Mover, MoveRates, monthly_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tierlake.pipelines.prices import PriceList, Rates

__all__ = ["Forecast", "Lot", "Policy", "forecast"]

_HOT: Final = "STANDARD"


@dataclass(frozen=True, slots=True)
class Lot:
    """Files that are stored together and age together: a partition.

    Attributes:
        sizes: Bytes of each file.
        stored: When they are uploaded, in class STANDARD.
        born: From when on their age counts.
    """

    sizes: tuple[int, ...]
    stored: datetime
    born: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens to files as they age.

    Attributes:
        steps: From which age on they belong in which storage class, youngest first.
        expire_after: The age at which they expire, and are moved no more; None where they stay.
        mover: How they move.
        must_pay: Whether a move is left out that costs more than it saves. A lifecycle rule moves all the same.
        grace: How much later than they expire they are deleted.
    """

    steps: tuple[tuple[timedelta, str], ...] = ()
    expire_after: timedelta | None = None
    mover: Mover = "copy"
    must_pay: bool = True
    grace: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A bill to come, in dollars.

    Attributes:
        storage: For bytes, as long as they are stored.
        moves: For requests and retrievals of moves between classes.
        early_deletion: For classes that are left before their minimum duration.
    """

    storage: float = 0.0
    moves: float = 0.0
    early_deletion: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.storage + self.moves + self.early_deletion

    def __add__(self, other: Forecast) -> Forecast:
        """Both bills together."""
        return Forecast(
            self.storage + other.storage, self.moves + other.moves, self.early_deletion + other.early_deletion
        )


def forecast(lots: Iterable[Lot], policy: Policy, prices: PriceList, *, since: datetime, until: datetime) -> Forecast:
    """What these files will cost.

    Args:
        lots: The files.
        policy: What happens to them. A step or an expiry that is due at the upload happens with it.
        prices: What places and moves cost.
        since: When the bill begins: what was paid before is left out.
        until: When it ends.

    Raises:
        KeyError: The list has no price for one of the classes.
    """
    total = Forecast()
    for lot in lots:
        for stay in _stays(lot, policy, prices):
            total += stay.bill(lot, prices, since=since, until=until)
    return total


@dataclass(frozen=True, slots=True)
class _Stay:
    """A lot's time in one class.

    Attributes:
        start: When it gets there.
        end: When it leaves; None where it stays.
        place: The class's rates.
        moved: What getting there costs, with what the class before charges for leaving early.
    """

    start: datetime
    end: datetime | None
    place: Rates
    moved: Forecast

    def bill(self, lot: Lot, prices: PriceList, *, since: datetime, until: datetime) -> Forecast:
        """What of it falls between two instants."""
        end = until if self.end is None else self.end
        span = max(min(end, until) - max(self.start, since), timedelta(0))
        bill = Forecast(storage=monthly_storage(lot.sizes, self.place, prices.standard) * (span / MONTH))
        if since <= self.start < until:
            bill += self.moved
        if self.end is not None and since <= self.end < until:
            missing = max(timedelta(days=self.place.min_days.value) - (self.end - self.start), timedelta(0))
            early = monthly_storage(lot.sizes, self.place, prices.standard) * (missing / MONTH)
            bill += Forecast(early_deletion=early)
        return bill


def _stays(lot: Lot, policy: Policy, prices: PriceList) -> Iterator[_Stay]:
    expires = None if policy.expire_after is None else max(lot.born + policy.expire_after, lot.stored)
    start, place, moved = lot.stored, prices.classes[_HOT], Forecast()
    steps = [(max(lot.born + after, lot.stored), prices.classes[name]) for after, name in policy.steps]
    for position, (moment, target) in enumerate(steps):
        later = [steps[position + 1][0]] if position + 1 < len(steps) else []
        follows = min(later + ([expires] if expires is not None else []), default=None)
        if follows is not None and follows <= moment:
            continue
        rates = MoveRates.of(place, target, prices=prices, mover=policy.mover)
        horizon = DEFAULT_HORIZON if follows is None else follows - moment
        cost = rates.cost([(size, start) for size in lot.sizes], as_of=moment, horizon=horizon)
        if policy.must_pay and not cost.pays:
            continue
        yield _Stay(start, moment, place, moved)
        start, place, moved = moment, target, Forecast(moves=cost.requests + cost.retrieval)
    yield _Stay(start, None if expires is None else expires + policy.grace, place, moved)
