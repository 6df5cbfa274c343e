"""Local files are read and written in threads that serve no requests."""

import os
import threading
from pathlib import Path

import pytest
from fsspec.asyn import get_loop
from fsspec.callbacks import Callback

from tierlake.connector.errors import AlreadyExists, UnsupportedByServer

BIG = bytes(range(256)) * (11 << 12)  # 11 MiB


class Watched:
    """An open file, which notes the thread of each read and write."""

    def __init__(self, file, threads: list[int]) -> None:
        self.file, self.threads = file, threads

    def read(self, *count: int) -> bytes:
        self.threads.append(threading.get_ident())
        return self.file.read(*count)

    def write(self, data: bytes) -> int:
        self.threads.append(threading.get_ident())
        return self.file.write(data)

    def __enter__(self):
        self.file.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.file.__exit__(*error)

    def __getattr__(self, name: str):
        return getattr(self.file, name)


@pytest.fixture
def threads(monkeypatch, tmp_path) -> list[int]:
    used: list[int] = []
    plain = Path.open

    def opened(self, *args, **kwargs):
        file = plain(self, *args, **kwargs)
        if not self.is_relative_to(tmp_path):
            return file
        used.append(threading.get_ident())
        return Watched(file, used)

    monkeypatch.setattr(Path, "open", opened)
    return used


@pytest.fixture
def loop_thread() -> int:
    found, known = [], threading.Event()
    get_loop().call_soon_threadsafe(lambda: (found.append(threading.get_ident()), known.set()))
    known.wait()
    return found[0]


@pytest.fixture
def local(tmp_path) -> Path:
    path = tmp_path / "x.csv"
    path.write_bytes(BIG)
    return path


@pytest.mark.parametrize("chunksize", [None, 5 << 20])
def test_files_are_read_and_written_off_the_loop(fs, bucket, local, tmp_path, threads, loop_thread, chunksize):
    fs.put_file(str(local), f"{bucket}/x.csv", chunksize=chunksize)
    fs.get_file(f"{bucket}/x.csv", str(tmp_path / "back"), chunksize=chunksize)
    parts = 1 if chunksize is None else 3
    assert len(threads) == 2 * parts + 1, "each part is opened and read, and the file that is fetched is opened"
    assert loop_thread not in threads
    assert (tmp_path / "back").read_bytes() == BIG
    head = fs.head_object(f"{bucket}/x.csv")
    assert (head["ContentType"], head["ETag"].count("-")) == ("text/csv", chunksize is not None)


def test_parts_are_counted_and_a_creation_may_not_replace(fs, bucket, local):
    callback = Callback()
    fs.put_file(str(local), f"{bucket}/x", chunksize=5 << 20, max_concurrency=2, callback=callback, mode="create")
    assert (callback.size, callback.value) == (len(BIG), len(BIG))
    with pytest.raises(AlreadyExists):
        fs.put_file(str(local), f"{bucket}/x", mode="create")
    fs.put_file(str(local.parent), f"{bucket}/folder")
    assert fs.ls(bucket) == [f"{bucket}/x"]


def test_a_file_that_becomes_shorter_leaves_nothing(fs, bucket, local, monkeypatch):
    call = fs._call_s3

    async def cutting(method, *options, **params):
        if method == "create_multipart_upload":
            local.write_bytes(BIG[:100])
        return await call(method, *options, **params)

    monkeypatch.setattr(fs, "_call_s3", cutting)
    with pytest.raises(OSError, match="shorter"):
        fs.put_file(str(local), f"{bucket}/x", chunksize=5 << 20)
    assert not fs.exists(f"{bucket}/x")
    assert fs.abort_incomplete_uploads(bucket, older_than="0s") == []


def test_a_file_that_grows_is_uploaded_as_it_was(fs, bucket, local, monkeypatch):
    call = fs._call_s3

    async def growing(method, *options, **params):
        if method == "create_multipart_upload":
            local.write_bytes(BIG * 2)
        return await call(method, *options, **params)

    monkeypatch.setattr(fs, "_call_s3", growing)
    fs.put_file(str(local), f"{bucket}/x", chunksize=5 << 20)
    assert fs.cat_file(f"{bucket}/x") == BIG


def test_holes_are_zeros(fs, bucket, tmp_path):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(11 << 20)
        file.seek(6 << 20)
        file.write(b"here")
    fs.put_file(str(sparse), f"{bucket}/x", chunksize=5 << 20)
    data = fs.cat_file(f"{bucket}/x")
    assert data == sparse.read_bytes()
    assert data.strip(b"\0") == b"here"


@pytest.mark.parametrize("size", [0, 3, (5 << 20), (11 << 20)])
def test_a_pipe_is_read_to_its_end(fs, bucket, tmp_path, size):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(BIG[:size]))
    writer.start()
    callback = Callback()
    fs.put_file(str(pipe), f"{bucket}/x", chunksize=5 << 20, callback=callback)
    writer.join()
    assert fs.cat_file(f"{bucket}/x") == BIG[:size]
    assert callback.value == size
    assert fs.abort_incomplete_uploads(bucket, older_than="0s") == []


def test_a_file_that_tells_no_size_is_read_to_its_end(fs, bucket):
    fs.put_file("/proc/version", f"{bucket}/x")
    assert fs.cat_file(f"{bucket}/x") == Path("/proc/version").read_bytes() != b""


def test_bytes_in_memory_are_sent_in_parts(fs, bucket):
    assert fs.pipe_file(f"{bucket}/x", memoryview(BIG), chunksize=5 << 20)["ETag"].strip('"').endswith("-3")
    assert fs.cat_file(f"{bucket}/x") == BIG
    with pytest.raises(AlreadyExists):
        fs.pipe_file(f"{bucket}/x", BIG, chunksize=5 << 20, mode="create")
    assert fs.abort_incomplete_uploads(bucket, older_than="0s") == []


def test_where_the_end_of_an_upload_takes_no_condition_one_request_has_it(make_fs, bucket, local, monkeypatch):
    fs = make_fs(profile="ceph", encryption="none")
    fs.pipe_file(f"{bucket}/x", BIG, chunksize=5 << 20, mode="create")
    fs.put_file(str(local), f"{bucket}/y", chunksize=5 << 20, mode="create")
    assert ["-" in head["ETag"] for head in fs.head_many([f"{bucket}/x", f"{bucket}/y"])] == [False, False]
    monkeypatch.setattr("tierlake.connector.transfer.local_file._CONDITIONAL_PUT_BYTES_MAX", 6 << 20)
    with pytest.raises(UnsupportedByServer):
        fs.put_file(str(local), f"{bucket}/z", chunksize=5 << 20, mode="create")
    fs.put_file(str(local), f"{bucket}/z", chunksize=5 << 20)
