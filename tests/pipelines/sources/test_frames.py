"""Frames that cannot be taken are refused by name, and cells that do not fit are told; no raw error surfaces."""

import datetime as dt
import math
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tierlake.pipelines.errors import SchemaMismatch, SourceError
from tierlake.pipelines.model.stored_types import check_storable
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.sources.row_origin import REASON_COLUMN, REJECT_COLUMN, REJECT_LINE, REJECT_VALUE


def taken(source, known=None):
    stream = open_source(source, known)
    check_storable(stream.schema)
    return [
        row for batch in stream.batches for row in batch.rows.drop_columns(batch.rows.schema.names[-2:]).to_pylist()
    ]


MIXED = pd.DataFrame({"v": pd.Series([1, "a", None, 2], dtype=object)})
UNION = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (pd.DataFrame(), "has no columns"),
        (pa.table({}), "has no columns"),
        (pl.DataFrame(), "has no columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "has the column a twice"),
        (pd.DataFrame([[1, 2]], columns=["a", "A"]), "a and A, which differ by upper and lower case"),
        (pa.table([[1], [2]], ["a", "a"]), "has the column a twice"),
        (pa.table({"a": [1], "A": [2]}), "a and A, which differ"),
        (pd.DataFrame([[1]]), "a column 0, which is no text"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
        (pd.DataFrame({"a": [1]}).rename_axis("a"), "has the column a twice"),
        (pd.Series([1]), "to_frame"),
        (MIXED, "column v of the pandas frame cannot be stored as one type: int in row 1, str in row 2"),
        (
            pd.DataFrame({"v": pd.period_range("2013", periods=2)}),
            r"column v of the pandas frame is period\[.*to_timestamp",
        ),
        (pd.DataFrame({"v": pd.interval_range(0, 2)}), "column v of the pandas frame is interval"),
        (pd.DataFrame({"v": [1 + 2j]}), "column v of the pandas frame is complex128"),
        (pd.DataFrame({"v": [object()]}), "column v of the pandas frame cannot be stored as one type: object in row 1"),
        (pl.DataFrame({"v": [object()]}), "column v of the DataFrame holds Python objects"),
        (pd.DataFrame({"v": [pd.Timedelta(1)]}), "column v is duration"),
        (pl.DataFrame({"v": [dt.time(1)]}), "column v is time64"),
        (pl.DataFrame({"v": [dt.timedelta(1)]}), "column v is duration"),
        (pa.table({"v": [{"x": [dt.timedelta(1)]}]}), r"column v\.x\.element is duration"),
        (pa.table({"v": pa.array([Decimal(1)], pa.decimal256(50, 0))}), "column v is decimal256"),
        (pa.table({"v": pa.array([{}], pa.struct([]))}), "column v is struct<>"),
        (pa.table({"v": UNION}), "column v is sparse_union"),
        (pa.table({"v": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}), "column v is month_day_nano"),
        (
            pa.table({"v": pa.array([[("a", dt.timedelta(1))]], pa.map_(pa.string(), pa.duration("us")))}),
            r"v\.value is dur",
        ),
        ([pa.table({"v": [1]}), pa.table({"v": ["a"]})], "batches of different schemas"),
        ({"v": [1]}, "cannot ingest a dict"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name(source, says):
    with pytest.raises((SourceError, SchemaMismatch), match=says):
        taken(source)


@pytest.mark.parametrize(
    ("source", "values"),
    [
        (pa.table({"v": pa.RunEndEncodedArray.from_arrays([2], [7])}), [7, 7]),
        (pa.table({"v": pa.array(["a"], pa.string_view())}), ["a"]),
        (pa.table({"v": pa.array([b"0123456789abcdef"], pa.uuid())}), [b"0123456789abcdef"]),
        (pa.table({"v": pa.array(['{"a": 1}'], pa.json_())}), ['{"a": 1}']),
        (pd.DataFrame({"v": pd.arrays.SparseArray([0, 1])}), [0, 1]),
        (pd.DataFrame({"v": pd.Categorical(["a", "b"])}), ["a", "b"]),
        (pd.DataFrame({"v": ["a", np.nan, None]}), ["a", None, None]),
        (pd.DataFrame({"v": [1.5, np.nan]}), [1.5, None]),
        (pd.DataFrame({"v": pd.Series([1, None], dtype="Int64")}), [1, None]),
        (pd.DataFrame({"v": pd.Series([pd.Timestamp("2013-01-01"), pd.NaT])}), [pd.Timestamp("2013-01-01"), None]),
        (pd.DataFrame({"v": pd.Series([Decimal("1.50"), None], dtype=object)}), [Decimal("1.50"), None]),
        (pl.DataFrame({"v": pl.Series(["a"], dtype=pl.Categorical)}), ["a"]),
        (pl.DataFrame({"v": pl.Series(["a"], dtype=pl.Enum(["a"]))}), ["a"]),
        (pl.DataFrame({"v": [None]}), [None]),
        (pl.DataFrame({"v": [Decimal("1.50")]}), [Decimal("1.50")]),
    ],
)
def test_what_has_a_plain_form_is_taken_in_it(source, values):
    assert [row["v"] for row in taken(source)] == values


@pytest.mark.parametrize("source", [pa.table({"v": [float("nan"), None]}), pl.DataFrame({"v": [float("nan"), None]})])
def test_not_a_number_is_a_value_where_there_are_nulls_beside_it(source):
    nan, null = [row["v"] for row in taken(source)]
    assert (math.isnan(nan), null) == (True, None)


WALL, AWARE = dt.datetime(2020, 1, 1, 5), dt.datetime(2020, 1, 1, 5, tzinfo=dt.UTC)  # noqa: DTZ001 - one has no zone
FINE = pd.Timestamp("2020-01-01T05:00:00.000000001")


def objects(*items):
    return pd.DataFrame({"v": pd.Series(items, dtype=object)})


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ((b"a", "b"), "bytes in row 1, str in row 2"),
        (("a", b"b"), "str in row 1, bytes in row 2"),
        ((WALL, AWARE), "datetime in row 1, datetime with an offset in row 2"),
        ((AWARE, WALL), "datetime with an offset in row 1, datetime in row 2"),
        ((WALL.date(), WALL), "date in row 1, datetime in row 2"),
        ((WALL, WALL.date()), "datetime in row 1, date in row 2"),
        (([b"a"], None, ["b"]), r"v\[\] is bytes in row 1, str in row 3"),
        ((["a", b"b"],), r"v\[\] is bytes in row 1, str in row 1"),
        (({"a": WALL}, {"a": AWARE}), r"v\.a is datetime in row 1, datetime with an offset in row 2"),
        (({"a": [WALL.date()]}, {"a": [WALL]}), r"v\.a\[\] is date in row 1, datetime in row 2"),
        (([FINE],), r"v\[\] is Timestamp finer than a microsecond in row 1"),
        ((2**70,), "int in row 1 .*too large"),
    ],
)
def test_objects_that_no_type_holds_are_refused_with_their_rows(items, says):
    with pytest.raises(SourceError, match=f"column v of the pandas frame cannot be stored as one type: {says}"):
        taken(objects(*items))
    if says.startswith("bytes in row 1, str"):
        frame = pd.DataFrame({"v": pd.Categorical.from_codes([0, 1], list(items))})
        with pytest.raises(SourceError, match=says):
            taken(frame)


def test_a_time_finer_than_a_microsecond_is_a_bad_row():
    (batch,) = open_source(objects(WALL, FINE), None).batches
    assert batch.rows.column("v").to_pylist() == [WALL]
    (bad,) = batch.bad.to_pylist()
    assert (bad[REJECT_LINE], bad[REASON_COLUMN]) == (2, "v has digits finer than a microsecond")


@pytest.mark.parametrize(
    ("kind", "items", "values", "bad"),
    [
        (pa.int64(), [1.5, "5", True, 2.0, Decimal(3), Decimal("3.5"), np.int64(4), 2**63], [2, 3, 4], 5),
        (pa.float64(), [2**53 + 1, "x", True, Decimal("0.1"), 1], [0.1, 1.0], 3),
        (pa.float32(), ["x", 1e300, 0.5], [0.5], 2),
        (pa.string(), [b"abc", "x", 5, WALL, "NaT", "<NA>", None, np.nan], ["x", "NaT", "<NA>", None, None], 3),
        (pa.binary(), ["abc", b"x", 5], [b"x"], 2),
        (pa.date32(), [WALL, WALL.date(), "2020-01-02", AWARE], [WALL.date(), dt.date(2020, 1, 2)], 2),
        (pa.timestamp("us"), [WALL, AWARE, WALL.date(), FINE], [WALL, dt.datetime(2020, 1, 1)], 2),  # noqa: DTZ001
        (pa.timestamp("us", "UTC"), [WALL, AWARE, WALL.date(), "2020-01-01T05:00:00Z"], [AWARE, AWARE], 2),
        (
            pa.decimal128(30, 2),
            ["0.12", 0.126, 0.5, 2**70, True],
            [Decimal("0.12"), Decimal("0.50"), Decimal(2**70)],
            2,
        ),
        (pa.bool_(), [1, "true", True, 0.0], [True], 3),
        (pa.list_(pa.int64()), [[1], ["a"], 5, [1.5], (2,)], [[1], [2]], 3),
        (pa.list_(pa.string()), [["a"], [b"b"], "xyz", ["c", b"d"]], [["a"]], 3),
        (pa.struct([("a", pa.int64())]), [{"a": 1}, {"b": 2}, {"a": "x"}, 5, {}], [{"a": 1}, {"a": None}], 3),
        (
            pa.map_(pa.string(), pa.int64()),
            [[("a", 1)], {"b": 2}, 5, [("a", "b")], [("a",)]],
            [[("a", 1)], [("b", 2)]],
            3,
        ),
    ],
)
def test_objects_of_a_known_column_are_what_they_are_or_bad_rows(kind, items, values, bad):
    (batch,) = open_source(objects(*items), pa.schema({"v": kind})).batches
    assert batch.rows.column("v").to_pylist() == values
    assert (batch.rows.schema.field("v").type, batch.bad.num_rows) == (kind, bad)


def test_mixed_values_of_a_known_column_are_told_one_by_one():
    (batch,) = open_source(MIXED.assign(k=list("wxyz")), pa.schema({"v": pa.int64()})).batches
    assert batch.rows.column("v").to_pylist() == [1, None, 2]
    (bad,) = batch.bad.to_pylist()
    assert (bad[REJECT_LINE], bad[REJECT_COLUMN], bad[REJECT_VALUE], bad["k"]) == (2, "v", "a", "x")
    assert bad[REASON_COLUMN] == "v is a str, and the column int64"


def test_rows_of_frames_are_numbered():
    batches = open_source(pa.table({"n": range(300_000)}), None).batches
    numbers = [number for batch in batches for number in batch.rows.column(REJECT_LINE).to_pylist()]
    assert numbers == [*range(1, 300_001)]


def test_an_iterable_is_asked_for_a_batch_when_it_is_its_turn():
    asked = []

    def tables():
        for number in range(9):
            asked.append(number)
            yield pa.table({"n": [number]})

    batches = open_source(tables(), None).batches
    assert (next(batches).rows.num_rows, len(asked)) == (1, 1)
    assert sum(batch.rows.num_rows for batch in batches) == 8


def test_uuids_of_pandas_are_named():
    with pytest.raises(SourceError, match="column v of the pandas frame"):
        taken(pd.DataFrame({"v": [uuid.uuid4(), "x"]}))
