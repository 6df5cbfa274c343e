"""What which policy would save: functions over sums of objects and a price list.

Small objects stay where they are: lifecycle rules leave objects below 128 KB, and colder classes bill them as if they
had as many. Of the rest each class and age moves only if that saves more than it costs until the policy's next step,
within a year where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tierlake.pipelines.costs.amounts import BILLED_LEAST, Amount
from tierlake.pipelines.costs.model import DEFAULT_HORIZON, GIB, MONTH, MoveRates
from tierlake.pipelines.runtime.formatting import money
from tierlake.pipelines.survey.ages import AGE_STEPS_DAYS, step_age
from tierlake.pipelines.survey.report import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierlake.connector.profiles import Profile
    from tierlake.pipelines.costs.model import Mover
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.prices import PriceList, Rates
    from tierlake.pipelines.survey.totals import Cells

__all__ = ["Prices", "deletion", "intelligent_tiering", "lifecycle_rule", "tier_steps", "tiering"]

_TIER_STEPS: Final[tuple[tuple[int, Tier], ...]] = ((30, "warm"), (90, "cold"))

_INTELLIGENT: Final = "INTELLIGENT_TIERING"
_UNREAD_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Prices:
    """A server's classes and their rates.

    Attributes:
        profile: The server's profile.
        prices: Its price list.
    """

    profile: Profile
    prices: PriceList

    def rates(self, storage_class: str) -> Rates | None:
        """The rates of a class; None where the list does not have it."""
        tiers = (tier for tier, name in self.profile.tier_classes.items() if name == storage_class)
        return self.prices.rates(storage_class, next(tiers, None))

    def monthly(self, storage_class: str, amount: Amount) -> float | None:
        """Storage of some objects in dollars a month; None without a price."""
        rates = self.rates(storage_class)
        return None if rates is None else amount.monthly(rates, self.prices.standard)

    def monthly_of(self, cells: Cells) -> float | None:
        """Likewise, of objects in several classes."""
        total = 0.0
        for (storage_class, _), amount in cells.items():
            cost = self.monthly(storage_class, amount)
            if cost is None:
                return None
            total += cost
        return total


def tier_steps(profile: Profile) -> tuple[tuple[int, Tier], ...]:
    """Days of age and the tier from then on, of the tiers that a server has: the policy that is proposed.

    Args:
        profile: The server's.
    """
    return tuple((days, tier) for days, tier in _TIER_STEPS if tier in profile.tier_classes)


@dataclass(slots=True)
class _Sum:
    """What a policy moves and what that costs."""

    objects: int = 0
    bytes: int = 0
    now: float = 0.0
    then: float = 0.0
    one_off: float = 0.0
    read_once: float = 0.0

    def policy(self, name: str, how: str, caution: str) -> Policy | None:
        pays = self.now > self.then and (self.now - self.then) * (DEFAULT_HORIZON / MONTH) >= self.one_off
        if not self.objects or not pays:
            return None
        return Policy(name, how, self.objects, self.bytes, self.now, self.then, self.one_off, caution, self.read_once)


def tiering(
    datasets: Iterable[Cells], prices: Prices, *, keeps_versions: bool, how: str, caution: str
) -> Policy | None:
    """Tiers by event time, as `tierlake tier` moves files; None where that does not pay.

    Args:
        datasets: The objects of each dataset by class and age of its partitions.
        prices: Of the server.
        keeps_versions: Whether the bucket keeps versions, which a copy has to look after.
        how: What to type.
        caution: What the figures do not show.
    """
    total = _Sum()
    for cells in datasets:
        _move(cells, prices, total, prices.profile.mover, keeps_versions=keeps_versions)
    name = ", ".join(f"{tier} after {days} d" for days, tier in tier_steps(prices.profile))
    return total.policy(f"tierlake: {name}, by event time", how, caution)


def lifecycle_rule(cells: Cells, prices: Prices, caution: str) -> Policy | None:
    """A plain lifecycle rule, by the date of creation; None where it does not pay or the server has none."""
    profile = prices.profile
    if not profile.lifecycle_transitions or profile.remote_tiers:
        return None
    total = _Sum()
    _move(cells, prices, total, "rule")
    steps = ", ".join(f"{profile.tier_classes[tier]} after {days} d" for days, tier in tier_steps(profile))
    return total.policy(f"lifecycle rule: {steps}", "a rule of the bucket with these transitions", caution)


def _move(cells: Cells, prices: Prices, total: _Sum, mover: Mover, *, keeps_versions: bool = False) -> None:
    for (storage_class, step), amount in cells.items():
        moving = _target(AGE_STEPS_DAYS[step], prices.profile)
        source = prices.rates(storage_class)
        target = prices.rates(moving[0]) if moving else None
        large = amount.at_least(BILLED_LEAST)
        if moving is None or source is None or target is None or moving[0] == storage_class or not large.count:
            continue
        least = timedelta(days=source.min_days.value)
        if least and (mover != "rule" or step_age(step) < least):
            continue  # it may have come to its class just now, and would be billed for the rest of its days
        rates = MoveRates.of(source, target, prices=prices.prices, mover=mover, keeps_versions=keeps_versions)
        one_off = large.count * rates.per_1000 / 1000 + large.bytes / GIB * rates.read
        now, then = (large.monthly(one, prices.prices.standard) for one in (source, target))
        if now <= then or (now - then) * (moving[1] / MONTH) < one_off:
            continue
        total.objects += large.count
        total.bytes += large.bytes
        total.now += now
        total.then += then
        total.one_off += one_off
        total.read_once += large.bytes / GIB * target.retrieval_gb.value


def _target(age_days: int, profile: Profile) -> tuple[str, timedelta] | None:
    """The class for an age, and for how long it is the one."""
    following: int | None = None
    for days, tier in reversed(tier_steps(profile)):
        if age_days >= days:
            horizon = DEFAULT_HORIZON if following is None else timedelta(days=following - days)
            return profile.tier_classes[tier], horizon
        following = days
    return None


def intelligent_tiering(cells: Cells, prices: Prices) -> Policy | None:
    """S3 Intelligent-Tiering for what is older than a month, if nobody reads it; None where the server has none."""
    target = prices.prices.classes.get(_INTELLIGENT)
    standard = prices.rates("STANDARD")
    if target is None or target.storage_aia is None or standard is None:
        return None
    if _INTELLIGENT not in prices.profile.storage_classes:
        return None
    total = _Sum()
    watched = 0.0
    for (storage_class, step), amount in cells.items():
        large = amount.at_least(BILLED_LEAST)
        if storage_class != "STANDARD" or AGE_STEPS_DAYS[step] < _UNREAD_DAYS or not large.count:
            continue
        watching = large.count / 1000 * target.monitoring.value
        now = large.monthly(standard, standard)
        then = large.bytes / GIB * target.storage_aia.value + watching
        one_off = large.count * target.transition.value / 1000
        if (now - then) * (DEFAULT_HORIZON / MONTH) < one_off:
            continue
        total.objects += large.count
        total.bytes += large.bytes
        total.now += now
        total.then += then
        total.one_off += one_off
        watched += watching
    caution = f"at most, after 90 days without a read; if all is read it costs {money(watched)} a month more"
    name = f"S3 Intelligent-Tiering for what is older than {_UNREAD_DAYS} d, if nobody reads it"
    return total.policy(name, "a lifecycle rule into it", caution)


def deletion(
    name: str, how: str, caution: str, *, amounts: Sequence[tuple[int, int]], monthly: float | None
) -> Policy | None:
    """Deleting what nobody reads; None where there is nothing, or it has no price.

    Args:
        name: Of the policy.
        how: What to type or to set.
        caution: What it gives up.
        amounts: Objects and bytes.
        monthly: Their storage in dollars a month.
    """
    total = _Sum(sum(count for count, _ in amounts), sum(size for _, size in amounts), monthly or 0.0)
    return total.policy(name, how, caution)
