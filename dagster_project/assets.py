"""The demo's assets: New York's flights and weather of 2013, and a monthly summary of the flights."""

import warnings
from typing import Final

import dagster as dg

from dagster_project import nyc, transforms
from dagster_project.datasets import FLIGHTS, MONTHLY_SUMMARY, WEATHER
from dagster_project.frames import ArrowTable, DataFrame
from dagster_project.io_manager import COLUMNS
from dagster_project.lineage import OVER_TIME
from dagster_project.metadata import spec_metadata

__all__ = ["ASSETS", "flights", "monthly_summary", "weather"]

OWNERS: Final = ["team:data-platform"]

# single-run backfills are in beta, and say so wherever they are used
with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)

    @dg.asset(
        partitions_def=FLIGHTS.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata=spec_metadata(FLIGHTS.spec),
        group_name="nyc",
        owners=OWNERS,
        kinds={"deltalake", "parquet"},
    )
    def flights(context: dg.AssetExecutionContext) -> ArrowTable:
        """All flights that left New York City, by day: a Delta table in tiers, each day kept for 300 days."""
        window = context.partition_time_window
        return nyc.flights(window.start, window.end)

    @dg.asset(
        partitions_def=WEATHER.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata=spec_metadata(WEATHER.spec),
        group_name="nyc",
        owners=OWNERS,
        kinds={"parquet"},
    )
    def weather(context: dg.AssetExecutionContext) -> ArrowTable:
        """Hourly weather at New York's airports, by month: plain Parquet that any reader understands."""
        window = context.partition_time_window
        return nyc.weather(window.start, window.end)

    @dg.asset(
        partitions_def=MONTHLY_SUMMARY.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        ins={
            "flights": dg.AssetIn(
                partition_mapping=OVER_TIME,
                metadata={COLUMNS: ["carrier", "origin", "dep_delay", "arr_delay", "distance", "time_hour"]},
            )
        },
        metadata=spec_metadata(MONTHLY_SUMMARY.spec),
        group_name="nyc",
        owners=OWNERS,
        kinds={"deltalake", "pandas"},
    )
    def monthly_summary(flights: DataFrame) -> DataFrame:
        """Flights, cancellations and mean delays by carrier and origin: flights wait for it before they expire."""
        return transforms.summarize(flights, nyc.TIMEZONE)


ASSETS: Final = [flights, weather, monthly_summary]
