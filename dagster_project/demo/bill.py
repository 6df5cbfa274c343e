"""The demo's first chapter: what the year costs at a size where money matters, under its policy and under others.

The days have the sizes that their numbers of flights give them, scaled to 10 TB. Nothing is stored for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from tierlake.dagster_project.demo.source import TIMEZONE
from tierlake.pipelines.costs.forecast import Forecast, Lot, Policy, forecast
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TEN_TB", "Bill", "bill_of"]

TEN_TB: Final = 10 * 1000**4
_PRICES: Final = "aws_us_east_1"
_FILE_BYTES: Final = 256 * 1000**2
_ZONE: Final = ZoneInfo(TIMEZONE)
_STEPS: Final = ((timedelta(days=30), "STANDARD_IA"), (timedelta(days=90), "GLACIER_IR"))
_RETENTION, _GRACE = timedelta(days=300), timedelta(days=7)

_KEPT: Final = Policy()
_RULES: Final = Policy(_STEPS, _RETENTION, mover="rule", must_pay=False)
_OURS: Final = Policy(_STEPS, _RETENTION, grace=_GRACE)


@dataclass(frozen=True, slots=True)
class Bill:
    """The next twelve months of the year's flights.

    Attributes:
        today: When they begin.
        dated: The day of the prices.
        kept: All in STANDARD, and nothing deleted.
        rules: Under lifecycle rules, which count from the upload: today.
        ours: Under the demo's policy, which counts from each flight's day.
        rules_daily: Under lifecycle rules, had each day been uploaded when it was over.
        ours_daily: The same under the demo's policy.
    """

    today: date
    dated: str
    kept: Forecast
    rules: Forecast
    ours: Forecast
    rules_daily: Forecast
    ours_daily: Forecast

    @property
    def title(self) -> str:
        """What it is the bill of."""
        return f"What it is about: {formatting.size(TEN_TB)} of flights, a year of them, for the next twelve months"

    def facts(self) -> dict[str, float]:
        """The sums, in dollars."""
        names = ("kept", "rules", "ours", "rules_daily", "ours_daily")
        return {name: round(getattr(self, name).total, 2) for name in names}

    def table(self) -> str:
        """What each way costs, and when the oldest day, past its retention already, is deleted."""
        rows = [
            _row("STANDARD, and nothing else", self.kept, "never"),
            _row("S3 lifecycle rules", self.rules, f"in {_RETENTION.days} days"),
            _row("tierlake", self.ours, f"in {_GRACE.days} days, the grace"),
        ]
        columns = ["way", ">storage", ">moves", ">total", "January 1st goes"]
        return formatting.table_text(columns, rows)

    def prose(self) -> str:
        """What the table means, and where it would say something else."""
        return (
            f"The year is uploaded today, {self.today}: warm after 30 days, cold after 90, gone after 300. A lifecycle "
            "rule counts from the upload, so all of it looks new; tierlake counts from the day that a flight is about. "
            f"Uploaded day by day, rules would cost {formatting.money(self.rules_daily.total)} and tierlake "
            f"{formatting.money(self.ours_daily.total)}, as a rule's transition is cheaper than a copy; they would "
            "still know no hold, no undo, and no report that has to be made first. "
            f"Prices: AWS us-east-1, {self.dated}."
        )


def bill_of(flights: Mapping[str, int], today: str) -> Bill:
    """What a year of flights costs from a day on.

    Args:
        flights: How many there are, by day (`2013-01-01`).
        today: The day.
    """
    prices = price_list(_PRICES)
    since = _midnight(date.fromisoformat(today))
    until = since + timedelta(days=365)
    per_flight = TEN_TB / sum(flights.values())
    days = [
        (_midnight(date.fromisoformat(day) + timedelta(days=1)), _files(n * per_flight)) for day, n in flights.items()
    ]

    def cost(policy: Policy, *, uploaded_daily: bool, counts_from_upload: bool) -> Forecast:
        lots = (
            Lot(sizes, stored=end if uploaded_daily else since, born=since if counts_from_upload else end)
            for end, sizes in days
        )
        return forecast(lots, policy, prices, since=since, until=until)

    return Bill(
        today=since.date(),
        dated=prices.dated,
        kept=cost(_KEPT, uploaded_daily=False, counts_from_upload=True),
        rules=cost(_RULES, uploaded_daily=False, counts_from_upload=True),
        ours=cost(_OURS, uploaded_daily=False, counts_from_upload=False),
        rules_daily=cost(_RULES, uploaded_daily=True, counts_from_upload=False),
        ours_daily=cost(_OURS, uploaded_daily=True, counts_from_upload=False),
    )


def _row(way: str, bill: Forecast, deleted: str) -> tuple[Any, ...]:
    moves = bill.moves + bill.early_deletion
    return way, formatting.money(bill.storage), formatting.money(moves), formatting.money(bill.total), deleted


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), _ZONE)


def _files(bytes_: float) -> tuple[int, ...]:
    """A day's bytes in files of the size that ingest aims at."""
    number = math.ceil(bytes_ / _FILE_BYTES)
    return (round(bytes_ / number),) * number
