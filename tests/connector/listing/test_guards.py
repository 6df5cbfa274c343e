"""Raw writes that would break a table are refused: onto its root, and where listing is denied too."""

from __future__ import annotations

import pandas as pd
import pytest
from fsspec.asyn import sync

from tests.servers.roles import with_policy
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import TableWriteRefused, UnsupportedByServer
from tierlake.connector.listing.views import register_view, unregister_view

pytestmark = pytest.mark.each_value


class MarkedTable:
    version = 1

    def __init__(self, root):
        self.root = root

    def files(self):
        return {"day=1/x": 1}


class Marked:
    marker = "_marked/"
    description = "_lake/described.json"
    proofs = ("_marked/first", "_marked/later")
    hidden = ("_marked", "_lake")

    def describes(self, description):
        return True

    def open(self, fs, root):
        return MarkedTable(root)


@pytest.fixture(autouse=True)
def views():
    register_view("marked", Marked())
    yield
    unregister_view("marked")


KINDS = {"a table": "_marked/later", "a described dataset": "_lake/described.json"}


@pytest.fixture(params=KINDS)
def root(request, server, bucket):
    """A table's root; or that of files which only a description makes a table of."""
    for key in (KINDS[request.param], "day=1/x"):
        server.admin.put_object(Bucket=bucket, Key=f"w/t/{key}", Body=b"1")
    return f"{bucket}/w/t"


ONTO = {
    "pipe": lambda fs, root: fs.pipe(root, b"1"),
    "open": lambda fs, root: fs.open(root, "wb").close(),
    "parts": lambda fs, root: fs.pipe_file(root, b"x" * (11 * 2**20), chunksize=5 * 2**20),
    "touch": lambda fs, root: fs.touch(root),
    "cp": lambda fs, root: (fs.pipe(f"{root}-source", b"1"), fs.cp_file(f"{root}-source", root)),
    "mv": lambda fs, root: (fs.pipe(f"{root}-source", b"1"), fs.mv([f"{root}-source"], [root])),
    "put_if": lambda fs, root: fs.put_if(root, b"1", if_none_match=True),
    "merge": lambda fs, root: fs.merge(root, [f"{root}/day=1/x"]),
    "presign": lambda fs, root: fs.presign(root, method="PUT"),
    "presign_post": lambda fs, root: fs.presign_post(root),
    "pandas": lambda fs, root: pd.DataFrame({"x": [1]}).to_parquet(
        f"lake://{root}", storage_options=fs.storage_options
    ),
    "csv": lambda fs, root: pd.DataFrame({"x": [1]}).to_csv(f"lake://{root}", storage_options=fs.storage_options),
    "raw": lambda fs, root: LakeFileSystem(**fs.storage_options, raw=True).touch(root),
    "its own filesystem": lambda fs, root: fs.for_table(root).touch(root),
    "another table's": lambda fs, root: fs.for_table(f"{root}/day=1").touch(root),
}


@pytest.mark.parametrize("write", ONTO)
def test_no_object_takes_the_place_of_a_root(fs, server, root, write):
    bucket = root.partition("/")[0]
    with pytest.raises(TableWriteRefused, match=r"Dataset\.open"):
        ONTO[write](fs, root)
    assert "w/t" not in server.keys(bucket)
    assert fs.find(f"{root}/day=1") == [f"{root}/day=1/x"]
    assert not server.admin.list_multipart_uploads(Bucket=bucket, Prefix="w/t").get("Uploads")


def test_one_that_is_there_all_the_same_can_be_deleted(fs, server, root):
    bucket = root.partition("/")[0]
    server.admin.put_object(Bucket=bucket, Key="w/t", Body=b"1")
    fs.rm_file(root)
    assert "w/t" not in server.keys(bucket)


@pytest.mark.slow
def test_beside_a_root_all_is_as_ever(fs, server, root):
    for path in (f"{root}-2", f"{root}2", f"{root.rpartition('/')[0]}/a"):
        fs.pipe(path, b"1")
        assert fs.cat(path) == b"1"


def test_an_object_in_the_place_of_a_folder(fs, server, bucket):
    """MinIO lists nothing below it any more."""
    fs.pipe(f"{bucket}/d/x", b"1")
    if fs.profile.objects_hide_folders:
        with pytest.raises(UnsupportedByServer, match="vanish"):
            fs.pipe(f"{bucket}/d", b"2")
    else:
        fs.pipe(f"{bucket}/d", b"2")
        assert fs.cat(f"{bucket}/d") == b"2"
    assert fs.find(f"{bucket}/d") == [f"{bucket}/d/x"]


def test_a_folder_that_came_a_moment_ago_is_seen(make_fs, bucket):
    """One look is good for all names in a folder, until this process writes below it."""
    fs = make_fs(view_freshness=3600)
    fs.pipe(f"{bucket}/y", b"1")
    fs.for_table(f"{bucket}/t").pipe(f"{bucket}/t/_marked/first", b"1")
    fs.invalidate_view(f"{bucket}/t")
    with pytest.raises(TableWriteRefused):
        fs.pipe(f"{bucket}/t", b"1")
    fs.pipe(f"{bucket}/d/x", b"1")
    if fs.profile.objects_hide_folders:
        with pytest.raises(UnsupportedByServer):
            fs.pipe(f"{bucket}/d", b"1")


def test_a_folder_with_more_names_than_one_look_shows(fs, bucket, monkeypatch):
    fs.pipe({f"{bucket}/f/{name}/x": b"1" for name in "abc"})
    fs.pipe(f"{bucket}/f/t/day=1/x", b"1")
    fs.for_table(f"{bucket}/f/t").pipe(f"{bucket}/f/t/_marked/first", b"1")
    send = fs.store.gateway.send

    async def few(operation, **params):
        return await send(operation, **({**params, "MaxKeys": 2} if params.get("Delimiter") else params))

    monkeypatch.setattr(fs.store.gateway, "send", few)
    fs.views._folder_names._shown.clear()
    with pytest.raises(TableWriteRefused):
        fs.pipe(f"{bucket}/f/t", b"1")
    fs.pipe(f"{bucket}/f/z", b"1")


def test_puts_into_a_folder_of_several_pages_are_no_listing_each(make_fs, server, bucket, monkeypatch):
    for number in range(10):
        server.admin.put_object(Bucket=bucket, Key=f"many/{number}/x", Body=b"1")
    fs = make_fs(view_freshness=600)
    send, listings = fs.store.gateway.send, []

    async def paged(operation, **params):
        if operation == "list_objects_v2":
            listings.append(params)
            params = {**params, "MaxKeys": params.get("MaxKeys", 3)}
        return await send(operation, **params)

    monkeypatch.setattr(fs.store.gateway, "send", paged)
    counts = []
    for count in (20, 40):
        for number in range(count):
            fs.pipe_file(f"{bucket}/many/{count}-{number}", b"1")
        counts.append(len(listings))
    assert counts[0] == counts[1] <= 30, "the pages that there are, and as many looks at single names"
    for number in range(10):
        assert sync(fs.loop, fs.views._folder_names.has, f"{bucket}/many/{number}", 0.0)
    assert len(listings) == counts[1]


def test_what_the_profile_says_of_it(fs, server, bucket):
    for key in ("d/x", "d"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"1")
    assert (server.keys(bucket) == ["d"]) is fs.profile.objects_hide_folders
    server.admin.delete_object(Bucket=bucket, Key="d")
    assert server.keys(bucket) == ["d/x"]


def allowed(bucket, *statements):
    """A policy: actions and the keys or prefixes that they are for."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{bucket}{below}"]} | condition
            for actions, below, condition in statements
        ],
    }


@pytest.fixture
def restricted(server, bucket, tmp_path):
    """Makes filesystems for somebody who may do what statements say, and no more."""

    def make(*statements):
        rig = with_policy(server, allowed(bucket, *statements), tmp_path)
        return LakeFileSystem(**rig.storage_options, skip_instance_cache=True)

    return make


READ_AND_WRITE = (["s3:GetObject", "s3:PutObject"], "/*", {})
WRITE = (["s3:PutObject"], "/*", {})


@pytest.mark.slow
@pytest.mark.parametrize("rights", [READ_AND_WRITE, WRITE], ids=["who reads and writes", "who only writes"])
@pytest.mark.parametrize("where", ["", "/x", "/day=1/x", "/deep/x", "/_marked/x"])
def test_where_listing_is_denied_the_guard_stays_closed(server, bucket, restricted, rights, where):
    for key in ("_marked/later", "day=1/x"):
        server.admin.put_object(Bucket=bucket, Key=f"w/t/{key}", Body=b"1")
    before = server.keys(bucket)
    fs = restricted(rights)
    for _ in range(2):
        with pytest.raises(TableWriteRefused):
            fs.pipe(f"{bucket}/w/t{where}", b"2")
    fs.exists(f"{bucket}/w/t/day=1/x") if rights is READ_AND_WRITE else None
    with pytest.raises(TableWriteRefused):
        fs.pipe(f"{bucket}/w/t{where}", b"2")
    assert server.keys(bucket) == before
    assert server.admin.get_object(Bucket=bucket, Key="w/t/day=1/x")["Body"].read() == b"1"


def test_where_neither_can_be_seen_the_error_names_the_right(server, bucket, restricted):
    with pytest.raises(TableWriteRefused, match="s3:ListBucket"):
        restricted(WRITE).pipe(f"{bucket}/elsewhere/x", b"2")
    assert server.keys(bucket) == []


def test_where_there_is_none_of_a_tables_keys_who_may_not_list_writes(server, bucket, restricted):
    """Both servers tell a missing key from a forbidden one to who may read; AWS does not, and there it is refused."""
    fs = restricted(READ_AND_WRITE)
    fs.pipe(f"{bucket}/elsewhere/x", b"2")
    assert fs.cat_file(f"{bucket}/elsewhere/x") == b"2"


def test_with_the_right_to_look_for_tables_alone_it_is_open(server, bucket, restricted):
    """What the roles with a prefix have: names of tables above it, and all below it."""
    marks = [f"{folder}{mark}" for folder in ("", "p/") for mark in ("_marked/", "_delta_log/", "_lake/described.json")]
    fs = restricted(
        (["s3:GetObject", "s3:PutObject"], "/p/own/*", {}),
        (["s3:ListBucket"], "", {"Condition": {"StringLike": {"s3:prefix": ["p/own/*", *marks]}}}),
    )
    fs.pipe(f"{bucket}/p/own/deep/x", b"2")
    assert fs.cat_file(f"{bucket}/p/own/deep/x") == b"2"
    server.admin.put_object(Bucket=bucket, Key="p/_marked/later", Body=b"1")
    other = LakeFileSystem(**fs.storage_options, skip_instance_cache=True)
    with pytest.raises(TableWriteRefused):
        other.pipe(f"{bucket}/p/own/deep/y", b"2")
