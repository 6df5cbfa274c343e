"""Partitions by key: read, described and missed without a listing of the store."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import SchemaMismatch, SourceError, SpecError
from tierlake.pipelines.ingest.preparation import first_look
from tierlake.pipelines.ingest.results import Written
from tierlake.pipelines.model.partition_key import PartitionKey

pytestmark = [pytest.mark.each_value, pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)]

FIRST, SECOND, THIRD = (PartitionKey.parse(f"date=2013-01-0{day}") for day in (1, 2, 3))


@pytest.mark.slow
def test_partitions_are_read_and_described_by_key(dataset, trips):
    result = dataset.ingest(trips(), keys=[*map(str, dataset_keys()), "date=2013-01-05"])
    assert result.written[PartitionKey.parse("date=2013-01-05")] == Written()
    first = result.written[FIRST]
    assert (first.rows, first.files, first.bytes > 500, first.storage_class) == (10, 1, True, "STANDARD")

    fares = sorted(dataset.read(["fare"], keys=[FIRST, "date=2013-01-03", "date=1999-01-01"])["fare"].to_pylist())
    assert len(fares) == 20
    assert dataset.read(keys=[]).schema.equals(dataset.schema)
    assert sorted(dataset.to_polars(["fare"], keys=[FIRST, THIRD])["fare"]) == fares
    assert sorted(dataset.to_pandas(["fare"], keys=[FIRST, THIRD])["fare"]) == fares
    assert sorted(dataset.to_reader(["fare"], keys=[FIRST, THIRD]).read_all()["fare"].to_pylist()) == fares
    lazy = dataset.to_lazy(["fare", "date"], keys=[FIRST, THIRD]).filter(pl.col("date") == "2013-01-01")
    assert (lazy.collect().height, dataset.to_lazy(keys=[]).collect().height) == (10, 0)
    with pytest.raises(SchemaMismatch, match="no column nothing"):
        dataset.to_reader(["nothing"])
    assert [(part.key, part.files) for part in dataset.partitions(keys=[SECOND])] == [(SECOND, 1)]

    contents = dataset.contents()
    assert list(contents.rows) == dataset_keys()
    assert contents.total_rows == (40 if dataset.format == "delta" else None), "plain Parquet does not know"
    assert (contents.bytes, contents.version) == (result.bytes, dataset.version)

    # what was read can be written again, and what is gone says why
    assert dataset.ingest(dataset.to_pandas(keys=[FIRST]), keys=[FIRST, SECOND]).rows == 10
    assert dataset.contents().rows.keys() == {FIRST, THIRD, PartitionKey.parse("date=2013-01-04")}
    gone = dataset.why_gone([SECOND, "date=1999-01-01"])
    assert list(gone) == [SECOND]
    assert gone[SECOND].startswith("lost its rows after an ingest replaced it on 20")


def dataset_keys() -> list[PartitionKey]:
    return [FIRST, SECOND, THIRD, PartitionKey.parse("date=2013-01-04")]


@pytest.mark.slow
def test_frames_by_name_are_one_source(delta, trips):
    source = trips()
    frames = {"a": source.slice(0, 15).to_pandas(), "b": pl.from_arrow(source.slice(15)).lazy()}
    before = delta.read().num_rows
    assert delta.ingest(frames).rows == 40
    assert delta.read().num_rows >= before
    other = {"a": source.slice(0, 1), "b": source.slice(1, 1).set_column(2, source.column_names[2], [["x"]])}
    with pytest.raises(SourceError, match="in the frame a, and string in b"):
        delta.ingest(other)
    delta.ingest(source.append_column("count", [range(40)]))
    halves = {"a": source.slice(0, 20).append_column("count", [range(20)]).to_pandas()}
    halves["b"] = source.slice(20).append_column("count", [[None] + [7] * 19]).to_pandas()
    delta.ingest(halves)
    assert sorted(filter(None, delta.read()["count"].to_pylist())) == [*range(1, 8), *[7] * 19, *range(8, 20)]
    with pytest.raises(SourceError, match="cannot ingest a dict"):
        delta.ingest({"a": [1, 2]})


def test_a_table_without_partitions_takes_its_columns_from_the_first_rows(make_bucket, fs):
    spec = DatasetSpec(uri=f"lake://{make_bucket()}/whole")
    with pytest.raises(SpecError, match="at least one column"):
        Dataset.create(spec, fs=fs)
    stream, schema = first_look(spec, pd.DataFrame({"a": [1], "b": ["x"]}))
    dataset = Dataset.create(spec, schema=schema, fs=fs)
    assert dataset.ingest(stream).rows == 1
    assert dataset.ingest(pa.table({"a": [2], "b": ["y"], "c": [1.5]})).added_columns == ("c",)
    assert dataset.read().to_pylist() == [{"a": 2, "b": "y", "c": 1.5}]
