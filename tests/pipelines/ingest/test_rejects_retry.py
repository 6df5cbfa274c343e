"""Rejected rows can be listed, mended and ingested, and are not lost or doubled on the way."""

import json
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.pipelines.conftest import trip_spec
from tierlake.pipelines import Dataset, DatasetSpec
from tierlake.pipelines.errors import RejectedTooMany, SourceError, UnsupportedByTable
from tierlake.pipelines.sources.row_origin import REJECT_FILE, REJECT_LINE


def source(times):
    return pa.table(
        {
            "at": pa.array(times, pa.string()),
            "city": ["JFK"] * len(times),
            "fare": pa.array(range(len(times)), pa.float64()),
        }
    )


GOOD = [f"2013-01-01T0{hour}:00:00+00:00" for hour in range(8)]
BAD = ["soon", None]


@pytest.fixture
def mixed(bucket, fs):
    dataset = Dataset.create(trip_spec(bucket, rejects={"max_ratio": 0.5}), fs=fs)
    dataset.ingest(source([*GOOD, *BAD]))
    return dataset


def mend(rows):
    return rows.set_column(0, "at", pa.array(["2013-01-02T00:00:00+00:00"] * rows.num_rows))


def rejected(dataset):
    return [row for file in dataset.rejects() for row in dataset.rejected_rows(file.path).to_pylist()]


def test_what_was_rejected_is_listed_with_its_reasons(mixed):
    (file,) = mixed.rejects()
    assert (file.rows, file.reasons) == (2, {"at is not a time": 1, "at is null": 1})
    assert file.source == "Table"
    assert file.path.startswith(f"{mixed.spec.root}/_lake/rejects/")


def test_mended_rows_are_appended_and_the_file_is_removed(mixed):
    (file,) = mixed.rejects()
    result = mixed.ingest_rejects(f"lake://{file.path}", fix=mend)
    assert (result.rows, [str(key) for key in result.partitions]) == (2, ["date=2013-01-02"])
    assert not mixed.rejects()
    assert sorted(mixed.read().column("fare").to_pylist()) == list(range(10))
    assert mixed.history()[0].operation == "append"
    with pytest.raises(SourceError):
        mixed.ingest_rejects(file.path, fix=mend)


@pytest.mark.slow
def test_dying_between_commit_and_removal_doubles_nothing(mixed, monkeypatch):
    (file,) = mixed.rejects()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mixed.fs, "rm_file", die)
        with pytest.raises(KeyboardInterrupt):
            mixed.ingest_rejects(file.path, fix=mend)
    assert mixed.read().num_rows == 10
    assert not mixed.ingest_rejects(file.path, fix=mend).committed
    assert mixed.read().num_rows == 10
    assert not mixed.rejects()


def test_what_is_still_bad_is_kept_in_a_new_file(mixed):
    (file,) = mixed.rejects()
    half = pa.array(["2013-01-02T00:00:00+00:00", "later"])
    result = mixed.ingest_rejects(file.path, fix=lambda rows: rows.set_column(0, "at", half))
    assert (result.rows, result.rejected) == (1, 1)
    (left,) = mixed.rejects()
    assert left.path != file.path
    assert left.reasons == {"at is not a time": 1}


def test_too_many_still_bad_leave_the_file(mixed):
    (file,) = mixed.rejects()
    with pytest.raises(RejectedTooMany):
        mixed.ingest_rejects(file.path)
    assert file.path in {left.path for left in mixed.rejects()}
    assert mixed.read().num_rows == 8


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_fix_may_return_the_frame_that_it_made_of_the_rows(mixed, library):
    def fix(rows):
        if library == "pandas":
            return rows.to_pandas().assign(at=pd.Timestamp("2013-01-02", tz="UTC"))
        return pl.from_arrow(rows).with_columns(at=pl.lit(datetime(2013, 1, 2, tzinfo=UTC)))

    (file,) = mixed.rejects()
    assert mixed.ingest_rejects(file.path, fix).rows == 2
    assert (mixed.read().num_rows, mixed.rejects()) == (10, ())


def test_rows_that_the_fix_leaves_out_are_gone(mixed):
    (file,) = mixed.rejects()
    mixed.ingest_rejects(file.path, fix=lambda rows: mend(rows.filter(pc.is_valid(rows.column("at")))))
    assert mixed.read().num_rows == 9
    assert not mixed.rejects()


@pytest.mark.parametrize(
    "path", ["lake://elsewhere/x.parquet", "{root}/_lake/dataset.json", "{root}/_lake/rejects/a/b"]
)
def test_only_reject_files_of_this_dataset(mixed, path):
    with pytest.raises(SourceError, match="no reject file"):
        mixed.ingest_rejects(path.format(root=mixed.spec.root), fix=mend)


def test_a_plain_table_takes_no_append(bucket, fs):
    plain = Dataset.create(trip_spec(bucket, format="parquet", rejects={"max_ratio": 0.5}), fs=fs)
    plain.ingest(source([*GOOD, *BAD]))
    (file,) = plain.rejects()
    with pytest.raises(UnsupportedByTable):
        plain.ingest_rejects(file.path, fix=mend)
    assert plain.ingest_rejects(file.path, fix=mend, mode="replace").rows == 2
    assert plain.read().num_rows == 10


def test_a_bad_time_in_a_text_file_is_a_bad_row_also_when_the_table_knows_the_type(bucket, fs, tmp_path):
    dataset = Dataset.create(trip_spec(bucket, rejects={"max_ratio": 0.5}), fs=fs)
    path = tmp_path / "trips.csv"
    path.write_text("at,city,fare\n2013-01-01T00:00:00+00:00,JFK,1.5\nsoon,LGA,2.5\n")
    for _ in range(2):
        result = dataset.ingest(path, mode="append")
        assert (result.rows, result.rejected) == (1, 1)
    assert dataset.schema.field("at").type == pa.timestamp("us", "UTC")
    assert dataset.read().column("fare").to_pylist() == [1.5, 1.5]


@pytest.mark.slow
def test_rows_of_several_files_in_the_same_line_are_told_apart_at_each_retry(mixed, tmp_path):
    (file,) = mixed.rejects()
    mixed.ingest_rejects(file.path, fix=mend)
    for city in ("ORD", "SFO"):
        (tmp_path / f"{city}.csv").write_text(f"at,city,fare\n,{city},1\n2013-01-05T00:00:00Z,{city},2\n")
    mixed.ingest(str(tmp_path / "*.csv"))
    for _ in range(3):
        (file,) = mixed.rejects()
        told = [(row["city"], row[REJECT_FILE].rpartition("/")[2], row[REJECT_LINE]) for row in rejected(mixed)]
        assert sorted(told) == [("ORD", "ORD.csv", 2), ("SFO", "SFO.csv", 2)]
        with pytest.raises(RejectedTooMany):
            mixed.ingest_rejects(file.path)


@pytest.fixture
def lenient(bucket, fs):
    """A dataset that tolerates any number of rejects, with a column of each kind."""
    columns = {"k": "string", "v": "int64", "t": "timestamp", "l": "list<int64>", "f": "double", "b": "boolean"}
    spec = {"uri": f"lake://{bucket}/d", "partition": {"by": ["k"]}, "rejects": {"max_ratio": 1.0}}
    return Dataset.create(DatasetSpec(**spec, columns=columns), fs=fs)


AT = datetime(2020, 1, 1, tzinfo=UTC)
LINES = [
    {"k": "a", "v": "7", "t": "2020-01-01T00:00:00Z", "l": [1, 2], "f": 1.5, "b": True},
    {"k": "b", "v": 1, "t": "soon", "l": [3], "f": 2.5, "b": False},
    {"k": "c", "v": 2, "t": "2020-01-01T00:00:00Z", "l": ["4"], "f": 1, "b": None},
]
MENDED = [
    {"k": "a", "v": 7, "t": AT, "l": [1, 2], "f": 1.5, "b": True},
    {"k": "b", "v": 1, "t": AT, "l": [3], "f": 2.5, "b": False},
    {"k": "c", "v": 2, "t": AT, "l": [4], "f": 1.0, "b": None},
]


def frame_of(lines):
    return pd.DataFrame({name: pd.Series([line[name] for line in lines], dtype=object) for name in lines[0]})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["json", "frame"])
def test_rows_of_typed_sources_stay_bad_as_they_are_and_are_taken_mended(lenient, tmp_path, kind):
    source = tmp_path / "a.jsonl"
    source.write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    lenient.ingest(source if kind == "json" else frame_of(LINES))
    for _ in range(2):
        (file,) = lenient.rejects()
        assert [(row["_reject_line"], row["_reject_column"]) for row in sorted(rejected(lenient), key=by_line)] == [
            (1, "v"),
            (2, "t"),
            (3, "l"),
        ]
        result = lenient.ingest_rejects(file.path)
        assert (result.rows, result.rejected) == (0, 3), "a text is no number, though it spells one"
    (file,) = lenient.rejects()
    times = ["2020-01-01T00:00:00Z"] * 3
    assert lenient.ingest_rejects(file.path, lambda rows: rows.set_column(2, "t", pa.array(times))).rows == 3
    assert sorted(lenient.read().to_pylist(), key=lambda row: row["k"]) == MENDED
    assert not lenient.rejects()


def by_line(row):
    return row["_reject_line"]


def test_lines_that_are_no_rows_stay_rejected(lenient, tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("k,v,t,l,f,b\na,1\nb\n")
    lenient.ingest(source)
    (file,) = lenient.rejects()
    assert lenient.ingest_rejects(file.path).rejected == 2
    assert [row["_reject_value"] for row in rejected(lenient)] == ["a,1", "b"]
    assert lenient.rejects_as_csv(file.path) == b"k,v,t,l,f,b\na,1\nb\n"
    source = tmp_path / "a.jsonl"
    source.write_text("nope\n")
    lenient.ingest(source)
    path = next(one.path for one in lenient.rejects() if one.path != file.path)
    assert lenient.rejects_as_csv(path) == b'k,v,t,l,f,b\n"nope"\n'
    with pytest.raises(SourceError, match="lines that are no rows"):
        lenient.ingest_rejects(path)


def of_text(bucket, fs, columns, by, text):
    fields = {"columns": columns, "partition": {"by": [by]}, "text": text, "rejects": {"max_ratio": 1.0}}
    return Dataset.create(DatasetSpec(uri=f"lake://{bucket}/d", **fields), fs=fs)


@pytest.mark.parametrize(
    ("text", "source", "written"),
    [
        (
            {"delimiter": ";", "decimal": ",", "encoding": "latin-1", "nulls": ["NA"]},
            'k;f;s\na;1.5;"NA"\nb;2,5\nc;x;"q;ü"\nd;y;NA\ne;z;""\n"";1,5;p\n',
            'k;f;s\na;1.5;"NA"\nb;2,5\nc;x;"q;ü"\nd;y;\ne;z;""\n"";1,5;p\n',
        ),
        ({}, "k\tf\ts\na\tx\tp,q\nb\ty\nc\tz\t\n", 'k,f,s\na,x,"p,q"\nb\ty\nc,z,\n'),
        ({"header": ["f", "s", "k"]}, "x,,a\n1,2,b,c\n", "x,,a\n1,2,b,c\n"),
        ({"header": False, "quote": "'"}, "a,x,'p,''q'\n", "a,x,'p,''q'\n"),
    ],
)
def test_rejected_rows_are_written_as_the_dataset_reads_them(bucket, fs, tmp_path, text, source, written):
    names = {"k": "c0", "f": "c1", "s": "c2"} if text.get("header") is False else {"k": "k", "f": "f", "s": "s"}
    columns = {names["k"]: "string", names["f"]: "double", names["s"]: "string"}
    partition = {"by": [names["k"]]}
    spec = DatasetSpec(
        uri=f"lake://{bucket}/d", columns=columns, partition=partition, text=text, rejects={"max_ratio": 1}
    )
    dataset = Dataset.create(spec, fs=fs)
    path, encoding = tmp_path / "a.csv", text.get("encoding", "utf-8")
    path.write_bytes(source.encode(encoding))
    dataset.ingest(path)
    (file,) = dataset.rejects()
    before = sorted(rejected(dataset), key=by_line)
    lines = dataset.rejects_as_csv(file.path).decode(encoding).splitlines()
    assert sorted(lines) == sorted(written.splitlines())
    mended = tmp_path / "mended.csv"
    mended.write_bytes(dataset.rejects_as_csv(file.path))
    dataset.ingest_rejects(file.path, lambda _: str(mended))
    values = [(row["_reject_column"], row["_reject_value"]) for row in before]
    assert sorted(map(str, values)) == sorted(
        str((row["_reject_column"], row["_reject_value"])) for row in rejected(dataset)
    ), "not mended, it is as bad as it was"


@pytest.mark.slow
def test_a_number_with_a_point_among_decimal_commas_stays_one_at_a_retry(bucket, fs, tmp_path):
    columns = {"k": "string", "f": "double", "g": "double", "at": "date"}
    spec = DatasetSpec(
        uri=f"lake://{bucket}/d",
        columns=columns,
        partition={"by": ["k"]},
        text={"decimal": ","},
        rejects={"max_ratio": 1},
    )
    dataset = Dataset.create(spec, fs=fs)
    source = tmp_path / "a.csv"
    source.write_text("k;f;g;at\na;1.500;2,5;2020-01-01\nb;1,5,2;3,5;2020-01-01\nc;,5;4,;soon\n")
    dataset.ingest(source)
    (file,) = dataset.rejects()
    assert sorted((row["_reject_line"], row["_reject_value"]) for row in rejected(dataset)) == [
        (2, "1.500"),
        (3, "1,5,2"),
        (4, "soon"),
    ]
    assert dataset.ingest_rejects(file.path).rejected == 3
    (file,) = dataset.rejects()

    def mend_date(rows):
        dates = ["2020-01-01"] * rows.num_rows
        return rows.set_column(rows.schema.get_field_index("at"), "at", pa.array(dates))

    assert dataset.ingest_rejects(file.path, mend_date).rejected == 2
    assert dataset.read(["k", "f", "g"]).to_pylist() == [{"k": "c", "f": 0.5, "g": 4.0}]
