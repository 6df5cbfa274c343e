"""Datasets of the tests: a few days of made-up trips, small enough to check by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tierlake.pipelines import Dataset, DatasetSpec

FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)
Trips = Callable[..., pa.Table]


def make_trips(days: int = 4, each: int = 10, *, start: int = 0, fare: float = 1.0) -> pa.Table:
    """`each` trips on each of `days` days; fares differ so that sums tell rows apart."""
    times = [
        FIRST_DAY + timedelta(days=start + day, minutes=17 * number) for day in range(days) for number in range(each)
    ]
    return pa.table(
        {
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "city": pa.array([("JFK", "LGA", None)[number % 3] for number in range(days * each)]),
            "fare": pa.array([fare * (number + 1) for number in range(days * each)], pa.float64()),
        }
    )


@pytest.fixture
def trips() -> Trips:
    return make_trips


def trip_spec(bucket: str, **changes: object) -> DatasetSpec:
    fields: dict[str, object] = {
        "uri": f"lake://{bucket}/city/trips",
        "partition": {"time": {"column": "at"}},
        "tiers": [{"after": "30d", "tier": "warm"}, {"after": "90d", "tier": "cold"}],
        "retention": {"expire_after": "300d", "grace": "7d"},
    }
    return DatasetSpec(**(fields | changes))


@pytest.fixture(params=["delta", "parquet"])
def table_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dataset(make_bucket, fs, table_format) -> Dataset:
    """An empty dataset in either format, on a versioned bucket, so that both can undo."""
    return Dataset.create(trip_spec(make_bucket(versioned=True), format=table_format), fs=fs)


@pytest.fixture
def delta(bucket, fs) -> Dataset:
    """An empty Delta dataset."""
    return Dataset.create(trip_spec(bucket), fs=fs)
