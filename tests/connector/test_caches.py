"""No listing is stale after a write of this process, and none for long after anybody's."""

from __future__ import annotations

import pytest

from connector.caches import ListingCache

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
    monkeypatch.setattr("connector.caches.time.time", lambda: now[0])
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
    monkeypatch.setattr("connector.caches.time.time", lambda: now[0])
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
    monkeypatch.setattr("connector.caches.time.time", lambda: now[0])
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


def test_a_deep_listing_fills_the_cache_with_what_each_folder_lists(fs, server, bucket):
    for key in ("a/b/c/1", "a/b/2", "a/b.x/3", "a/b-/4", "a/5", "6", "a/empty/", "z/y/x/7"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"1")
    assert len(fs.find(bucket)) == 7
    cached = {folder: [entry["name"] for entry in fs.dircache[folder]] for folder in fs.dircache}
    assert {f"{bucket}/a", f"{bucket}/a/b", f"{bucket}/z/y"} <= cached.keys()
    for folder, names in cached.items():
        listed = fs.ls(folder, detail=False, refresh=True)
        assert names == sorted(name for name in listed if not name.endswith("/")), folder
