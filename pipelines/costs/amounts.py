"""Objects summed up: how many there are and how large they are, so that many cost what they would cost one by one.

Classes bill a small object as if it had their minimum size, so an amount also keeps how much of it lies below each
such size. Two amounts can be added; the objects themselves are not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierlake.pipelines.costs.model import GIB

if TYPE_CHECKING:
    from tierlake.pipelines.prices import PriceList, Rates

__all__ = ["BILLED_LEAST", "Amount", "size_steps"]

BILLED_LEAST: Final = 128 * 1024
"""Bytes: AWS's colder classes bill every object as if it had as many, and its lifecycle rules leave smaller ones."""


def size_steps(prices: PriceList) -> tuple[int, ...]:
    """The minimum sizes by which the classes of a list bill."""
    steps = {int(rates.min_bytes.value) for rates in (*prices.classes.values(), *prices.tiers.values())}
    return tuple(sorted(steps - {0} | {BILLED_LEAST}))


class Amount:
    """A sum of objects.

    Attributes:
        count: Objects.
        bytes: Their size.
        below: For each minimum size the number and the bytes of the smaller ones.
    """

    __slots__ = ("below", "bytes", "count", "steps")

    def __init__(self, steps: tuple[int, ...] = (BILLED_LEAST,)) -> None:
        """Begin with nothing.

        Args:
            steps: The minimum sizes to tell apart, rising.
        """
        self.steps = steps
        self.count = 0
        self.bytes = 0
        self.below = [[0, 0] for _ in steps]

    def add(self, size: int) -> None:
        """Add an object."""
        self.count += 1
        self.bytes += size
        if size < self.steps[-1]:
            for step, small in zip(self.steps, self.below, strict=True):
                if size < step:
                    small[0] += 1
                    small[1] += size

    def merge(self, other: Amount) -> None:
        """Add all objects of another amount, which tells the same sizes apart."""
        self.count += other.count
        self.bytes += other.bytes
        for mine, theirs in zip(self.below, other.below, strict=True):
            mine[0] += theirs[0]
            mine[1] += theirs[1]

    def smaller(self, step: int) -> tuple[int, int]:
        """The number and the bytes of objects smaller than one of the sizes."""
        count, size = self.below[self.steps.index(step)]
        return count, size

    def at_least(self, step: int) -> Amount:
        """The objects that are not smaller than one of the sizes, as an amount of its own."""
        count, size = self.smaller(step)
        rest = Amount(self.steps)
        rest.count, rest.bytes = self.count - count, self.bytes - size
        rest.below = [[max(0, n - count), max(0, b - size)] for n, b in self.below]
        return rest

    def monthly(self, rates: Rates, standard: Rates | None) -> float:
        """Storage in dollars a month, as `costs.model.monthly_storage` has it for the objects one by one.

        Args:
            rates: The class's.
            standard: Those of the hot class, by which part of an archived object's overhead is charged.
        """
        least = int(rates.min_bytes.value)
        count, size = self.smaller(least) if least else (0, 0)
        billed = self.bytes - size + count * least + self.count * rates.overhead_class.value
        cost = billed / GIB * rates.storage.value
        if standard is not None:
            cost += self.count * rates.overhead_std.value / GIB * standard.storage.value
        return cost
