"""Buckets as folders: made, there already, refused by their names, removed when they are empty."""

import errno
import uuid

import pytest

from tests.readable import assert_readable
from tierlake.connector.errors import AlreadyExists, BucketNotFound, InvalidName, ObjectNotFound, RequestRefused
from tierlake.connector.filesystem import LakeFileSystem

pytestmark = pytest.mark.more_than_a_role("buckets are an administrator's")


@pytest.fixture
def name(server):
    new = f"t-{uuid.uuid4().hex[:20]}"
    yield new
    server.drop_bucket(new)


def test_a_bucket_that_is_there(fs, bucket):
    for path in (bucket, f"lake://{bucket}", f"s3://{bucket}/"):
        for call in (fs.mkdir, fs.makedirs, fs.makedir):
            with pytest.raises(AlreadyExists, match=f"bucket '{bucket}' is there already") as raised:
                call(path)
            assert_readable(raised.value)
            assert isinstance(raised.value, FileExistsError)
            assert f"fs.makedirs('{bucket}', exist_ok=True)" in raised.value.hint
        fs.makedirs(path, exist_ok=True)


def test_below_a_bucket_there_is_nothing_to_make(fs, bucket, name):
    fs.mkdir(f"{bucket}/a/b")
    fs.makedirs(f"{bucket}/a/b")
    assert fs.ls(bucket) == []
    with pytest.raises(BucketNotFound, match=f"tierlake bucket apply {name}"):
        fs.mkdir(f"{name}/a", create_parents=False)
    fs.mkdir(f"{name}/a")
    assert fs.exists(name)


@pytest.mark.parametrize(
    ("wrong", "example"),
    [
        ("My_Data", "'my-data'"),
        ("Sales", "'sales'"),
        ("ab", "'ab-data'"),
        ("a" * 64, f"'{'a' * 63}'"),
        ("año nuevo", "'ano-nuevo'"),
        ("10.0.0.1", "'10-0-0-1'"),
        ("a..b", "'a-b'"),
        ("", "fs.mkdir"),
    ],
)
def test_an_invalid_name_has_the_rule_and_a_valid_one(fs, server, wrong, example):
    before = server.admin.list_buckets()["Buckets"]
    with pytest.raises(InvalidName) as raised:
        fs.mkdir(wrong)
    assert_readable(raised.value)
    assert example in raised.value.hint
    assert isinstance(raised.value, ValueError)
    assert server.admin.list_buckets()["Buckets"] == before


def test_a_bucket_that_is_not_empty_stays(fs, server, make_bucket):
    full, old = make_bucket(), make_bucket(versioned=True)
    server.admin.put_object(Bucket=full, Key="a/b", Body=b"1")
    server.admin.put_object(Bucket=old, Key="x", Body=b"1")
    server.admin.delete_object(Bucket=old, Key="x")
    for one in (full, old):
        for call in (fs.rmdir, fs.rm):
            with pytest.raises(RequestRefused, match="not empty") as raised:
                call(one)
            assert_readable(raised.value)
            assert raised.value.errno in {errno.ENOTEMPTY, errno.EINVAL}
    assert "recursive=True" in raised.value.hint or "by version" in raised.value.hint
    assert server.keys(full) == ["a/b"]
    assert server.admin.list_object_versions(Bucket=old)["Versions"]


def test_under_another_servers_profile_a_full_bucket_stays_too(fs, server, bucket):
    server.admin.put_object(Bucket=bucket, Key="a/b", Body=b"1")
    mistaken = LakeFileSystem(skip_instance_cache=True, **{**server.storage_options, "profile": "aws"})
    with pytest.raises(RequestRefused, match="not empty"):
        mistaken.rmdir(bucket)
    assert server.keys(bucket) == ["a/b"]


def test_an_empty_bucket_goes(fs, server, name):
    fs.mkdir(name)
    fs.rmdir(f"lake://{name}")
    assert name not in {one["Name"] for one in server.admin.list_buckets()["Buckets"]}
    with pytest.raises(BucketNotFound):
        fs.rmdir(name)
    fs.mkdir(name)
    fs.pipe_file(f"{name}/a/b", b"1")
    fs.rm(name, recursive=True)
    assert not fs.exists(name)


def test_a_folder_is_not_removed_by_rmdir(fs, bucket):
    fs.pipe_file(f"{bucket}/a/b", b"1")
    with pytest.raises(AlreadyExists, match="not empty") as raised:
        fs.rmdir(f"{bucket}/a")
    assert_readable(raised.value)
    with pytest.raises(ObjectNotFound) as raised:
        fs.rmdir(f"{bucket}/nothing")
    assert_readable(raised.value)
