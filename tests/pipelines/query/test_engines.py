"""Other engines read the same table, odd partition values included."""

import json
import subprocess
import sys
from importlib.util import find_spec

import polars as pl
import pyarrow as pa
import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.pipelines import Dataset

CLICKHOUSE = "import sys, chdb; print(chdb.query(sys.argv[1], 'JSONEachRow').data())"
"""In a process of its own: it takes over the handlers of fatal signals, and leaves threads that never end."""

ODD = ["a b", "x/y", "p:q", "50%", "é", "a=b", None, "plus+", "q?", "#h"]


@pytest.fixture
def odd_dataset(bucket, fs):
    """Forty rows in forty partitions, after a replace, an append, a compaction, an erasure and an expiry."""
    spec = trip_spec(bucket, partition={"time": {"column": "at"}, "by": ["city"]})
    dataset = Dataset.create(spec, fs=fs)
    trips = make_trips().set_column(1, "city", pa.array(ODD * 4))
    dataset.ingest(trips.slice(0, 10))
    dataset.ingest(trips)
    dataset.ingest(trips.slice(10, 10), mode="append")
    dataset.compact()
    dataset.erase([("fare", "==", 40.0)])
    dataset.plan_expiry("2013-10-29").apply().raise_failures()
    return dataset


def expected(dataset):
    rows = dataset.read().group_by(["date", "city"]).aggregate([("fare", "sum"), ("fare", "count")]).to_pylist()
    return sorted((row["date"], row["city"] or "", row["fare_count"], row["fare_sum"]) for row in rows)


@pytest.mark.slow
def test_clickhouse_reads_the_same(odd_dataset, server, bucket):
    if find_spec("chdb") is None:
        pytest.skip("ClickHouse in a wheel: pip install 'tierlake[engines]'")
    url = f"{server.endpoint_url}/{bucket}/city/trips"
    table = f"deltaLake('{url}', '{server.key}', '{server.secret}')"
    query = f"SELECT date, city, count() AS rows, sum(fare) AS total FROM {table} GROUP BY date, city"  # noqa: S608 - ours
    command = [sys.executable, "-c", CLICKHOUSE, query]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [json.loads(line) for line in answer.splitlines() if line]
    found = sorted((row["date"], row["city"] or "", int(row["rows"]), row["total"]) for row in rows)
    assert len(found) > 10
    assert found == expected(odd_dataset)


@pytest.mark.slow
def test_polars_reads_the_same(odd_dataset, fs):
    uri = odd_dataset.uri.replace("lake://", "s3://")
    grouped = (
        pl.scan_delta(uri, storage_options=fs.polars_options())
        .group_by("date", "city")
        .agg(pl.len().alias("rows"), pl.col("fare").sum())
        .collect()
    )
    assert sorted((date, city or "", rows, total) for date, city, rows, total in grouped.rows()) == expected(
        odd_dataset
    )
