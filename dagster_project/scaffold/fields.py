"""The fields of a scaffolded component: their values, and for each what a newcomer has to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.dagster_project.scaffold.parameters import ScaffoldParameters

__all__ = ["ScaffoldField", "scaffold_fields"]


@dataclass(frozen=True, slots=True)
class ScaffoldField:
    """A field of the component.

    Attributes:
        name: Its name.
        value: Its value, or an example.
        comment: What it means, in which unit, and what it is where it is left out.
        is_set: Whether it has the value; otherwise the value is an example that is commented out.
        needs: Other fields that an example needs to make sense, with their values.
    """

    name: str
    value: Any
    comment: str
    is_set: bool = False
    needs: dict[str, Any] = field(default_factory=dict)


def scaffold_fields(key: str, source: str | None, parameters: ScaffoldParameters) -> Iterator[ScaffoldField]:
    """All fields, those first that are changed first.

    Args:
        key: The asset's key.
        source: The full name of the source; None where somebody else writes the data.
        parameters: What the person asked for.
    """
    yield ScaffoldField(
        "key", key, f"The asset's key, and the dataset's path below the warehouse: lake://warehouse/{key}.", is_set=True
    )
    yield ScaffoldField(
        "source",
        source or "my_project.flights.read",
        "Full name of a function that takes the asset's context and returns the rows of the run's partitions (pandas, "
        "polars, Arrow), or of an asset of your own. Without it somebody else writes the data, and a sensor reports "
        "what is there.",
        is_set=source is not None,
    )
    yield ScaffoldField(
        "start",
        parameters.first_key(),
        "Key of the first partition: 2013-01-01 for days, 2013-01-01T00 for hours, 2013-01 for months, 2013 for years.",
        is_set=True,
    )
    yield ScaffoldField(
        "end", parameters.last_key(), "Key of the first partition that is left out. Default: they go on with the clock."
    )
    yield ScaffoldField(
        "format",
        parameters.table_format,
        "delta: a Delta table, with history. parquet: Hive folders. It can never be changed, nor can `partition`.",
        is_set=True,
    )
    time = parameters.time()
    yield ScaffoldField(
        "partition",
        {"time": time},
        "column: a timestamp or date in your rows. every: hour, day, month or year, by the clock of timezone. key: "
        "names the folders, as in date=2013-07-04. `by: [city]` adds a column, of which `values` has the values.",
        is_set=True,
    )
    yield ScaffoldField(
        "values",
        {"city": ["Oslo", "Kyiv"]},
        "Values of the column in `partition.by`, or `dynamic`: they are added as they come.",
        needs={"partition": {"time": time, "by": ["city"]}},
    )
    yield ScaffoldField(
        "tiers",
        [{"after": "30d", "tier": "warm"}, {"after": "90d", "tier": "cold"}],
        "From which age on partitions move to a cheaper tier: hours 12h, days 30d, weeks 8w, from the end of a "
        "partition on. Tiers: hot, warm, cold, archive. Default: none, all stays hot.",
        is_set=True,
    )
    yield ScaffoldField(
        "retention",
        {"expire_after": "365d", "grace": "7d"},
        "From which age on partitions leave the table, and for how long that can be undone. `after: [my_asset]` waits "
        "until what is made of a partition has read it. Default: nothing ever expires.",
        is_set=True,
    )
    yield from _automation()
    yield from _table(parameters.column)
    yield from _asset()


def _automation() -> Iterator[ScaffoldField]:
    yield ScaffoldField(
        "sensor_status",
        "running",
        "Whether the sensors are on from the start: running or stopped. Default: stopped, until somebody switches them "
        "on in the UI. Nothing expires by itself while the sensor is off.",
    )
    yield ScaffoldField(
        "schedule_status", "running", "Likewise, for the schedule that moves partitions to their tiers."
    )
    yield ScaffoldField(
        "tiering_cron", "0 6 * * *", "When that schedule runs, by the clock of the partitions' timezone."
    )
    yield ScaffoldField(
        "restores",
        value=True,
        comment="Whether there is a job that restores archived partitions. Default: where a tier is `archive`.",
    )
    yield ScaffoldField(
        "partitions_per_run",
        100,
        "How many partitions one run of a backfill takes; each run is one commit. Default: all in one run. With `by` "
        "each partition is a run of its own.",
    )
    yield ScaffoldField(
        "preview_rows",
        5,
        "Rows of each run that the UI shows; Dagster's database keeps them, whatever expires or is erased. Default: 0.",
    )
    yield ScaffoldField("pool", "tierlake", "The concurrency pool of its steps, one an endpoint; null for none.")
    yield ScaffoldField(
        "alert",
        "my_webhook",
        "Resource key of what hears of failed steps (tierlake.dagster_project.automation.alerts). Default: none.",
    )


def _table(column: str) -> Iterator[ScaffoldField]:
    yield ScaffoldField(
        "columns", {column: "timestamp", "n": "int64"}, "Types by column. Default: those of the first rows."
    )
    yield ScaffoldField(
        "evolution",
        "add",
        "Whether later rows may bring new columns: add or freeze. Default: freeze where `columns` are declared.",
    )
    yield ScaffoldField(
        "write",
        {"encryption": "sse-s3", "compression": "zstd", "target_file_size": "256MB", "sort_by": ["n"]},
        "How files are written. Default: sse-s3, zstd, files of 256 MB, in no order.",
    )
    yield ScaffoldField(
        "rejects", {"max_ratio": 0.01}, "Which share of a source's rows may be bad. Default: 0.01, one in a hundred."
    )
    yield ScaffoldField(
        "text",
        {"delimiter": ";", "decimal": ","},
        "How the text files are written that `tierlake ingest` takes. Default: as each file's beginning tells.",
    )


def _asset() -> Iterator[ScaffoldField]:
    yield ScaffoldField(
        "description", "Flights of the day.", "The asset's, in the UI. Default: the source's docstring."
    )
    yield ScaffoldField("deps", ["raw/airports"], "Keys of assets that the source reads.")
    yield ScaffoldField("group_name", "raw", "The asset's group in the UI.")
    yield ScaffoldField("owners", ["team:data"], "Teams, or addresses of people.")
    yield ScaffoldField("tags", {"domain": "travel"}, "The asset's tags.")
    yield ScaffoldField("io_manager", "lake_io_manager", "Resource key of the LakeParquetIOManager.")
