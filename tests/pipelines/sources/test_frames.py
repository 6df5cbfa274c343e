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

from pipelines.errors import SchemaMismatch, SourceError
from pipelines.reject_columns import REASON_COLUMN, REJECT_COLUMN, REJECT_LINE, REJECT_VALUE
from pipelines.schema import check_storable
from pipelines.sources import open_source


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
