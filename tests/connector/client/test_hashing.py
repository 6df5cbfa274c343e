"""What takes longer than a millisecond is done in no thread that has requests to serve.

These are the requests that aiobotocore makes: all of them with `engine="s3fs"`.
"""

import hashlib
import threading

import botocore.auth
import botocore.httpchecksum
import pytest
from fsspec.asyn import get_loop

BIG = bytes(range(256)) * (9 << 12)  # 9 MiB


@pytest.fixture
def fs(make_fs):
    return make_fs(engine="s3fs")


@pytest.fixture
def hashed(monkeypatch) -> list[tuple[int, bool]]:
    """The bytes of each step of hashing, and whether it was on the event loop's thread."""
    steps: list[tuple[int, bool]] = []
    loop_thread: list[int] = []
    get_loop().call_soon_threadsafe(lambda: loop_thread.append(threading.get_ident()))

    def note(data) -> None:
        steps.append((memoryview(data).nbytes, threading.get_ident() in loop_thread))

    class Sha256:
        def __init__(self, data: bytes = b"") -> None:
            note(data)
            self.real = hashlib.new("sha256", data)

        def update(self, data: bytes) -> None:
            note(data)
            self.real.update(data)

        def __getattr__(self, name: str):
            return getattr(self.real, name)

    checksum = botocore.httpchecksum.Crc32Checksum
    update = checksum.update
    monkeypatch.setattr(checksum, "update", lambda self, data: note(data) or update(self, data))
    monkeypatch.setattr(botocore.auth, "sha256", Sha256)
    monkeypatch.setattr("tierlake.connector.client.hashing.sha256", Sha256)
    return steps


@pytest.mark.parametrize("server", ["seaweedfs", "minio"], indirect=True)
def test_large_bodies_are_hashed_in_other_threads(fs, bucket, hashed, tmp_path):
    local = tmp_path / "x"
    local.write_bytes(BIG)
    fs.pipe_file(f"{bucket}/one", BIG)
    fs.put_file(str(local), f"{bucket}/parts", chunksize=5 << 20)
    fs.put_file(str(local), f"{bucket}/whole")
    fs.put_if(f"{bucket}/if", BIG, if_none_match=True)
    assert sum(size for size, is_on_loop in hashed if not is_on_loop) == 4 * 2 * len(
        BIG
    )  # a checksum and a digest each
    assert sum(size for size, is_on_loop in hashed if is_on_loop) < 1 << 17
    for name in ("one", "parts", "whole", "if"):
        assert fs.read_with_etag(f"{bucket}/{name}")[0] == fs.cat_file(f"{bucket}/{name}") == BIG
    assert all(size <= 1 << 20 for size, is_on_loop in hashed if is_on_loop)  # a checksum is compared piece by piece


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_small_bodies_are_hashed_where_they_are_signed(fs, bucket, hashed):
    fs.pipe_file(f"{bucket}/x", b"1" * 1000)
    assert [step for step in hashed if step[0] == 1000] == [(1000, True)] * 2


@pytest.mark.parametrize("server", ["minio_tls"], indirect=True)
def test_over_tls_the_checksum_of_a_large_body_is_all_and_no_work_of_the_loop(fs, bucket, hashed):
    fs.pipe_file(f"{bucket}/x", BIG)
    assert sum(size for size, is_on_loop in hashed if not is_on_loop) == len(BIG)
    assert sum(size for size, is_on_loop in hashed if is_on_loop) < 1 << 17
    assert fs.cat_file(f"{bucket}/x") == BIG
    assert max(size for size, is_on_loop in hashed if is_on_loop) <= 1 << 20


@pytest.mark.parametrize("server", ["minio_tls"], indirect=True)
def test_over_tls_a_small_body_has_its_checksum_behind_it(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"1" * 1000)
    assert fs.cat_file(f"{bucket}/x") == b"1" * 1000
