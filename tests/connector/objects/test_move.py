"""Moving: all of it, or an error before anything is copied; and nothing goes that was not copied."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.faults.answers import Refusal
from tests.faults.proxy import Proxy
from tierlake.connector.errors import DeletionFailed, InvalidSetting, LakeError, ObjectNotFound, TableWriteRefused
from tierlake.connector.listing.views import register_view, unregister_view
from tierlake.connector.objects.move import _with_others_below

TREE = {"d/a": b"a", "d/deep/b": b"b", "d/deep/er/c": b"c", "d/empty/": b"", "d2": b"beside", "e/z": b"there"}


@pytest.fixture
def tree(fs, server, bucket):
    for key, data in TREE.items():
        server.admin.put_object(Bucket=bucket, Key=key, Body=data)
    return bucket


def contents(server, bucket):
    return {key: server.admin.get_object(Bucket=bucket, Key=key)["Body"].read() for key in server.keys(bucket)}


def moved(*pairs):
    """The tree, with the beginnings of keys replaced."""
    after = dict(TREE)
    for old, new in pairs:
        for key in TREE:
            if key == old or (old.endswith("/") and key.startswith(old)):
                after[new + key[len(old) :]] = after.pop(key)
    return after


MOVES = {
    "a folder": ("d", "f", True, [("d/", "f/")]),
    "a folder with a slash": ("d/", "f/", True, [("d/", "f/")]),
    "a folder into one that is there": ("d", "e", True, [("d/", "e/d/")]),
    "what is in a folder into one that is there": ("d/", "e/", True, [("d/", "e/")]),
    "a folder below itself": ("d/deep", "d/deep/er/est", True, [("d/deep/", "d/deep/er/est/")]),
    "an object": ("d/a", "d/x", False, [("d/a", "d/x")]),
    "an object into a folder": ("d/a", "e/", False, [("d/a", "e/a")]),
    "a pattern": ("d/de*/b", "e", False, [("d/deep/b", "e/b")]),
    "an object onto itself": ("d2", "d2", False, []),
    "an object into its own folder": ("d/a", "d/", False, []),
}


@pytest.mark.parametrize("what", MOVES)
def test_all_of_it_moves(fs, server, tree, what):
    source, target, recursive, pairs = MOVES[what]
    fs.mv(f"{tree}/{source}", f"lake://{tree}/{target}", recursive=recursive)
    assert contents(server, tree) == moved(*pairs)


def test_lists(fs, server, tree):
    fs.mv([f"{tree}/d/a", f"{tree}/d2"], [f"{tree}/x", f"{tree}/y"])
    assert contents(server, tree) == moved(("d/a", "x"), ("d2", "y"))
    fs.rename([f"{tree}/x", f"{tree}/y"], f"{tree}/e")
    assert contents(server, tree) == moved(("d/a", "e/x"), ("d2", "e/y"))


def test_to_another_bucket(fs, server, tree, make_bucket):
    other = make_bucket()
    fs.mv(f"{tree}/d", f"{other}/d", recursive=True)
    assert contents(server, other) == {key: data for key, data in TREE.items() if key.startswith("d/")}
    assert server.keys(tree) == ["d2", "e/z"]


def test_what_is_deeper_stays(fs, server, tree):
    """fsspec deletes it without having copied it."""
    fs.mv(f"{tree}/d", f"{tree}/f", recursive=True, maxdepth=1)
    found = contents(server, tree)
    assert found["f/a"] == b"a"
    assert {"d/deep/b", "d/deep/er/c"} <= found.keys()


REFUSED = {
    "a folder": lambda fs, b: fs.mv(f"{b}/d", f"{b}/f"),
    "two onto one": lambda fs, b: fs.mv([f"{b}/d/a", f"{b}/d2"], [f"{b}/x", f"{b}/x"]),
    "two of the same name": lambda fs, b: fs.mv([f"{b}/d/deep/b", f"{b}/d/b"], f"{b}/f"),
    "one in the other's place": lambda fs, b: fs.mv([f"{b}/d/a", f"{b}/d2"], [f"{b}/d2", f"{b}/d3"]),
    "a folder in a list": lambda fs, b: fs.mv([f"{b}/d/a", f"{b}/e"], [f"{b}/x", f"{b}/y"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_copied(fs, server, tree, what):
    server.admin.put_object(Bucket=tree, Key="d/b", Body=b"b")
    before = contents(server, tree)
    with pytest.raises(InvalidSetting):
        REFUSED[what](fs, tree)
    assert contents(server, tree) == before


@pytest.mark.parametrize("source", ["nothing", "nothing*"])
@pytest.mark.parametrize("recursive", [True, False])
def test_nothing(fs, server, tree, source, recursive):
    with pytest.raises(FileNotFoundError):
        fs.mv(f"{tree}/{source}", f"{tree}/f", recursive=recursive)
    with pytest.raises(ObjectNotFound):
        fs.mv([f"{tree}/d/a", f"{tree}/{source}"], [f"{tree}/x", f"{tree}/y"])
    assert contents(server, tree) == TREE


class Marked:
    marker = "_marked/"
    description = ""
    proofs = ()
    hidden = ("_marked",)

    def open(self, fs, root):
        return SimpleNamespace(root=root, version=1, files=lambda: {"x": 1})


@pytest.fixture
def table(server, tree):
    register_view("marked", Marked())
    server.admin.put_object(Bucket=tree, Key="w/t/_marked/x", Body=b"1")
    server.admin.put_object(Bucket=tree, Key="w/t/x", Body=b"1")
    server.admin.put_object(Bucket=tree, Key="w/a", Body=b"1")
    yield
    unregister_view("marked")


@pytest.mark.parametrize(
    "call",
    [
        lambda fs, b: fs.mv(f"{b}/w", f"{b}/f", recursive=True),
        lambda fs, b: fs.mv(f"{b}/w/t/x", f"{b}/f"),
        lambda fs, b: fs.mv(f"{b}/d", f"{b}/w/t/d", recursive=True),
        lambda fs, b: fs.rm(f"{b}/w", recursive=True),
        lambda fs, b: fs.rm([f"{b}/d2", f"{b}/w"], recursive=True),
    ],
)
def test_a_table_in_the_way_is_seen_before_anything_is_done(fs, server, tree, table, call):
    before = contents(server, tree)
    with pytest.raises(TableWriteRefused):
        call(fs, tree)
    assert contents(server, tree) == before


@pytest.mark.slow
def test_a_copy_that_fails_loses_nothing(server, make_fs, tree):
    def refuse(request):
        hit = request.method == "PUT" and request.target.startswith(f"/{tree}/f/deep/b")
        return Refusal("403 Forbidden", "AccessDenied") if hit else None

    with Proxy(server.endpoint_url, before=refuse) as proxy, pytest.raises(LakeError):
        make_fs(endpoint_url=proxy.url).mv(f"{tree}/d", f"{tree}/f", recursive=True)
    assert {key: data for key, data in contents(server, tree).items() if not key.startswith("f/")} == TREE
    make_fs().mv(f"{tree}/d/", f"{tree}/f/", recursive=True)
    assert contents(server, tree) == moved(("d/", "f/"))


def test_what_is_written_to_the_source_meanwhile_stays(server, make_fs, tree):
    """Where the server deletes under a condition; elsewhere the moment between copy and deletion is a gap."""

    def write(request):
        if request.method == "POST" and "delete" in request.target:
            server.admin.put_object(Bucket=tree, Key="d/a", Body=b"written meanwhile")

    with Proxy(server.endpoint_url, before=write) as proxy:
        fs = make_fs(endpoint_url=proxy.url)
        if not fs.profile.delete_if_match:
            pytest.skip("this server knows no condition on deletions")
        with pytest.raises(DeletionFailed, match="d/a"):
            fs.mv(f"{tree}/d", f"{tree}/f", recursive=True)
    found = contents(server, tree)
    assert found["d/a"] == b"written meanwhile"
    assert found["f/a"] == b"a"


def test_an_object_is_copied_before_what_lies_below_its_name():
    pairs = {"b/d/x": "b/f/x", "b/d": "b/f", "b/d/x/y": "b/f/x/y", "b/e": "b/fe", "b/d/": "b/f/"}
    assert _with_others_below(pairs) == ["b/d", "b/d/x"]


def test_an_object_beside_a_folder_of_its_name(fs, server, bucket):
    if server.name == "minio":
        pytest.skip("MinIO does not list what is below an object")
    for key in ("d", "d/x"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=key.encode())
    fs.mv(f"{bucket}/d", f"{bucket}/f", recursive=True)
    assert contents(server, bucket) == {"f": b"d", "f/x": b"d/x"}
    fs.rm(f"{bucket}/f", recursive=True)
    assert server.keys(bucket) == []
