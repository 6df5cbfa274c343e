"""Files that are read: one GET opens them, columns are fetched ahead, and all bytes are those of one generation."""

# ruff: noqa: S311 -- made-up data, the same each time
from __future__ import annotations

import csv
import functools
import gc
import gzip
import io
import os
import pickle
import random
import subprocess
import sys
import textwrap
import zipfile

import fsspec
import fsspec.asyn
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import s3fs
from s3fs.utils import FileExpired

from tests import ROOT
from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tests.ledger import recording
from tests.polling import until
from tierlake.connector.errors import ServerError
from tierlake.connector.transfer.memory import PROCESS
from tierlake.connector.transfer.parquet_cache import TAIL_BYTES
from tierlake.connector.transfer.ranges import Piece

COLUMNS, GROUPS, ROWS = 8, 24, 12_000
WANTED = ["c1", "c4", "c6"]


@functools.cache
def parquet():
    """A file of 18 MB: 24 row groups of 8 columns of 96 kB."""
    numbers = random.Random(1)
    file = io.BytesIO()
    schema = pa.schema([(f"c{number}", pa.int64()) for number in range(COLUMNS)])
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        for _ in range(GROUPS):
            bytes_ = [pa.py_buffer(numbers.randbytes(8 * ROWS)) for _ in range(COLUMNS)]
            arrays = [pa.Array.from_buffers(pa.int64(), ROWS, [None, data]) for data in bytes_]
            writer.write_table(pa.table(arrays, schema=schema))
    return file.getvalue()


def lines(count=60_000):
    return b"".join(b"%d,%d,a line of text\n" % (number, number * number) for number in range(count))


def size_of(range_):
    first, _, last = range_.removeprefix("bytes=").partition("-")
    return int(last) - int(first) + 1 if first else int(last)


@pytest.fixture
def ledger(server, tmp_path):
    with recording(server.endpoint_url, tmp_path) as ledger:
        yield ledger


def asked(ledger):
    """Method and range of each request for an object."""
    entries = [entry for entry in ledger.entries() if entry.path.count("/") > 1]
    return [(entry.method, entry.range.strip() if entry.range else None) for entry in entries]


# -- opening -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.parquet", parquet, [("GET", f"bytes=-{TAIL_BYTES}")]),
        ("x.csv", lines, [("GET", "bytes=0-1048575")]),
        ("small.csv", lambda: b"a,b\n1,2\n", [("GET", "bytes=0-1048575")]),
        ("empty", lambda: b"", [("GET", "bytes=0-1048575"), ("GET", None)]),
        ("empty.parquet", lambda: b"", [("GET", f"bytes=-{TAIL_BYTES}"), ("GET", None)]),
    ],
)
def test_one_get_opens_a_file(server, bucket, make_fs, ledger, name, data, expected):
    server.admin.put_object(Bucket=bucket, Key=name, Body=data())
    fs = make_fs(endpoint_url=ledger.url)
    fs.ls("")
    ledger.turn_page()
    with fs.open(f"{bucket}/{name}") as file:
        assert file.size == len(data())
        # MinIO says `bytes 0--1/0` of an empty object, which obstore cannot read: aiobotocore asks once more
        again = server.name == "minio" and name == "empty.parquet"
        assert asked(ledger) in ([2 * expected[:1]] if again else (expected, expected[:1]))
        if len(data()) < 1000:
            assert file.read() == data()
            # MinIO says `bytes 0--1/0` of an empty object, which obstore cannot read: aiobotocore asks once more
        again = server.name == "minio" and name == "empty.parquet"
        assert asked(ledger) in ([2 * expected[:1]] if again else (expected, expected[:1]))


def test_a_small_file_that_was_listed_is_fetched_whole(server, bucket, make_fs, ledger):
    server.admin.put_object(Bucket=bucket, Key="d/x.parquet", Body=parquet()[-1_500_000:])
    fs = make_fs(endpoint_url=ledger.url, view_freshness=3600)
    fs.ls(f"{bucket}/d", detail=True)
    ledger.turn_page()
    with fs.open(f"{bucket}/d/x.parquet") as file:
        assert file.read(1_000_000) + file.read() == parquet()[-1_500_000:]
    assert asked(ledger) == [("GET", "bytes=-2097152")]


@pytest.mark.parametrize("name", ["x", "x.parquet"])
def test_what_is_missing_raises_when_it_is_opened(fs, bucket, name):
    with pytest.raises(FileNotFoundError):
        fs.open(f"{bucket}/{name}")
    with pytest.raises(FileNotFoundError):
        fs.open(f"{bucket}-none/{name}")
    with pytest.raises(ValueError, match="names no object"):
        fs.open(bucket)


# -- columns -----------------------------------------------------------------------------------------


def read_by_table(path, fs):
    return pq.read_table(path, columns=WANTED, filesystem=fs)


def read_without_buffer(path, fs):
    return pq.read_table(path, columns=WANTED, filesystem=fs, pre_buffer=False)


def read_by_file(path, fs):
    with fs.open(path) as file:
        return pq.ParquetFile(file).read(columns=WANTED)


def read_by_batches(path, fs):
    with fs.open(path) as file:
        return pa.Table.from_batches(pq.ParquetFile(file).iter_batches(columns=WANTED))


def read_by_dataset(path, fs):
    return ds.dataset(path, filesystem=fs).to_table(columns=WANTED)


READERS = [read_by_table, read_without_buffer, read_by_file, read_by_batches, read_by_dataset]


@pytest.mark.parametrize("read", READERS)
def test_only_the_wanted_columns_are_fetched(server, bucket, make_fs, ledger, read):
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet())
    expected = pq.read_table(pa.BufferReader(parquet()), columns=WANTED)
    fs = make_fs(endpoint_url=ledger.url)
    ledger.turn_page()
    assert read(f"{bucket}/x.parquet", fs) == expected
    ranges = [range_ for method, range_ in asked(ledger) if method == "GET"]
    tails = [range_ for range_ in ranges if range_.startswith("bytes=-")]
    chunks = [size_of(range_) for range_ in ranges if range_ not in tails]
    footer = pq.read_metadata(pa.BufferReader(parquet()))
    wanted = sum(
        footer.row_group(group).column(int(name[1:])).total_compressed_size
        for group in range(GROUPS)
        for name in WANTED
    )
    assert len(tails) <= 2  # pyarrow opens a file once for the schema and once for the data
    assert sum(chunks) <= 1.05 * wanted
    assert len(chunks) <= GROUPS * len(WANTED)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("limit", [0, 1000, 300_000])
def test_memory_may_be_smaller_than_a_chunk(server, bucket, make_fs, read, limit):
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet())
    expected = pq.read_table(pa.BufferReader(parquet()), columns=WANTED)
    assert read(f"{bucket}/x.parquet", make_fs(read_memory_bytes=limit)) == expected
    until(is_returned, 20)


def is_returned():
    """Whether no file holds memory: what was under way, and what Arrow's threads hold, ends a moment after a read."""
    gc.collect()
    return PROCESS.used == 0


@pytest.mark.parametrize("pre_buffer", [True, False])
def test_all_columns_and_some_row_groups(fs, server, bucket, pre_buffer):
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet())
    expected = pq.ParquetFile(pa.BufferReader(parquet()))
    with fs.open(f"{bucket}/x.parquet") as file:
        found = pq.ParquetFile(file, pre_buffer=pre_buffer)
        assert found.read() == expected.read()
        for some in ([3, 9, 10], [20, 2, 11], [5]):
            assert found.read_row_groups(some, columns=WANTED) == expected.read_row_groups(some, columns=WANTED)


def test_a_footer_longer_than_the_tail(server, bucket, make_fs, ledger):
    file, names = io.BytesIO(), [f"column_{number}" for number in range(150)]
    table = pa.table({name: pa.array(range(number, number + 200)) for number, name in enumerate(names)})
    pq.write_table(table, file, row_group_size=4)
    data = file.getvalue()
    assert int.from_bytes(data[-8:-4], "little") > TAIL_BYTES
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=data)
    fs = make_fs(endpoint_url=ledger.url)
    assert pq.read_table(f"{bucket}/x.parquet", columns=names[:2], filesystem=fs) == table.select(names[:2])


def test_a_server_that_fails_while_a_file_is_read(server, bucket, make_fs):
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet())

    def refused(request):
        return Refusal("500 Internal Server Error", "InternalError") if request.number > 10 else None

    with Proxy(server.endpoint_url, before=refused) as proxy:
        fs = make_fs(endpoint_url=proxy.url, max_retries=0)
        with pytest.raises(ServerError, match="InternalError"):
            read_by_table(f"{bucket}/x.parquet", fs)
    until(is_returned, 20)


# -- one generation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
@pytest.mark.parametrize("cache_type", [None, "readahead", "none", "bytes"])
def test_an_object_that_changes_underneath(server, bucket, make_fs, name, cache_type):
    old, new = random.Random(1).randbytes(4_000_000), random.Random(2).randbytes(4_000_000)
    server.admin.put_object(Bucket=bucket, Key=name, Body=old)
    with make_fs().open(f"{bucket}/{name}", block_size=2**16, cache_type=cache_type) as file:
        file.seek(1_000_000)
        assert file.read(10) == old[1_000_000:1_000_010]
        server.admin.put_object(Bucket=bucket, Key=name, Body=new)
        file.seek(2_500_000)
        with pytest.raises(FileExpired):
            file.read(100_000)


def test_a_version_is_read_to_its_end(server, make_bucket, make_fs):
    bucket = make_bucket(versioned=True)
    old, new = random.Random(1).randbytes(3_000_000), random.Random(2).randbytes(2_000_000)
    server.admin.put_object(Bucket=bucket, Key="x", Body=old)
    fs = make_fs(version_aware=True)
    with fs.open(f"{bucket}/x") as file:
        assert file.version_id
        server.admin.put_object(Bucket=bucket, Key="x", Body=new)
        assert file.read() == old
        assert fs.open(f"{bucket}/x").read() == new
        assert fs.open(f"{bucket}/x", version_id=file.version_id).read() == old
        assert fs.open(f"{bucket}/x?versionId={file.version_id}").read() == old
        assert file.info()["VersionId"] == file.version_id
        assert file.info()["size"] == len(old)
        file.seek(10)
        again = pickle.dumps(file)
    assert pickle.loads(again).read() == old[10:]  # noqa: S301 -- our own


# -- what is known before ----------------------------------------------------------------------------


class Later:
    def __init__(self, piece):
        self.piece = piece

    def result(self):
        if self.piece is None:
            raise ConnectionError
        return self.piece


def piece(data, start=0, etag=""):
    return Piece(data[start:], start, len(data), etag, None, None)


def test_a_known_content_needs_no_request(offline):
    data = lines(100)
    asked = []

    def source(path, version_id):
        asked.append((path, version_id))
        return {"b/now": piece(data), "b/later": Later(piece(data))}.get(path)

    offline.contents.add(lambda path, version_id: None)
    offline.contents.add(source)
    for name in ("b/now", "b/later"):
        with offline.open(name) as file:
            assert file.read() == data
    assert asked == [("b/now", None), ("b/later", None)]


@pytest.mark.parametrize("later", [False, True])
def test_a_known_footer_begins_a_file(server, bucket, make_fs, ledger, later):
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet())
    start = len(parquet()) - 8 - int.from_bytes(parquet()[-8:-4], "little")
    known = piece(parquet(), start)
    fs = make_fs(endpoint_url=ledger.url)
    fs.contents.add(lambda path, version_id: Later(known) if later else known)
    assert read_by_table(f"{bucket}/x.parquet", fs) == pq.read_table(pa.BufferReader(parquet()), columns=WANTED)
    assert not [range_ for _, range_ in asked(ledger) if range_ and range_.startswith("bytes=-")]


def test_a_known_footer_of_another_object(server, bucket, make_fs):
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet() + b"more")
    fs = make_fs()
    fs.contents.add(lambda path, version_id: piece(parquet(), len(parquet()) - 50_000))
    with fs.open(f"{bucket}/x.parquet") as file, pytest.raises(FileExpired):
        file.read(10)


def test_a_known_content_that_never_comes(server, bucket, make_fs):
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"data")
    fs = make_fs()
    fs.contents.add(lambda path, version_id: Later(None))
    assert fs.open(f"{bucket}/x").read() == b"data"


# -- files in order ----------------------------------------------------------------------------------


def test_requests_of_a_file_that_is_read_in_order(server, bucket, make_fs, ledger):
    """Twice as much at a time: 16 MB are some ten requests, and each byte is fetched once."""
    data = random.Random(3).randbytes(16 * 2**20)
    server.admin.put_object(Bucket=bucket, Key="x", Body=data)
    fs = make_fs(endpoint_url=ledger.url)
    ledger.turn_page()
    with fs.open(f"{bucket}/x") as file:
        found = b"".join(iter(lambda: file.read(10_000), b""))
    assert found == data
    ranges = [range_ for _, range_ in asked(ledger)]
    assert sum(map(size_of, ranges)) == len(data)
    assert len(ranges) <= 12


def test_few_bytes_here_and_there(server, bucket, make_fs, ledger):
    data = random.Random(3).randbytes(16 * 2**20)
    server.admin.put_object(Bucket=bucket, Key="x", Body=data)
    fs = make_fs(endpoint_url=ledger.url)
    ledger.turn_page()
    with fs.open(f"{bucket}/x") as file:
        for start in range(15_000_000, 1_000_000, -1_000_000):
            file.seek(start)
            assert file.read(100) == data[start : start + 100]
    ranges = [range_ for _, range_ in asked(ledger)][1:]
    assert sum(map(size_of, ranges)) <= 14 * 2**16 + 14 * 100


def test_text_gzip_zip_and_csv(fs, server, bucket):
    data = lines()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("one.csv", data)
        packed.writestr("two.csv", data[:1000])
    for name, content in {"x.csv": data, "x.csv.gz": gzip.compress(data), "x.zip": archive.getvalue()}.items():
        server.admin.put_object(Bucket=bucket, Key=name, Body=content)
    with fs.open(f"{bucket}/x.csv", "r", newline="") as text:
        rows = list(csv.reader(text))
    assert len(rows) == 60_000
    assert rows[-1] == ["59999", str(59999 * 59999), "a line of text"]
    with fs.open(f"{bucket}/x.csv.gz", compression="infer") as plain:
        assert plain.read() == data
    with fs.open(f"{bucket}/x.zip") as file, zipfile.ZipFile(file) as packed:
        assert packed.read("two.csv") == data[:1000]
        assert packed.read("one.csv") == data
    with fs.open(f"{bucket}/x.csv") as file:
        assert pyarrow.csv.read_csv(file).num_rows == 59_999
    assert fs.read_block(f"{bucket}/x.csv", 1000, 1000, b"\n") == fsspec.filesystem("memory").read_block.__func__(
        Blocks(data), "", 1000, 1000, b"\n"
    )


class Blocks:
    """What fsspec's `read_block` needs of a filesystem."""

    def __init__(self, data):
        self.data = data

    def open(self, _path, _mode):
        file = io.BytesIO(self.data)
        file.size = len(self.data)
        return file


CACHE_TYPES = [
    None,
    "automatic",
    "parquet",
    "none",
    "readahead",
    "bytes",
    "all",
    "mmap",
    "first",
    "blockcache",
    "background",
]


@pytest.mark.parametrize("cache_type", CACHE_TYPES)
def test_a_file_as_any_other(fs, server, bucket, cache_type):
    data = lines(20_000)
    server.admin.put_object(Bucket=bucket, Key="x", Body=data)
    with fs.open(f"{bucket}/x", cache_type=cache_type, block_size=2**16) as file, io.BytesIO(data) as true:
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert (file.size, file.blocksize, file.mode, file.tell()) == (len(data), 2**16, "rb", 0)
        assert file.cache.name == (cache_type or "automatic")
        for step in [
            lambda f: f.readline(),
            lambda f: [f.readline() for _ in range(500)],
            lambda f: f.read(7),
            lambda f: f.seek(100, 1),
            lambda f: f.readline(5),
            lambda f: f.seek(-1000, 2),
            lambda f: f.read(),
            lambda f: f.read(),
            lambda f: f.readline(),
            lambda f: f.seek(len(data) + 50),
            lambda f: f.read(10),
            lambda f: f.seek(300_000),
            lambda f: f.read(100_000),
            lambda f: f.readinto(bytearray(50)),
            next,
            lambda f: f.tell(),
            lambda f: f.readlines()[-3:],
        ]:
            assert step(file) == step(true)
        with pytest.raises(ValueError, match="before start"):
            file.seek(-1)
        file.seek(10)
        with pickle.loads(pickle.dumps(file)) as again:  # noqa: S301 -- our own
            assert (again.tell(), again.read(20)) == (10, data[10:30])
        info = file.info()
        assert (info["name"], info["size"], info["type"]) == (f"{bucket}/x", len(data), "file")
        assert info == {**fs.info(f"{bucket}/x"), **info}
        assert hash(file) == hash(fs.open(f"{bucket}/x"))
        assert file.url().startswith("http")
        assert file.metadata() == {}
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_the_event_loops_own_thread_does_not_wait_for_itself(fs, server, bucket):
    server.admin.put_object(Bucket=bucket, Key="x", Body=lines(200_000))
    with fs.open(f"{bucket}/x") as file:

        async def read():
            file.seek(4_000_000)
            return file.read(10)

        with pytest.raises(NotImplementedError, match="thread of its event loop"):
            fsspec.asyn.sync(fs.loop, read)
        assert file.read(10) == lines(200_000)[4_000_000:4_000_010]


def test_buffers_are_not_copied_and_count(fs, server, bucket):
    data = lines(10_000)
    server.admin.put_object(Bucket=bucket, Key="x", Body=data)
    until(is_returned, 20)
    file = fs.open(f"{bucket}/x")
    first, second = file.read_buffer(1000), file.read_buffer()
    assert first.obj is second.obj
    assert bytes(first) + bytes(second) == data
    del file
    gc.collect()
    assert PROCESS.used == len(data)
    del first, second
    assert PROCESS.used == 0


# -- by name, with other filesystems -----------------------------------------------------------------


@pytest.mark.parametrize("cache_type", ["parquet", "automatic"])
def test_other_filesystems(server, bucket, tmp_path, cache_type):
    server.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet())
    (tmp_path / "x.parquet").write_bytes(parquet())
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/x.parquet", parquet())
    options = {"endpoint_url": server.endpoint_url, "key": server.key, "secret": server.secret}
    expected = pq.read_table(pa.BufferReader(parquet()), columns=WANTED)
    for fs, path in [
        (s3fs.S3FileSystem(**options, skip_instance_cache=True), f"{bucket}/x.parquet"),
        (fsspec.filesystem("file"), str(tmp_path / "x.parquet")),
        (memory, "/x.parquet"),
    ]:
        with fs.open(path, cache_type=cache_type) as file:
            assert pq.ParquetFile(file).read(columns=WANTED) == expected
            file.seek(1000)
            assert file.read(5000) == parquet()[1000:6000]


# -- the end -----------------------------------------------------------------------------------------

AT_THE_END = """
    import os, sys, pyarrow.parquet as pq
    from tierlake.connector import LakeFileSystem
    fs = LakeFileSystem(endpoint_url=sys.argv[1], key=sys.argv[2], secret=sys.argv[3])
    file = fs.open(sys.argv[4])
    found = pq.ParquetFile(file)
    found.read_row_group(0, columns=["c1"])
"""
ENDINGS = {
    "exit": "",
    "close": "file.close()",
    "garbage": "del file, found",
    "error": "raise SystemExit(0)",
    "child": """
        if (child := os.fork()) == 0:
            file.seek(0)
            try:
                found.read_row_group(20, columns=["c1"])
            except RuntimeError as error:
                os._exit(0 if "fork" in str(error) else 2)
            except BaseException:
                os._exit(3)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.read_row_group(21, columns=["c1"])
        sys.exit(code)
    """,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_with_requests_under_way(seaweedfs, ending):
    bucket = seaweedfs.make_bucket()
    seaweedfs.admin.put_object(Bucket=bucket, Key="x.parquet", Body=parquet())
    code = textwrap.dedent(AT_THE_END) + textwrap.dedent(ENDINGS[ending])
    place = (seaweedfs.endpoint_url, seaweedfs.key, seaweedfs.secret, f"{bucket}/x.parquet")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code, *place],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    seaweedfs.drop_bucket(bucket)
    assert (ended.returncode, ended.stderr) == (0, "")
