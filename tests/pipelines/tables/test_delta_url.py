"""Tables whose names are special in URLs: each is itself, or is refused before anything is written."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from tests.pipelines.foreign import write_hive
from tierlake.connector.errors import TableWriteRefused
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.errors import UnsupportedByTable
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.tables.delta_url import delta_url, is_spelled

ALIASES = {
    "sp ace": "sp%20ace",
    "té": "t%C3%A9",
    "x%zz": "x%25zz",
    "a+b": "a b",
    'q"<[^|{`&:;@~*': "q",
}
"""Names, and what a URL that is not encoded, or is decoded once too often, would make of them."""
REFUSED = ["u=x", "env=prod/u=x", "u#x", "u?x", "t%41", "a%2Fb", "a\\b", "a//b"]


@pytest.mark.parametrize("table_format", ["delta", "parquet"])
@pytest.mark.parametrize("name", ALIASES)
def test_a_table_is_itself_beside_the_one_that_its_name_could_be_taken_for(name, table_format, make_bucket, fs):
    bucket = make_bucket()
    uris = {f"lake://{bucket}/{name}": 1}
    if is_spelled(f"{bucket}/{ALIASES[name]}") or table_format == "parquet":
        uris[f"lake://{bucket}/{ALIASES[name]}"] = 2
    for uri, value in uris.items():
        spec = DatasetSpec(uri=uri, format=table_format, columns={"k": "string", "v": "int64"}, partition={"by": ["k"]})
        dataset = Dataset.create(spec, fs=fs)
        for _ in range(2):  # replaced once
            dataset.ingest(pa.table({"k": ["a", "b"], "v": [value, value]}))
    for uri, value in uris.items():
        dataset = Dataset.open(uri, fs=fs)
        assert dataset.read().column("v").to_pylist() == [value, value]
        assert pd.read_parquet(dataset.spec.root, filesystem=fs)["v"].tolist() == [value, value]
        assert dataset.verify().ok
        assert [entry.operation for entry in dataset.history()][:2] == ["ingest", "ingest"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_no_url_spells_is_refused_before_anything_is_written(name, make_bucket, fs):
    bucket = make_bucket()
    with pytest.raises(UnsupportedByTable, match="cannot be a Delta table") as refused:
        Dataset.create(DatasetSpec(uri=f"lake://{bucket}/{name}", columns={"v": "int64"}), fs=fs)
    assert "choose a name" in str(refused.value.hint)
    assert fs.find(bucket) == []


def test_below_a_folder_that_looks_like_a_partition_a_table_is_read_as_committed(make_bucket, fs):
    root = f"{make_bucket()}/env=prod/flights"
    dataset = Dataset.create(DatasetSpec(uri=f"lake://{root}", columns={"v": "int64"}), fs=fs)
    for _ in range(2):  # replaced once
        dataset.ingest(pa.table({"v": [1]}), mode="replace")
    assert pd.read_parquet(root, filesystem=fs)["v"].tolist() == [1]
    with pytest.raises(TableWriteRefused, match="env=prod/flights is a table"):
        fs.pipe_file(f"{root}/part-0.parquet", b"")
    with pytest.raises(TableWriteRefused, match="env=prod/flights is a table"):
        fs.rm(root, recursive=True)


def test_a_prefix_of_such_a_name_is_read_and_not_adopted(make_bucket, fs, server):
    root = f"{make_bucket()}/t%41"
    rows = write_hive(server, root)
    plain = Dataset.open(f"lake://{root}", fs=fs)
    assert (plain.format, len(plain.read())) == ("parquet", rows)
    with pytest.raises(UnsupportedByTable, match="cannot be a Delta table"):
        Dataset.adopt(f"lake://{root}", fs=fs)


def test_a_log_that_another_engine_wrote_there_is_refused_by_name(make_bucket, fs, server):
    bucket = make_bucket()
    write_deltalake(delta_url(f"{bucket}/tA"), pa.table({"v": [1]}), storage_options=fs.delta_options())
    for key in server.heads(bucket):
        place = {"Bucket": bucket, "Key": key}
        server.admin.copy_object(Bucket=bucket, Key=key.replace("tA/", "t%41/"), CopySource=place)
    with pytest.raises(UnsupportedByTable, match=r"t%41 cannot be a Delta table"):
        Dataset.open(f"lake://{bucket}/t%41", fs=fs)
