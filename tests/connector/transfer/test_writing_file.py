"""Parts of an open file are sent while its writer goes on, in bounded memory; after a failure none is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import AccessDenied
from tierlake.connector.transfer.background_parts import BackgroundParts

MIB = 1 << 20
PART = 5 * MIB
PIECE = bytes(range(256)) * (MIB // 256)


def uploads(server, bucket):
    return server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def parts_of(server, bucket, key="x"):
    head = server.admin.head_object(Bucket=bucket, Key=key)
    _, _, number = head["ETag"].strip('"').partition("-")
    return int(number or 0)


class Gate:
    """Stands before each `upload_part` of a filesystem until it is opened.

    Attributes:
        waiting: The parts that stand before it, with their sizes.
        most: The most that stood before it at once.
    """

    def __init__(self, fs, monkeypatch):
        self.waiting, self.most = {}, 0
        self._event, self._came = asyncio.Event(), threading.Condition()
        self._loop, call = fs.loop, fs._call_s3

        async def gated(method, *options, **params):
            if method == "upload_part":
                with self._came:
                    self.waiting[params["PartNumber"]] = len(params["Body"])
                    self.most = max(self.most, len(self.waiting))
                    self._came.notify_all()
                await self._event.wait()
                with self._came:
                    del self.waiting[params["PartNumber"]]
            return await call(method, *options, **params)

        monkeypatch.setattr(fs, "_call_s3", gated)

    def await_parts(self, numbers):
        with self._came:
            assert self._came.wait_for(lambda: set(self.waiting) == set(numbers), timeout=60)

    def open(self):
        self._loop.call_soon_threadsafe(self._event.set)


def test_the_writer_goes_on_while_parts_are_sent(make_fs, server, bucket, monkeypatch):
    fs = make_fs()
    gate = Gate(fs, monkeypatch)
    with fs.open(f"{bucket}/x", "wb", block_size=PART) as file:
        for _ in range(17):
            file.write(PIECE)
        gate.await_parts([1, 2, 3])
        assert set(gate.waiting.values()) == {PART}
        assert file.tell() == 17 * MIB
        gate.open()
    assert fs.cat_file(f"{bucket}/x") == PIECE * 17
    assert (parts_of(server, bucket), uploads(server, bucket)) == (4, [])


def test_no_more_parts_are_in_progress_than_the_bound(make_fs, bucket, monkeypatch):
    fs = make_fs(max_concurrency=2)
    gate = Gate(fs, monkeypatch)
    file = fs.open(f"{bucket}/x", "wb", block_size=PART)
    writer = threading.Thread(target=lambda: [file.write(PIECE * PART_MIB) for PART_MIB in [5] * 6])
    writer.start()
    gate.await_parts([1, 2])
    assert writer.is_alive()
    gate.open()
    writer.join()
    file.close()
    assert gate.most == 2
    assert fs.cat_file(f"{bucket}/x") == PIECE * 30


def test_bytes_in_progress_are_bounded_and_a_larger_part_goes_alone(fs):
    sizes, most = {}, []

    async def send(number, body):
        sizes[number] = len(body)
        most.append((len(sizes), sum(sizes.values())))
        await asyncio.sleep(0)
        del sizes[number]
        return {"PartNumber": number}

    parts = BackgroundParts(send, fs.loop, bytes_at_once=100, parts_at_once=8)
    for number, size in enumerate([30] * 20 + [500] + [30] * 20, start=1):
        parts.add(number, b"x" * size)
    assert [part["PartNumber"] for part in parts.finish()] == list(range(1, 42))
    assert {many for many, total in most if total > 100} == {1}


def test_a_file_of_one_part_is_one_put(fs, server, bucket):
    for size, number in ((PART, 0), (PART + 1, 2), (2 * PART, 2), (2 * PART + 1, 3)):
        with fs.open(f"{bucket}/x", "wb", block_size=PART) as file:
            assert file.write((PIECE * 11)[:size]) == size
        assert parts_of(server, bucket) == number
        assert fs.cat_file(f"{bucket}/x") == (PIECE * 11)[:size]
    assert uploads(server, bucket) == []


def test_parts_have_one_size_where_the_server_wants_that(make_fs, server, bucket):
    fs = make_fs(fixed_upload_size=True)
    with fs.open(f"{bucket}/x", "wb", block_size=PART) as file:
        file.write(PIECE * 7)
        file.write(PIECE * 7)
    sizes = [server.admin.head_object(Bucket=bucket, Key="x", PartNumber=n)["ContentLength"] for n in (1, 2, 3)]
    assert sizes == [PART, PART, 4 * MIB]


def write_and_close(file, times):
    for _ in range(times):
        file.write(PIECE)
    file.close()


@pytest.mark.parametrize("at", ["write", "close"])
def test_the_failure_of_a_part_is_raised_and_nothing_is_left(server, make_fs, bucket, at):
    def refuse(request):
        return Refusal("403 Forbidden", "AccessDenied") if "partNumber=1" in request.target else None

    with Proxy(server.endpoint_url, before=refuse) as proxy:
        file = make_fs(endpoint_url=proxy.url).open(f"{bucket}/x", "wb", block_size=PART)
        with pytest.raises(AccessDenied):
            write_and_close(file, times=6 if at == "close" else 1000)
        assert file.closed
        file.close()
    assert (server.keys(bucket), uploads(server, bucket)) == ([], [])


def test_a_discarded_file_waits_for_its_parts(make_fs, server, bucket, monkeypatch):
    fs = make_fs()
    gate = Gate(fs, monkeypatch)
    file = fs.open(f"{bucket}/x", "wb", block_size=PART)
    file.write(PIECE * 16)
    gate.await_parts([1, 2, 3])
    discarding = threading.Thread(target=file.discard)
    discarding.start()
    assert uploads(server, bucket) != []
    gate.open()
    discarding.join()
    assert (server.keys(bucket), uploads(server, bucket)) == ([], [])


def test_a_dropped_file_is_complete(make_fs, bucket, monkeypatch):
    """What sends its parts holds no reference to it: the event loop's thread cannot close it."""
    fs = make_fs()
    gate = Gate(fs, monkeypatch)
    file = fs.open(f"{bucket}/x", "wb", block_size=PART)
    file.write(PIECE * 16)
    gate.await_parts([1, 2, 3])
    gate.open()
    del file
    gc.collect()
    assert fs.cat_file(f"{bucket}/x") == PIECE * 16


@pytest.mark.parametrize("existing", [3, 6 * MIB])
def test_an_append_goes_on_in_parts(fs, server, bucket, existing):
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"o" * existing)
    with fs.open(f"{bucket}/x", "ab", block_size=PART) as file:
        file.write(PIECE * 11)
        assert file.tell() == existing + 11 * MIB
    assert fs.cat_file(f"{bucket}/x") == b"o" * existing + PIECE * 11


def test_writes_take_any_buffer(fs, bucket):
    import array

    with fs.open(f"{bucket}/x", "wb") as file:
        assert file.write(memoryview(b"ab")[::1]) == 2
        assert file.write(array.array("i", [1, 2])) == 8
        assert file.write(b"") == 0
        with pytest.raises(TypeError):
            file.write("text")
    assert fs.cat_file(f"{bucket}/x") == b"ab" + array.array("i", [1, 2]).tobytes()


def test_a_forked_child_leaves_the_file_to_its_parent(fs, bucket):
    file = fs.open(f"{bucket}/x", "wb", block_size=PART)
    file.write(PIECE * 11)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(RuntimeError):
            file.write(PIECE * 11)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    file.write(PIECE)
    file.close()
    assert fs.cat_file(f"{bucket}/x") == PIECE * 12


KILLED = """
import os, signal, sys
from tierlake.connector import LakeFileSystem
fs = LakeFileSystem(endpoint_url=sys.argv[1], key=sys.argv[2], secret=sys.argv[3], region="us-east-1")
file = fs.open(sys.argv[4], "wb", block_size=5 << 20)
file.write(bytes(17 << 20))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_a_killed_writer_leaves_nothing_that_is_seen(fs, server, bucket):
    options = server.storage_options
    command = [sys.executable, "-c", KILLED, options["endpoint_url"], options["key"], options["secret"], f"{bucket}/x"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert server.keys(bucket) == []
    assert len(fs.abort_incomplete_uploads(bucket, older_than="0s")) == 1


def test_where_the_end_of_an_upload_takes_no_condition_a_new_file_is_one_put(server, bucket, make_fs):
    fs = make_fs(profile="ceph", encryption="none")
    file = fs.open(f"{bucket}/x", "xb")
    for _ in range(9):
        file.write(PIECE)
    server.admin.put_object(Bucket=bucket, Key="x", Body=b"another's")
    with pytest.raises(FileExistsError):
        file.close()
    assert fs.cat_file(f"{bucket}/x") == b"another's"
    assert uploads(server, bucket) == []


def test_the_parts_of_an_open_file_can_be_seen_as_in_s3fs(server, bucket, fs):
    with fs.open(f"{bucket}/x", "wb", block_size=PART) as file:
        file.write(PIECE)
        assert (file.mpu, file.parts, file.offset) == (None, None, None)
        for _ in range(11):
            file.write(PIECE)
        assert [part["PartNumber"] for part in file.parts] == [1, 2]
        assert (file.offset, file.tell()) == (2 * PART, 12 * MIB)
    assert parts_of(server, bucket) == 3


def test_a_class_may_choose_the_size_of_parts(server, bucket, make_fs, monkeypatch):
    monkeypatch.setattr(LakeFileSystem, "default_block_size", PART)
    with make_fs().open(f"{bucket}/x", "wb") as file:
        file.write(PIECE * 6)
    assert parts_of(server, bucket) == 2
