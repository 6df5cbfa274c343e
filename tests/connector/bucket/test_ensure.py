"""Buckets are set up once; doing it again changes nothing."""

from __future__ import annotations

import uuid

import pytest

from tierlake.connector.bucket import ensure_bucket, ensure_tier_rules
from tierlake.connector.bucket.lifecycle import tier_rule
from tierlake.connector.errors import BucketNotFound, InvalidName, InvalidSetting, UnsupportedByServer

pytestmark = pytest.mark.each_value


@pytest.fixture
def name(server):
    new = f"t-{uuid.uuid4().hex[:20]}"
    yield new
    server.drop_bucket(new)


@pytest.mark.more_than_a_role("makes a bucket")
def test_a_new_bucket(fs, server, name):
    change = ensure_bucket(fs, name, versioning=True)
    assert change.created
    assert change.changed == ("versioning", "default encryption")
    assert change.lacking == ()
    assert fs.is_versioned(name)
    server.admin.put_object(Bucket=name, Key="x", Body=b"1")
    assert server.admin.head_object(Bucket=name, Key="x")["ServerSideEncryption"] == "AES256"
    again = ensure_bucket(fs, name, versioning=True)
    assert not again
    assert (again.created, again.changed) == (False, ())


def test_what_differs_is_set(fs, server, name):
    server.admin.create_bucket(Bucket=name)
    assert ensure_bucket(fs, name).changed == ("default encryption",)
    assert not fs.is_versioned(name)
    assert ensure_bucket(fs, name, versioning=True).changed == ("versioning",)
    assert not ensure_bucket(fs, name)
    assert ensure_bucket(fs, name, versioning=False).changed == ("versioning",)
    assert not fs.is_versioned(name)


@pytest.mark.more_than_a_role("makes a bucket")
def test_a_written_bucket_may_be_made_by_mkdir(fs, name):
    fs.mkdir(name)
    fs.pipe_file(f"{name}/x", b"1")
    with pytest.raises(FileExistsError):
        fs.mkdir(name)


@pytest.mark.more_than_a_role("makes a bucket")
def test_a_deleted_bucket_is_not_made_anew_by_a_write(fs, name):
    fs.mkdir(name)
    fs.touch(f"{name}/x")
    fs.rm(name, recursive=True)
    with pytest.raises(FileNotFoundError):
        fs.touch(f"{name}/x")


def test_what_cannot_be(offline):
    with pytest.raises(InvalidName):
        ensure_bucket(offline, "No_Bucket")
    with pytest.raises(InvalidSetting, match="SSE-C"):
        ensure_bucket(offline, "bucket", encryption="sse-c:" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")


def test_rules_that_move_what_is_tagged(minio_tiers, minio):
    """On a server without that tier MinIO refuses the rule, and says so."""
    from tierlake.connector import LakeFileSystem

    fs = LakeFileSystem(**minio.storage_options, skip_instance_cache=True)
    bucket = minio.make_bucket()
    try:
        with pytest.raises(InvalidSetting, match="there are hot, warm, cold, archive"):
            ensure_tier_rules(fs, bucket, ["tepid"])
        with pytest.raises(OSError, match=r"(?i)tier|storage"):
            ensure_tier_rules(fs, bucket, ["archive"])
        assert not ensure_tier_rules(fs, bucket, ["hot"]).added
    finally:
        minio.drop_bucket(bucket)


def test_a_server_whose_lifecycle_moves_nothing(seaweedfs):
    from tierlake.connector import LakeFileSystem

    fs = LakeFileSystem(**seaweedfs.storage_options, skip_instance_cache=True)
    with pytest.raises(UnsupportedByServer, match="the mover 'copy'"):
        ensure_tier_rules(fs, "bucket", ["cold"])


def test_only_the_tag_selects():
    rule = tier_rule("cold", "COLD")
    assert rule["Filter"] == {"Tag": {"Key": "tier", "Value": "cold"}}
    assert rule["Transitions"] == [{"Days": 0, "StorageClass": "COLD"}]


def test_a_missing_bucket(minio):
    from tierlake.connector import LakeFileSystem

    fs = LakeFileSystem(**minio.storage_options, skip_instance_cache=True)
    with pytest.raises(BucketNotFound):
        ensure_tier_rules(fs, "missing-bucket", ["cold"])
