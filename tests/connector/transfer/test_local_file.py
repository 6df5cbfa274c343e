"""Local files are read and written in threads that serve no requests."""

import threading
from pathlib import Path

import pytest
from fsspec.asyn import get_loop
from fsspec.callbacks import Callback

from tierlake.connector.errors import AlreadyExists

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
    assert len(threads) > 4
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
