"""Which data a table takes."""

import pyarrow as pa
import pytest

from tierlake.pipelines.errors import SchemaMismatch, SpecError
from tierlake.pipelines.model.schema import evolved_schema, plan_schema
from tierlake.pipelines.model.stored_types import declared_schema, settled_type, storable_type

TABLE = pa.schema({"id": pa.int64(), "at": pa.timestamp("us", "UTC"), "name": pa.string()})


def plan(source, table=TABLE, keys=(), carried=(), evolution="add"):
    return plan_schema(source, table=table, keys=keys, carried=carried, evolution=evolution)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (pa.dictionary(pa.int32(), pa.large_string()), pa.string()),
        (pa.timestamp("ns", "Europe/Paris"), pa.timestamp("us", "UTC")),
        (pa.timestamp("s"), pa.timestamp("us")),
        (pa.uint32(), pa.int64()),
        (pa.uint64(), pa.decimal128(20, 0)),
        (pa.null(), pa.null()),
        (pa.large_list(pa.struct({"a": pa.uint8()})), pa.list_(pa.struct({"a": pa.int16()}))),
        (pa.list_view(pa.string_view()), pa.list_(pa.string())),
        (pa.run_end_encoded(pa.int32(), pa.uint8()), pa.int16()),
        (pa.decimal32(5, 2), pa.decimal128(5, 2)),
        (pa.decimal256(30, 2), pa.decimal128(30, 2)),
        (pa.date64(), pa.date32()),
        (pa.bool_(), pa.bool_()),
    ],
)
def test_types_are_stored_as_parquet_and_delta_keep_them(kind, stored):
    assert storable_type(kind) == stored


def test_declared_types_are_arrows_or_deltas():
    schema = declared_schema(
        {
            "a": "long",
            "b": "timestamp",
            "c": "timestamp[us]",
            "d": "decimal(10, 2)",
            "e": "date",
            "f": "float32",
            "g": "list<int64>",
            "h": "struct<x: list<element: decimal(10, 2)>, y: map<string, date>>",
            "i": "timestamp[us, tz=Europe/Paris]",
        }
    )
    assert schema.types == [
        pa.int64(),
        pa.timestamp("us", "UTC"),
        pa.timestamp("us"),
        pa.decimal128(10, 2),
        pa.date32(),
        pa.float32(),
        pa.list_(pa.int64()),
        pa.struct({"x": pa.list_(pa.decimal128(10, 2)), "y": pa.map_(pa.string(), pa.date32())}),
        pa.timestamp("us", "UTC"),
    ]


@pytest.mark.parametrize("text", ["strnig", "list<strnig>", "map<string>", "struct<x>", "decimal(99, 2)", "list<>"])
def test_what_is_no_type_is_named(text):
    with pytest.raises(SpecError, match=r"columns\.x: .* is not a type"):
        declared_schema({"x": text})


def test_declared_names_have_to_differ():
    with pytest.raises(SpecError, match="city and City differ by case alone"):
        declared_schema({"city": "string", "City": "string"})


def test_a_new_column_is_taken_as_nullable():
    planned = plan(TABLE.append(pa.field("extra", pa.uint8(), nullable=False)))
    assert planned.table == TABLE.append(pa.field("extra", pa.int16()))
    assert planned.added == ("extra",)


def test_a_nullable_column_that_the_data_lack_is_null():
    planned = plan(TABLE.remove(2))
    assert (planned.table, planned.lacking) == (TABLE, ("name",))


def test_nested_fields_are_taken_at_any_depth():
    table = pa.schema({"v": pa.struct({"x": pa.int64()}), "l": pa.list_(pa.struct({"a": pa.string()}))})
    source = pa.schema(
        {
            "v": pa.struct({"y": pa.int8(), "x": pa.int32()}),
            "l": pa.list_(pa.struct({"b": pa.map_("string", pa.int64())})),
        }
    )
    planned = plan(source, table)
    assert planned.added == ("v.y", "l.element.b")
    assert planned.table.field("v").type == pa.struct({"x": pa.int64(), "y": pa.int8()})
    assert planned.table.field("l").type == pa.list_(pa.struct({"a": pa.string(), "b": pa.map_("string", pa.int64())}))


def test_frozen_columns_stay_as_they_are():
    with pytest.raises(SchemaMismatch, match="the data has the column extra") as caught:
        plan(TABLE.append(pa.field("extra", pa.int8())), evolution="freeze")
    assert "evolution: add" in str(caught.value)
    with pytest.raises(SchemaMismatch, match="the data lacks the column name"):
        plan(TABLE.remove(2), evolution="freeze")
    nested = pa.schema({"v": pa.struct({"x": pa.int64(), "y": pa.int64()})})
    with pytest.raises(SchemaMismatch, match=r"lacks the column v\.y"):
        plan(pa.schema({"v": pa.struct({"x": pa.int64()})}), nested, evolution="freeze")


def test_nulls_alone_settle_no_type():
    source = pa.schema({"n": pa.null(), "l": pa.list_(pa.null()), "s": pa.struct({"x": pa.null(), "y": pa.int64()})})
    planned = plan(source, None)
    assert planned.table == pa.schema({"s": pa.struct({"y": pa.int64()})})
    assert planned.untyped == ("n", "l")
    assert planned.files.names == ["l", "s"], "an empty list is no null: the files have it"
    again = plan(pa.schema({"n": pa.int64(), "l": pa.list_(pa.int64()), "s": pa.null()}), planned.table)
    assert again.table == pa.schema({"s": pa.struct({"y": pa.int64()}), "n": pa.int64(), "l": pa.list_(pa.int64())})
    assert settled_type(pa.map_(pa.string(), pa.null())) is None


def test_keys_come_first_in_their_types():
    source = pa.schema({"v": pa.int64(), "store": pa.int32(), "nothing": pa.null()})
    planned = plan(source, None, keys=("date", "store", "nothing"), carried=("store", "nothing"))
    assert planned.table == pa.schema(
        {"date": pa.string(), "store": pa.int32(), "nothing": pa.string(), "v": pa.int64()}
    )
    assert planned.files.names == ["v"]
    with pytest.raises(SchemaMismatch, match="lacks the column store"):
        plan(pa.schema({"v": pa.int64()}), planned.table, keys=("date", "store"), carried=("store",))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (TABLE.set(0, pa.field("id", pa.string())), "column id is string, which does not fit int64"),
        (TABLE.set(1, pa.field("at", pa.timestamp("us"))), "column at is"),
        (TABLE.set(2, pa.field("name", pa.list_(pa.string()))), "column name is"),
    ],
)
def test_types_that_cannot_meet_are_refused_with_both_schemas(schema, says):
    with pytest.raises(SchemaMismatch, match=says) as caught:
        plan(schema)
    assert "table: id int64" in str(caught.value)
    assert "data: " in str(caught.value)


TWINS = pa.struct([("x", pa.int8()), ("X", pa.int8())])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (pa.schema([("a", pa.int8()), ("a", pa.int8())]), "two columns are named a"),
        (pa.schema([("a", pa.int8()), ("A", pa.int8())]), "a and A differ by case alone"),
        (pa.schema([("ID", pa.int8())]), "id and ID differ by case alone"),
        (pa.schema([(" ", pa.int8())]), "a column has no name"),
        (pa.schema([("v", pa.struct([("x", pa.int8()), ("x", pa.int8())]))]), "two fields of the column v are named x"),
        (pa.schema([("v", pa.list_(TWINS))]), r"the fields x and X of the column v\.element differ by case alone"),
        (pa.schema([("v", pa.map_(pa.string(), TWINS))]), r"the fields x and X of the column v\.value differ by case"),
        (pa.schema([("v", pa.struct([("y", TWINS)]))]), r"the fields x and X of the column v\.y differ by case alone"),
        (pa.schema([("v", pa.struct([("", pa.int8())]))]), "a field of the column v has no name"),
        (pa.schema([("d", pa.decimal256(50, 2))]), "column d is decimal256"),
        (pa.schema([("v", pa.struct({"x": pa.list_(pa.duration("s"))}))]), r"column v\.x\.element is duration"),
        (pa.schema([("v", pa.struct([]))]), "a struct without fields"),
        (pa.schema([("v", pa.dense_union([pa.field("x", pa.int8())]))]), "column v is dense_union"),
        (pa.schema([("m", pa.map_(pa.string(), pa.time32("s")))]), r"column m\.value is time32"),
    ],
)
def test_what_no_table_keeps_is_refused_by_name(source, says):
    with pytest.raises(SchemaMismatch, match=says):
        plan(source)


@pytest.mark.parametrize("name", ["__filename", "__fragment_index", "__batch_index", "_tierlake_row"])
def test_names_that_no_reader_would_find_again_are_refused(name):
    source = pa.schema([("k", pa.string()), (name, pa.string())])
    with pytest.raises(SchemaMismatch, match=f"a column {name}, a name that .* rename it"):
        plan(source)
    with pytest.raises(SpecError, match=name):
        declared_schema({name: "string"})


def test_a_plan_made_on_an_older_schema_still_adds_its_columns():
    theirs = TABLE.append(pa.field("theirs", pa.int8()))
    assert evolved_schema(theirs, TABLE.append(pa.field("ours", pa.int8()))).names == [*TABLE.names, "theirs", "ours"]
    with pytest.raises(SchemaMismatch, match="by now"):
        evolved_schema(theirs, TABLE.append(pa.field("theirs", pa.string())))


def test_planning_is_linear_in_the_columns(monkeypatch):
    import tierlake.pipelines.model.schema as module

    calls = []
    kept = module.meets
    monkeypatch.setattr(module, "meets", lambda one, other: calls.append(1) or kept(one, other))
    for count in (500, 1000):
        calls.clear()
        wide = pa.schema([(f"c{number}", pa.int64()) for number in range(count)])
        plan(wide, wide)
        assert len(calls) == count
