"""What needs neither a server nor Dagster's storage."""

from __future__ import annotations

import base64
import itertools
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest

from tests.dagster_project.lake_assets import FLIGHTS
from tierlake.dagster_project.demo import report, source, transforms
from tierlake.dagster_project.io import frames
from tierlake.dagster_project.partitions import metadata
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.query.read import by_partition

NEW_YORK = ZoneInfo(source.TIMEZONE)


def new_york(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)


YEAR = (new_york(2013, 1, 1), new_york(2014, 1, 1))


def test_the_source_is_read_to_the_row() -> None:
    ours = source.flights(*YEAR)
    theirs = pd.read_csv(Path(source.__file__).parent.joinpath(source._folder(), "flights.csv.zip"))
    assert ours.num_rows == len(theirs) == 336_776
    for column in ("dep_delay", "arr_delay", "distance", "air_time"):
        assert ours[column].to_pandas().sum() == theirs[column].sum()
        assert ours[column].null_count == theirs[column].isna().sum()
    assert ours["tailnum"].null_count == theirs["tailnum"].isna().sum()
    assert source.weather(*YEAR).num_rows == 26_115


def test_days_are_new_yorks() -> None:
    flights = source.flights(new_york(2013, 1, 1), new_york(2013, 1, 2))
    assert flights.num_rows == 842
    assert set(flights["day"].to_pylist()) == {1}
    evening = source.flights(datetime(2013, 1, 2, tzinfo=UTC), datetime(2013, 1, 2, 5, tzinfo=UTC))
    assert set(evening["day"].to_pylist()) == {1}


def flight(hour: datetime, delay: float | None = 0.0, **said: object) -> dict[str, object]:
    usual = {"carrier": "AA", "flight": 1, "origin": "JFK", "distance": 100, "dep_delay": delay, "arr_delay": delay}
    return usual | {"time_hour": pd.Timestamp(hour).tz_convert("UTC")} | said


def hour(at: datetime, origin: str = "JFK", **said: object) -> dict[str, object]:
    usual = {"origin": origin, "wind_speed": 10.0, "precip": 0.0}
    return usual | {"time_hour": pd.Timestamp(at).tz_convert("UTC")} | said


def test_flights_get_their_hours_weather_and_nothing_is_lost() -> None:
    noon, night = new_york(2013, 1, 1, 12), new_york(2013, 1, 1, 23)  # at night it is the next day in UTC
    flights = pd.DataFrame(
        [
            flight(noon, 5.0),
            flight(noon, 5.0),  # sent twice
            flight(noon, 3.0, flight=2, arr_delay=None),
            flight(noon, None, flight=3),
            flight(night, 1.0, origin="EWR"),
            flight(new_york(2013, 1, 2, 12), 1.0),
        ]
    )
    weather = pd.DataFrame(
        [hour(noon, precip=0.5), hour(noon, precip=0.9), hour(noon, "EWR"), hour(night, "EWR", wind_speed=1048.4)]
    )
    cleaned = transforms.departures(flights, weather)
    assert cleaned["status"].tolist() == ["flown", "diverted", "cancelled", "flown", "flown"]
    assert cleaned["weather"].tolist() == ["observed"] * 3 + ["doubtful", "missing"]
    assert cleaned["precip"].tolist()[:3] == [0.5, 0.5, 0.5]
    assert cleaned["wind_speed"].isna().tolist() == [False, False, False, True, True]
    assert str(cleaned["dep_delay"].dtype) == "Int32"
    none = {"cancelled": 0, "diverted": 0, "without_weather": 0, "doubtful_weather": 0, "dropped_twice_there": 0}
    assert transforms.by_day(flights, cleaned, source.TIMEZONE) == {
        "2013-01-01": none
        | {"rows_in": 5, "dropped_twice_there": 1, "cancelled": 1, "diverted": 1, "doubtful_weather": 1},
        "2013-01-02": none | {"rows_in": 1, "without_weather": 1},
    }


def test_of_a_year_only_the_hours_that_nobody_observed_are_missing() -> None:
    flights, weather = source.flights(*YEAR).to_pandas(), source.weather(*YEAR).to_pandas()
    cleaned = transforms.departures(
        flights[["time_hour", "carrier", "flight", "origin", "dep_delay", "arr_delay"]], weather
    )
    assert len(cleaned) == len(flights)
    assert cleaned["status"].value_counts().to_dict() == {"flown": 327_346, "cancelled": 8_255, "diverted": 1_175}
    assert cleaned["weather"].value_counts().to_dict() == {"observed": 335_220, "missing": 1_556}


def test_a_months_summary() -> None:
    departures = pd.DataFrame(
        [
            flight(new_york(2013, 1, 1), 4.0, status="flown", precip=0.1),
            flight(new_york(2013, 1, 31, 23), 8.0, status="flown", precip=0.0),  # in UTC that is February
            flight(new_york(2013, 1, 15), None, status="cancelled", precip=0.3),
            flight(new_york(2013, 2, 1), 1.0, status="flown", precip=None),
            flight(new_york(2013, 1, 2), 3.0, origin="EWR", status="flown", precip=0.0),
        ]
    )
    summary = transforms.summarize(departures, source.TIMEZONE).set_index(["month_start", "origin"])
    january, february = pd.Timestamp(new_york(2013, 1, 1)), pd.Timestamp(new_york(2013, 2, 1))
    jfk = summary.loc[(january, "JFK")]
    assert jfk[["flights", "cancelled", "mean_dep_delay"]].tolist() == [3, 1, 6.0]
    assert jfk[["wet_departures", "mean_wet_delay"]].tolist() == [1, 4.0]
    assert summary.loc[(january, "EWR"), "flights"] == 1
    assert summary.loc[(february, "JFK"), "miles"] == 100
    assert str(summary.index.levels[0].tz) == "UTC"


def test_a_month_is_drawn_by_carrier_the_busiest_on_top() -> None:
    departures = pd.DataFrame(
        [
            *(flight(new_york(2013, 1, day), 10.0 * day, status="flown", precip=day % 2) for day in (1, 2, 3)),
            flight(new_york(2013, 1, 4), None, carrier="HA", status="cancelled", precip=None),
        ]
    )
    summary = transforms.summarize(departures, source.TIMEZONE)
    carriers = report._by_carrier(summary)
    assert carriers.index.tolist() == ["HA", "AA"]
    assert carriers.loc["AA", ["wet", "other", "cancelled"]].tolist() == [20.0, 20.0, 0.0]
    assert carriers.loc["HA", "cancelled"] == 1.0
    picture = report.draw(summary, "2013-01")  # also of a carrier that never left
    assert picture.startswith(b"\x89PNG")
    said = report.metadata(picture, "lake://warehouse/monthly_report/2013-01.png")
    encoded = re.search(r"\(data:image/png;base64,(.*)\)", said["report"].value)
    assert encoded is not None
    assert base64.b64decode(encoded[1]) == picture


def test_frames_are_known_by_name() -> None:
    assert isinstance(pd.DataFrame(), frames.DataFrame)
    assert isinstance(pa.table({}), frames.ArrowTable)
    assert not isinstance(pa.table({}), frames.DataFrame)
    assert not isinstance({}, frames.ArrowTable)
    for annotation in (pd.DataFrame, frames.DataFrame):
        assert frames.type_name(annotation) == "pandas.DataFrame"
    for annotation in (pa.Table, frames.ArrowTable):
        assert frames.type_name(annotation) == "pyarrow.Table"
    assert frames.type_name(None) == frames.type_name(Any) == frames.type_name(int | str) == ""


def test_a_spec_travels_in_metadata() -> None:
    said = metadata.spec_metadata(FLIGHTS.spec)
    assert metadata.spec_of(said) == FLIGHTS.spec
    assert metadata.spec_of({}) is None
    assert metadata.spec_of({metadata.SPEC: {"uri": "lake://a/b"}}) == DatasetSpec(uri="lake://a/b")
    with pytest.raises(SpecError, match="tires"):
        metadata.spec_of({metadata.SPEC: {"uri": "lake://a/b", "tires": []}})
    with pytest.raises(SpecError, match="is not a dataset's spec"):
        metadata.spec_of({metadata.SPEC: "[]"})


def test_a_partition_without_rows_has_metadata() -> None:
    facts = metadata.partition_metadata([])
    assert facts == {
        "files": 0,
        "bytes": 0,
        "size": "0 B",
        "storage_class": "none: no rows",
        "dagster/partition_row_count": 0,
    }


def test_partition_columns_are_tagged_in_the_schema() -> None:
    schema = metadata.column_schema(pa.schema([("date", pa.string()), ("n", pa.int64())]), ("date",))
    assert [(column.name, column.type) for column in schema.columns] == [("date", "string"), ("n", "int64")]
    assert [column.tags for column in schema.columns] == [{"tierlake/partition": ""}, {}]


def test_rows_are_split_by_their_partition() -> None:
    names = {"date": [f"2013-01-{day:02d}" for day in range(1, 29)], "shop": ["a b", "", "c/d"], "size": ["1", "2"]}
    grid = [PartitionKey(tuple(zip(names, values, strict=True))) for values in itertools.product(*names.values())]
    schema = pa.schema({"date": pa.string(), "shop": pa.dictionary(pa.int32(), pa.string()), "size": pa.int32()})
    keys = [key for key in reversed(grid) for _ in range(2)]
    columns = [
        pa.array([key.as_dict()["date"] for key in keys]),
        pa.array([key.as_dict()["shop"] or None for key in keys]).dictionary_encode(),
        pa.array([int(key.as_dict()["size"]) for key in keys], pa.int32()),
    ]
    rows = pa.table(columns, schema=schema).append_column("id", [range(len(keys))])
    parts = by_partition(rows, tuple(names))
    assert set(parts) == set(grid)
    assert all(keys[row] == key for key, part in parts.items() for row in part["id"].to_pylist())
    assert {tuple(part["id"].to_pylist()) for part in parts.values()} == {(at, at + 1) for at in range(0, len(keys), 2)}
    assert by_partition(rows.slice(0, 0), tuple(names)) == {}
    assert by_partition(rows, ()) == {PartitionKey(()): rows}
