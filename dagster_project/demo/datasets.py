"""The demo's datasets: what is stored where, in which tiers, for how long. The one place to change them."""

from __future__ import annotations

from typing import Final

from tierlake.dagster_project.demo.source import TIMEZONE
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["DATASETS", "DEPARTURES", "FLIGHTS", "MONTHLY_SUMMARY", "WEATHER"]

FLIGHTS: Final = LakeAsset(
    DatasetSpec.from_yaml(f"""
        uri: lake://warehouse/flights
        format: delta
        partition:
          time: {{column: time_hour, every: day, timezone: {TIMEZONE}, key: date}}
        write: {{sort_by: [carrier, origin]}}
        tiers:
          - {{after: 30d, tier: warm}}
          - {{after: 90d, tier: cold}}
        retention: {{expire_after: 300d, grace: 7d, after: [departures]}}
    """),
    time_windows("day", TIMEZONE, "2013-01-01", "2014-01-01"),
)

WEATHER: Final = LakeAsset(
    # the source has columns year, month, day and hour already: the Hive key is none of them
    DatasetSpec.from_yaml(f"""
        uri: lake://warehouse/weather
        format: parquet
        partition:
          time: {{column: time_hour, every: month, timezone: {TIMEZONE}, key: year_month}}
        tiers:
          - {{after: 90d, tier: warm}}
        retention: {{expire_after: 3650d, grace: 30d}}
    """),
    time_windows("month", TIMEZONE, "2013-01", "2014-01"),
)

DEPARTURES: Final = LakeAsset(
    # the same records as the flights, so kept as long; of their months the summary stays
    DatasetSpec.from_yaml(f"""
        uri: lake://warehouse/departures
        format: delta
        partition:
          time: {{column: time_hour, every: day, timezone: {TIMEZONE}, key: date}}
        write: {{sort_by: [carrier, origin]}}
        tiers:
          - {{after: 90d, tier: warm}}
        retention: {{expire_after: 300d, grace: 7d, after: [monthly_summary]}}
    """),
    time_windows("day", TIMEZONE, "2013-01-01", "2014-01-01"),
)

MONTHLY_SUMMARY: Final = LakeAsset(
    DatasetSpec.from_yaml(f"""
        uri: lake://warehouse/monthly_summary
        format: delta
        partition:
          time: {{column: month_start, every: month, timezone: {TIMEZONE}, key: month}}
    """),
    time_windows("month", TIMEZONE, "2013-01", "2014-01"),
)

DATASETS: Final = {dataset.name: dataset for dataset in (FLIGHTS, WEATHER, DEPARTURES, MONTHLY_SUMMARY)}
