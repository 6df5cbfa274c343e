"""HEAD, the server's clock, conditional writes, versions and deletes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.proxy import Proxy
from tierlake.connector.errors import (
    AlreadyExists,
    BucketNotFound,
    DeletionFailed,
    InvalidName,
    ObjectNotFound,
    PreconditionFailed,
)

pytestmark = pytest.mark.each_value


def test_head_says_what_is_there(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"12345", Metadata={"a": "b"})
    head = fs.head_object(f"lake://{bucket}/x")
    assert (head["ContentLength"], head["Metadata"]) == (5, {"a": "b"})


def test_head_tells_a_missing_object_from_a_missing_bucket(fs, bucket):
    with pytest.raises(ObjectNotFound) as caught:
        fs.head_object(f"{bucket}/x")
    assert (caught.value.bucket, caught.value.key) == (bucket, "x")
    with pytest.raises(BucketNotFound, match=f"{bucket}-not"):
        fs.head_object(f"{bucket}-not/x")


def test_a_bucket_is_no_object(fs, bucket):
    with pytest.raises(InvalidName):
        fs.head_object(bucket)


def test_the_servers_clock(fs, bucket):
    now = fs.server_time(bucket)
    assert now.tzinfo is not None
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=5)


def test_conditional_writes(fs, bucket):
    path = f"{bucket}/x"
    first = fs.put_if(path, b"1", if_none_match=True)
    second = fs.put_if(path, b"2", if_match=first)
    assert fs.put_if(path, b"3", if_match=f'"{second}"') != second
    with pytest.raises(PreconditionFailed):
        fs.put_if(path, b"4", if_match=first)
    with pytest.raises(AlreadyExists):
        fs.put_if(path, b"4", if_none_match=True)
    assert fs.cat_file(path) == b"3"


def test_a_condition_on_what_is_missing_fails(fs, bucket):
    with pytest.raises(PreconditionFailed):
        fs.put_if(f"{bucket}/x", b"1", if_match="d41d8cd98f00b204e9800998ecf8427e")
    assert not fs.exists(f"{bucket}/x")


def test_one_condition_at_a_time(fs, bucket):
    with pytest.raises(ValueError, match="exactly one"):
        fs.put_if(f"{bucket}/x", b"1")
    with pytest.raises(ValueError, match="exactly one"):
        fs.put_if(f"{bucket}/x", b"1", if_match="e", if_none_match=True)


@pytest.mark.parametrize("condition", ["if_match", "if_none_match"])
def test_a_lost_reply_is_recognised_as_our_own_write(server, bucket, condition, make_fs):
    etag = server.admin.put_object(Bucket=bucket, Key="x", Body=b"old")["ETag"]
    key = "x" if condition == "if_match" else "new"
    lost = []

    def lose_the_first_reply(request):
        if request.method == "PUT" and f"/{key}" in request.target and not lost:
            lost.append(request)
            raise ConnectionResetError

    with Proxy(server.endpoint_url, after=lose_the_first_reply) as proxy:
        fs = make_fs(endpoint_url=proxy.url)
        fs.put_if(f"{bucket}/{key}", b"mine", **{condition: etag if condition == "if_match" else True})
    assert lost
    assert server.admin.get_object(Bucket=bucket, Key=key)["Body"].read() == b"mine"


def test_bytes_and_their_etag(fs, bucket):
    etag = fs.put_if(f"{bucket}/x", b"1", if_none_match=True)
    assert fs.read_with_etag(f"{bucket}/x") == (b"1", etag)


def test_versions_and_markers(fs, make_bucket):
    bucket = make_bucket(versioned=True)
    assert fs.is_versioned(bucket)
    for data in (b"1", b"22"):
        fs.pipe_file(f"{bucket}/a/x", data)
    fs.rm_file(f"{bucket}/a/x")
    fs.pipe_file(f"{bucket}/b", b"b")
    marker, newer, older = fs.object_versions(f"{bucket}/a/")
    assert marker.is_delete_marker
    assert marker.is_latest
    assert (newer.size, older.size, marker.size) == (2, 1, 0)
    assert newer.storage_class == "STANDARD"
    fs.delete_versions(f"{bucket}/a/x", [marker.version_id])
    assert fs.cat_file(f"{bucket}/a/x") == b"22"
    fs.delete_versions(f"{bucket}/a/x", [newer.version_id, older.version_id])
    assert fs.object_versions(f"{bucket}/a/") == []
    assert [version.path for version in fs.object_versions(bucket)] == [f"{bucket}/b"]


def test_a_bucket_without_versions(fs, bucket):
    assert not fs.is_versioned(bucket)
    fs.pipe_file(f"{bucket}/x", b"1")
    (version,) = fs.object_versions(f"{bucket}/x")
    assert (version.version_id, version.is_latest) == ("null", True)


def test_each_key_that_stays_is_reported(fs, bucket, monkeypatch):
    """What a server says about each key of a bulk delete is read: nobody reports a half as a whole."""
    fs.pipe({f"{bucket}/{name}": b"1" for name in ("a", "b")})
    errors = [{"Key": "b", "Code": "AccessDenied", "Message": "held"}]
    plain = fs.store.gateway._request

    async def partly(operation, request):
        if operation != "delete_objects":
            return await plain(operation, request)
        return {"Errors": errors, "ResponseMetadata": {}}

    monkeypatch.setattr(fs.store.gateway, "_request", partly)
    with pytest.raises(DeletionFailed, match="'b': AccessDenied: held") as caught:
        fs.rm([f"{bucket}/a", f"{bucket}/b"])
    assert caught.value.failures == {"b": "AccessDenied: held"}


def test_deleting_a_tree_leaves_no_markers_for_folders(fs, make_bucket):
    bucket = make_bucket(versioned=True)
    fs.pipe({f"{bucket}/a/b/x": b"1", f"{bucket}/a/y": b"2", f"{bucket}/a/empty/": b""})
    fs.rm(f"{bucket}/a", recursive=True)
    assert fs.find(bucket) == []
    markers = [version.key for version in fs.object_versions(bucket) if version.is_delete_marker]
    assert {"a", "a/b"}.isdisjoint(markers)


def test_a_deleted_folder_is_gone(fs, bucket):
    fs.pipe({f"{bucket}/a/b/x": b"1", f"{bucket}/c": b"2"})
    fs.rm(f"{bucket}/a", recursive=True)
    assert fs.ls(bucket, detail=False) == [f"{bucket}/c"]
    assert not fs.isdir(f"{bucket}/a")


def test_one_bucket_at_a_time(fs, make_bucket):
    one, two = make_bucket(), make_bucket()
    fs.pipe({f"{one}/d/x": b"1", f"{two}/d/x": b"1"})
    with pytest.raises(ValueError, match="one bucket"):
        fs.rm([f"{one}/d/x", f"{two}/d/x"])
    fs.rm([f"{one}/d", f"{two}/d"], recursive=True)
    assert fs.find(one) == fs.find(two) == []


def test_deleting_nothing_says_so(fs, bucket):
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{bucket}/nothing", recursive=True)


def test_more_than_one_batch(fs, server, bucket, monkeypatch):
    monkeypatch.setattr("tierlake.connector.objects.delete.DELETE_BATCH", 10)
    monkeypatch.setattr("tierlake.connector.client.gateway.DELETE_BATCH", 2)
    fs.pipe({f"{bucket}/d/{number}/x": b"" for number in range(25)})
    fs.rm(f"{bucket}/d", recursive=True)
    assert server.keys(bucket) == []
    assert fs.ls(bucket) == []


def test_folder_objects_are_folders_in_find(fs, bucket):
    fs.pipe({f"{bucket}/t/": b"", f"{bucket}/t/d=a/": b"", f"{bucket}/t/d=a/x": b"1"})
    assert fs.find(f"{bucket}/t") == [f"{bucket}/t/d=a/x"]
    found = fs.find(f"{bucket}/t", withdirs=True, detail=True)
    assert [name for name, entry in found.items() if entry["type"] == "file"] == [f"{bucket}/t/d=a/x"]


def test_the_first_keys_of_a_prefix(fs, server, bucket):
    for key in ("a/2", "a/1", "a/b/3", "ab/4"):
        server.admin.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert fs.first_keys(f"{bucket}/a/") == [f"{bucket}/{key}" for key in ("a/1", "a/2", "a/b/3")]
    assert fs.first_keys(f"{bucket}/a/", limit=1) == [f"{bucket}/a/1"]
    assert fs.first_keys(f"{bucket}/b") == []
    server.admin.delete_object(Bucket=bucket, Key="a/1")
    assert fs.first_keys(f"{bucket}/a/", limit=1) == [f"{bucket}/a/2"], "never from a cache"


@pytest.mark.more_than_a_role("looks for a bucket that no policy names")
def test_the_first_keys_of_a_missing_bucket(fs):
    with pytest.raises(BucketNotFound):
        fs.first_keys("no-such-bucket-here/a/")


def test_a_backslash_is_no_slash(fs, server, bucket):
    """SeaweedFS writes `d\\a` to `d/a`, over what is there."""
    fs.pipe_file(f"{bucket}/d/a", b"other")
    name = f"{bucket}/d\\a"
    if fs.profile.backslashes:
        fs.pipe_file(name, b"mine")
        assert fs.cat_file(name) == b"mine"
        fs.rm(name)
    else:
        for act in (lambda: fs.pipe_file(name, b"mine"), lambda: fs.cp(f"{bucket}/d/a", name), lambda: fs.rm(name)):
            with pytest.raises(InvalidName, match="backslash"):
                act()
        with pytest.raises(InvalidName, match="backslash"), fs.open(name, "wb") as file:
            file.write(b"mine")
    assert fs.cat_file(f"{bucket}/d/a") == b"other"
    assert server.keys(bucket) == ["d/a"]


def test_a_key_that_is_escaped_already_is_copied(fs, server, bucket):
    """Of a copy's source the key is meant as it is: `%0A` in it is no line break."""
    fs.pipe_file(f"{bucket}/k=%0A/a%2E%2E/x", b"1")
    fs.cp(f"{bucket}/k=%0A/a%2E%2E/x", f"{bucket}/y")
    assert fs.cat_file(f"{bucket}/y") == b"1"
