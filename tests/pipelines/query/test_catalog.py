"""The catalog: what is where, how old, how large, at what price."""

from datetime import timedelta

import pyarrow as pa
import pytest

from tests.pipelines.samples import AS_OF, DAYS, daily, daily_spec, requests_of, rows
from tests.servers import Rig
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.query.catalog import PartitionInfo


@pytest.fixture(params=["delta", "parquet"])
def dataset(request: pytest.FixtureRequest, fs: LakeFileSystem, bucket: str) -> Dataset:
    return daily(fs, bucket, format=request.param)


def test_it_says_what_the_store_says(dataset: Dataset, server: Rig) -> None:
    catalog = dataset.partitions(AS_OF)
    assert [str(part.key) for part in catalog] == [f"date={day}" for day in DAYS]
    sizes = {
        key.split("/")[1]: head["ContentLength"]
        for key, head in server.heads(dataset.spec.bucket, "daily/date=").items()
    }
    for part in catalog:
        assert part.files == 1
        assert part.bytes == sizes[str(part.key)]
        assert part.rows == (20 if dataset.format == "delta" else None)
        assert (part.storage_class, part.tier, part.held) == ("STANDARD", "hot", None)
        assert part.window is not None
        assert part.window.end - part.window.start == timedelta(days=1)
        assert part.monthly_cost == pytest.approx(part.bytes / 2**30 * 0.023)
    assert [part.age for part in catalog] == [timedelta(days=days) for days in (99, 68, 40, 9)]


def test_it_adds_up(dataset: Dataset) -> None:
    catalog = dataset.partitions(AS_OF)
    total = catalog.total
    assert (total.partitions, total.files) == (4, 4)
    assert total.bytes == sum(part.bytes for part in catalog)
    assert total.monthly_cost == pytest.approx(sum(part.monthly_cost or 0 for part in catalog))
    assert total.rows == (80 if dataset.format == "delta" else None)


def test_it_is_a_sequence(dataset: Dataset) -> None:
    catalog = dataset.partitions(AS_OF)
    assert len(catalog) == 4
    assert isinstance(catalog[0], PartitionInfo)
    assert catalog[-1] in catalog
    assert catalog[1:3] == tuple(catalog)[1:3]


def test_it_becomes_columns(dataset: Dataset) -> None:
    table = dataset.partitions(AS_OF).to_arrow()
    assert table.num_rows == 4
    assert table.schema.field("window_start").type == pa.timestamp("us", tz="UTC")
    assert table.column("age").to_pylist()[0] == timedelta(days=99)
    assert table.column("key").to_pylist() == [f"date={day}" for day in DAYS]


@pytest.mark.slow
def test_it_prints_as_a_table(dataset: Dataset) -> None:
    lines = str(dataset.partitions(AS_OF)).splitlines()
    assert lines[0].split() == ["key", "rows", "files", "size", "class", "tier", "age", "$/month", "held"]
    assert lines[1].startswith("date=2013-01-01")
    assert lines[-1].startswith("4 partitions")
    assert not any("\x1b" in line for line in lines)


def test_a_long_catalog_is_capped_in_print_and_whole_on_demand(dataset: Dataset) -> None:
    catalog = dataset.partitions(AS_OF)
    long = type(catalog)([catalog[0]] * 365, as_of=catalog.as_of)
    assert "... and 325 more" in str(long)
    assert len(long.render().splitlines()) == 367


def test_holds_and_retentions_show(dataset: Dataset) -> None:
    dataset.hold("date=2013-01-01", reason="audit")
    dataset.retain("date=2013-02-01", until="2014-01-01")
    held = {str(part.key): part.held for part in dataset.partitions(AS_OF)}
    assert held["date=2013-01-01"] == "held: audit"
    assert held["date=2013-02-01"] == "retained until 2014-01-01"
    assert held["date=2013-03-01"] is None
    later = {str(part.key): part.held for part in dataset.partitions("2014-01-01")}
    assert later["date=2013-02-01"] is None


def test_null_keys_have_no_age(fs: LakeFileSystem, bucket: str) -> None:
    spec = daily_spec(bucket, partition={"by": ["origin"]}, tiers=[], retention={})
    dataset = Dataset.create(spec, fs=fs)
    dataset.ingest(rows().append_column("origin", pa.array(["JFK", None] * 40)))
    catalog = dataset.partitions(AS_OF)
    assert [part.key for part in catalog] == [PartitionKey.parse("origin="), PartitionKey.parse("origin=JFK")]
    assert all(part.age is None and part.window is None for part in catalog)
    assert dataset.plan_tiering(AS_OF).steps == ()
    assert dataset.plan_expiry(AS_OF).steps == ()


def test_it_takes_one_listing_for_a_delta_table(
    fs: LakeFileSystem, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = daily(fs, bucket)
    asked = requests_of(dataset, monkeypatch)
    dataset.partitions(AS_OF)
    assert asked.count("list_objects_v2") == 1
