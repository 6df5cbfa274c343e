"""What cannot be read is named in one line, with what to type instead."""

import gzip
import io
import os
import re

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.readable import assert_readable
from tierlake.connector.errors import LakeError
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.sources.refusals import unreadable

CSV = "at,city\n2013-01-01,JFK\n2013-01-02,LGA\n"


def refused(source, text=None):
    with pytest.raises(SourceError) as raised:
        list(open_source(source, None, text=text).batches)
    assert_readable(raised.value)
    return raised.value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("trips.csv", "trips-2013.csv"):
        (tmp_path / name).write_text(CSV)
    (tmp_path / "empty").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.csv").write_text(CSV)
    (tmp_path / "more" / "b.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "says", "hint"),
    [
        ("trip.csv", "there is no file .*/trip.csv", r"Did you mean 'trips\.csv'\?"),
        ("trips.cvs", "there is no file .*/trips.cvs", r"Did you mean 'trips\.csv'\?"),
        ("else.parquet", "there is no file .*/else.parquet", "has trips-2013.csv, trips.csv"),
        ("nowhere/x.csv", "there is no file .*/nowhere/x.csv", "there is no folder .*/nowhere either"),
        ("more", "/more is a folder, not a file", r"ingest what is in it: '.*/more/\*\.csv'"),
        ("more/", "/more is a folder, not a file", r"/more/\*\.csv"),
        ("empty", "/empty is a folder, not a file", "it is empty"),
        ("*.tsv", r"nothing matches \*\.tsv", "has trips-2013.csv, trips.csv"),
        ("more/trips*.csv", "nothing matches more/trips", "/more has a.csv, b.csv"),
        ("nowhere/*.csv", "nothing matches nowhere/", "there is no folder .*/nowhere either"),
        ("", "empty text, which names no file", "name a file"),
        ("nope://b/x.csv", "Protocol not known: nope", "name a local path, or a URL"),
        ("lakes://b/x.csv", "Protocol not known: lakes", r"Did you mean 'lake'\?"),
        ("http://127.0.0.1:1/x.csv", "nothing listens there", "check the address"),
        ("https://nosuch.invalid/x.csv", "no such host is known", "check the address"),
        ("s3://bucket/x.csv", "bucket/x.csv", "write lake://bucket/x.csv for tierlake's own settings"),
    ],
)
def test_what_is_not_there(folder, monkeypatch, source, says, hint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    error = refused(source)
    assert re.search(says, error.message)
    assert re.search(hint, error.hint)


def test_what_is_not_in_a_bucket(server, bucket, monkeypatch):
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    for key in ("in/trips.csv", "in/fares.csv"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=CSV.encode())
    typo = refused(f"lake://{bucket}/in/trip.csv")
    assert typo.message == f"there is no file lake://{bucket}/in/trip.csv"
    assert typo.hint == "Did you mean 'trips.csv'?"
    assert refused(f"lake://{bucket}/in").hint == f"ingest what is in it: 'lake://{bucket}/in/*.csv'"
    assert f"lake://{bucket}/in has fares.csv, trips.csv" in refused(f"lake://{bucket}/in/*.json").hint
    for source in (f"lake://{bucket}-not/x.csv", f"lake://{bucket}-not/*.csv"):
        assert f"`tierlake bucket apply {bucket}-not` creates it" in refused(source).hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(folder):
    (folder / "trips.csv").chmod(0)
    assert "chmod u+r" in refused("trips.csv").hint


def test_permission_is_told(tmp_path):
    error = unreadable("trips.csv", PermissionError(13, "Permission denied", "trips.csv"))
    assert_readable(error)
    assert error.hint == "chmod u+r trips.csv, or ask its owner"


def test_a_store_that_denies_is_no_matter_of_file_modes():
    error = unreadable("bucket/trips.csv", PermissionError("Access Denied"))
    assert_readable(error)
    assert error.message == "cannot read bucket/trips.csv: Access Denied"
    assert "credentials" in error.hint


@pytest.mark.parametrize(
    ("name", "content", "says", "hint"),
    [
        ("x.csv", "a,b,a\n1,2,3\n", "has the column a twice, as column 1 and 3", "mend the header"),
        ("x.csv", "a,A\n1,2\n", "the column a and A, which differ by upper and lower case", "mend the header"),
        ("x.csv", ",a\n0,1\n", "column 1 has no name", "to_csv(index=False)"),
        ("x.csv", "a,\n0,1\n", "column 2 has no name", "header: [NAME, ...]"),
        ("x.csv", "", "it is empty, without even a header", "check that it was written"),
        ("x.csv", "a#b\n1#2\n3#4\n", "looks like several, separated by '#'", "--delimiter '#'"),
        ("x.csv", gzip.compress(CSV.encode(), mtime=0), "compressed with gzip, not text", ".csv.gz"),
        ("x.csv", b"PAR1\x15\x04\x15", "it is Parquet, not text", "end in .parquet"),
        ("x.csv", b"PK\x03\x04\x14\x00", "a zip archive or a spreadsheet", "saved as CSV"),
        ("x.jsonl", '{"a": 1, "a": 2}\n', "line 1 has an object that names a field twice", "name each field"),
        ("x.json", '{\n "a": 1\n}\n', "no line of it is a row; line 1 is not JSON", "jq -c ."),
        ("x.jsonl", "a,b\n1,2\n", "no line of it is a row; line 1 is not JSON", "write a JSON object a line"),
        ("x.jsonl", "", "it is empty, and nothing tells its columns", "check that it was written"),
        ("x.parquet", "not", "cannot read", "another format than its name says"),
        ("x.xlsx", "PK", "cannot tell the format", "save it as CSV"),
        ("x.txt", CSV, "cannot tell the format", "rename it to .csv"),
        ("x", CSV, "cannot tell the format", "names end in one of arrow, csv"),
    ],
)
def test_what_is_wrong_inside(tmp_path, name, content, says, hint):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    error = refused(path)
    assert says in error.message
    assert hint in error.hint


def test_parquet_with_a_column_twice_is_named_by_its_path(tmp_path):
    twins = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twins, tmp_path / "x.parquet")
    assert refused(tmp_path / "x.parquet").message == f"{tmp_path}/x.parquet has the column a twice, as column 1 and 2"
    for source in (twins, twins.to_reader(), pd.DataFrame([[1, 2]], columns=["a", "a"])):
        assert "has the column a twice, as column 1 and 2" in refused(source).message
    assert "differ by upper and lower case" in refused(pl.DataFrame({"a": [1], "A": [2]})).message


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ([{"a": 1}], "pa.Table.from_pylist"),
        ({"a": [1]}, "pa.table(values)"),
        ([pd.DataFrame({"a": [1]})], "pd.concat"),
        (["x.csv", pd.DataFrame({"a": [1]})], "separate sources"),
        (pd.DataFrame([[1]]), "astype(str)"),
        (pd.DataFrame(), "with columns"),
        (pa.table({}), "with columns"),
        (pa.table({"": [1]}), "rename_columns"),
        (None, "pass a path or URL"),
        (io.BytesIO(b"a,b\n"), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_source(source, hint):
    assert hint in refused(source).hint


@pytest.mark.parametrize("delimiter", [",", None])
def test_a_delimiter_that_is_none_of_the_file(tmp_path, delimiter):
    path = tmp_path / "x.csv"
    path.write_text(CSV.replace(",", ";"))
    text = {"delimiter": delimiter} if delimiter else {}
    if delimiter is None:
        assert open_source(path, None, text=text).schema.names == ["at", "city"]
        return
    error = refused(path, text)
    assert "its only column 'at;city' looks like several, separated by ';'" in error.message
    assert "say --delimiter ';', or in the spec text: {delimiter: \";\"}" in error.hint
    one = open_source(path, None, text={**text, "header": True})
    assert one.schema.names == ["at;city"], "who says so has one column"


def test_one_column_is_one(tmp_path):
    path = tmp_path / "x.csv"
    for content in ("name\nJohn Smith\nAda\n", "note\na;b\nc\n", "C#\nF#\n\n1\n", "a#b\n"):
        path.write_text(content)
        assert len(open_source(path, None).schema) == 1


def test_a_library_error_is_one_line(tmp_path):
    error = unreadable(str(tmp_path), ValueError("\x1b[31mbad\x1b[0m\n  thing\\n<?xml version='1.0'?><Error/>"))
    assert_readable(error)
    assert error.message.endswith(": bad thing")


def test_an_error_of_the_store_keeps_its_request():
    told = unreadable("b/x.csv", LakeError("no", hint="do", request_id="r-1", server_code="Code"))
    assert (told.request_id, told.server_code, told.hint) == ("r-1", "Code", "do")
