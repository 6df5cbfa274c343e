"""The catalog: a dataset's partitions with their size, place, age and price, from one snapshot and one LIST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from tierlake.pipelines.model.age import window_of_key
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.query.classes import Classes
from tierlake.pipelines.query.placement import placed
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.collector import collector_paused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    import pyarrow as pa

    from tierlake.pipelines.metastore.document import DatasetDocument
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.model.time_window import Window
    from tierlake.pipelines.query.placement import PlacedPartition

__all__ = ["Catalog", "CatalogTotal", "PartitionInfo", "kept_because", "read_catalog"]

_SHOWN = 40  # rows that print() shows


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


@dataclass(frozen=True, slots=True)
class CatalogTotal:
    """Totals of all partitions; a sum is None where a part is not known."""

    partitions: int
    rows: int | None
    files: int
    bytes: int
    monthly_cost: float | None


class Catalog(Sequence[PartitionInfo]):
    """Partitions in key order; prints as a table."""

    def __init__(self, partitions: Iterable[PartitionInfo], *, as_of: datetime) -> None:
        """Keep these partitions.

        Args:
            partitions: In key order.
            as_of: The instant that ages count to.
        """
        self._partitions = tuple(partitions)
        self.as_of = as_of

    @overload
    def __getitem__(self, index: int) -> PartitionInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[PartitionInfo, ...]: ...
    def __getitem__(self, index: int | slice) -> PartitionInfo | tuple[PartitionInfo, ...]:
        """By position."""
        return self._partitions[index]

    def __len__(self) -> int:
        return len(self._partitions)

    @property
    def total(self) -> CatalogTotal:
        """All partitions together."""
        rows = [part.rows for part in self]
        costs = [part.monthly_cost for part in self]
        return CatalogTotal(
            partitions=len(self),
            rows=None if None in rows else sum(row for row in rows if row is not None),
            files=sum(part.files for part in self),
            bytes=sum(part.bytes for part in self),
            monthly_cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        )

    def to_arrow(self) -> pa.Table:
        """The catalog as columns; ages are durations, windows two instants in UTC."""
        import pyarrow as pa

        instant = pa.timestamp("us", tz="UTC")
        columns: dict[str, pa.Array[Any]] = {
            "key": pa.array([str(part.key) for part in self], pa.string()),
            "rows": pa.array([part.rows for part in self], pa.int64()),
            "files": pa.array([part.files for part in self], pa.int64()),
            "bytes": pa.array([part.bytes for part in self], pa.int64()),
            "storage_class": pa.array([part.storage_class for part in self], pa.string()),
            "tier": pa.array([part.tier for part in self], pa.string()),
            "age": pa.array([part.age for part in self], pa.duration("us")),
            "window_start": pa.array([_edge(part.window, "start") for part in self], instant),
            "window_end": pa.array([_edge(part.window, "end") for part in self], instant),
            "monthly_cost": pa.array([part.monthly_cost for part in self], pa.float64()),
            "held": pa.array([part.held for part in self], pa.string()),
            "changed": pa.array([part.changed for part in self], instant),
        }
        return pa.table(columns)

    def render(self, limit: int | None = None) -> str:
        """The catalog as a table for people.

        Args:
            limit: Show this many partitions where there is no page; None shows all.
        """
        total = self.total
        return formatting.table_text(
            ["key", ">rows", ">files", ">size", "class", "tier", ">age", ">$/month", "held"],
            (
                (
                    str(part.key) or "(all)",
                    formatting.count(part.rows),
                    formatting.count(part.files),
                    formatting.size(part.bytes),
                    part.storage_class,
                    part.tier or "-",
                    formatting.age(part.age),
                    formatting.money(part.monthly_cost),
                    part.held or "",
                )
                for part in self
            ),
            number=len(self),
            footer=(
                formatting.partitions(total.partitions),
                formatting.count(total.rows),
                formatting.count(total.files),
                formatting.size(total.bytes),
                "",
                "",
                "",
                formatting.money(total.monthly_cost),
                "",
            ),
            limit=limit,
        )

    def __str__(self) -> str:
        return self.render(_SHOWN)

    def __repr__(self) -> str:
        return f"<Catalog of {formatting.partitions(len(self))} as of {self.as_of.isoformat()}>"


def read_catalog(handle: Handle, as_of: datetime, keys: Iterable[PartitionKey] | None = None) -> Catalog:
    """Look at a dataset.

    Args:
        handle: The dataset.
        as_of: The instant that ages count to, and at which retentions are evaluated.
        keys: Only these partitions, where they are there; None means all.
    """
    document = handle.document.read() if handle.document else None
    profile = handle.fs.profile
    classes = Classes(handle.spec, profile, price_list(profile.price_list))
    partitions = placed(handle, handle.table.snapshot(), keys, is_new=True)
    with collector_paused():
        return Catalog([_described(part, classes, document, as_of) for part in partitions.values()], as_of=as_of)


def kept_because(document: DatasetDocument | None, key: PartitionKey | str, as_of: datetime) -> str | None:
    """Why a partition may not expire, in words; None where nothing keeps it. A hold comes before a retention."""
    if document is None or not (document.holds or document.retains):
        return None
    key = str(key)
    hold = document.holds.get(key)
    if hold is not None:
        return f"held: {hold.reason}"
    until = document.retains.get(key)
    if until is not None and as_of < until:
        return f"retained until {formatting.day(until)}"
    return None


def _described(
    part: PlacedPartition, classes: Classes, document: DatasetDocument | None, as_of: datetime
) -> PartitionInfo:
    window = window_of_key(classes.spec, part.key)
    return PartitionInfo(
        key=part.key,
        rows=part.rows,
        files=len(part.files),
        bytes=part.bytes,
        storage_class="+".join(part.classes),
        tier=classes.tier_of(part),
        age=window.age(as_of) if window else None,
        window=window,
        monthly_cost=classes.monthly(part),
        held=kept_because(document, part.key, as_of),
        changed=max([file.live.modified for file in part.files]),
    )


def _edge(window: Window | None, name: str) -> datetime | None:
    edge: datetime | None = getattr(window, name, None)
    return edge
