"""What a dataset's policy says of a partition of some age: pure functions over the spec.

Ages count from the end of the partition's window (`windows.py`). A step is reached at its age exactly: `after <= age`.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, get_args

from tierlake.pipelines.model.instant import instant_after
from tierlake.pipelines.model.time_window import Every, Window, window_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import DatasetSpec, Tier

__all__ = ["NextStep", "is_past_retention", "next_step", "tier_at", "window_of_key", "without_window"]


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the policy does next.

    Attributes:
        what: The tier that the partition goes to, or `expire`.
        after: The age at which it does.
    """

    what: Tier | Literal["expire"]
    after: timedelta

    def at(self, window: Window) -> datetime:
        """The instant at which a partition reaches it."""
        return instant_after(window.end, self.after)


def window_of_key(spec: DatasetSpec, key: PartitionKey) -> Window | None:
    """The span of event time of a partition; None without a time partition, for null and for foreign values."""
    time = spec.partition.time
    value = key.value(time.key) if time else None
    if time is None or not value:
        return None
    return window_of(value, time.every, time.timezone)


def without_window(spec: DatasetSpec, keys: Iterable[PartitionKey]) -> str | None:
    """Which partitions have a value that names no window, and so no age, in words; None where all do."""
    time = spec.partition.time
    if time is None or not (spec.tiers or spec.retention.expire_after is not None):
        return None
    listed = sorted(keys, key=attrgetter("items"))
    strange = [key for key in listed if key.value(time.key) and window_of_key(spec, key) is None]
    if not strange:
        return None
    some = f"{len(strange)} of {len(listed)} partitions"
    fitting = [every for every in get_args(Every) if _names_window(spec, every, strange[0])]
    way = f" (partition.time.every: {fitting[0]} would give it one)" if fitting else ""
    return f"{some} name no {time.every} of {time.timezone}, so they have no age: {strange[0]}{way}"


def _names_window(spec: DatasetSpec, every: Every, key: PartitionKey) -> bool:
    partition = spec.partition
    time = partition.time.model_copy(update={"every": every}) if partition.time else None
    other = spec.model_copy(update={"partition": partition.model_copy(update={"time": time})})
    return window_of_key(other, key) is not None


def tier_at(spec: DatasetSpec, age: timedelta) -> Tier:
    """The tier where partitions of this age belong."""
    tier: Tier = "hot"
    for step in spec.tiers:
        if step.after <= age:
            tier = step.tier
    return tier


def next_step(spec: DatasetSpec, age: timedelta) -> NextStep | None:
    """What comes after this age, or None when everything has happened."""
    for step in spec.tiers:
        if step.after > age:
            return NextStep(step.tier, step.after)
    expire_after = spec.retention.expire_after
    return NextStep("expire", expire_after) if expire_after is not None and expire_after > age else None


def is_past_retention(spec: DatasetSpec, age: timedelta) -> bool:
    """Whether partitions of this age leave the table."""
    expire_after = spec.retention.expire_after
    return expire_after is not None and expire_after <= age
