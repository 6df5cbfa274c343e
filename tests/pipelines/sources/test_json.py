"""JSON Lines: each value is what JSON says, types are those of the whole source, and what is no row is told."""

import json
from decimal import Decimal

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipelines.sources.plain import plain_batches
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.sources.row_origin import REASON_COLUMN, REJECT_COLUMN, REJECT_LINE, REJECT_VALUE
from tierlake.pipelines.sources.stream import ORIGIN

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: f"x{text}")
LEAVES = {
    "bool": st.booleans(),
    "int": st.integers(-(1 << 63), (1 << 63) - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "text": TEXT,
}
SHAPES = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda inner: inner.map(lambda item: [item]) | st.dictionaries(st.sampled_from("xyz"), inner, min_size=1),
    max_leaves=5,
)


def values_of(shape):
    if isinstance(shape, list):
        return st.none() | st.lists(values_of(shape[0]), max_size=3)
    if isinstance(shape, dict):
        return st.none() | st.fixed_dictionaries({}, optional={name: values_of(one) for name, one in shape.items()})
    return st.none() | LEAVES[shape]


def read_as(value, kind):
    """What the column holds: missing fields are null, and so is what nothing is known of."""
    if value is None or pa.types.is_null(kind):
        return None
    if pa.types.is_struct(kind):
        return {field.name: read_as(value.get(field.name), field.type) for field in kind}
    return [read_as(item, kind.value_type) for item in value] if pa.types.is_list(kind) else value


def put(*texts, name="x"):
    fs = fsspec.filesystem("memory")
    if fs.exists("/json"):
        fs.rm("/json", recursive=True)
    for number, text in enumerate(texts):
        fs.pipe(f"/json/{name}{number}.jsonl", text if isinstance(text, bytes) else text.encode())
    return "memory://json/*.jsonl"


def opened(*texts, known=None):
    stream = open_source(put(*texts), known)
    batches = list(stream.batches)
    bad = [row for batch in batches if batch.bad is not None for row in batch.bad.to_pylist()]
    rows = pa.Table.from_batches([batch.rows for batch in batches], pa.schema([*stream.schema, *ORIGIN]))
    return stream.schema, rows, bad


def rows_of(shapes):
    cells = {name: values_of(shape) for name, shape in shapes.items()}
    return st.lists(st.fixed_dictionaries({"id": st.just(1)}, optional=cells), min_size=1, max_size=6)


@given(st.dictionaries(st.sampled_from("abc"), SHAPES, min_size=1).flatmap(rows_of), st.integers(0, 6))
def test_rows_are_what_json_says(rows, cut):
    lines = [json.dumps(row) + "\n" for row in rows]
    schema, table, bad = opened("\n" + "".join(lines[:cut]), "".join(lines[cut:]))
    assert not bad
    assert table.select(schema.names).to_pylist() == [
        {field.name: read_as(row.get(field.name), field.type) for field in schema} for row in rows
    ]
    first = min(cut, len(rows))
    assert table.column(REJECT_LINE).to_pylist() == [*range(2, first + 2), *range(1, len(rows) - first + 1)]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (['{"v": []}\n{"v": [1]}'], "list<item: int64>"),
        (['{"v": null}\n', '{"v": 1}\n'], "int64"),
        (['{"v": 1}\n{"v": 1.5}'], "double"),
        (['{"v": "5"}'], "string"),
        (
            ['{"v": {}}\n{"v": {"x": 1}}\n{"v": {"y": [{"z": true}]}}'],
            "struct<x: int64, y: list<item: struct<z: bool>>>",
        ),
        (['{"v": "2013-01-01"}\n{"v": "2013-01-02"}'], "date32[day]"),
        (['{"v": "2013-01-01T10:00:00Z"}'], "timestamp[us, tz=UTC]"),
        (['{"v": "2013-01-01"}\n{"v": "never"}'], "string"),
    ],
)
def test_types_of_the_whole_source(texts, kind):
    schema, table, bad = opened(*texts)
    assert (str(schema.field("v").type), bad) == (kind, [])
    assert table.schema.field("v").type == schema.field("v").type


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (
            ['{"v": 1}\n{"v": 2}\n{"v": "a"}'],
            "column v has values of several types: a whole number in .*x0.jsonl line 1, text in .*line 3",
        ),
        (
            ['{"v": [{"x": 1}]}', '{"v": [{"x": [2]}]}'],
            r"column v\[\].x .*x0.jsonl line 1, a list in .*x1.jsonl line 1",
        ),
        (['{"v": 9223372036854775808}'], "column v: .* line 1 has a whole number beyond 64 bits"),
        (['{"v": 1, "V": 2}'], "column v and V, which differ by upper and lower case"),
        (['[{"v": 1}]'], "one JSON array"),
        ([""], "it is empty, and nothing tells its columns"),
        ([b'{"v": "caf\xe9"}'], "line 1 is not UTF-8"),
    ],
)
def test_what_has_no_type_is_refused_with_its_lines(texts, says):
    with pytest.raises(SourceError, match=says):
        opened(*texts)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"n": 1', "is not JSON: Expecting ',' delimiter"),
        ("[1]", "is no JSON object"),
        ("5", "is no JSON object"),
        ('{"n": NaN}', "is not JSON: NaN"),
        ('{"n": 1, "n": 2}', "has an object that names a field twice"),
        ('{"n": ' + "[" * 100_000, "is nested too deeply"),
        ('{"n": ' + "9" * 5000 + "}", None),
    ],
)
def test_a_line_that_is_no_row_is_told(line, reason):
    _, table, (bad,) = opened('{"n": 1}\n\n' + line + '\n{"n": 2}\n')
    assert table.column("n").to_pylist() == [1, 2]
    assert (bad[REJECT_LINE], bad[REJECT_COLUMN], bad[REJECT_VALUE]) == (3, None, line)
    assert reason in (None, bad[REASON_COLUMN])


KNOWN = {
    "n": pa.int64(),
    "f": pa.float64(),
    "b": pa.bool_(),
    "s": pa.string(),
    "l": pa.list_(pa.int64()),
    "m": pa.decimal128(10, 2),
    "o": pa.struct({"x": pa.int64()}),
    "g": pa.float32(),
    "i": pa.map_(pa.int64(), pa.float32()),
    "never": pa.binary(),
}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ('"n": 1.5', "n is not a whole number"),
        ('"n": "5"', "n is not a number"),
        ('"n": 9223372036854775808', "n is out of range for int64"),
        ('"n": true', "n is not a number"),
        ('"f": 9007199254740993', "f has more digits than a double holds"),
        ('"f": 1e999', "f is out of range for double"),
        ('"b": 1', "b is neither true nor false"),
        ('"s": 5', "s is not text"),
        (r'"s": "\ud800"', "s has half of a surrogate pair, which is no letter"),
        ('"l": 5', "l is not a list"),
        ('"l": [1, "a"]', "l is not a number"),
        ('"o": {"x": "a"}', "o is not a number"),
        ('"m": true', "m is not text"),
        ('"g": 16777217', "g would lose digits as float"),
        ('"g": 1e300', "g is out of range for float"),
        ('"g": 1e-46', "g is out of range for float"),
        ('"i": {"1.0": 1}', "i has a key that is not a whole number"),
        ('"i": {"1": 1e300}', "i is out of range for float"),
    ],
)
def test_a_cell_that_does_not_fit_what_the_table_knows_is_told(cell, reason):
    good = '{"n": 1.0, "f": 1, "b": true, "s": "5", "l": [], "m": 0.10, "o": {}, "g": 0.1, "i": {"-7": 0.1}}\n'
    _, table, (bad,) = opened(good + "{" + cell + "}\n" + good, known=pa.schema(KNOWN))
    assert table.num_rows == 2
    assert (bad[REJECT_LINE], bad[REASON_COLUMN], bad[REJECT_COLUMN]) == (2, reason, cell[1])
    tenth = pa.scalar(0.1, pa.float32()).as_py()
    assert (table.column("g")[0].as_py(), table.column("i")[0].as_py()) == (tenth, [(-7, tenth)])
    assert table.column("never").null_count == 2, "a type that JSON has no values of is in the way of none"


def test_decimals_keep_the_digits_that_were_written():
    text = '{"m": 0.12345678901234567890}\n{"m": 123456789012345678901234567890}\n{"m": "1.5"}'
    _, table, bad = opened(text, known=pa.schema({"m": pa.decimal128(38, 20)}))
    assert not bad
    assert Decimal(table.column("m")[0].as_py()) == Decimal("0.12345678901234567890")


def test_a_new_field_of_a_known_object_is_a_field_of_the_source():
    schema, table, _ = opened('{"o": {"x": 1}}\n{"o": {"x": 2, "z": "new"}}', known=pa.schema({"o": KNOWN["o"]}))
    assert str(schema.field("o").type) == "struct<x: int64, z: string>"
    assert table.column("o").to_pylist()[1] == {"x": 2, "z": "new"}


def test_an_empty_file_among_others_has_no_row():
    stream = open_source(put('{"n": 1}', "", '{"n": 2}'), None)
    assert [row["n"] for batch in plain_batches(stream) for row in batch.to_pylist()] == [1, 2]
