"""What files cost where they lie, and whether moving them is worth it: functions over sizes and rates.

No server is asked; figures come from a price list. Bytes are priced as GiB-months, requests per 1,000, and an object
below a class's minimum is priced as if it had that size, which is why small files gain little by moving (compact them
first).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tierlake.pipelines.prices import PriceList, Rates

__all__ = [
    "DEFAULT_HORIZON",
    "MONTH",
    "REQUESTS_OF_A_MOVE",
    "REQUESTS_OF_A_TAIL",
    "MoveCost",
    "MoveRates",
    "monthly_storage",
]

GIB = 2**30
MONTH = timedelta(days=365.25 / 12)
DEFAULT_HORIZON = timedelta(days=365)
"""How far ahead savings count where the policy has no next step: 12 months."""

Mover = Literal["copy", "tag", "rule"]
Request = Literal["HEAD", "GET", "PUT", "GET tagging", "COPY", "PUT tagging", "DELETE", "LIST versions"]
Way = Literal["copy", "copy of a version", "tag", "rule"]

REQUESTS_OF_A_MOVE: Final[Mapping[Way, Mapping[Request, int]]] = MappingProxyType(
    {
        "copy": {"HEAD": 2, "COPY": 1},
        "copy of a version": {
            "HEAD": 2,
            "GET tagging": 1,
            "LIST versions": 2,
            "COPY": 1,
            "DELETE": 1,
            "PUT tagging": 1,
        },
        "tag": {"HEAD": 1, "GET tagging": 1, "PUT tagging": 1},
        "rule": {},
    }
)
"""What moving one file asks of the store, by the way it moves; `tests/pipelines/test_requests.py` counts them.

A HEAD tells what the object has, and a second one that the copy has it too. A copy on a bucket with versions looks at
them before and after, and deletes the version that it was made from.
"""

REQUESTS_OF_A_TAIL: Final[Mapping[Request, int]] = MappingProxyType({"GET": 1, "PUT": 1})
"""What keeping the last bytes of a file asks of the store before it is archived; counted there too."""


@dataclass(frozen=True, slots=True)
class MoveCost:
    """The money side of one partition's move.

    Attributes:
        monthly_before: Storage a month where the files are, in dollars.
        monthly_after: Storage a month where they would go.
        requests: What the moves themselves cost, once.
        retrieval: What reading the files out of their class costs, once.
        early_deletion: What is charged for leaving a class before its minimum duration, once: the one where the files
            are, and the one where they would go, if the next step comes before its minimum is over.
        horizon: How long the files stay there: until the policy's next step.
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
        sizes: Bytes of each object.
        rates: The class's.
        standard: Those of the hot class, by which part of an archived object's overhead is charged.
    """
    least, overhead = rates.min_bytes.value, rates.overhead_class.value
    billed = sum(max(size, least) + overhead for size in sizes)
    cost = billed / GIB * rates.storage.value
    if standard is not None:
        cost += len(sizes) * rates.overhead_std.value / GIB * standard.storage.value
    return cost


@dataclass(frozen=True, slots=True)
class MoveRates:
    """The rates of moves from one class to another.

    Attributes:
        source: Rates of the class where the files are.
        target: Rates of the class where they would go.
        standard: Those of the hot class, by which part of an archived object's overhead is charged.
        per_1000: What the requests of 1,000 moves cost, transitions included.
        per_1000_tails: What the requests cost that keep the last bytes of 1,000 files.
        read: What reading a GiB out of the class costs.
    """

    source: Rates
    target: Rates
    standard: Rates | None
    per_1000: float
    per_1000_tails: float
    read: float

    @classmethod
    def of(
        cls, source: Rates, target: Rates, *, prices: PriceList, mover: Mover, keeps_versions: bool = False
    ) -> MoveRates:
        """The rates of a mover's moves.

        Args:
            source: Rates of the class where the files are.
            target: Rates of the class where they would go.
            prices: The list that both come from.
            mover: A `copy` pays for its requests and for reading the bytes out of the class; a `tag` pays for its
                requests and the lifecycle transition; a lifecycle `rule` that goes by age pays for that alone.
            keeps_versions: Whether the bucket keeps versions, which a copy has to look after.
        """
        way: Way = "copy of a version" if mover == "copy" and keeps_versions else mover
        requests = _requests_price(REQUESTS_OF_A_MOVE[way], source, target, prices)
        return cls(
            source,
            target,
            prices.standard,
            per_1000=requests + (0.0 if mover == "copy" else target.transition.value),
            per_1000_tails=_requests_price(REQUESTS_OF_A_TAIL, source, target, prices),
            read=source.retrieval_gb.value if mover == "copy" else 0.0,
        )

    def cost(
        self, files: Sequence[tuple[int, datetime]], *, as_of: datetime, horizon: timedelta, tails: int = 0
    ) -> MoveCost:
        """Price a move of files.

        Args:
            files: Of each its bytes and since when it has been in its class.
            as_of: When the move happens.
            horizon: How long the files would stay there.
            tails: The number of files of which a tail is kept (`tables.tails`).
        """
        sizes = [size for size, _ in files]
        stay = max(horizon, timedelta(0))
        missing = max(timedelta(days=self.target.min_days.value) - stay, timedelta(0))
        return MoveCost(
            monthly_before=monthly_storage(sizes, self.source, self.standard),
            monthly_after=monthly_storage(sizes, self.target, self.standard),
            requests=(len(sizes) * self.per_1000 + tails * self.per_1000_tails) / 1000,
            retrieval=sum(sizes) / GIB * self.read,
            early_deletion=(self._early_deletion(files, as_of) if self.source.min_days.value else 0.0)
            + monthly_storage(sizes, self.target) * (missing / MONTH),
            horizon=stay,
        )

    def _early_deletion(self, files: Sequence[tuple[int, datetime]], as_of: datetime) -> float:
        return sum(_early_deletion(size, since, self.source, as_of) for size, since in files)


def _requests_price(requests: Mapping[Request, int], source: Rates, target: Rates, prices: PriceList) -> float:
    """1,000 times these requests: tags and listings are priced as those of the hot class, and deletions are free."""
    hot = prices.standard.put.value if prices.standard else 0.0
    rates: dict[Request, float] = {
        "HEAD": (source.get.value + target.get.value) / 2,
        "GET": source.get.value,
        "PUT": hot,
        "GET tagging": source.get.value,
        "COPY": target.put.value,
        "PUT tagging": hot,
        "LIST versions": hot,
        "DELETE": 0.0,
    }
    return sum(count * rates[request] for request, count in requests.items())


def _early_deletion(size: int, since: datetime, rates: Rates, as_of: datetime) -> float:
    least = timedelta(days=rates.min_days.value)
    stayed = max(as_of - since, timedelta(0))
    if stayed >= least:
        return 0.0
    return monthly_storage([size], rates) * ((least - stayed) / MONTH)
