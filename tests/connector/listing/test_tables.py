"""Tables behind lake://: listings show what is committed, raw writes are refused; with a format made for the test."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time

import pandas as pd
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import InvalidName, ObjectNotFound, TableWriteRefused
from tierlake.connector.listing import tables
from tierlake.connector.listing.committed import Listing
from tierlake.connector.listing.views import register_view, unregister_view, view_providers
from tierlake.connector.objects.delete import SeenObject

pytestmark = pytest.mark.each_value

DAYS = ("date=2013-01-01", "date=2013-01-02")


class ListedTable:
    """A table whose committed files are in one JSON object."""

    def __init__(self, root, files, version):
        self.root, self.version, self._files = root, version, files

    def files(self):
        return self._files


class ListedViews:
    marker = "_list/"
    description = ""
    proofs = ("_list/live.json",)
    hidden = ("_list", "_lake")

    def __init__(self):
        self.opened = []

    def open(self, fs, root):
        self.opened.append(root)
        document, etag = fs.read_with_etag(f"{root}/_list/live.json")
        return ListedTable(root, json.loads(document), etag)


@pytest.fixture
def views():
    provider = ListedViews()
    register_view("listed", provider)
    yield provider
    unregister_view("listed")


@pytest.fixture
def parquet():
    buffer = io.BytesIO()
    pd.DataFrame({"x": [1, 2]}).to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def table(views, fs, bucket, parquet):
    """A table of two days: each has a live file, and one that was replaced."""
    root = f"{bucket}/air/flights"
    writer = fs.for_table(root)
    for day in DAYS:
        writer.pipe_file(f"{root}/{day}/live.parquet", parquet)
        writer.pipe_file(f"{root}/{day}/old.parquet", parquet)
    writer.pipe_file(f"{root}/date=2013-01-03/", b"")
    writer.pipe_file(f"{root}/_lake/dataset.json", b"{}")
    commit(writer, root, {f"{day}/live.parquet": len(parquet) for day in DAYS})
    return root


def commit(writer, root, files):
    writer.pipe_file(f"{root}/_list/live.json", json.dumps(files).encode())
    writer.invalidate_view(root)


def test_listings_show_what_is_committed(fs, table):
    live = [f"{table}/{day}/live.parquet" for day in DAYS]
    folders = [f"{table}/{day}" for day in DAYS]
    assert fs.ls(table, detail=False) == folders
    assert fs.ls(f"lake://{table}/{DAYS[0]}/", detail=False) == live[:1]
    assert fs.find(table) == live
    assert fs.find(table, maxdepth=1) == []
    assert fs.find(table, maxdepth=1, withdirs=True) == [table, *folders]
    assert fs.find(table, prefix="date=2013-01-02") == live[1:]
    assert fs.find(live[0]) == live[:1]
    assert sorted(fs.find(table, withdirs=True)) == sorted([table, *live, *folders])
    assert fs.glob(f"{table}/*/*.parquet") == live
    assert fs.glob(f"{table}/**/old.parquet") == []
    assert list(fs.walk(table)) == [
        (table, [*DAYS], []),
        (folders[0], [], ["live.parquet"]),
        (folders[1], [], ["live.parquet"]),
    ]
    assert fs.du(table) == sum(entry["size"] for entry in fs.find(table, detail=True).values())


def test_questions_about_single_paths(fs, table, parquet):
    live, old = f"{table}/{DAYS[0]}/live.parquet", f"{table}/{DAYS[0]}/old.parquet"
    assert fs.info(live) == {"Key": live, "name": live, "Size": len(parquet), "size": len(parquet), "type": "file"}
    assert fs.info(table)["type"] == fs.info(f"{table}/{DAYS[0]}")["type"] == "directory"
    assert fs.isfile(live)
    assert fs.isdir(table)
    assert fs.isdir(f"{table}/{DAYS[1]}")
    assert not fs.isdir(live)
    assert not fs.exists(f"{table}/date=2013-01-03")
    assert not fs.isdir(f"{table}/date=2013-01-03")
    assert fs.exists(old), "a file that left the table stays readable until it is deleted"
    with fs.open(old) as file:
        assert file.read() == parquet
    with pytest.raises(FileNotFoundError):
        fs.ls(old)
    with pytest.raises(ObjectNotFound):
        fs.info(f"{table}/date=2013-01-03")


def test_readers_side_files_are_not_looked_for(fs, table, server):
    """What is in the store under their names is no part of the table."""
    bucket, _, root = table.partition("/")
    server.admin.put_object(Bucket=bucket, Key=f"{root}/_metadata", Body=b"1")
    assert fs.exists(f"{table}/{DAYS[0]}/live.parquet")
    for name in ("_metadata", "_common_metadata", f"{DAYS[0]}/_metadata"):
        assert not fs.exists(f"{table}/{name}")


@pytest.mark.parametrize("name", ["flights.v2", "_flights"])
def test_a_root_that_is_spelled_as_a_file_is_found(views, fs, make_fs, bucket, parquet, name):
    root = f"{bucket}/air/{name}"
    writer = fs.for_table(root)
    for file in ("live", "old"):
        writer.pipe_file(f"{root}/{DAYS[0]}/{file}.parquet", parquet)
    commit(writer, root, {f"{DAYS[0]}/live.parquet": len(parquet)})
    assert fs.isdir(root)
    reader = make_fs()
    assert reader.info(root)["type"] == "directory"
    assert reader.find(root) == [f"{root}/{DAYS[0]}/live.parquet"]
    with pytest.raises(TableWriteRefused):
        reader.pipe_file(f"{root}/x", b"1")


@pytest.mark.slow
def test_what_the_listing_lacks_is_fetched(fs, table):
    live = f"{table}/{DAYS[0]}/live.parquet"
    head = fs.head_object(live)
    assert fs.info(live, refresh=True)["ETag"] == head["ETag"]
    assert fs.modified(live) == head["LastModified"]
    assert fs.checksum(live) == int(head["ETag"].strip('"'), 16)
    assert fs.ukey(live)
    assert len(fs.cat_file(live, start=1, end=5)) == 4
    assert fs.cat([live]) == {live: fs.cat_file(live)}


def test_the_log_and_what_is_above_are_the_store(fs, table, bucket):
    assert fs.ls(f"{table}/_list", detail=False) == [f"{table}/_list/live.json"]
    assert fs.cat_file(f"{table}/_lake/dataset.json") == b"{}"
    assert f"{table}/{DAYS[0]}/old.parquet" in fs.find(bucket)
    raw = LakeFileSystem(**fs.storage_options, raw=True)
    assert f"{table}/{DAYS[0]}/old.parquet" in raw.find(table)


def test_readers_see_the_table(fs, table, server):
    assert pd.read_parquet(f"lake://{table}", storage_options=server.storage_options)["x"].sum() == 6
    dataset = ds.dataset(table, filesystem=fs, partitioning="hive")
    assert dataset.to_table().num_rows == 4
    assert dataset.to_table(filter=ds.field("date") == "2013-01-02").num_rows == 2


def test_a_commit_is_seen_at_once_in_this_process(fs, make_fs, table):
    reader = make_fs(view_freshness=3600)
    assert len(reader.find(table)) == 2
    commit(fs.for_table(table), table, {f"{DAYS[1]}/old.parquet": 1})
    assert reader.find(table) == fs.find(table) == [f"{table}/{DAYS[1]}/old.parquet"]


def test_others_commits_are_seen_when_the_look_is_old(make_fs, table, server, views):
    start = time.monotonic()
    now = [start]
    reader = make_fs(view_freshness=10)
    reader.views._clock = lambda: now[0]
    assert len(reader.find(table)) == 2
    bucket, _, prefix = table.partition("/")
    server.admin.put_object(Bucket=bucket, Key=f"{prefix}/_list/live.json", Body=b"{}")
    opened = len(views.opened)
    now[0] = start + 9.9
    assert len(reader.find(table)) == 2
    assert len(views.opened) == opened
    now[0] = start + 10.1
    assert reader.find(table) == []


def test_freshness_0_looks_each_time(make_fs, table, views):
    reader = make_fs(view_freshness=0)
    opened = len(views.opened)
    reader.isdir(table)
    reader.isdir(table)
    assert len(views.opened) == opened + 2


def test_no_table_is_remembered_for_a_while(make_fs, bucket, views):
    now, probes = [0.0], []
    reader = make_fs()
    reader.views._clock = lambda: now[0]
    plain = reader.views._has_marker

    async def counted(root, provider):
        if isinstance(provider, ListedViews):
            probes.append(root)
        return await plain(root, provider)

    reader.views._has_marker = counted
    reader.exists(f"{bucket}/plain/date=1/deep/x")
    looked_at = [bucket, f"{bucket}/plain", f"{bucket}/plain/date=1/deep"]
    assert sorted(probes) == looked_at, "segments with = are never looked at, nor what is a file"
    reader.exists(f"{bucket}/plain/date=2/x")
    assert len(probes) == 3
    now[0] = 31
    reader.exists(f"{bucket}/plain/date=2/x")
    assert len(probes) == 5


def test_who_writes_many_at_once_looks_once(make_fs, bucket):
    writer, asked = make_fs(view_freshness=60), []
    send = writer.store.gateway.send

    async def counted(operation, **params):
        asked.append((operation, params.get("Prefix")))
        return await send(operation, **params)

    writer.store.gateway.send = counted
    writer.pipe({f"{bucket}/many/{number}": b"1" for number in range(40)})
    assert len(asked) == len(set(asked)) > 0
    assert len(writer.find(f"{bucket}/many")) == 40


def test_a_table_that_is_deleted_is_none(fs, table, server, parquet):
    assert len(fs.find(table)) == 2
    bucket, _, prefix = table.partition("/")
    for key in server.keys(bucket, f"{prefix}/_list"):
        server.admin.delete_object(Bucket=bucket, Key=key)
    fs.invalidate_view(table)
    assert f"{table}/{DAYS[0]}/old.parquet" in fs.find(table)
    fs.pipe_file(f"{table}/x", parquet)


@pytest.mark.parametrize(
    "call",
    [
        lambda fs, root: fs.pipe_file(f"{root}/x", b"1"),
        lambda fs, root: fs.pipe_file(f"{root}/{DAYS[0]}/x.parquet", b"1"),
        lambda fs, root: fs.pipe_file(f"{root}/_list/live.json", b"{}"),
        lambda fs, root: fs.open(f"{root}/x", "wb").close(),
        lambda fs, root: fs.touch(f"{root}/x"),
        lambda fs, root: fs.copy(f"{root}/{DAYS[0]}/live.parquet", f"{root}/{DAYS[0]}/copy.parquet"),
        lambda fs, root: fs.put_if(f"{root}/_lake/dataset.json", b"{}", if_none_match=True),
        lambda fs, root: fs.rm(root, recursive=True),
        lambda fs, root: fs.rm(root.partition("/")[0] + "/air", recursive=True),
        lambda fs, root: fs.rm_file(f"{root}/{DAYS[0]}/old.parquet"),
        lambda fs, root: fs.rm(f"{root}/{DAYS[0]}/live.parquet"),
        lambda fs, root: fs.delete_versions(f"{root}/{DAYS[0]}/old.parquet", ["null"]),
        lambda fs, root: fs.delete_seen([SeenObject(f"{root}/{DAYS[0]}/old.parquet")]),
        lambda fs, root: fs.merge(f"{root}/x", [f"{root}/{DAYS[0]}/live.parquet"]),
        lambda fs, root: fs.presign(f"{root}/x", method="PUT"),
        lambda fs, root: fs.for_table(f"{root}-other").pipe_file(f"{root}/x", b"1"),
        lambda fs, root: LakeFileSystem(**fs.storage_options, raw=True).touch(f"{root}/x"),
    ],
)
def test_a_raw_write_is_refused(fs, table, server, call):
    bucket = table.partition("/")[0]
    before = server.heads(bucket)
    with pytest.raises(TableWriteRefused, match=r"Dataset\.open"):
        call(fs, table)
    after = server.heads(bucket)
    assert {key: head["ETag"] for key, head in after.items()} == {key: head["ETag"] for key, head in before.items()}


def test_the_tables_own_filesystem_may_write(fs, table):
    writer = fs.for_table(f"lake://{table}/")
    assert writer is fs.for_table(table)
    writer.pipe_file(f"{table}/{DAYS[0]}/new.parquet", b"1")
    writer.rm(f"{table}/{DAYS[0]}/new.parquet")


def test_a_new_table_is_guarded_within_a_second(make_fs, bucket, views):
    now = [0.0]
    fs = make_fs()
    fs.views._clock = lambda: now[0]
    fs.pipe_file(f"{bucket}/t/x", b"1")
    make_fs().for_table(f"{bucket}/t").pipe_file(f"{bucket}/t/_list/live.json", b"{}")
    now[0] = 1.1
    with pytest.raises(TableWriteRefused):
        fs.pipe_file(f"{bucket}/t/x", b"1")


def test_a_transition_is_no_raw_write(fs, table, other_class):
    """It changes where the bytes are, and none of them."""
    live = f"{table}/{DAYS[0]}/live.parquet"
    assert fs.transition(live, storage_class=other_class).changed
    assert fs.isfile(live)


def test_async_users_see_the_table_too(server, table):
    async def look():
        fs = LakeFileSystem(**server.storage_options, asynchronous=True, skip_instance_cache=True)
        session = await fs.set_session()
        try:
            assert len(await fs._find(table)) == 2
            assert await fs._isdir(table)
            with pytest.raises(TableWriteRefused):
                await fs._pipe_file(f"{table}/x", b"1")
        finally:
            await session.close()

    asyncio.run(look())


def test_a_path_that_is_no_key(fs, table):
    with pytest.raises(InvalidName):
        fs.info(f"{table}/../x")


def test_the_entry_point_is_found():
    assert any(provider.marker == "_delta_log/" for provider in view_providers())


def test_a_large_listing_is_indexed_in_one_pass():
    files = {f"a={a}/b={b}/part-{n}.parquet": 1 for a in range(30) for b in range(30) for n in range(3)}
    listing = Listing("bucket/t", ListedTable("bucket/t", files, 1))
    assert len(listing.find("bucket/t", maxdepth=None, withdirs=False, prefix="")) == len(files)
    assert len(listing.find("bucket/t", maxdepth=None, withdirs=True, prefix="")) == len(files) + 30 * 30 + 30 + 1
    assert len(listing.children("bucket/t/a=7")) == 30
    assert [entry["name"] for entry in listing.children("bucket/t/a=7/b=3", "part-1")] == [
        "bucket/t/a=7/b=3/part-1.parquet"
    ]
    assert listing.info("bucket/t/a=31") is None


def steps_of(work):
    """Calls of functions, ours and the libraries'."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "visit",
    [
        lambda listing, folder: listing.find(folder, maxdepth=None, withdirs=False, prefix=""),
        lambda listing, folder: listing.find(folder, maxdepth=1, withdirs=True, prefix="part"),
        lambda listing, folder: listing.children(folder),
        lambda listing, folder: listing.info(folder),
    ],
    ids=["find", "find with folders", "children", "info"],
)
def test_visiting_each_folder_is_linear(visit):
    """Each `find` looked at all files of the table."""

    def steps(partitions):
        files = {f"date={number}/part-{part}.parquet": 1 for number in range(partitions) for part in range(2)}
        listing = Listing("b/t", ListedTable("b/t", files, 1))
        return steps_of(lambda: [visit(listing, f"b/t/date={number}") for number in range(partitions)])

    steps(5)  # what is done once in a process
    once, twice = steps(200), steps(400)
    assert twice <= 2.5 * once


NAMES = st.sampled_from(["a", "b", "a=1", "a.b"])


@given(st.sets(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=12), st.data())
def test_finding_is_looking_at_all(paths, data):
    listing = Listing("b/t", ListedTable("b/t", dict.fromkeys(paths, 1), 1))
    start = data.draw(st.sampled_from(["", "/a", "/a/b", "/a=1", "/nothing"]))
    maxdepth, withdirs = data.draw(st.sampled_from([None, 1, 2])), data.draw(st.booleans())
    prefix = data.draw(st.sampled_from(["", "a", "a=", "b"]))
    folders = {path.rsplit("/", up)[0] for path in paths for up in range(1, path.count("/") + 1)}
    base = f"{start[1:]}/" if start else ""
    below = {one for one in paths | (folders if withdirs else set()) if one.startswith(base + prefix) and one != base}
    expected = {f"b/t/{one}" for one in below if maxdepth is None or one.count("/", len(base)) < maxdepth}
    if withdirs and not prefix and (start[1:] in folders or not start):
        expected.add(f"b/t{start}")
    if start[1:] in paths:
        expected = {f"b/t{start}"} if not prefix else set()
    found = listing.find(f"b/t{start}", maxdepth=maxdepth, withdirs=withdirs, prefix=prefix)
    assert [entry["name"] for entry in found] == sorted(expected)


class TellingViews(ListedViews):
    """Says whether a table has changed."""

    def is_current(self, fs, root, version):
        return fs.read_with_etag(f"{root}/_list/live.json")[1] == version


@pytest.fixture
def telling():
    provider = TellingViews()
    register_view("listed", provider)
    yield provider
    unregister_view("listed")


def test_a_walk_that_takes_long_reads_the_table_once(make_fs, bucket, telling):
    """Each second of it the table was read as a whole: twice the partitions were four times the work."""

    def opened(partitions):
        root, now = f"{bucket}/t{partitions}", [1e9]
        writer = make_fs().for_table(root)
        commit(writer, root, {f"date={number}/x.parquet": 1 for number in range(partitions)})
        reader = make_fs(view_freshness=1)
        before = len(telling.opened)

        def ticking():
            now[0] += 0.01
            return now[0]

        reader.views._clock = ticking
        assert len(list(reader.walk(root))) == partitions + 1
        return len(telling.opened) - before

    assert opened(40) == opened(80) == 1


def test_a_commit_in_a_walk_is_seen(make_fs, bucket, telling):
    root, now = f"{bucket}/t", [1e9]
    writer = make_fs().for_table(root)
    commit(writer, root, {"a=1/x.parquet": 1})
    reader = make_fs(view_freshness=1)
    reader.views._clock = lambda: now[0]
    assert len(reader.find(root)) == 1
    writer.pipe_file(f"{root}/_list/live.json", b'{"a=1/x.parquet": 1, "a=2/x.parquet": 1}')
    now[0] += 2
    assert len(reader.find(root)) == 2


def test_what_is_known_of_paths_is_bounded(make_offline, monkeypatch):
    """Of commits that are forgotten it is known that they were no later than one."""
    now = [0.0]
    views = make_offline().views
    views._clock = lambda: now[0]
    monkeypatch.setattr(tables, "_committed", tables._Commits(2))
    for root in ("a", "b", "c"):
        now[0] += 1
        views.invalidate(root)
    endpoint = views._store.endpoint
    assert [tables._committed.latest(endpoint, root) for root in ("a", "b", "c", "never")] == [1, 2, 3, 1]
    for number in range(50):
        views._no_table[f"b/{number}"] = now[0]
        views._denied.add((f"b/{number}", "m"))
    now[0] += 10_000
    assert not views._no_table
    assert not views._denied


async def walked(fs, root):
    return [folder async for folder in fs._walk(root)]


async def listed(fs, root):
    return [await fs._ls(folder["name"]) for folder in await fs._ls(root, detail=True)]


async def globbed(fs, root):
    return [await fs._glob(f"{folder}/*.parquet") for folder in await fs._glob(f"{root}/date=*")]


async def looked_at(fs, root):
    return [(await fs._info(name), await fs._isdir(name), await fs._exists(name)) for name in await fs._find(root)]


@pytest.mark.parametrize("visit", [walked, listed, globbed, looked_at])
def test_going_through_a_table_is_linear(make_offline, views, visit):
    """Whichever way; nobody is asked, as the table was looked at a moment ago."""

    def steps(partitions):
        fs, root = make_offline(view_freshness=3600, asynchronous=True), "b/air/flights"
        files = {f"date={number}/part-{part}.parquet": 1 for number in range(partitions) for part in range(2)}
        known = tables._Loaded(Listing(root, ListedTable(root, files, 1)), time.monotonic())
        fs.views._providers[root], fs.views._loaded[root] = views, known
        answers = []

        async def work():
            answers.extend(await visit(fs, root))

        count = steps_of(lambda: asyncio.run(work()))
        assert len(answers) >= partitions
        return count

    steps(5)  # what is done once in a process
    once, twice = steps(100), steps(200)
    assert twice <= 2.5 * once
