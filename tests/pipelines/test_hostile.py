"""A log that names what is not the table's: refused, and nothing outside the root is read, written or deleted."""

import json

import fsspec
import pytest

from pipelines.errors import PolicyRefused
from pipelines.tables.paths import data_path
from tests.pipelines.conftest import make_trips

OUTSIDE = [
    "s3://other/secret.parquet",
    "file:///etc/passwd",
    "/secret.parquet",
    "../secret.parquet",
    "date=2013-01-01/../../secret.parquet",
    "%2E%2E%2Fsecret.parquet",
    "date=2013-01-01//x.parquet",
    "./x.parquet",
    "",
    "_lake/dataset.json",
    "_delta_log/00000000000000000000.json",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leaves_the_table_is_refused(path):
    with pytest.raises(PolicyRefused, match="no data file below its root"):
        data_path("bucket/table", path)


def test_a_path_inside_is_as_the_store_spells_it():
    assert data_path("bucket/table", "date=a%2520b/x..y.parquet") == "date=a%20b/x..y.parquet"


@pytest.mark.parametrize("path", ["../secret.parquet", "/secret.parquet"])
def test_a_hostile_log_touches_nothing(delta, server, bucket, path):
    delta.ingest(make_trips())
    server.admin.put_object(Bucket=bucket, Key="city/secret.parquet", Body=b"theirs")
    prefix = delta.uri.removeprefix(f"lake://{bucket}/")
    action = {
        "path": path,
        "size": 6,
        "partitionValues": {"date": "2013-01-01"},
        "modificationTime": 1_700_000_000_000,
        "dataChange": True,
    }
    key = f"{prefix}/_delta_log/{delta.version + 1:020d}.json"
    server.admin.put_object(Bucket=bucket, Key=key, Body=json.dumps({"add": action}).encode())
    before = server.keys(bucket)
    raw = fsspec.filesystem("lake", skip_instance_cache=True, **server.storage_options)
    for call in (
        delta.read,
        delta.scan,
        delta.vacuum,
        delta.verify,
        lambda: delta.plan_expiry("2033-01-01"),
        lambda: delta.ingest(make_trips()),
        lambda: raw.find(f"{bucket}/{prefix}"),
    ):
        with pytest.raises(PolicyRefused, match="no data file below its root"):
            call()
    assert server.keys(bucket) == before
