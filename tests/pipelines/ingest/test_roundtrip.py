"""What pandas and polars hand over is what they get back, as far as Parquet and Delta have the types.

What they cannot keep is listed here too, so that a change is noticed: categories become their values, the name of a
time's zone becomes UTC (the instant stays), nanoseconds become microseconds, pandas's index becomes columns.
"""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest

from tests.pipelines.conftest import trip_spec
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import RejectedTooMany, SchemaMismatch
from tierlake.pipelines.query.read import pandas_frame

DAY = dt.date(2013, 1, 1)
WHEN = dt.datetime(2013, 1, 1, 5, 6, 7, 123456)  # noqa: DTZ001 - a wall clock time
INSTANT = WHEN.replace(tzinfo=dt.UTC)

POLARS = {
    "i8": pl.Series([1, -2, None], dtype=pl.Int8),
    "i64": pl.Series([2**62, None, -1], dtype=pl.Int64),
    "f32": pl.Series([1.5, None, float("inf")], dtype=pl.Float32),
    "f64": pl.Series([0.1, float("nan"), None], dtype=pl.Float64),
    "text": pl.Series(["", None, "z\u00fcrich \U0001f600"], dtype=pl.String),
    "bytes": pl.Series([b"", None, b"\x00\xff"], dtype=pl.Binary),
    "flag": pl.Series([True, None, False], dtype=pl.Boolean),
    "day": pl.Series([DAY, None, dt.date(1899, 12, 31)], dtype=pl.Date),
    "wall": pl.Series([WHEN, None, WHEN], dtype=pl.Datetime("us")),
    "instant": pl.Series([INSTANT, None, INSTANT], dtype=pl.Datetime("us", "UTC")),
    "money": pl.Series([Decimal("1.50"), None, Decimal("-99999999.99")], dtype=pl.Decimal(10, 2)),
    "list": pl.Series([[1, None], [], None], dtype=pl.List(pl.Int64)),
    "struct": pl.Series(
        [{"a": 1, "b": "x"}, {"a": None, "b": None}, None], dtype=pl.Struct({"a": pl.Int64, "b": pl.String})
    ),
    "deep": pl.Series([[{"k": [1.5]}], [], None], dtype=pl.List(pl.Struct({"k": pl.List(pl.Float64)}))),
}


@pytest.fixture
def flat(bucket, fs, table_format):
    """A dataset with one partition column, as rows carry it."""
    spec = trip_spec(bucket, format=table_format, partition={"by": ["part"]}, tiers=[], retention={})
    return Dataset.create(spec, fs=fs)


@pytest.mark.parametrize("name", POLARS)
def test_polars_columns_come_back_exactly(flat, name):
    frame = pl.DataFrame({"part": ["x"] * 3, "row": [0, 1, 2], name: POLARS[name]})
    flat.ingest(frame)
    pl.testing.assert_frame_equal(flat.to_polars(columns=["part", "row", name]).sort("row"), frame)


@pytest.mark.slow
def test_all_polars_columns_together_also_without_rows(flat):
    frame = pl.DataFrame({"part": ["x"] * 3, "row": [0, 1, 2], **POLARS})
    flat.ingest(frame.clear())
    assert flat.read().num_rows == 0
    flat.ingest(frame)
    pl.testing.assert_frame_equal(flat.to_polars(columns=frame.columns).sort("row"), frame)
    flat.ingest(frame.clear())  # touches no partition
    assert flat.read().num_rows == 3


PANDAS = {
    "int": pd.Series([1, 2, 3], dtype="int64"),
    "small": pd.Series([1, 2, 3], dtype="int16"),
    "float": pd.Series([0.1, np.nan, np.inf], dtype="float64"),
    "flag": pd.Series([True, False, True], dtype="bool"),
    "text": pd.Series(["a", "", "z\u00fcrich"], dtype="str"),
    "missing": pd.Series(["a", None, "b"], dtype="str"),
    "wall": pd.Series([WHEN, pd.NaT, WHEN]).astype("datetime64[us]"),
    "instant": pd.Series([INSTANT, pd.NaT, INSTANT]).astype("datetime64[us, UTC]"),
}


@pytest.mark.parametrize("name", PANDAS)
def test_pandas_columns_come_back_exactly(flat, name):
    frame = pd.DataFrame({"part": ["x"] * 3, "row": [0, 1, 2], name: PANDAS[name]})
    flat.ingest(frame)
    back = flat.to_pandas(columns=["part", "row", name]).sort_values("row", ignore_index=True)
    pd.testing.assert_frame_equal(back, frame)


OBJECTS = {
    "money": [Decimal("1.50"), None, Decimal("2.25")],
    "day": [DAY, None, DAY],
    "bytes": [b"a", None, b""],
    "nullable": [1, None, 3],
    "list": [[1, 2], [], None],
    "dict": [{"a": 1}, {"a": None}, None],
}


@pytest.mark.parametrize("name", OBJECTS)
def test_pandas_objects_come_back_as_the_same_values(flat, name):
    values = pd.array(OBJECTS[name], dtype="Int64") if name == "nullable" else OBJECTS[name]
    frame = pd.DataFrame({"part": ["x"] * 3, "row": [0, 1, 2], name: values})
    flat.ingest(frame)
    assert flat.read(["row", name]).sort_by("row").column(name).to_pylist() == OBJECTS[name]


BIG = 2**53 + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        ([BIG, None, -BIG], pa.int64(), "Int64"),
        ([BIG, 3, -BIG], pa.int64(), "int64"),
        ([2**53, None, 1], pa.int64(), "float64"),
        ([[BIG, None], [], None], pa.list_(pa.int64()), "object"),
        ([{"x": BIG}, {"x": None}, None], pa.struct({"x": pa.int64()}), "object"),
        ([[("a", BIG), ("b", None)], [], None], pa.map_(pa.string(), pa.int64()), "object"),
        ([[{"x": [BIG, None]}], None, None], pa.list_(pa.struct({"x": pa.list_(pa.int64())})), "object"),
    ],
    ids=str,
)
def test_integers_that_no_float_holds_come_back_exactly_beside_nulls(flat, values, kind, dtype):
    flat.ingest(pa.table({"part": ["x"] * 3, "row": [0, 1, 2], "v": pa.array(values, kind)}))
    frame = flat.to_pandas().sort_values("row", ignore_index=True)
    assert frame["v"].dtype == dtype
    assert pa.array(frame["v"], kind, from_pandas=True).to_pylist() == values
    assert repr(BIG) in repr(frame["v"].tolist()) or values[0] == 2**53


def test_dates_beyond_python_are_numpys_in_pandas():
    days = pa.array([3_000_000, None], pa.int32()).cast(pa.date32())
    frame = pandas_frame(pa.table({"d": days, "id": [BIG, None]}))
    assert frame["d"].to_numpy().astype("M8[D]").astype(int)[0] == 3_000_000
    assert frame["id"].tolist() == [BIG, pd.NA]
    with pytest.raises(SchemaMismatch, match="values that pandas cannot hold"):
        pandas_frame(pa.table({"v": pa.StructArray.from_arrays([pa.array([2**62]).cast(pa.timestamp("us"))], ["t"])}))


def test_dask_has_the_values_that_pandas_has(flat):
    """Dask would make text of all that pandas keeps as objects, and floats of integers where a part has nulls."""
    frame = pa.table(
        {
            "part": ["x", "y", "y"],
            "row": [0, 1, 2],
            "id": [BIG, None, 3],
            "day": [DAY, None, dt.date(9999, 12, 31)],
            "money": [Decimal("1.50"), None, Decimal("-0.01")],
            "bytes": [b"\xff", None, b"abc"],
            "flag": [True, None, False],
            "list": [[BIG, None], None, [1]],
            "struct": [{"a": 1}, None, {"a": 2}],
            "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "text": ["", None, "z"],
            "instant": pa.array([INSTANT, None, INSTANT], pa.timestamp("us", "UTC")),
        }
    )
    flat.ingest(frame)
    lazy = flat.to_dask()
    assert lazy.npartitions == 1
    parts = [flat.to_dask(where=[("part", "==", key)]) for key in "xy"]
    for found in (lazy, pytest.importorskip("dask.dataframe").concat(parts)):
        back = found.compute(scheduler="sync").sort_values("row", ignore_index=True)
        assert pa.Table.from_pandas(back, frame.schema, preserve_index=False).to_pylist() == frame.to_pylist()
    assert lazy["id"].max().compute(scheduler="sync") == BIG


def test_an_empty_pandas_frame_changes_nothing(flat):
    frame = pd.DataFrame({"part": ["x"], "v": [1]})
    flat.ingest(frame)
    result = flat.ingest(frame.iloc[:0])
    assert (result.rows, result.partitions) == (0, ())
    assert flat.read().num_rows == 1


# -- what cannot be kept -----------------------------------------------------------------------------------------------


def test_categories_become_their_values(flat):
    frame = pd.DataFrame({"part": ["x", "x"], "c": pd.Categorical(["b", "a"], categories=["b", "a", "never"])})
    flat.ingest(frame)
    assert flat.schema.field("c").type == pa.string()
    assert sorted(flat.to_pandas()["c"]) == ["a", "b"]
    enum = pl.DataFrame({"part": ["y"], "c": pl.Series(["k"], dtype=pl.Enum(["k", "l"]))})
    flat.ingest(enum)
    assert flat.to_polars(where=[("part", "==", "y")])["c"].to_list() == ["k"]


def test_categories_as_partition_columns(flat):
    frame = pd.DataFrame({"part": pd.Categorical(["x", None, "y"]), "v": [1, 2, 3]})
    flat.ingest(frame)
    assert sorted(str(part.key) for part in flat.partitions()) == ["part=", "part=x", "part=y"]


def test_an_instant_keeps_its_time_and_loses_the_name_of_its_zone(flat):
    zone = "America/New_York"
    stamps = pd.Series(pd.to_datetime(["2013-07-04 12:00", "2013-11-03 01:30"]).tz_localize(zone, ambiguous=True))
    flat.ingest(pd.DataFrame({"part": ["x", "x"], "t": stamps}))
    back = flat.to_pandas()["t"]
    assert str(back.dtype) == "datetime64[us, UTC]"
    assert sorted(back) == sorted(stamps.dt.tz_convert("UTC"))


def test_nanoseconds_that_matter_are_refused_and_others_are_kept(flat):
    whole = pd.DataFrame({"part": ["x"], "t": pd.Series([1_000], dtype="datetime64[ns]")})
    flat.ingest(whole)
    assert flat.to_pandas()["t"].tolist() == [pd.Timestamp(1_000)]
    with pytest.raises(RejectedTooMany, match="t has digits finer than a microsecond"):
        flat.ingest(pd.DataFrame({"part": ["x"], "t": pd.Series([1_001], dtype="datetime64[ns]")}))


def test_unsigned_numbers_are_stored_in_the_next_wider_type(flat):
    frame = pl.DataFrame(
        {
            "part": ["x"],
            "u8": pl.Series([255], dtype=pl.UInt8),
            "u32": pl.Series([2**32 - 1], dtype=pl.UInt32),
            "u64": pl.Series([2**64 - 1], dtype=pl.UInt64),
        }
    )
    flat.ingest(frame)
    assert [int(flat.read().column(name)[0].as_py()) for name in ("u8", "u32", "u64")] == [255, 2**32 - 1, 2**64 - 1]


def test_a_named_index_becomes_a_column_and_an_unnamed_one_is_dropped(flat):
    frame = pd.DataFrame({"part": ["x"], "v": [1]}, index=pd.Index([7], name="id"))
    flat.ingest(frame)
    assert flat.to_pandas()["id"].tolist() == [7]
    assert "__index_level_0__" not in flat.schema.names


@pytest.mark.parametrize(
    "column",
    [pa.array([dt.timedelta(seconds=1)], pa.duration("us")), pa.array([dt.time(1, 2)], pa.time64("us"))],
    ids=["duration", "time"],
)
def test_types_that_delta_lacks_are_refused_by_name(bucket, fs, column):
    delta = Dataset.create(trip_spec(bucket, partition={"by": ["part"]}, tiers=[], retention={}), fs=fs)
    with pytest.raises(SchemaMismatch, match="odd"):
        delta.ingest(pa.table({"part": ["x"], "odd": column}))
    assert delta.read().num_rows == 0
