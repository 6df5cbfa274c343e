"""What goes in comes out: each value as it came, or its row is a reject, or the source is refused by name.

The faults that were seen, each with the smallest input and the right answer.
"""

import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from deltalake import DeltaTable

from tests.pipelines.conftest import make_trips
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import RejectedTooMany, SchemaMismatch, SourceError

BY_K = {"by": ["k"]}


@pytest.fixture
def make(make_bucket, fs, table_format):
    """A dataset in either format, partitioned by `k`, that tolerates any number of rejects."""

    def make(**fields):
        described = {"format": table_format, "partition": BY_K, "rejects": {"max_ratio": 1.0}, **fields}
        return Dataset.create(DatasetSpec(uri=f"lake://{make_bucket()}/d", **described), fs=fs)

    return make


def rows(dataset, by="k"):
    return sorted(dataset.read().to_pylist(), key=lambda row: str(row[by]))


def reasons(dataset):
    return sorted(
        (row["_reject_line"], row["_reject_column"], row["_reject_value"], row["_reject_reason"])
        for file in dataset.rejects()
        for row in dataset.rejected_rows(file.path).to_pylist()
    )


# -- nested columns, new columns, columns of nulls ---------------------------------------------------------------------


def test_new_fields_are_taken_at_any_depth(make, fs):
    dataset = make()
    dataset.ingest(pa.table({"k": ["a"], "v": [{"x": 1, "y": 2}]}))
    second = dataset.ingest(pa.table({"k": ["b"], "v": [{"x": 1, "y": 2, "z": 3}], "l": [[{"q": 1}]]}))
    assert second.added_columns == ("v.z", "l")
    assert "new columns: v.z, l" in str(second)
    dataset.ingest(pa.table({"k": ["c"], "v": [{"q": 7}], "l": [[{"q": 1, "w": "t"}]]}))
    expected = [
        {"k": "a", "v": {"x": 1, "y": 2, "z": None, "q": None}, "l": None},
        {"k": "b", "v": {"x": 1, "y": 2, "z": 3, "q": None}, "l": [{"q": 1, "w": None}]},
        {"k": "c", "v": {"x": None, "y": None, "z": None, "q": 7}, "l": [{"q": 1, "w": "t"}]},
    ]
    assert rows(dataset) == expected
    assert dataset.to_polars().sort("k")["v"].to_list() == [row["v"] for row in expected]
    if dataset.format == "delta":
        frame = pl.scan_delta(f"s3://{dataset.spec.root}", storage_options=fs.polars_options()).collect().sort("k")
        assert frame["l"].to_list() == [row["l"] for row in expected]


@pytest.mark.slow
def test_nulls_and_empty_lists_settle_no_type(make):
    dataset = make()
    empty = {"n": pa.nulls(1), "l": pa.array([[]], pa.list_(pa.null())), "s": [{"x": None}]}
    first = dataset.ingest(pa.table({"k": ["a"], **empty}))
    assert (first.untyped_columns, dataset.schema.names) == (("n", "l", "s"), ["k"])
    if dataset.format == "delta":
        dataset.ingest(pa.table({"k": ["a"], **empty}), mode="append")
        dataset.compact()
    second = dataset.ingest(pa.table({"k": ["b"], "n": [1], "l": [[1]], "s": [{"x": 2}]}))
    assert second.added_columns == ("n", "l", "s")
    assert {str(row) for row in rows(dataset)} == {
        str({"k": "a", "n": None, "l": [], "s": {"x": None}}),
        str({"k": "b", "n": 1, "l": [1], "s": {"x": 2}}),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        ([], 5, "column v is int64, and rows that came before it had a type hold a list"),
        ([], {"a": 1}, "column v is struct<a: int64>.* hold a list"),
        ({"a": None}, [1], "column v is list<item: int64>.* hold a struct"),
        ([[]], ["x"], "column v.element is string.* hold a list"),
        ({"a": [], "b": 1}, {"a": 5, "b": 1}, "column v.a is int64.* hold a list"),
    ],
)
def test_a_type_that_older_rows_without_one_cannot_have_is_refused(make, first, then, says):
    dataset = make()
    dataset.ingest(pa.Table.from_pylist([{"k": "a", "v": first}]))
    second = pa.Table.from_pylist([{"k": "b", "v": then}])
    for attempt in (dataset.rehearse, dataset.ingest):
        with pytest.raises(SchemaMismatch, match=f"{says}.*replace the partition of .*k=a"):
            attempt(second)
    assert len(rows(dataset)) == 1, "else no reader could read the table"
    dataset.ingest(pa.Table.from_pylist([{"k": "a", "w": 1}]))
    dataset.ingest(second)
    assert [row["v"] for row in rows(dataset)] == [None, then]


def test_json_types_are_those_of_the_whole_file(make, tmp_path):
    source = tmp_path / "a.jsonl"
    source.write_text('{"k":"a","l":[],"n":null}\n{"k":"b","l":[1],"n":1}\n')
    dataset = make()
    dataset.ingest(source)
    assert rows(dataset) == [{"k": "a", "l": [], "n": None}, {"k": "b", "l": [1], "n": 1}]


def test_declared_columns_are_frozen_unless_said_otherwise(make):
    declared = {"columns": {"k": "string", "v": "int64"}}
    wider = pa.table({"k": ["a"], "v": [1], "extra": [1]})
    with pytest.raises(SchemaMismatch, match="the data has the column extra"):
        make(**declared).ingest(wider)
    growing = make(**declared, evolution="add")
    assert growing.ingest(wider).added_columns == ("extra",)
    narrow = growing.ingest(pa.table({"k": ["b"], "v": [2]}))
    assert narrow.lacking_columns == ("extra",)
    assert rows(growing) == [{"k": "a", "v": 1, "extra": 1}, {"k": "b", "v": 2, "extra": None}]


def test_a_new_column_of_a_newer_partition_is_seen_whatever_file_is_the_newest(make):
    dataset = make()
    dataset.ingest(pa.table({"k": ["a"], "v": [1], "new": ["x"]}))
    dataset.ingest(pa.table({"k": ["b"], "v": [2]}))
    assert rows(dataset) == [{"k": "a", "v": 1, "new": "x"}, {"k": "b", "v": 2, "new": None}]
    with pytest.raises(SchemaMismatch, match="column new is list"):
        dataset.ingest(pa.table({"k": ["c"], "new": [[1]]}))
    assert len(rows(dataset)) == 2


# -- values ------------------------------------------------------------------------------------------------------------


def test_no_narrowing_changes_a_value(make):
    dataset = make(columns={"k": "string", "f": "float", "m": "decimal(10, 2)", "i": "int8", "d": "double"})
    fractions, doubles = [1e300, 16777217.0, 1.5, 2.5, 2.5, 2.5], [1, 1, 1, 1, 2**53 + 1, 1]
    source = pa.table(
        {
            "k": list("abcdef"),
            "f": fractions,
            "m": [Decimal("0.120")] * 2 + [Decimal("0.126")] + [Decimal("0.500")] * 3,
            "i": [1, 1, 1, 300, 1, 1],
            "d": doubles,
        }
    )
    result = dataset.ingest(source)
    assert (result.rows, result.rejected) == (1, 5)
    assert rows(dataset) == [{"k": "f", "f": 2.5, "m": Decimal("0.50"), "i": 1, "d": 1.0}]
    assert [(line, column) for line, column, _, _ in reasons(dataset)] == [
        (1, "f"),
        (2, "f"),
        (3, "m"),
        (4, "i"),
        (5, "d"),
    ]
    assert ("4", "300") in {(str(line), value) for line, _, value, _ in reasons(dataset)}


def test_text_stays_text(make, tmp_path):
    source = tmp_path / "a.csv"
    source.write_text('country,name,zip,phone\nNA,Namibia,02134,+4912\n"",empty,1,2\n')
    expected = [{"country": "NA", "name": "Namibia", "zip": "02134", "phone": "+4912"}]
    declared = dict.fromkeys(expected[0], "string")
    for columns in ({}, declared):
        dataset = make(partition={"by": ["country"]}, columns=columns)
        assert dataset.ingest(source).rejected == 1
        assert dataset.read().to_pylist() == expected
        [(line, column, value, reason)] = reasons(dataset)
        assert (line, column, value) == (3, "country", "")
        assert "cannot tell from null" in reason


@pytest.mark.slow
def test_another_encoding_delimiter_and_decimal_mark(make, tmp_path):
    source = tmp_path / "a.csv"
    source.write_bytes("k;preis;ort\na;1,5;Köln\nb;NA;Rom\n".encode("latin-1"))
    with pytest.raises(SourceError, match="not UTF-8"):
        make().ingest(source)
    dataset = make(text={"encoding": "latin-1", "nulls": ["NA"]})
    dataset.ingest(source)
    assert rows(dataset) == [{"k": "a", "preis": 1.5, "ort": "Köln"}, {"k": "b", "preis": None, "ort": "Rom"}]
    other = make()
    other.ingest(source, text={"encoding": "latin-1", "nulls": ["NA"]})
    assert rows(other) == rows(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [{}, {"at": "timestamp[us]", "m": "decimal(10, 2)"}], ids=["inferred", "declared"])
def test_one_bad_cell_is_one_rejected_row_at_the_first_ingest_and_the_next(make, tmp_path, columns):
    source = tmp_path / "a.csv"
    good = "".join(f"2013-07-04 00:00:{number % 60:02d},1.5\n" for number in range(1000))
    source.write_text(f"at,m\n{good}soon,1.5\n")
    dataset = make(partition={"time": {"column": "at"}}, columns=columns, rejects={"max_ratio": 0.01})
    for _ in range(2):
        result = dataset.ingest(source)
        assert (result.rows, result.rejected) == (1000, 1)
    assert reasons(dataset) == [(1002, "at", "soon", "at is not a time")], "listed once"
    assert dataset.schema.field("at").type == pa.timestamp("us")
    other = tmp_path / "b.csv"
    other.write_text("at,m\n" + "2013-07-05 00:00:00,3\n" * 99 + "2013-07-05 00:00:00,x\n")
    assert dataset.ingest(other).rejected == 1
    other.write_text("at,m\n2013-07-06 00:00:00,x\n2013-07-06 00:00:00,3\n")
    version = dataset.version
    with pytest.raises(RejectedTooMany, match="1 x m is not a"):
        dataset.ingest(other)
    assert dataset.version == version


def test_json_lines_and_frames_have_rejects_too(make, tmp_path):
    dataset = make(columns={"k": "string", "v": "int64"})
    source = tmp_path / "a.jsonl"
    source.write_text('{"k":"a","v":1}\n{"k":"b","v":"x"}\nnonsense\n')
    assert dataset.ingest(source).rejected == 2
    assert [(line, column) for line, column, _, _ in reasons(dataset)] == [(2, "v"), (3, None)]
    assert dataset.ingest(pd.DataFrame({"k": ["c", "d"], "v": [2, "y"]})).rejected == 1
    assert dataset.ingest(pa.table({"k": ["e", "f"], "v": [3.0, 3.5]})).rejected == 1
    assert rows(dataset) == [{"k": "a", "v": 1}, {"k": "c", "v": 2}, {"k": "e", "v": 3}]


@pytest.mark.slow
def test_what_may_not_be_null_is_not_and_what_holds_it_may_be(make_bucket, fs):
    root = f"{make_bucket()}/d"
    inner = pa.struct([pa.field("x", pa.int64(), nullable=False), pa.field("y", pa.string())])
    columns = [pa.field("k", pa.string()), pa.field("v", pa.int64(), nullable=False), pa.field("s", inner)]
    options = fs.delta_options()
    DeltaTable.create(f"s3://{root}", pa.schema(columns), partition_by=["k"], storage_options=options)
    dataset = Dataset.open(f"lake://{root}", spec={"rejects": {"max_ratio": 1.0}}, fs=fs)
    structs = [{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}, {"x": 2, "y": None}]
    source = pa.table({"k": ["a", "a", "c", "d"], "v": [1, 2, 3, None], "s": structs})
    for _ in range(2):
        assert dataset.ingest(source, mode="append").rejected == 2
    assert reasons(dataset) == [
        (3, "s", "{'x': None, 'y': 'b'}", "s has a field x that is null"),
        (4, "v", None, "v is null, which the table does not allow"),
    ]
    expected = [{"k": "a", "v": 1, "s": structs[0]}, {"k": "a", "v": 2, "s": None}] * 2
    assert rows(dataset, "v") == sorted(expected, key=lambda row: row["v"])
    dataset.compact()
    dataset.erase([("v", "==", 1)])
    assert dataset.read().to_pylist() == [expected[1]] * 2
    assert pl.scan_delta(f"s3://{root}", storage_options=fs.polars_options()).collect()["s"].to_list() == [None] * 2


# -- a row by itself; keys ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_text_time_means_the_same_whoever_stands_beside_it(make):
    dataset = make(partition={"time": {"column": "at", "timezone": "America/New_York"}})
    dataset.ingest(pa.table({"at": ["2013-07-04 23:30:00", "2013-07-05T01:00:00Z"]}))
    dataset.ingest(pa.table({"at": ["2013-07-06 23:30:00"]}))
    assert sorted(dataset.read()["at"].to_pylist()) == [
        datetime(2013, 7, 5, 1, tzinfo=UTC),
        datetime(2013, 7, 5, 3, 30, tzinfo=UTC),
        datetime(2013, 7, 7, 3, 30, tzinfo=UTC),
    ]


def test_the_hours_of_the_autumn_night_have_keys_of_their_own(make):
    dataset = make(partition={"time": {"column": "at", "timezone": "Europe/Berlin", "every": "hour", "key": "hour"}})
    start = datetime(2025, 10, 25, 22, tzinfo=UTC)
    for number in range(5):
        at = pa.array([start + timedelta(hours=number)], pa.timestamp("us", "UTC"))
        assert not dataset.ingest(pa.table({"at": at})).replaced
    assert dataset.read().num_rows == 5
    windows = sorted((window.start, window.end) for window in dataset.windows().values())
    assert all(end - begin == timedelta(hours=1) for begin, end in windows)
    assert [begin for begin, _ in windows] == [start + timedelta(hours=number) for number in range(5)]


@pytest.mark.parametrize("columns", [{}, {"store": "int64", "v": "int64"}], ids=["inferred", "declared"])
def test_keys_keep_their_type(make, fs, columns):
    dataset = make(partition={"by": ["store"]}, columns=columns)
    dataset.ingest(pa.table({"store": [7, 10, None], "v": [1, 2, 3]}))
    assert dataset.schema.field("store").type == pa.int64()
    for where, expected in (
        ([("store", ">=", 10)], [2]),
        ([("store", "in", [10])], [2]),
        ([("store", "==", None)], [3]),
    ):
        assert dataset.read(where=where)["v"].to_pylist() == expected
    if dataset.format == "delta":
        frame = pl.scan_delta(f"s3://{dataset.spec.root}", storage_options=fs.polars_options()).collect()
        assert frame.schema["store"] == pl.Int64
    dataset.ingest(pa.table({"store": [7], "v": [9]}))
    assert sorted(dataset.read()["v"].to_pylist()) == [2, 3, 9]


def test_the_first_rows_of_a_table_keep_its_properties(make):
    dataset = make(partition={"by": ["store"]}, tiers=[], retention={"grace": "3d"})
    dataset.ingest(pa.table({"store": [7], "at": pa.array([0], pa.timestamp("us"))}))
    assert dataset.schema.field("at").type == pa.timestamp("us")
    if dataset.format == "delta":
        properties = dataset._handle.table._open().metadata().configuration
        assert properties["delta.deletedFileRetentionDuration"] == "interval 72 hours"


@pytest.mark.parametrize("source", [pa.table({"at": pa.nulls(2), "v": [1, 2]}), "at,v\n,1\n,2\n"])
def test_a_time_that_is_null_in_every_row_of_the_first_source(make, tmp_path, source):
    path = tmp_path / "a.csv"
    path.write_text(source if isinstance(source, str) else "")
    dataset = make(partition={"time": {"column": "at"}})
    result = dataset.ingest(path if isinstance(source, str) else source)
    assert (result.rows, result.rejected, {reason for *_, reason in reasons(dataset)}) == (0, 2, {"at is null"})
    dataset.ingest(pa.table({"at": [date(2020, 1, 1)], "v": [3]}))
    assert dataset.read().to_pylist() == [{"date": "2020-01-01", "at": date(2020, 1, 1), "v": 3}]


@pytest.mark.parametrize(
    ("partition", "columns", "says"),
    [
        (
            {"time": {"column": "at"}},
            {"at": "string"},
            "the time column at is string in the table.*declare",
        ),
        ({"time": {"column": "at"}}, {"at": "int64"}, "the time column at is int64 in the table"),
        ({"by": ["k"]}, {"k": "double", "v": "int64"}, "partitioned by k, which is double"),
        ({"by": ["k"]}, {"k": "binary", "v": "int64"}, "partitioned by k, which is binary"),
    ],
)
def test_what_cannot_partition_is_refused_before_there_is_a_table(make, partition, columns, says):
    with pytest.raises(SchemaMismatch, match=says):
        make(partition=partition, columns=columns)


def test_a_column_that_differs_from_the_key_by_case_is_refused_by_name(make):
    dataset = make(partition={"time": {"column": "at"}})
    with pytest.raises(SchemaMismatch, match="the columns date and DATE differ by case alone"):
        dataset.ingest(pa.table({"at": [date(2020, 1, 1)], "DATE": [1]}))


def test_rows_of_keys_alone_are_rows(make):
    dataset = make()
    dataset.ingest(pa.table({"k": ["a", "a", "b"]}))
    assert sorted(dataset.read()["k"].to_pylist()) == ["a", "a", "b"]
    assert dataset.scan().count_rows() == 3
    assert dataset.to_pandas().shape == (3, 1)
    dataset.ingest(pa.table({"k": ["a"]}))
    assert sorted(dataset.read()["k"].to_pylist()) == ["a", "b"]


# -- what the result says; what is refused -----------------------------------------------------------------------------


def test_the_result_says_what_was_replaced(make):
    dataset = make()
    dataset.ingest(pa.table({"k": ["a"] * 100, "v": range(100)}))
    again = pa.table({"k": ["a"] * 99 + ["b"], "v": range(100)})
    foreseen = dataset.rehearse(again)
    result = dataset.ingest(again)
    assert foreseen.replaced == result.replaced
    assert "replaced k=a: 100 rows out, 99 in" in str(result)


@pytest.mark.parametrize(
    "source",
    [
        pd.DataFrame(),
        pa.table([pa.array(["a"]), pa.array([1]), pa.array([1])], names=["k", "v", "v"]),
        pa.table({"k": ["a"], "K": ["b"]}),
        pa.table({"k": ["a"], "d": pa.array([Decimal(1)], pa.decimal256(50, 0))}),
        pa.table({"k": ["a"], "d": pa.array([{"x": timedelta(1)}])}),
        pa.table({"k": ["a"], "e": pa.array([{}], pa.struct([]))}),
        pa.table({"k": ["a"], "_reject_line": [1]}),
        pa.table({"k": [1.5]}),
        pa.table({"k": [b"x"]}),
        pa.table({"k": [["x"]]}),
    ],
    ids=["no columns", "twice", "case", "decimal256", "duration", "empty struct", "ours", "float", "bytes", "list"],
)
def test_what_no_table_keeps_is_refused_by_name(make, source):
    dataset = make()
    with pytest.raises((SourceError, SchemaMismatch), match=r"k|v|d|e|columns"):
        dataset.ingest(source)
    assert not dataset.read().num_rows


def test_views_are_rejected_as_what_they_mean(make):
    dataset = make()
    lists = pa.array([[1], [2, 3], None], pa.list_view(pa.int32()))
    texts = pa.ListArray.from_arrays([0, 1, 1, 2], pa.array(["x", "y"], pa.string_view()))
    assert dataset.ingest(pa.table({"k": ["a", "", ""], "v": lists, "t": texts})).rejected == 2
    (file,) = dataset.rejects()
    assert dataset.rejected_rows(file.path).select(["v", "t"]).to_pylist() == [
        {"v": [2, 3], "t": []},
        {"v": None, "t": ["y"]},
    ]


def test_views_and_run_ends_are_stored_as_what_they_mean(make):
    dataset = make()
    run_ends = pa.RunEndEncodedArray.from_arrays([1], [5])
    dataset.ingest(pa.table({"k": pa.array(["a"], pa.string_view()), "r": run_ends}))
    assert dataset.read().to_pylist() == [{"k": "a", "r": 5}]


def test_rejected_rows_are_mended_and_taken(make, tmp_path):
    dataset = make(columns={"k": "string", "v": "int64"})
    source = tmp_path / "a.csv"
    source.write_text("k,v\na,1\nb,x\nc,2,3\n")
    assert dataset.ingest(source).rejected == 2
    (file,) = dataset.rejects()
    mode = "append" if dataset.format == "delta" else "replace"
    mended = tmp_path / "mended.csv"
    mended.write_text("k,v\nb,7\nc,2\n")
    assert dataset.ingest_rejects(file.path, lambda _: str(mended), mode=mode).rows == 2
    assert rows(dataset) == [{"k": "a", "v": 1}, {"k": "b", "v": 7}, {"k": "c", "v": 2}]
    assert not dataset.rejects()
    dataset.ingest(source)
    assert len(dataset.rejects()) == 1, "the same rows again, in a file of their own"
    assert dataset.ingest_rejects(dataset.rejects()[0].path, lambda _: str(mended), mode=mode).committed


def calls_of(work):
    """How many functions of Python and of C are called."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("kind", ["frame", "csv"])
def test_a_table_of_a_thousand_columns_costs_at_most_in_proportion(make, tmp_path, kind):
    counts = []
    for number in (500, 1000):
        cells = pa.array([f"{number}-{row:017}" for row in range(300)])
        source = pa.table({"k": ["a"] * 300, **{f"c{column}": cells for column in range(number)}})
        if kind == "csv":  # of several blocks
            path = tmp_path / f"{number}.csv"
            pacsv.write_csv(source, path)
            source = path
        dataset = make()
        counts.append(calls_of(partial(dataset.ingest, source)))
    assert counts[1] <= 2.5 * counts[0]


def test_trips_are_what_they_were(make):
    dataset = make(partition={"time": {"column": "at"}})
    trips = make_trips()
    dataset.ingest(trips)
    assert dataset.read(trips.column_names).sort_by("at").equals(trips.sort_by("at"))
