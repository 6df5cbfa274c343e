"""A file deleted behind the table: each reader names it and `tierlake verify`, without the server's XML."""

import json
import pickle

import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector.client.rust_errors import from_rust
from tierlake.connector.errors import AccessDenied, EndpointUnreachable, ObjectNotFound, ServerError, TableDamaged
from tierlake.pipelines import Dataset
from tierlake.pipelines.tables.live_files import FileNames


@pytest.fixture
def damaged(delta, server):
    """Four days, and the file of the second is gone."""
    delta.ingest(make_trips())
    bucket, _, prefix = delta.uri.removeprefix("lake://").partition("/")
    (lost,) = server.keys(bucket, f"{prefix}/date=2013-01-02/")
    server.admin.delete_object(Bucket=bucket, Key=lost)
    return delta, lost


@pytest.mark.slow
def test_a_lost_file_is_named_by_every_reader(damaged, server, fs):
    dataset, lost = damaged
    root = dataset.uri.removeprefix("lake://")
    assert len(dataset.read(where=[("date", "!=", "2013-01-02")])) == 30
    fs.find(root)
    for read in (
        dataset.read,
        dataset.to_pandas,
        dataset.to_polars,
        lambda: dataset.to_dask().compute(scheduler="sync"),
        lambda: dataset.scan().to_table(),
        lambda: dataset.scan().to_table(filter=pc.field("fare") > 0),
        lambda: dataset.scan().count_rows(),
        lambda: pd.read_parquet(dataset.uri, storage_options=server.storage_options),
        lambda: pads.dataset(root, filesystem=fs, partitioning="hive").to_table(),
        lambda: fs.cat(f"{root.partition('/')[0]}/{lost}"),
    ):
        with pytest.raises(TableDamaged, match=rf"tierlake verify {dataset.uri}") as broken:
            read()
        text = str(broken.value)
        assert lost in text
        assert "\x1b" not in text
        assert "<" not in text
    assert [problem.kind for problem in dataset.verify().problems] == ["missing"]
    assert dataset.erase([("city", "==", "LGA")]).archived.keys() == {"date=2013-01-02"}


def test_a_file_of_a_plain_table_that_was_listed_and_is_gone(make_bucket, fs, server):
    dataset = Dataset.create(trip_spec(make_bucket(), format="parquet"), fs=fs)
    dataset.ingest(make_trips())
    scanned = dataset.scan()
    bucket, _, prefix = dataset.uri.removeprefix("lake://").partition("/")
    server.admin.delete_object(Bucket=bucket, Key=f"{prefix}/date=2013-01-02/data.parquet")
    with pytest.raises(ObjectNotFound, match=r"replaced or expired meanwhile \(at .*data.parquet.*read again"):
        scanned.to_table()
    assert len(dataset.read()) == 30


def test_a_failure_that_passed_shows_no_colours_and_no_xml(delta, fs):
    delta.ingest(make_trips(1))
    (file,) = delta._handle.table.snapshot().files
    root = delta._handle.table.root
    names = FileNames(fs, root, {}, 1)
    raw = OSError("Generic S3 error\n  \x1b[31m↳\x1b[0m Error performing GET: 500: <?xml version='1.0'?><Error/>")
    told = names.failure(f"{root}/{file.path}", raw)
    assert isinstance(told, ServerError)
    assert str(told) == (
        f"reading lake://{root}/{file.path} failed, and then succeeded: Error performing GET: 500. read again"
    )


def test_a_log_that_may_not_be_read_or_written(delta, server):
    """deltalake's own requests fail as the connector's do."""
    if server.name != "seaweedfs":
        pytest.skip("MinIO's root is exempt from policies")
    bucket = delta.uri.removeprefix("lake://").partition("/")[0]
    delta.ingest(make_trips(1))

    def deny(action):
        rule = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": [action],
            "Resource": [f"arn:aws:s3:::{bucket}/*/_delta_log/*"],
        }
        server.admin.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [rule]}))

    calls = {
        "s3:GetObject": (delta.read, delta.partitions, delta.history, delta.verify),
        "s3:PutObject": (lambda: delta.ingest(make_trips(1)), lambda: delta.ingest(make_trips(1), mode="append")),
    }
    for action, denied in calls.items():
        deny(action)
        for call in denied:
            with pytest.raises(
                AccessDenied, match=rf"by deltalake: Access Denied. \(at {bucket}/city/trips/_delta_log"
            ) as no:
                call()
            assert "\x1b" not in str(no.value)
            assert "<" not in str(no.value)


def test_what_rust_says_in_our_words():
    gone = "error \x1b[31m↳\x1b[0m Error performing PUT http://h:1/b/k in 3s - HTTP error: error sending request"
    assert type(from_rust(OSError(gone), "b")) is EndpointUnreachable
    other = from_rust(OSError("Kernel error -> \x1b[31msomething\x1b[0m\n  ↳ else <?xml?><a/>"), "b")
    assert (type(other), other.message) == (ServerError, "a request by deltalake: something else")


def test_a_plain_scan_goes_to_other_processes(make_bucket, fs):
    dataset = Dataset.create(trip_spec(make_bucket(), format="parquet"), fs=fs)
    dataset.ingest(make_trips(1))
    assert pickle.loads(pickle.dumps(dataset.scan())).count_rows() == 10  # noqa: S301 - our own bytes
