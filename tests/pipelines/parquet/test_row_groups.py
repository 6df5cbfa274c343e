"""A file is read the same way whole and in batches."""

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem

from tierlake.pipelines.parquet import row_groups

ROWS = pa.table(
    {
        "n": pa.array(range(1000), pa.int32()),
        "at": pa.array([datetime(2013, 1, 1, tzinfo=UTC)] * 1000, pa.timestamp("ns", "UTC")),
        "price": pa.array([Decimal("1.50"), None] * 500, pa.decimal128(10, 2)),
        "tags": pa.array([["a", None], []] * 500, pa.list_(pa.string())),
        "where": pa.array([{"x": 1, "y": None}, None] * 500, pa.struct({"x": pa.int64(), "y": pa.string()})),
    }
)
SCHEMA = pa.schema(
    [
        pa.field("city", pa.string()),
        pa.field("day", pa.date32()),
        pa.field("n", pa.int64()),
        pa.field("at", pa.timestamp("us", "UTC")),
        *(ROWS.schema.field(name) for name in ("price", "tags", "where")),
        pa.field("later", pa.float64()),
    ]
)
COLUMNS = {**{name: pc.field(name) for name in SCHEMA.names}, "hit": (pc.field("n") < 3) & (pc.field("city") == "JFK")}


@pytest.mark.parametrize("city", ["JFK", None])
def test_in_batches_as_whole(tmp_path, monkeypatch, city):
    pq.write_table(ROWS, tmp_path / "x.parquet", row_group_size=300)
    told = pc.field("city").is_null() if city is None else pc.field("city") == city
    # as deltalake has it: with statistics of the file
    told = told & (pc.field("day") == datetime(2013, 1, 1, tzinfo=UTC).date()) & (pc.field("n") <= 999)
    fragment = pads.ParquetFileFormat().make_fragment(
        str(tmp_path / "x.parquet"), LocalFileSystem(), partition_expression=told
    )

    def read():
        return list(row_groups.batches_of(fragment, SCHEMA, COLUMNS))

    whole = read()
    monkeypatch.setattr(row_groups, "_SMALL_BYTES", 0)
    monkeypatch.setattr(row_groups, "_BATCH_ROWS", 128)
    parts = read()
    assert (len(whole), len(parts)) == (1, 8)
    assert pa.concat_tables(parts).equals(pa.concat_tables(whole))
    assert pa.concat_tables(parts)["hit"].to_pylist().count(True) == (3 if city else 0)
