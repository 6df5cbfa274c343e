"""What needs neither a server nor Dagster's storage."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest

from dagster_project import frames, metadata, nyc, transforms
from dagster_project.datasets import FLIGHTS
from pipelines.errors import SpecError
from pipelines.spec import DatasetSpec

NEW_YORK = ZoneInfo(nyc.TIMEZONE)


def new_york(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)


YEAR = (new_york(2013, 1, 1), new_york(2014, 1, 1))


def test_the_source_is_read_to_the_row() -> None:
    ours = nyc.flights(*YEAR)
    theirs = pd.read_csv(Path(nyc.__file__).parent.joinpath(nyc._folder(), "flights.csv.zip"))
    assert ours.num_rows == len(theirs) == 336_776
    for column in ("dep_delay", "arr_delay", "distance", "air_time"):
        assert ours[column].to_pandas().sum() == theirs[column].sum()
        assert ours[column].null_count == theirs[column].isna().sum()
    assert ours["tailnum"].null_count == theirs["tailnum"].isna().sum()
    assert nyc.weather(*YEAR).num_rows == 26_115


def test_days_are_new_yorks() -> None:
    flights = nyc.flights(new_york(2013, 1, 1), new_york(2013, 1, 2))
    assert flights.num_rows == 842
    assert set(flights["day"].to_pylist()) == {1}
    evening = nyc.flights(datetime(2013, 1, 2, tzinfo=UTC), datetime(2013, 1, 2, 5, tzinfo=UTC))
    assert set(evening["day"].to_pylist()) == {1}


def test_a_months_summary() -> None:
    def flight(hour: datetime, delay: float | None, origin: str = "JFK") -> dict[str, object]:
        said = {"carrier": "AA", "origin": origin, "distance": 100, "arr_delay": delay}
        return {"time_hour": pd.Timestamp(hour).tz_convert("UTC"), "dep_delay": delay, **said}

    flights = pd.DataFrame(
        [
            flight(new_york(2013, 1, 1), 4.0),
            flight(new_york(2013, 1, 31, 23), 8.0),  # in UTC that is February
            flight(new_york(2013, 1, 15), None),
            flight(new_york(2013, 2, 1), 1.0),
            flight(new_york(2013, 1, 2), 3.0, origin="EWR"),
        ]
    )
    summary = transforms.summarize(flights, nyc.TIMEZONE).set_index(["month_start", "origin"])
    january, february = pd.Timestamp(new_york(2013, 1, 1)), pd.Timestamp(new_york(2013, 2, 1))
    assert summary.loc[(january, "JFK"), "flights"] == 3
    assert summary.loc[(january, "JFK"), "cancelled"] == 1
    assert summary.loc[(january, "JFK"), "mean_dep_delay"] == 6.0
    assert summary.loc[(january, "EWR"), "flights"] == 1
    assert summary.loc[(february, "JFK"), "miles"] == 100
    assert str(summary.index.levels[0].tz) == "UTC"


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
    assert facts == {"files": 0, "bytes": 0, "storage_class": "none: no rows", "dagster/partition_row_count": 0}


def test_partition_columns_are_tagged_in_the_schema() -> None:
    schema = metadata.column_schema(pa.schema([("date", pa.string()), ("n", pa.int64())]), ("date",))
    assert [(column.name, column.type) for column in schema.columns] == [("date", "string"), ("n", "int64")]
    assert [column.tags for column in schema.columns] == [{"tierlake/partition": ""}, {}]
