"""The demo's datasets: what is stored where, in which tiers, for how long. The one place to change them."""

from __future__ import annotations

from typing import Final

from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.demo.source import TIMEZONE

__all__ = ["DATASETS", "DEPARTURES", "FLIGHTS", "MONTHLY_SUMMARY", "WEATHER"]

FLIGHTS: Final = LakeDataset(
    key="flights",
    source="tierlake.dagster_project.demo.assets.flights",
    start="2013-01-01",
    end="2014-01-01",
    partition={"time": {"column": "time_hour", "every": "day", "timezone": TIMEZONE, "key": "date"}},
    write={"sort_by": ["carrier", "origin"]},
    tiers=[{"after": "30d", "tier": "warm"}, {"after": "90d", "tier": "cold"}],
    retention={"expire_after": "300d", "grace": "7d", "after": ["departures"]},
    preview_rows=5,
)

WEATHER: Final = LakeDataset(
    key="weather",
    source="tierlake.dagster_project.demo.assets.weather",
    start="2013-01",
    end="2014-01",
    format="parquet",
    # the source has columns year, month, day and hour already: the Hive key is none of them
    partition={"time": {"column": "time_hour", "every": "month", "timezone": TIMEZONE, "key": "year_month"}},
    tiers=[{"after": "90d", "tier": "warm"}],
    retention={"expire_after": "3650d", "grace": "30d"},
)

DEPARTURES: Final = LakeDataset(
    key="departures",
    source="tierlake.dagster_project.demo.assets.departures",
    start="2013-01-01",
    end="2014-01-01",
    partition={"time": {"column": "time_hour", "every": "day", "timezone": TIMEZONE, "key": "date"}},
    write={"sort_by": ["carrier", "origin"]},
    tiers=[{"after": "90d", "tier": "warm"}],
    # the same records as the flights, so kept as long; of their months the summary stays
    retention={"expire_after": "300d", "grace": "7d", "after": ["monthly_summary"]},
)

MONTHLY_SUMMARY: Final = LakeDataset(
    key="monthly_summary",
    source="tierlake.dagster_project.demo.assets.monthly_summary",
    start="2013-01",
    end="2014-01",
    partition={"time": {"column": "month_start", "every": "month", "timezone": TIMEZONE, "key": "month"}},
)

DATASETS: Final = {dataset.key: dataset for dataset in (FLIGHTS, WEATHER, DEPARTURES, MONTHLY_SUMMARY)}
