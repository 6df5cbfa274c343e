"""One partition of a catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.model.time_window import Window

__all__ = ["PartitionInfo"]


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One partition.

    Attributes:
        key: The key, as every call takes it.
        rows: Row count; None where the table does not know it.
        files: How many.
        bytes: Their size.
        storage_class: As the store reports it; several are joined by `+`; `MISSING` where an object is not there.
        tier: What the server's profile calls that class; None for several, and for one that is no tier.
        age: Since the end of its window; None without one.
        window: The event time it covers; None for null keys and without a time partition.
        monthly_cost: Storage in dollars a month; None where there is no price for its class.
        held: Why it may not expire; None where nothing keeps it.
        changed: When its rows last changed, as far as its files tell: compaction and tiering leave it.
    """

    key: PartitionKey
    rows: int | None
    files: int
    bytes: int
    storage_class: str
    tier: Tier | None
    age: timedelta | None
    window: Window | None
    monthly_cost: float | None
    held: str | None
    changed: datetime
