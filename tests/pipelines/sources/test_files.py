"""Compression, archives, and how many files are open at a time."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as paf
import pyarrow.parquet as pq
import pytest

from tests.pipelines.sources.plain import plain_batches
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources import SourceLimits, open_source
from tierlake.pipelines.sources.row_origin import REJECT_FILE

CSV = b"n,name\n1,a\n2,b\n"
ZST = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def rows(source, **options):
    return [row for batch in plain_batches(open_source(source, None, **options)) for row in batch.to_pylist()]


@pytest.mark.parametrize("ending", ZST)
def test_compressed_text(tmp_path, ending):
    path = tmp_path / f"x.csv.{ending}"
    path.write_bytes(ZST[ending](CSV))
    assert [row["n"] for row in rows(path)] == [1, 2]
    path.write_bytes(ZST[ending](CSV * 1) + ZST[ending](b"3,c\n"))
    assert [row["n"] for row in rows(path)] == [1, 2, 3], "several streams one after the other are one file"


@pytest.mark.parametrize("ending", ZST)
def test_a_compressed_file_that_was_cut_is_named(tmp_path, ending):
    whole = ZST[ending](b"n,name\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(5000)))
    for length in (len(whole) - 3, len(whole) // 2, 12):
        (tmp_path / f"x.csv.{ending}").write_bytes(whole[:length])
        with pytest.raises(SourceError, match=rf"cannot read .*x\.csv\.{ending}: its end is missing.*copy it again"):
            rows(tmp_path / f"x.csv.{ending}")


def archive(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_an_archive_has_all_its_members(tmp_path):
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table({"n": [3], "name": ["c"]}), parquet)
    paf.write_feather(pa.table({"n": [4], "name": ["d"]}), arrow)
    members = {
        "a.csv": CSV,
        "deep/er/": b"",
        "deep/er/b.parquet": parquet.getvalue(),
        "c.arrow": arrow.getvalue(),
        "d.jsonl": b'{"n": 5, "name": "e"}',
        "__MACOSX/a.csv": b"\0",
        ".DS_Store": b"\0",
    }
    source = archive(tmp_path / "x.zip", members)
    assert [row["n"] for row in rows(source)] == [1, 2, 3, 4, 5]
    stream = open_source(archive(tmp_path / "y.zip", {"a.csv": CSV, "b/c.csv": CSV}), None)
    assert {name for batch in stream.batches for name in batch.rows.column(REJECT_FILE).to_pylist()} == {
        f"{tmp_path}/y.zip!a.csv",
        f"{tmp_path}/y.zip!b/c.csv",
    }


def test_what_an_archive_cannot_give_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"cannot tell the format of .*x\.zip!readme\.txt"):
        rows(archive(tmp_path / "x.zip", {"a.csv": CSV, "readme.txt": b"x"}))
    with pytest.raises(SourceError, match="an archive without a file"):
        rows(archive(tmp_path / "x.zip", {"a/": b""}))
    data = bytearray(archive(tmp_path / "x.zip", {"a.csv": CSV}).read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(SourceError, match=r"x\.zip!a\.csv is encrypted"):
        rows(tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(SourceError, match=r"cannot read .*x\.zip"):
        rows(tmp_path / "x.zip")


def test_a_bomb_in_an_archive_is_refused(tmp_path):
    bomb = archive(tmp_path / "bomb.zip", {"bomb.csv": b"n,x\n" + (b"0," + b"0" * 1021 + b"\n") * (100 << 10)})
    with pytest.raises(SourceError, match=r"bomb\.csv expands to more than 100 times its size"):
        rows(bomb, limits=SourceLimits(max_expansion=100))


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
def test_a_thousand_files_are_open_one_at_a_time(tmp_path, kind):
    table = pa.table({"n": [1]})
    for number in range(1000):
        path = tmp_path / f"{number:04}.{kind}"
        if kind == "parquet":
            pq.write_table(table, path)
        elif kind == "arrow":
            paf.write_feather(table, path)
        else:
            path.write_text("n\n1\n" if kind == "csv" else '{"n": 1}\n')
    before = open_files()
    most = count = 0
    for batch in open_source(f"{tmp_path}/*.{kind}", None).batches:
        count += batch.rows.num_rows
        most = max(most, open_files() - before)
    assert count == 1000
    assert most <= 4
    assert open_files() - before <= 1
