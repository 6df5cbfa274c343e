"""The policies that `iam-policy` prints are enough, and no more than enough, on servers that enforce them."""

from __future__ import annotations

import json

import pytest

from connector import LakeFileSystem
from connector.errors import InvalidName, InvalidSetting, LakeError
from connector.iam import ROLES, policy_document
from pipelines import Dataset
from tests.pipelines.conftest import make_trips, trip_spec
from tests.servers.roles import with_role


@pytest.fixture
def as_role(server, bucket, tmp_path):
    """Makes a filesystem that has a role's rights on the bucket, below `city`."""

    def make(role):
        rig = with_role(server, role, tmp_path, bucket, "city")
        return LakeFileSystem(**rig.storage_options, skip_instance_cache=True)

    return make


def refused(call, *arguments, **options):
    with pytest.raises(PermissionError) as caught:
        call(*arguments, **options)
    assert isinstance(caught.value, LakeError), caught.value
    assert caught.value.request_id, caught.value


@pytest.fixture
def trips(bucket, fs):
    made = Dataset.create(trip_spec(bucket), fs=fs)
    made.ingest(make_trips(1, 2))
    fs.pipe({f"{bucket}/city/plain": b"plain", f"{bucket}/private": b"private"})
    return made


def test_a_reader_reads_and_does_nothing_else(as_role, server, bucket, trips):
    fs = as_role("reader")
    assert Dataset.open(trips.uri, fs=fs).read().num_rows == trips.read().num_rows
    path = f"{bucket}/city/plain"
    assert fs.cat_file(path) == b"plain"
    assert path in fs.find(f"{bucket}/city")
    before = server.keys(bucket)
    refused(fs.cat_file, f"{bucket}/private")
    refused(fs.pipe_file, f"{bucket}/city/new", b"new")
    refused(fs.pipe_file, path, b"x" * 12_000_000)
    refused(fs.touch, f"{bucket}/city/new")
    refused(fs.copy, path, f"{bucket}/city/copy")
    refused(fs.rm, path)
    refused(fs.put_tags, path, {"a": "b"})
    refused(fs.put_if, path, b"mine", if_none_match=True)
    refused(fs.transition, path, storage_class="REDUCED_REDUNDANCY")
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    refused(fs.call_s3, "put_bucket_policy", Bucket=bucket, Policy=policy)
    refused(fs.call_s3, "get_bucket_policy", Bucket=bucket)
    refused(fs.call_s3, "delete_bucket_policy", Bucket=bucket)
    refused(fs.call_s3, "delete_bucket", Bucket=bucket)
    assert server.keys(bucket) == before
    with pytest.raises(PermissionError):
        Dataset.open(trips.uri, fs=fs).ingest(make_trips(3))


def test_a_writer_ingests_and_deletes_nothing(as_role, bucket, trips):
    fs = as_role("writer")
    theirs = Dataset.open(trips.uri, fs=fs)
    theirs.ingest(make_trips(3), run_key="mine")
    assert theirs.ingest(make_trips(3), run_key="mine").committed is False
    assert trips.read().num_rows == theirs.read().num_rows
    fs.pipe_file(f"{bucket}/city/big", b"x" * 12_000_000)
    refused(fs.rm, f"{bucket}/city/plain")
    refused(fs.pipe_file, f"{bucket}/other", b"other")
    refused(fs.call_s3, "put_bucket_policy", Bucket=bucket, Policy="{}")


def test_an_operator_tiers_expires_and_vacuums(as_role, fs, bucket, trips):
    theirs = Dataset.open(trips.uri, fs=as_role("operator"))
    theirs.ingest(make_trips(3))
    assert theirs.plan_tiering(as_of="2013-09-01").apply().failed == {}
    applied = theirs.plan_expiry(as_of="2014-12-31").apply()
    assert applied.failed == {}
    assert len(applied.done) == 3
    theirs.vacuum()
    assert theirs.verify().ok
    refused(theirs._handle.fs.call_s3, "put_bucket_policy", Bucket=bucket, Policy="{}")


def test_each_role_includes_the_one_before():
    actions = [{a for s in policy_document(role, "bucket")["Statement"] for a in s["Action"]} for role in ROLES]
    assert actions[0] < actions[1] < actions[2]
    assert not [a for a in actions[2] if "*" in a or "BucketPolicy" in a or "Acl" in a]
    assert not [a for a in actions[1] if "Delete" in a]


def test_a_document():
    document = policy_document("reader", "warehouse", "flights/", kms_key="arn:aws:kms:us-east-1:1:key/k")
    assert document == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Bucket",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::warehouse"],
            },
            {
                "Sid": "Objects",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                "Resource": ["arn:aws:s3:::warehouse/flights/*"],
            },
            {
                "Sid": "Key",
                "Effect": "Allow",
                "Action": ["kms:Decrypt"],
                "Resource": ["arn:aws:kms:us-east-1:1:key/k"],
            },
        ],
    }


def test_what_is_no_policy():
    with pytest.raises(InvalidSetting, match="reader, writer, operator"):
        policy_document("root", "bucket")
    with pytest.raises(InvalidName):
        policy_document("reader", "bucket/*")
    for prefix in ("a*", "${aws:username}"):
        with pytest.raises(InvalidSetting, match="stand for other keys"):
            policy_document("reader", "bucket", prefix)
