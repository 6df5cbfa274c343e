"""What the assets compute: functions from tables to tables, without Dagster or a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["by_day", "departures", "summarize"]

_SAME_FLIGHT: Final = ["carrier", "flight", "origin", "time_hour"]
_HOUR: Final = ["origin", "time_hour"]
_FASTEST_WIND_MPH: Final = 150.0  # New York's record is 114 (1954): the 1,048 of 2013-02-12 is an instrument's
_WHOLE: Final = ("dep_delay", "arr_delay", "air_time", "distance")


def departures(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Each flight once, with its status and the weather of its hour at its origin.

    No flight is dropped but one that is there twice. `status` is flown, diverted (or lost track of) or cancelled;
    `weather` is observed, doubtful (its wind cannot be true and is left out) or missing.

    Args:
        flights: With carrier, flight, origin, time_hour, dep_delay and arr_delay; what else they have stays.
        weather: By origin and time_hour, with wind_speed.
    """
    doubtful = weather["wind_speed"] > _FASTEST_WIND_MPH
    hours = weather.assign(
        wind_speed=weather["wind_speed"].mask(doubtful), weather=doubtful.map({True: "doubtful", False: "observed"})
    ).drop_duplicates(_HOUR)
    joined = flights.drop_duplicates(_SAME_FLIGHT).merge(hours, on=_HOUR, how="left", validate="many_to_one")
    status = joined["arr_delay"].isna().map({True: "diverted", False: "flown"})
    whole = {name: joined[name].astype("Int32") for name in _WHOLE if name in joined}
    return joined.assign(
        status=status.mask(joined["dep_delay"].isna(), "cancelled"),
        weather=joined["weather"].fillna("missing"),
        **whole,
    )


def by_day(flights: pd.DataFrame, departures: pd.DataFrame, timezone: str) -> dict[str, dict[str, int]]:
    """For each day, how many rows came in, were dropped or have a flag.

    Args:
        flights: The rows that came in.
        departures: The rows that were made of them.
        timezone: The zone in which days begin.
    """
    import pandas as pd

    def days(table: pd.DataFrame) -> pd.Series[pd.Timestamp]:
        day: pd.Series[pd.Timestamp] = table["time_hour"].dt.tz_convert(timezone).dt.tz_localize(None).dt.normalize()
        return day

    rows, kept = days(flights).value_counts(), days(departures)
    flags = pd.DataFrame(
        {
            "cancelled": departures["status"] == "cancelled",
            "diverted": departures["status"] == "diverted",
            "without_weather": departures["weather"] == "missing",
            "doubtful_weather": departures["weather"] == "doubtful",
        }
    )
    counted = flags.groupby(kept).sum().assign(rows_in=rows, dropped_twice_there=rows - kept.value_counts())
    return {
        f"{day:%Y-%m-%d}": {str(name): int(count) for name, count in row.items()} for day, row in counted.iterrows()
    }


def summarize(departures: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """One row a month, carrier and origin: flights, cancellations, and mean delays, those in rain or snow apart.

    Args:
        departures: With time_hour, carrier, origin, status, dep_delay, arr_delay, distance and precip.
        timezone: The zone in which months begin.
    """
    local = departures["time_hour"].dt.tz_convert(timezone)
    month = local.dt.tz_localize(None).dt.to_period("M").dt.to_timestamp().dt.tz_localize(timezone)
    grouped = departures.assign(
        month_start=month.dt.tz_convert("UTC").dt.as_unit("us"),
        cancelled=departures["status"] == "cancelled",
        wet_delay=departures["dep_delay"].where(departures["precip"] > 0),
    ).groupby(["month_start", "carrier", "origin"], observed=True)
    return grouped.agg(
        flights=("carrier", "size"),
        cancelled=("cancelled", "sum"),
        mean_dep_delay=("dep_delay", "mean"),
        mean_arr_delay=("arr_delay", "mean"),
        wet_departures=("wet_delay", "count"),
        mean_wet_delay=("wet_delay", "mean"),
        miles=("distance", "sum"),
    ).reset_index()
