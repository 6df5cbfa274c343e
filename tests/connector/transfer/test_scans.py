"""What a scan of a folder of small files asks of the store: one flat listing, and one GET for each file."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tierlake.connector.transfer.ahead import FILES_MAX

pytest.importorskip("tierlake.connector.transfer.parquet_cache", reason="its files are opened by one GET")


@pytest.fixture
def days(fs, bucket):
    def write(count):
        for number in range(count):
            with fs.open(f"{bucket}/t/d={number:03}/part-0.parquet", "wb") as file:
                pq.write_table(pa.table({"x": [number] * 10, "y": ["a"] * 10}), file)
        return f"{bucket}/t"

    return write


READERS = {
    "dataset": lambda fs, root: ds.dataset(root, filesystem=fs, partitioning="hive").to_table().num_rows,
    "read_table": lambda fs, root: pq.read_table(root, filesystem=fs).num_rows,
    "pandas": lambda fs, root: len(pd.read_parquet(root, filesystem=fs)),
}


def counted(fs, monkeypatch):
    requests, request = Counter(), fs.store.gateway._transport.request

    async def counting(operation, params, *rest, **more):
        requests[operation] += 1
        requests["files"] += operation == "get_object" and params["Key"].endswith(".parquet")
        requests["heads of files"] += operation == "head_object" and params["Key"].endswith(".parquet")
        return await request(operation, params, *rest, **more)

    monkeypatch.setattr(fs.store.gateway._transport, "request", counting)
    return requests


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("count", [40, 80])
def test_each_file_is_requested_once(make_fs, days, monkeypatch, reader, count):
    root = days(count)
    fs = make_fs(view_freshness=60)
    requests = counted(fs, monkeypatch)
    assert READERS[reader](fs, root) == 10 * count
    assert count <= requests["files"] <= count + 1, "the first one is opened twice, for its schema"
    assert requests["heads of files"] == 0
    assert requests["list_objects_v2"] == 4, "a table there or in the bucket, whether it is a folder, and its files"
    assert requests["head_object"] == (3 if reader == "pandas" else 1), "of the folder, and of two sidecars"


def test_a_filter_requests_at_most_twice_what_it_opens(make_fs, days, monkeypatch):
    root = days(80)
    fs = make_fs()
    dataset = ds.dataset(root, filesystem=fs, partitioning="hive")
    requests = counted(fs, monkeypatch)
    rows = dataset.to_table(filter=(ds.field("d") >= 20) & (ds.field("d") < 30)).num_rows
    assert rows == 100
    for task in list(fs.ahead._tasks):
        fs.loop.call_soon_threadsafe(task.cancel)
    assert requests["files"] <= 20 + 1
    assert requests["heads of files"] == 0
    assert fs.ahead.count <= FILES_MAX


def test_a_sidecar_that_a_listing_lacks_is_looked_for_by_one_head(make_fs, server, bucket, monkeypatch):
    server.admin.put_object(Bucket=bucket, Key="t/x.parquet", Body=b"1")
    fs = make_fs(view_freshness=60)
    fs.find(f"{bucket}/t")
    requests = counted(fs, monkeypatch)
    for _ in range(2):
        assert not fs.exists(f"{bucket}/t/_metadata")
    assert requests == {"head_object": 2, "files": 0, "heads of files": 0}
    server.admin.put_object(Bucket=bucket, Key="t/_metadata", Body=b"12")
    assert fs.info(f"{bucket}/t/_metadata")["size"] == 2
