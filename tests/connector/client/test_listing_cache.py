"""No listing is stale after a write of this process, and none for long after anybody's."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest
import s3fs
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.proxy import Proxy
from tierlake.connector.client.listing_cache import ListingCache, forget_everywhere
from tierlake.connector.listing.committed import file_info
from tierlake.connector.listing.directories import TableListings, folders_of

WRITES = {
    "pipe": lambda fs, path: fs.pipe_file(path, b"longer"),
    "open": lambda fs, path: write(fs, path, b"longer"),
    "copy": lambda fs, path: fs.copy(path + "-source", path),
    "parts": lambda fs, path: fs.pipe_file(path, b"x" * (11 * 2**20), chunksize=5 * 2**20),
    "put_if": lambda fs, path: fs.put_if(path, b"longer", if_match=fs.head_object(path)["ETag"]),
}


def write(fs, path, data):
    with fs.open(path, "wb") as file:
        file.write(data)


@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("another", [False, True], ids=["the same instance", "another instance"])
def test_an_overwritten_object_is_seen_at_once(make_fs, bucket, how, another):
    reader = make_fs(view_freshness=3600)
    path = f"{bucket}/d/x"
    reader.pipe({path: b"old", path + "-source": b"longer"})
    assert reader.info(path)["size"] == 3
    assert len(reader.ls(f"{bucket}/d")) == 2
    WRITES[how](make_fs() if another else reader, path)
    assert reader.info(path)["size"] >= 6
    assert reader.cat_file(path).startswith((b"longer", b"xxx"))
    with reader.open(path) as file:
        assert file.read(3) in {b"lon", b"xxx"}


def test_a_deleted_object_is_gone_at_once(make_fs, bucket):
    reader, writer = make_fs(view_freshness=3600), make_fs()
    reader.pipe({f"{bucket}/d/{name}": b"1" for name in "abc"})
    assert len(reader.ls(f"{bucket}/d", detail=False)) == 3
    writer.rm_file(f"{bucket}/d/a")
    assert reader.ls(f"{bucket}/d", detail=False) == [f"{bucket}/d/b", f"{bucket}/d/c"]
    writer.rm([f"{bucket}/d/b", f"{bucket}/d/c"])
    assert not reader.exists(f"{bucket}/d")


def test_others_writes_are_seen_when_the_listing_is_old(make_fs, server, bucket, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tierlake.connector.client.listing_cache.time.time", lambda: now[0])
    reader = make_fs(view_freshness=10)
    reader.pipe_file(f"{bucket}/d/x", b"1")
    assert len(reader.ls(f"{bucket}/d")) == 1
    server.admin.put_object(Bucket=bucket, Key="d/y", Body=b"1")
    now[0] += 9
    assert len(reader.ls(f"{bucket}/d")) == 1
    now[0] += 2
    assert len(reader.ls(f"{bucket}/d")) == 2


def test_a_rewritten_parquet_folder_is_read_again(make_fs, server, bucket, monkeypatch):
    """Old sizes and ETags from a listing would make the second read fail."""
    import pandas as pd

    now = [1000.0]
    monkeypatch.setattr("tierlake.connector.client.listing_cache.time.time", lambda: now[0])
    reader = make_fs()
    for rows in (10, 10_000):
        data = pd.DataFrame({"x": range(rows)}).to_parquet()
        server.admin.put_object(Bucket=bucket, Key="weather/month=2013-01/x.parquet", Body=data)
        assert len(pd.read_parquet(f"{bucket}/weather", filesystem=reader)) == rows
        now[0] += 2


def test_s3fs_options_win(make_fs, bucket):
    assert make_fs(listings_expiry_time=60).dircache.listings_expiry_time == 60
    off = make_fs(use_listings_cache=False)
    off.ls(bucket)
    assert len(off.dircache) == 0


def test_nothing_vanishes_between_question_and_answer(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tierlake.connector.client.listing_cache.time.time", lambda: now[0])
    cache = ListingCache(listings_expiry_time=1)
    cache["a"] = [1]
    now[0] = 1.0
    assert "a" in cache
    now[0] = 1.01
    assert "a" not in cache
    assert cache["a"] == [1]
    now[0] = 1.1
    with pytest.raises(KeyError):
        cache["a"]
    with pytest.raises(KeyError):
        cache["b"]


TREE = ("a", "a/b/c/1", "a/b/2", "a/b.x/3", "a/b-/4", "a/5", "6", "a/b/", "a/empty/", "z/y/x/7")
"""With an object that is also a folder, a folder that an object stands for, and an empty one."""


@pytest.mark.parametrize("start", ["", "/a", "/a/b", "/z"])
@pytest.mark.parametrize("withdirs", [True, False])
def test_a_deep_listing_fills_the_cache_with_what_each_folder_lists(fs, server, bucket, start, withdirs):
    for key in TREE:
        if key != "a" or server.name != "minio":  # there it would hide what is below
            server.admin.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"1")
    found = fs.find(f"{bucket}{start}", withdirs=withdirs)
    cached = {folder: fs.dircache[folder] for folder in fs.dircache}
    assert cached
    folders = {path.rpartition("/")[0] for path in found if f"{path}/".startswith(f"{bucket}{start}/")}
    assert {folder for folder in folders if "/" in folder} - {f"{bucket}{start}".rpartition("/")[0]} <= cached.keys()
    for folder, entries in cached.items():
        assert entries == fs.ls(folder, detail=True, refresh=True), folder


def test_finding_with_folders_is_s3fs_own(fs, server, bucket):
    """One way instead of two must not change what is found."""
    s3 = s3fs.S3FileSystem(
        endpoint_url=server.endpoint_url, key=server.key, secret=server.secret, skip_instance_cache=True
    )
    for key in TREE[1:]:
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"1")
    for start in ("", "/a", "/a/b", "/a/5", "/nothing", "/z"):
        for options in ({"withdirs": True}, {"withdirs": True, "prefix": "b"}, {"prefix": "b"}, {}):
            s3.invalidate_cache()  # it leaves out what it remembers
            theirs = s3.find(f"{bucket}{start}", **options)
            if "withdirs" not in options:
                theirs = [name for name in theirs if not name.endswith("/")]
            assert fs.find(f"{bucket}{start}", **options) == theirs, (start, options)


ASKED = {
    "open": lambda fs, path: fs.open(path).read() == b"new",
    "info": lambda fs, path: fs.info(path)["size"] == 3,
    "exists": lambda fs, path: fs.exists(path),
    "isfile": lambda fs, path: fs.isfile(path),
    "isdir above": lambda fs, path: fs.isdir(path.rpartition("/")[0]),
    "cat": lambda fs, path: fs.cat(path) == b"new",
    "ls": lambda fs, path: fs.ls(path, detail=False) == [path],
}


@pytest.mark.parametrize("key", ["d/y", "d/deep/er/y", "e/y", "y"])
@pytest.mark.parametrize("ask", ASKED)
def test_what_another_client_wrote_is_there_whatever_is_remembered(make_fs, server, bucket, ask, key):
    fs = make_fs(view_freshness=3600)
    server.admin.put_object(Bucket=bucket, Key="d/x", Body=b"old")
    server.admin.put_object(Bucket=bucket, Key="d/deep/x", Body=b"old")
    for folder in ("", "/d", "/d/deep"):
        fs.ls(f"{bucket}{folder}")
    server.admin.put_object(Bucket=bucket, Key=key, Body=b"new")
    assert ASKED[ask](fs, f"{bucket}/{key}")
    assert not fs.exists(f"{bucket}/d/nothing")
    with pytest.raises(FileNotFoundError):
        fs.open(f"{bucket}/d/nothing")


@pytest.mark.parametrize("find", ["find", "find with folders", "glob"])
def test_what_is_found_can_be_opened(make_fs, server, bucket, find):
    """Also where an older listing has another object of that name, or one that is gone."""
    fs = make_fs(view_freshness=3600)
    for key in ("d/x", "d/gone", "d/deep/x"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"old")
    for folder in ("", "/d", "/d/deep"):
        fs.ls(f"{bucket}{folder}")
    server.admin.delete_object(Bucket=bucket, Key="d/gone")
    for key in ("d/x", "d/deep/x", "d/deeper/y", "d/y"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"new and longer")
    if find == "glob":
        found = [path for path in fs.glob(f"{bucket}/d/**") if fs.isfile(path)]
    else:
        found = [path for path in fs.find(f"{bucket}/d", withdirs=find != "find") if fs.isfile(path)]
    assert found == [f"{bucket}/{key}" for key in ("d/deep/x", "d/deeper/y", "d/x", "d/y")]
    for path in found:
        with fs.open(path) as file:
            assert file.read() == b"new and longer"
    assert not fs.exists(f"{bucket}/d/gone")
    assert fs.ls(f"{bucket}/d", detail=False) == [f"{bucket}/d/{name}" for name in ("deep", "deeper", "x", "y")]


@pytest.mark.slow
def test_forgetting_never_fails(make_offline):
    """A write has succeeded by then: whatever other threads do to the listings, it must not raise."""
    fs = make_offline()
    stop, failures = threading.Event(), []

    def work(what):
        while not stop.is_set():
            try:
                what()
            except Exception as error:  # noqa: BLE001 -- any is one too many
                failures.append(error)
                return

    def remember():
        for number in range(20):
            fs.dircache[f"b/d{number}"] = [{"name": f"b/d{number}/x", "type": "file"}]

    kinds = [
        remember,
        lambda: forget_everywhere(fs.endpoint, [f"b/d{number}/x" for number in range(20)]),
        lambda: forget_everywhere(fs.endpoint, [f"b/d{number}/x" for number in range(20)]),
        lambda: fs.invalidate_cache("b/d1/x"),
        fs.invalidate_cache,
        lambda: [make_offline() for _ in range(3)],
    ]
    threads = [threading.Thread(target=work, args=(kind,)) for kind in kinds]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        stop.wait(2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert failures == []


def test_a_listing_that_was_overtaken_by_a_write_is_not_remembered(make_fs, server, bucket):
    """The answer to a listing arrives after a write of this process that it does not show."""
    writer = make_fs()
    writer.pipe_file(f"{bucket}/d/x", b"old")

    def write(request):
        if request.method == "GET" and "list-type=2" in request.target and "delimiter=&" in request.target + "&":
            writer.pipe_file(f"{bucket}/d/x", b"longer")

    with Proxy(server.endpoint_url, after=write) as proxy:
        reader = make_fs(endpoint_url=proxy.url, view_freshness=3600)
        reader.store.cache.endpoint = writer.endpoint  # it is the same server
        reader.find(f"{bucket}/d")
        assert reader.info(f"{bucket}/d/x")["size"] == 6


class Count:
    """Calls of functions, ours and the libraries', in the thread that does the work."""

    def __init__(self):
        self.calls = 0

    def __call__(self, frame, event, argument):
        self.calls += event in {"call", "c_call"}


VISITS = {
    "find": lambda fs, folder: fs._find(folder),
    "isdir": lambda fs, folder: fs._isdir(folder),
    "info of a folder": lambda fs, folder: fs._info(folder),
    "info of a file": lambda fs, folder: fs._info(f"{folder}.parquet"),
    "ls": lambda fs, folder: fs._ls(folder),
}


@pytest.mark.parametrize("visit", VISITS)
def test_visiting_each_folder_of_the_store_is_linear(make_offline, visit, monkeypatch):
    """Each visit compared a path with all of its siblings, or looked at all listings that are remembered."""

    def steps(folders):
        fs = make_offline(view_freshness=3600, raw=True)
        names = [f"b/t/date={number}" for number in range(folders)]
        objects = [file_info(f"{name}/x.parquet", 1) for name in names] + [file_info(f"{n}.parquet", 1) for n in names]
        by_folder = folders_of(objects, "b")

        async def listed(self, path, **kwargs):  # what the server would say
            return by_folder.get(path.rstrip("/"), [])

        monkeypatch.setattr(TableListings, "_stored", listed)

        def remember():
            fs.dircache.clear()
            for folder, entries in by_folder.items():
                fs.dircache[folder] = entries

        async def work():
            for name in names:
                await VISITS[visit](fs, name)

        remember()
        count = Count()
        sys.setprofile(count)
        try:
            asyncio.run(work())
        finally:
            sys.setprofile(None)
        return count.calls

    steps(5)  # what is done once in a process
    once, twice = steps(200), steps(400)
    assert twice <= 2.5 * once


@given(st.lists(st.tuples(st.sampled_from(["set", "pop", "clear"]), st.sampled_from(TREE)), max_size=30))
def test_what_is_remembered_below_a_folder(acts):
    cache, known = ListingCache(), set()
    for act, key in acts:
        folder = f"b/{key.rstrip('/')}"
        if act == "set":
            cache[folder] = [{"name": f"{folder}/x", "type": "file"}]
            known.add(folder)
        elif act == "pop":
            cache.pop(folder)
            known.discard(folder)
        else:
            cache.clear()
            known.clear()
        for start in ("b", "b/a", "b/a/b", "b/z"):
            assert sorted(cache.below(start)) == sorted(one for one in known if f"{one}/".startswith(f"{start}/"))
    for folder in list(known):
        assert cache.entries(folder, f"{folder}/x") == cache[folder]
        assert cache.entries(folder, "b/other") == []
        cache.pop(folder)
        assert cache.entries(folder, f"{folder}/x") is None
    assert not cache._inside
    assert not cache._named


def test_finding_below_a_folder_makes_its_listing_no_younger(make_fs, server, bucket, monkeypatch):
    """A listing above that was looked at again and again never expired."""
    now = [1000.0]
    monkeypatch.setattr("tierlake.connector.client.listing_cache.time.time", lambda: now[0])
    reader = make_fs(view_freshness=10)
    for key in ("d/a/x", "d/b/x"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"1")
    assert len(reader.ls(f"{bucket}/d")) == 2
    server.admin.put_object(Bucket=bucket, Key="d/c/x", Body=b"1")
    for _ in range(4):
        now[0] += 4
        assert reader.find(f"{bucket}/d/a") == [f"{bucket}/d/a/x"]
    assert len(reader.ls(f"{bucket}/d")) == 3
