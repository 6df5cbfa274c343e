"""A log that names what is not the table's, and sources that break: refused, and nothing is touched or committed."""

import gzip
import json

import fsspec
import pyarrow.parquet as pq
import pytest

from tests.pipelines.conftest import make_trips
from tierlake.pipelines.errors import PolicyRefused, SourceError
from tierlake.pipelines.ingest.writer import WriterLimits
from tierlake.pipelines.sources.limits import SourceLimits
from tierlake.pipelines.tables.paths import data_path

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


@pytest.mark.parametrize("broken", ["truncated", "other bytes", "bomb"])
def test_a_source_that_breaks_midway_commits_nothing(delta, tmp_path, broken):
    delta.ingest(make_trips(days=1))
    version = delta.version
    pq.write_table(make_trips(), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    if broken == "bomb":
        (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"at,city,fare\n" + b"0" * (100 << 20)))
    else:
        (tmp_path / "b.parquet").write_bytes(whole[:-40] if broken == "truncated" else b"\x00" * 200 + whole[200:])
    with pytest.raises(SourceError, match=r"b\.(parquet|csv\.gz)"):
        delta.ingest(f"{tmp_path}/*", limits=WriterLimits(source=SourceLimits(max_expansion=100)))
    assert (delta.version, len(delta.read())) == (version, 10)
