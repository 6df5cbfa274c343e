"""A Delta table whose log is gone is neither an empty table nor a folder of live files."""

from __future__ import annotations

import pandas as pd
import pyarrow.dataset as ds
import pytest

from tests.pipelines.conftest import make_trips, trip_spec
from tierlake.connector import LakeFileSystem
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import LogMissing


@pytest.fixture
def make_fs(server):
    """Makes filesystems that have seen nothing yet."""
    return lambda: LakeFileSystem(**server.storage_options, skip_instance_cache=True)


@pytest.fixture
def lost(bucket, fs, server):
    """A dataset with a replaced generation, its log taken away; what it was."""
    made = Dataset.create(trip_spec(bucket), fs=fs)
    made.ingest(make_trips(2, 3))
    made.ingest(make_trips(1, 3, fare=7.0))
    kept = {}
    for key in server.keys(bucket, "city/trips/_delta_log/"):
        kept[key] = server.admin.get_object(Bucket=bucket, Key=key)["Body"].read()
        server.admin.delete_object(Bucket=bucket, Key=key)
    return made, kept


def raises(call, *arguments, **options):
    with pytest.raises(LogMissing, match="whose log is gone") as caught:
        call(*arguments, **options)
    assert "_delta_log/ back" in caught.value.hint
    assert "tierlake adopt" in caught.value.hint


def test_it_raises_wherever_one_comes_from(lost, bucket, fs, make_fs, server):
    made, kept = lost
    root = f"{bucket}/city/trips"
    raises(Dataset.open, made.uri, fs=fs)
    for call in (
        made.read,
        made.partitions,
        made.verify,
        made.vacuum,
        made.history,
        made.plan_expiry,
        lambda: made.ingest(make_trips(1, 1)),
        lambda: made.hold("date=2013-01-01", reason="audit"),
    ):
        raises(call)
    # a new log would hide all files, and the next vacuum take them; folders' own objects are none
    for folder in ("", "_delta_log/", "_lake/"):
        server.admin.put_object(Bucket=bucket, Key=f"city/trips/{folder}")
    raises(Dataset.create, made.spec, fs=fs)
    raises(Dataset.check_new, made.spec, fs=fs)
    for reader in (fs, make_fs()):  # one that knew the table, and one that never saw it
        raises(reader.find, root)
        raises(reader.ls, root)
        raises(reader.isdir, f"{root}/date=2013-01-01")
        raises(reader.find, f"{root}/date=2013-01-01")
        raises(ds.dataset, root, filesystem=reader)
    raises(pd.read_parquet, f"lake://{root}", storage_options=server.storage_options)
    raises(pd.read_parquet, f"lake://{root}/date=2013-01-01", storage_options=server.storage_options)
    assert not [key for key in server.keys(bucket) if "_delta_log" in key and not key.endswith("/")]
    # who mends it reaches its log, with lake:// too
    with fs.for_table(root).open(f"{root}/_delta_log/00000000000000000000.crc", "wb") as junk:
        junk.write(b"{}")
    raises(make_fs().find, root)
    raises(Dataset.open, made.uri, fs=fs)
    for key, data in kept.items():
        server.admin.put_object(Bucket=bucket, Key=key, Body=data)
    assert len(pd.read_parquet(root, filesystem=make_fs())) == 6
    assert Dataset.open(made.uri, fs=fs).read().num_rows == 6


def test_its_files_can_be_adopted_again_and_the_report_says_what_that_means(lost, fs):
    made, _ = lost
    report = Dataset.adopt(made.uri, fs=fs)
    assert (report.files, report.changed) == (3, False)
    assert "cannot be told from live" in str(report)
    raises(Dataset.open, made.uri, fs=fs)
    assert Dataset.adopt(made.uri, dry_run=False, fs=fs).changed
    again = Dataset.open(made.uri, fs=fs)
    assert again.spec == made.spec
    assert again.read().num_rows == 9, "the replaced rows too"
    assert again.ingest(make_trips(1, 3)).replaced[0].rows_out == 6


@pytest.mark.slow
def test_a_plain_dataset_is_read_as_it_is(bucket, fs, make_fs):
    made = Dataset.create(trip_spec(bucket, format="parquet"), fs=fs)
    made.ingest(make_trips(2, 3))
    reader = make_fs()
    asked = []
    send = reader.store.gateway.send

    async def counted(operation, **request):
        asked.append(operation)
        return await send(operation, **request)

    reader.store.gateway.send = counted
    root = f"{bucket}/city/trips"
    assert len(reader.find(root)) > 2
    looked = asked.count("get_object")
    assert looked == 2, "city and city/trips: a bucket is no dataset"
    assert ds.dataset(root, filesystem=reader, partitioning="hive", format="parquet").count_rows() == 6
    assert asked.count("get_object") == looked, "remembered"
