"""Small files of a listing are fetched before a scan opens them: no more than it will open, and never stale."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest
from fsspec.asyn import sync

from tierlake.connector.transfer.ahead import FILES_MAX, SMALL_BYTES, Ahead
from tierlake.connector.transfer.contents import Contents
from tierlake.connector.transfer.memory import ReadMemory

FILES = 100


class Scan:
    """Opens files of a filesystem as `open` does: with what is known, or with a request of its own.

    Attributes:
        now: The clock's seconds.
        requests: How often each key was requested.
    """

    def __init__(self, fs, memory=None):
        self.fs, self.now, self.requests = fs, 0.0, Counter()
        self.memory = memory or ReadMemory()
        self.ahead = fs.ahead = Ahead(fs.store, clock=lambda: self.now, memory=self.memory)
        fs.contents = Contents()
        fs.contents.add(self.ahead)
        fs.dircache.forgotten = self.ahead.forget
        request = fs.store.gateway._transport.request

        async def counting(operation, params, *rest, **more):
            self.requests[operation, params.get("Key", "")] += 1
            return await request(operation, params, *rest, **more)

        fs.store.gateway._transport.request = counting

    def open(self, path):
        known = self.fs.contents.of(path, None)
        if known is not None:
            with suppress(Exception):
                return bytes(known.result(timeout=30).data)
        return self.fs.cat_file(path)

    def fetched(self):
        return sum(count for (operation, _), count in self.requests.items() if operation == "get_object")

    def settle(self):
        """Wait for the requests under way."""
        sync(self.fs.loop, asyncio.sleep, 0)  # those that were asked for have begun
        deadline = time.monotonic() + 30
        while self.ahead._tasks and time.monotonic() < deadline:
            time.sleep(0.001)


@pytest.fixture
def names(server, bucket):
    keys = [f"t/d={number:03}/x" for number in range(FILES)]
    for number, key in enumerate(keys):
        server.admin.put_object(Bucket=bucket, Key=key, Body=str(number).encode())
    return [f"{bucket}/{key}" for key in keys]


@pytest.fixture
def scan(make_fs, bucket, names):
    made = Scan(make_fs(raw=True, view_freshness=60))
    assert sorted(made.fs.find(f"{bucket}/t")) == names
    return made


def test_a_whole_scan_asks_once_for_each_file(scan, names):
    for number, name in enumerate(names):
        assert scan.open(name) == str(number).encode()
        assert scan.ahead.count <= FILES_MAX
    scan.settle()
    assert scan.fetched() == FILES
    assert not any(operation == "head_object" for operation, _ in scan.requests)
    assert scan.ahead.count == 0
    del name
    assert scan.memory.used == 0


@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize("count", [1, 2, 7, 14])
def test_a_scan_that_ends_early_fetches_at_most_twice_what_it_opens(scan, names, count, step):
    chosen = names[30 : 30 + count * step : step]
    for name in chosen:
        scan.open(name)
    scan.settle()
    assert scan.fetched() <= 2 * len(chosen)


def test_threads_that_open_roughly_in_order_share_what_is_fetched(scan, names):
    waiting = list(reversed(names))
    contents = {}

    def work():
        while True:
            try:
                name = waiting.pop()
            except IndexError:
                return
            contents[name] = scan.open(name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scan.settle()
    assert contents == {name: str(number).encode() for number, name in enumerate(names)}
    assert scan.fetched() <= 1.1 * FILES


def test_two_that_open_the_same_file_share_a_request(scan, names):
    scan.open(names[0])
    scan.open(names[1])
    first, second = scan.fs.contents.of(names[2], None), scan.fs.contents.of(names[2], None)
    assert first is second or second is None
    assert bytes(first.result(30).data) == b"2"


@pytest.mark.parametrize("freshness", [1, 60])
def test_what_is_older_than_a_listing_may_be_is_not_used(make_fs, server, bucket, names, freshness):
    scan = Scan(make_fs(raw=True, view_freshness=freshness))
    scan.fs.find(f"{bucket}/t")
    for name in names[:3]:
        scan.open(name)
    scan.settle()
    server.admin.put_object(Bucket=bucket, Key="t/d=003/x", Body=b"new")  # nobody tells this process
    scan.now += min(freshness, 10) + 0.001
    assert scan.open(names[3]) == b"new"


def test_within_that_time_it_is_as_if_it_had_been_opened_a_moment_ago(scan, server, bucket, names):
    for name in names[:3]:
        scan.open(name)
    scan.settle()
    server.admin.put_object(Bucket=bucket, Key="t/d=003/x", Body=b"new")
    scan.now += 9
    assert scan.open(names[3]) == b"3"
    assert scan.open(names[3]) == b"new"


@pytest.mark.parametrize("how", ["own write", "another filesystem's", "invalidate_cache", "its folder", "all"])
def test_a_known_write_drops_it(scan, make_fs, server, bucket, names, how):
    for name in names[:3]:
        scan.open(name)
    scan.settle()
    writer = {"own write": scan.fs, "another filesystem's": make_fs()}.get(how)
    if writer is not None:
        writer.pipe_file(names[3], b"new")
    else:
        server.admin.put_object(Bucket=bucket, Key="t/d=003/x", Body=b"new")
        scan.fs.invalidate_cache({"its folder": f"{bucket}/t", "all": None}.get(how, names[3]))
    assert scan.open(names[3]) == b"new"


def test_nothing_is_fetched_ahead_where_nothing_may_be_old(make_fs, bucket, names):
    scan = Scan(make_fs(raw=True, view_freshness=0))
    scan.fs.find(f"{bucket}/t")
    for name in names[:10]:
        scan.open(name)
    assert scan.fetched() == 10
    scan.ahead.listed(f"{bucket}/t", list(scan.fs.find(f"{bucket}/t", detail=True).values()), is_committed=True)
    for name in names[10:20]:
        scan.open(name)
        scan.settle()
        scan.now += 3  # files of a table do not change
    scan.settle()
    assert 20 < scan.fetched() <= 30


def test_a_slow_scan_fetches_nothing_for_nothing(make_fs, bucket, names):
    scan = Scan(make_fs(raw=True, view_freshness=1))
    scan.fs.find(f"{bucket}/t")
    for name in names[:20]:
        scan.open(name)
        scan.settle()
        scan.now += 1.5
    assert scan.fetched() == 20


def test_what_nobody_opens_is_dropped(scan, names):
    for name in names[:8]:
        scan.open(name)
    scan.settle()
    assert scan.ahead.count > 0
    assert scan.memory.used > 0
    scan.now += 10
    scan.ahead.sweep()
    assert scan.ahead.count == 0
    assert scan.memory.used == 0


def test_nothing_is_fetched_ahead_without_memory(make_fs, bucket, names):
    memory = ReadMemory()
    scan = Scan(make_fs(raw=True, view_freshness=60), memory)
    scan.fs.find(f"{bucket}/t")
    held = memory.require(scan.fs.settings.read_memory_bytes)
    for number, name in enumerate(names[:10]):
        assert scan.open(name) == str(number).encode()
    assert scan.fetched() == 10
    held.release()


def test_a_missing_file_is_reported_by_its_own_open(scan, server, bucket, names):
    for name in names[:3]:
        scan.open(name)
    scan.settle()
    for number in range(6, 12):
        server.admin.delete_object(Bucket=bucket, Key=f"t/d={number:03}/x")
    for name in names[3:6]:
        scan.open(name)
    with pytest.raises(FileNotFoundError, match="d=007"):
        scan.open(names[7])


def test_large_and_grown_files_are_left_to_open(make_fs, server, bucket, names):
    server.admin.put_object(Bucket=bucket, Key="t/d=003/x", Body=b"x" * (SMALL_BYTES + 1))
    scan = Scan(make_fs(raw=True, view_freshness=60))
    scan.fs.find(f"{bucket}/t")
    server.admin.put_object(Bucket=bucket, Key="t/d=004/x", Body=b"x" * (SMALL_BYTES + 1))
    for name in names[:3]:
        scan.open(name)
    assert scan.fs.contents.of(names[3], None) is None
    assert len(scan.open(names[4])) == SMALL_BYTES + 1
    assert scan.memory.peak < SMALL_BYTES
