"""A file deleted behind the table: each reader names it and `tierlake verify`, without the server's XML."""

import pickle

import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest

from connector.errors import ObjectNotFound, ServerError, TableDamaged
from pipelines import Dataset
from pipelines.tables.live_files import FileNames
from tests.pipelines.conftest import make_trips, trip_spec


@pytest.fixture
def damaged(delta, server):
    """Four days, and the file of the second is gone."""
    delta.ingest(make_trips())
    bucket, _, prefix = delta.uri.removeprefix("lake://").partition("/")
    (lost,) = server.keys(bucket, f"{prefix}/date=2013-01-02/")
    server.admin.delete_object(Bucket=bucket, Key=lost)
    return delta, lost


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
        f"reading lake://{root}/{file.path} failed, and then succeeded: Generic S3 error Error performing GET: 500. "
        "read again"
    )


def test_a_plain_scan_goes_to_other_processes(make_bucket, fs):
    dataset = Dataset.create(trip_spec(make_bucket(), format="parquet"), fs=fs)
    dataset.ingest(make_trips(1))
    assert pickle.loads(pickle.dumps(dataset.scan())).count_rows() == 10  # noqa: S301 - our own bytes
