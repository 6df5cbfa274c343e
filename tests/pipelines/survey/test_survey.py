"""A survey of a bucket with a bit of everything in it, on real servers."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable

from tests.pipelines.conftest import make_trips, trip_spec
from tests.pipelines.foreign import by_day, delta_options, parquet, put, write_delta, write_hive
from tierlake.pipelines import Dataset
from tierlake.pipelines.survey import survey


def of_path(result, path):
    (one,) = [one for one in result.datasets if one.uri.endswith(f"/{path}")]
    return one


def test_mixed(bucket, fs, server):
    write_delta(server, f"{bucket}/theirs", by_day(), ["day"])
    write_delta(server, f"{bucket}/theirs", by_day(), ["day"], mode="overwrite")
    write_hive(server, f"{bucket}/raw/hive", files=2)
    put(server, f"{bucket}/ice/events/metadata/v1.metadata.json", b"{}")
    put(server, f"{bucket}/ice/events/metadata/version-hint.text", b"1")
    put(server, f"{bucket}/ice/events/data/x.parquet", parquet(by_day()))
    for n in range(5):
        put(server, f"{bucket}/logs/2024/0{n + 1}/a b%20é.csv.gz", b"x" * 100)
    ours = Dataset.create(trip_spec(bucket), fs=fs)
    ours.ingest(make_trips())
    up = server.admin.create_multipart_upload(Bucket=bucket, Key="logs/half")
    server.admin.upload_part(Bucket=bucket, Key="logs/half", UploadId=up["UploadId"], PartNumber=1, Body=b"z" * 1000)
    result = survey(f"s3://{bucket}", fs=fs)
    print(result)
    for n, t in result.specs.items():
        print(n, t)
    1 / 0
