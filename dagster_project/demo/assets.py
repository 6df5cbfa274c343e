"""The demo's assets: New York's flights and weather of 2013, joined by day, summed up and drawn by month.

`datasets` describes how the first four are stored; each is the `source` of its dataset there.
"""

import warnings
from datetime import timedelta
from typing import Final

import dagster as dg

from tierlake.dagster_project.demo import report, source, transforms
from tierlake.dagster_project.demo.datasets import DEPARTURES, FLIGHTS, MONTHLY_SUMMARY, WEATHER
from tierlake.dagster_project.io.frames import ArrowTable, DataFrame
from tierlake.dagster_project.io_manager import COLUMNS
from tierlake.dagster_project.partitions.conditions import not_expired
from tierlake.dagster_project.partitions.lake_asset import POOL
from tierlake.dagster_project.partitions.lineage import OVER_TIME
from tierlake.dagster_project.partitions.metadata import column_lineage
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.dagster_project.resources.lake import LakeResource

__all__ = ["departures", "flights", "monthly_report", "monthly_summary", "weather"]

OWNERS: Final = ["team:data-platform"]
GROUP: Final = "nyc"
DAILY: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2), warn_window=timedelta(hours=30))
MONTHLY: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=40), warn_window=timedelta(days=33))

WHEN_NEW: Final = dg.AutomationCondition.on_missing()
WHEN_CHANGED: Final = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())
"""Of any partition whose upstream has changed: a day that comes late makes its month anew."""

_FLIGHTS, _WEATHER, _DEPARTURES, _MONTHLY_SUMMARY = (
    dataset.lake_asset() for dataset in (FLIGHTS, WEATHER, DEPARTURES, MONTHLY_SUMMARY)
)

_FLIGHT: Final = ("time_hour", "carrier", "flight", "tailnum", "origin", "dest")
_FLOWN: Final = ("dep_delay", "arr_delay", "air_time", "distance")
_HOUR: Final = ("origin", "time_hour", "temp", "wind_speed", "precip", "visib")
_SUMMED_UP: Final = ("time_hour", "carrier", "origin", "status", "dep_delay", "arr_delay", "distance", "precip")

# single-run backfills are in beta, and warn wherever they are used
with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)

    @dg.asset(
        partitions_def=_FLIGHTS.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        automation_condition=WHEN_NEW & not_expired(_FLIGHTS.spec),
        freshness_policy=DAILY,
        group_name=GROUP,
        owners=OWNERS,
        tags={"layer": "raw"},
        kinds={"deltalake", "parquet"},
    )
    def flights(context: dg.AssetExecutionContext) -> ArrowTable:
        """All flights that left New York City, by day: a Delta table in tiers, each day kept for 300 days."""
        window = context.partition_time_window
        return source.flights(window.start, window.end)

    @dg.asset(
        partitions_def=_WEATHER.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        automation_condition=WHEN_NEW & not_expired(_WEATHER.spec),
        freshness_policy=MONTHLY,
        group_name=GROUP,
        owners=OWNERS,
        tags={"layer": "raw"},
        kinds={"parquet"},
    )
    def weather(context: dg.AssetExecutionContext) -> ArrowTable:
        """Hourly weather at New York's airports, by month: plain Parquet that any reader understands."""
        window = context.partition_time_window
        return source.weather(window.start, window.end)

    @dg.asset(
        partitions_def=_DEPARTURES.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        ins={
            "flights": dg.AssetIn(partition_mapping=OVER_TIME, metadata={COLUMNS: [*_FLIGHT, *_FLOWN]}),
            "weather": dg.AssetIn(partition_mapping=OVER_TIME, metadata={COLUMNS: [*_HOUR]}),
        },
        metadata=column_lineage(
            {name: [f"flights.{name}"] for name in (*_FLIGHT, *_FLOWN)}
            | {name: [f"weather.{name}"] for name in _HOUR[2:]}
            | {
                "status": ["flights.dep_delay", "flights.arr_delay"],
                "weather": ["weather.wind_speed", "weather.origin", "weather.time_hour"],
                "date": ["flights.time_hour"],
            }
        ),
        automation_condition=WHEN_CHANGED & not_expired(_DEPARTURES.spec),
        freshness_policy=DAILY,
        group_name=GROUP,
        owners=OWNERS,
        tags={"layer": "clean"},
        kinds={"deltalake", "pandas"},
    )
    def departures(context: dg.AssetExecutionContext, flights: DataFrame, weather: DataFrame) -> DataFrame:
        """Each flight once, with its status and the weather of its hour; the metadata counts what was amiss."""
        cleaned = transforms.departures(flights, weather)
        for day, counts in transforms.by_day(flights, cleaned, source.TIMEZONE).items():
            context.add_asset_metadata(counts, partition_key=day)
        return cleaned

    @dg.asset(
        partitions_def=_MONTHLY_SUMMARY.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        ins={"departures": dg.AssetIn(partition_mapping=OVER_TIME, metadata={COLUMNS: [*_SUMMED_UP]})},
        metadata=column_lineage(
            {
                "month_start": ["departures.time_hour"],
                "carrier": ["departures.carrier"],
                "origin": ["departures.origin"],
                "flights": ["departures.carrier"],
                "cancelled": ["departures.status"],
                "mean_dep_delay": ["departures.dep_delay"],
                "mean_arr_delay": ["departures.arr_delay"],
                "wet_departures": ["departures.dep_delay", "departures.precip"],
                "mean_wet_delay": ["departures.dep_delay", "departures.precip"],
                "miles": ["departures.distance"],
                "month": ["departures.time_hour"],
            }
        ),
        automation_condition=WHEN_CHANGED,
        freshness_policy=MONTHLY,
        group_name=GROUP,
        owners=OWNERS,
        tags={"layer": "summary"},
        kinds={"deltalake", "pandas"},
    )
    def monthly_summary(departures: DataFrame) -> DataFrame:
        """Flights, cancellations and mean delays by carrier and origin: days wait for it before they expire."""
        return transforms.summarize(departures, source.TIMEZONE)

    @dg.asset(
        partitions_def=_MONTHLY_SUMMARY.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        automation_condition=WHEN_CHANGED,
        freshness_policy=MONTHLY,
        group_name=GROUP,
        owners=OWNERS,
        tags={"layer": "report"},
        kinds={"matplotlib"},
    )
    def monthly_report(context: dg.AssetExecutionContext, lake: LakeResource, monthly_summary: DataFrame) -> None:
        """A picture of each month, delays and cancellations by carrier: in the metadata, and as a PNG in the lake."""
        fs = lake.filesystem()
        months = dict(list(monthly_summary.groupby("month")))
        for month in context.partition_keys:
            picture = report.draw(months[month], month)
            uri = lake.uri(f"monthly_report/{month}.png")
            with dagster_failures(context):
                fs.pipe_file(uri, picture)
            context.add_asset_metadata(report.metadata(picture, uri), partition_key=month)
