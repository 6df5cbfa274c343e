"""The catalog: a dataset's partitions with their size, place, age and price, from one snapshot and one LIST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.model.age import window_of_key
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.query.classes import Classes
from tierlake.pipelines.query.partition_info import PartitionInfo
from tierlake.pipelines.query.placement import placed
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.runtime.columns import Columns
from tierlake.pipelines.runtime.extras import needing
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tierlake.pipelines.metastore.document import DatasetDocument
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.outcome import PricedPlan
    from tierlake.pipelines.query.placement import PlacedPartition
    from tierlake.pipelines.runtime.charts import Panel

__all__ = ["Catalog", "CatalogTotal", "PartitionInfo", "kept_because", "read_catalog"]

_SHOWN = 40  # rows that print() shows


@dataclass(frozen=True, slots=True)
class CatalogTotal:
    """Totals of all partitions; a sum is None where a part is not known."""

    partitions: int
    rows: int | None
    files: int
    bytes: int
    monthly_cost: float | None


class Catalog(Shown, Columns, Sequence[PartitionInfo]):
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
        schema = pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                pa.field("rows", pa.int64()),
                pa.field("files", pa.int64(), nullable=False),
                pa.field("bytes", pa.int64(), nullable=False),
                pa.field("storage_class", pa.string(), nullable=False),
                pa.field("tier", pa.string()),
                pa.field("age", pa.duration("us")),
                pa.field("window_start", instant),
                pa.field("window_end", instant),
                pa.field("monthly_cost", pa.float64()),
                pa.field("held", pa.string()),
                pa.field("changed", instant, nullable=False),
            ]
        )
        columns = {
            "key": [str(part.key) for part in self],
            "window_start": [part.window.start if part.window else None for part in self],
            "window_end": [part.window.end if part.window else None for part in self],
        }
        columns |= {name: [getattr(part, name) for part in self] for name in schema.names if name not in columns}
        return pa.table(columns, schema=schema)

    def render(self, limit: int | None = None) -> str:
        """The catalog as a table for people.

        Args:
            limit: Show this many partitions where there is no page; None shows all.
        """
        return self._table().text(limit)

    @overload
    def plot(self, panel: Panel | None = None, *, plan: PricedPlan | None = None) -> Figure: ...
    @overload
    def plot(self, panel: Panel | None = None, *, plan: PricedPlan | None = None, ax: Axes) -> Axes: ...
    @reporting
    def plot(
        self, panel: Panel | None = None, *, plan: PricedPlan | None = None, ax: Axes | None = None
    ) -> Figure | Axes:
        """Draw where the bytes are, how old they are, and what they cost a month; see `catalog_plot`.

        Args:
            panel: `tiers`, `ages` or `money`; all three by default, and with `ax` the first.
            plan: A plan for the same dataset: `money` then also shows the bill after it was applied.
            ax: Axes of yours to draw one panel into.

        Returns:
            The figure, which is in no list of pyplot's; with `ax` these axes.

        Raises:
            PackageMissing: matplotlib is not installed.
            SpecError: There is no such panel, or the plan is not for these partitions.
        """
        with needing("matplotlib", "Catalog.plot()", extra="plot"):
            from tierlake.pipelines.query.catalog_plot import plot_partitions

        return plot_partitions(self, self.as_of, panel, plan, ax)

    def __str__(self) -> str:
        return self.render(_SHOWN)

    def __repr__(self) -> str:
        return f"<Catalog of {formatting.partitions(len(self))} as of {self.as_of.isoformat()}>"

    def _summary(self) -> str:
        total = self.total
        facts = [formatting.rows(total.rows)] if total.rows is not None else []
        facts += [formatting.files(total.files), formatting.size(total.bytes)]
        facts += [f"{formatting.money(total.monthly_cost)} a month"] if total.monthly_cost is not None else []
        return f"{formatting.partitions(len(self))} as of {formatting.day(self.as_of)}: {', '.join(facts)}"

    def _parts(self) -> tuple[Table[PartitionInfo], ...]:
        return (self._table(),)

    def _table(self) -> Table[PartitionInfo]:
        total = self.total
        footer = (
            formatting.partitions(total.partitions),
            formatting.count(total.rows),
            formatting.count(total.files),
            formatting.size(total.bytes),
            "",
            "",
            "",
            formatting.money(total.monthly_cost),
            "",
        )
        columns = ["key", ">rows", ">files", ">size", "class", "tier", ">age", ">$/month", "held"]
        return Table(columns, self._partitions, _cells, footer)


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


def _cells(part: PartitionInfo) -> tuple[str, ...]:
    return (
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
