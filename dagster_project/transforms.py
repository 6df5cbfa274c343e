"""What the assets compute: functions from tables to tables, without Dagster or a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["summarize"]


def summarize(flights: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """One row a month, carrier and origin: flights, cancellations and mean delays.

    Args:
        flights: with time_hour, carrier, origin, dep_delay, arr_delay and distance. A flight without departure delay
            never left.
        timezone: in which months begin.
    """
    local = flights["time_hour"].dt.tz_convert(timezone)
    month = local.dt.tz_localize(None).dt.to_period("M").dt.to_timestamp().dt.tz_localize(timezone)
    grouped = flights.assign(
        month_start=month.dt.tz_convert("UTC").dt.as_unit("us"), cancelled=flights["dep_delay"].isna()
    ).groupby(["month_start", "carrier", "origin"], observed=True)
    return grouped.agg(
        flights=("carrier", "size"),
        cancelled=("cancelled", "sum"),
        mean_dep_delay=("dep_delay", "mean"),
        mean_arr_delay=("arr_delay", "mean"),
        miles=("distance", "sum"),
    ).reset_index()
