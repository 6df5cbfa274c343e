"""The catalog: what is where, how old, how large, at what price."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.pipelines.pages import page_of
from tests.pipelines.samples import AS_OF, DAYS, daily, daily_spec, requests_of, rows
from tests.servers import Rig
from tierlake.connector.filesystem import LakeFileSystem
from tierlake.pipelines.dataset import Dataset
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.time_window import window_of
from tierlake.pipelines.query.catalog import Catalog, PartitionInfo


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


# -- in notebooks ------------------------------------------------------------------------------------------------------


def a_catalog(number: int, **changes: Any) -> Catalog:
    """Partitions of no server's."""
    part = PartitionInfo(
        key=PartitionKey.parse("date=2013-07-04"),
        rows=3,
        files=1,
        bytes=1_500_000,
        storage_class="STANDARD",
        tier="hot",
        age=timedelta(days=45),
        window=window_of("2013-07-04", "day", "America/New_York"),
        monthly_cost=0.5,
        held=None,
        changed=datetime(2014, 1, 1, tzinfo=UTC),
    )
    return Catalog([replace(part, **changes)] * number, as_of=datetime(2014, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("number", [0, 1, 10_000])
def test_it_is_a_small_page_with_the_totals(number: int) -> None:
    page = page_of(a_catalog(number))
    assert page.texts[0].startswith(f"{number:,} partition{'s' * (number != 1)} as of 2014-01-01: {3 * number:,} rows")
    if number > 12:
        assert [len(row) for row in page.rows] == [9] * 13 + [1, 9]
        assert page.rows[-2] == ["... and 9,988 more"]
        assert page.rows[-1][:4] == ["10,000 partitions", "30,000", "10,000", "15.0 GB"]


def test_a_hostile_partition_value_stays_text() -> None:
    key = PartitionKey.parse("origin=%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert "<script>" in str(key) or "%3Cscript" in str(key)
    page = page_of(a_catalog(1, key=key, held="held: <img src=x onerror=alert(1)>\x1b[31m"))
    assert page.rows[1][0] == str(key)
    assert page.rows[1][-1] == r"held: <img src=x onerror=alert(1)>\x1b[31m"


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("known", [True, False])
def test_a_frame_has_the_same_types_whatever_is_in_it(number: int, known: bool) -> None:
    unknown = {} if known else {"rows": None, "tier": None, "age": None, "window": None, "monthly_cost": None}
    frame = a_catalog(number, **unknown).to_pandas()
    assert len(frame) == number
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "key": "str",
        "rows": "Int64",
        "files": "int64",
        "bytes": "int64",
        "storage_class": "str",
        "tier": "str",
        "age": "timedelta64[us]",
        "window_start": "datetime64[us, UTC]",
        "window_end": "datetime64[us, UTC]",
        "monthly_cost": "float64",
        "held": "str",
        "changed": "datetime64[us, UTC]",
    }
    assert frame["bytes"].sum() == 1_500_000 * number
    assert a_catalog(number, **unknown).to_polars().shape == (number, 12)


def test_a_frame_says_what_the_catalog_says(dataset: Dataset) -> None:
    catalog = dataset.partitions(AS_OF)
    frame = catalog.to_pandas().set_index("key")
    assert list(frame.index) == [f"date={day}" for day in DAYS]
    for part in catalog:
        row = frame.loc[str(part.key)]
        assert (row["files"], row["bytes"], row["tier"]) == (part.files, part.bytes, part.tier)
        assert row["window_start"].to_pydatetime() == part.window.start
        assert row["age"].to_pytimedelta() == part.age
        assert (None if pd.isna(row["rows"]) else row["rows"]) == part.rows
