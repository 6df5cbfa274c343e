"""Which data a table takes."""

import decimal
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipelines.errors import SchemaMismatch, SpecError
from pipelines.schema import conform, declared_schema, merged_schema, storable_type

TABLE = pa.schema({"id": pa.int64(), "at": pa.timestamp("us", "UTC"), "name": pa.string()})


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (pa.dictionary(pa.int32(), pa.large_string()), pa.string()),
        (pa.timestamp("ns", "Europe/Paris"), pa.timestamp("us", "UTC")),
        (pa.timestamp("s"), pa.timestamp("us")),
        (pa.uint32(), pa.int64()),
        (pa.uint64(), pa.decimal128(20, 0)),
        (pa.null(), pa.string()),
        (pa.large_list(pa.struct({"a": pa.uint8()})), pa.list_(pa.struct({"a": pa.int16()}))),
        (pa.date64(), pa.date32()),
        (pa.bool_(), pa.bool_()),
    ],
)
def test_types_are_stored_as_parquet_and_delta_keep_them(kind, stored):
    assert storable_type(kind) == stored


def test_declared_types_are_arrows_or_deltas():
    schema = declared_schema(
        {"a": "long", "b": "timestamp", "c": "timestamp[us]", "d": "decimal(10, 2)", "e": "date", "f": "float32"}
    )
    assert schema.types == [
        pa.int64(),
        pa.timestamp("us", "UTC"),
        pa.timestamp("us"),
        pa.decimal128(10, 2),
        pa.date32(),
        pa.float32(),
    ]
    with pytest.raises(SpecError, match=r"columns.x: 'strnig' is not a type"):
        declared_schema({"x": "strnig"})


def test_a_new_column_is_taken_as_nullable():
    merged = merged_schema(TABLE, TABLE.append(pa.field("extra", pa.uint8(), nullable=False)))
    assert merged == TABLE.append(pa.field("extra", pa.int16()))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (TABLE.remove(2), "lacks the column name"),
        (TABLE.set(0, pa.field("id", pa.string())), "column id is string, which does not fit int64"),
        (TABLE.set(1, pa.field("at", pa.timestamp("us"))), "column at is"),
        (TABLE.set(2, pa.field("name", pa.list_(pa.string()))), "column name is"),
    ],
)
def test_anything_else_is_refused_with_both_schemas(schema, says):
    with pytest.raises(SchemaMismatch, match=says) as caught:
        merged_schema(TABLE, schema)
    assert "table: id int64" in str(caught.value)
    assert "data:  " in str(caught.value)


def test_rows_are_brought_into_the_tables_types_without_loss():
    rows = pa.table(
        {
            "name": pa.array(["a"], pa.large_string()).dictionary_encode(),
            "id": pa.array([7.0], pa.float64()),
            "at": pa.array([datetime(2013, 7, 4, tzinfo=UTC)], pa.timestamp("ns", "UTC")),
        }
    )
    assert conform(rows, TABLE).to_pylist() == [{"id": 7, "at": datetime(2013, 7, 4, tzinfo=UTC), "name": "a"}]


@pytest.mark.parametrize(("value", "kind"), [(7.5, pa.float64()), (2**63, pa.uint64()), (decimal.Decimal("1.5"), None)])
def test_a_value_that_would_change_is_refused(value, kind):
    rows = pa.table({"id": pa.array([value], kind)})
    with pytest.raises(SchemaMismatch, match="column id"):
        conform(rows, pa.schema({"id": pa.int64()}))


def test_missing_columns_are_named():
    with pytest.raises(SchemaMismatch, match="lacks the column at"):
        conform(pa.table({"id": [1]}), TABLE)
