"""Anything a user would hand to `ingest` becomes a stream of batches."""

import bz2
import gzip
import json
import lzma

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import pyarrow.feather as paf
import pyarrow.parquet as pq
import pytest

from tests.pipelines.sources.plain import plain_batches
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.sources.limits import SourceLimits

TABLE = pa.table({"n": [1, 2, 3], "name": ["a", "b", None]})


def rows(source, known=None, limits=None):
    stream = open_source(source, known, limits=limits)
    return pa.Table.from_batches(plain_batches(stream), stream.schema).to_pylist()


@pytest.fixture
def files(tmp_path):
    pacsv.write_csv(TABLE, tmp_path / "rows.csv")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress((tmp_path / "rows.csv").read_bytes()))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in TABLE.to_pylist()))
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    paf.write_feather(TABLE, tmp_path / "rows.arrow")
    with pa.ipc.new_stream(tmp_path / "stream.ipc", TABLE.schema) as writer:
        writer.write_table(TABLE)
    return tmp_path


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.jsonl", "rows.parquet", "rows.arrow", "stream.ipc"])
def test_files_by_their_names(files, name):
    assert rows(str(files / name)) == TABLE.to_pylist()
    assert rows(files / name) == TABLE.to_pylist()


def test_urls_globs_and_lists(files):
    memory = fsspec.filesystem("memory")
    memory.put(str(files / "rows.csv"), "/sources/rows.csv")
    try:
        assert rows("memory://sources/rows.csv") == TABLE.to_pylist()
    finally:
        memory.rm("/sources", recursive=True)
    assert len(rows(str(files / "rows.csv*"))) == 6
    assert len(rows([files / "rows.csv", files / "rows.jsonl"])) == 6


@pytest.mark.parametrize(
    "source",
    [
        TABLE,
        TABLE.to_batches()[0],
        TABLE.to_reader(),
        pads.dataset(TABLE),
        TABLE.to_pandas(),
        pl.from_arrow(TABLE),
        pl.from_arrow(TABLE).lazy(),
        [TABLE, TABLE.slice(0, 0)],
        (batch for batch in TABLE.to_batches()),
    ],
    ids=["table", "batch", "reader", "dataset", "pandas", "polars", "lazy polars", "list", "generator"],
)
def test_frames_and_arrow(source):
    assert rows(source) == TABLE.to_pylist()


def test_a_named_pandas_index_is_a_column_and_a_plain_one_is_not():
    frame = pd.DataFrame({"n": [1]}, index=pd.Index(["k"], name="key"))
    assert rows(frame) == [{"n": 1, "key": "k"}]
    assert rows(pd.DataFrame({"n": [1]}, index=[7])) == [{"n": 1}]


def test_text_is_read_in_the_types_that_the_table_knows(files):
    stream = open_source(files / "rows.csv", pa.schema({"n": pa.float64(), "name": pa.string()}))
    assert stream.schema.field("n").type == pa.float64()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (42, "cannot ingest a int"),
        ("nothing.csv", "cannot (open|read) nothing.csv|nothing.csv"),
        ("none-*.csv", "nothing matches none-"),
        ("rows.xls", "there is no file .*rows.xls"),
        (iter([]), "yielded nothing"),
        (iter([1]), "must yield Arrow tables"),
    ],
)
def test_what_cannot_be_read_is_named(source, says):
    with pytest.raises(SourceError, match=says):
        open_source(source, None)


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.parquet", b"PAR1 not really"), ("x.csv", b""), ("x.arrow", b"no"), ("x.csv.gz", b"\x1f\x8bbroken")],
)
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"cannot read .*{name}"):
        rows(str(tmp_path / name))


def test_files_of_different_schemas_are_not_mixed(files):
    (files / "zz.csv").write_text("n,other\n1,2\n")
    with pytest.raises(SourceError, match="has another schema than"):
        rows([files / "rows.csv", files / "zz.csv"])


@pytest.mark.parametrize(
    "compress",
    [
        pytest.param(gzip.compress, id="gz"),
        pytest.param(bz2.compress, id="bz2", marks=pytest.mark.slow),
        pytest.param(lzma.compress, id="xz", marks=pytest.mark.slow),
    ],
)
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, request, compress):
    suffix = request.node.callspec.id
    bomb = tmp_path / f"bomb.csv.{suffix}"
    bomb.write_bytes(compress(b"n,x\n" + (b"0," + b"0" * 1021 + b"\n") * (100 << 10)))
    with pytest.raises(SourceError, match=r"bomb\.csv\.\w+ expands to more than 100 times its size"):
        rows(str(bomb), limits=SourceLimits(max_expansion=100))
    assert bomb.stat().st_size < 1 << 20


def test_a_parquet_bomb_is_refused_by_its_footer(tmp_path):
    table = pa.table({"x": pa.array(["0" * 1000] * (100 << 10))})
    pq.write_table(table, tmp_path / "bomb.parquet", use_dictionary=False, compression="zstd")
    with pytest.raises(SourceError, match="expands to more than 100 times its size"):
        rows(str(tmp_path / "bomb.parquet"), limits=SourceLimits(max_expansion=100))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "arrow", "jsonl"])
def test_a_file_that_is_too_wide_is_refused(tmp_path, suffix):
    names, path = [f"c{number}" for number in range(2000)], tmp_path / f"wide.{suffix}"
    wide = pa.table({name: [1] for name in names})
    if suffix == "parquet":
        pq.write_table(wide, path)
    elif suffix == "arrow":
        paf.write_feather(wide, path)
    elif suffix == "jsonl":
        path.write_text(json.dumps(dict.fromkeys(names, 1)))
    else:
        pacsv.write_csv(wide, path, pacsv.WriteOptions(delimiter="," if suffix == "csv" else "\t"))
    with pytest.raises(SourceError, match=r"wide\.\w+ has 2,000 columns or more; a source may have 1,000"):
        rows(str(path), limits=SourceLimits(max_columns=1000))
    assert len(rows(str(path))[0]) == 2000


def test_a_million_columns_take_no_memory(tmp_path):
    (tmp_path / "x.csv").write_text(",".join(["x"] * 1_000_000) + "\n")
    before = pa.total_allocated_bytes()
    with pytest.raises(SourceError, match="1,000,000 columns or more"):
        open_source(str(tmp_path / "x.csv"), None)
    assert pa.total_allocated_bytes() - before < 16 << 20


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "n,name\n1,café\n".encode("latin-1")),
        ("x.csv", "n,café\n1,x\n".encode("latin-1")),
        ("x.csv", "n,name\n1,x\n".encode("utf-16")),
        ("x.jsonl", '{"name": "café"}\n'.encode("latin-1")),
        ("x.jsonl", '{"name": "x"}\n'.encode("utf-16")),
    ],
    ids=["latin-1", "latin-1 header", "utf-16", "latin-1 json", "utf-16 json"],
)
@pytest.mark.parametrize("known", [None, pa.schema({"n": pa.int64(), "name": pa.string()})], ids=["new", "known"])
def test_text_in_another_encoding_is_refused(tmp_path, name, content, known):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"cannot read .*{name}"):
        rows(str(tmp_path / name), known)


def test_a_truncated_parquet_file_is_named_wherever_it_ends(files):
    whole = (files / "rows.parquet").read_bytes()
    for length in range(0, len(whole), 97):
        (files / "cut.parquet").write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"cannot read .*cut\.parquet"):
            rows(str(files / "cut.parquet"))
