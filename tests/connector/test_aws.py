"""What only AWS has, as moto answers it: KMS headers, archived classes."""

from __future__ import annotations

import base64
import json
import uuid

import pytest

from tierlake.connector import LakeFileSystem, SseKms
from tierlake.connector.bucket import ensure_bucket
from tierlake.connector.errors import InvalidSetting, ObjectArchived, UnsupportedByServer

pytestmark = pytest.mark.each_value


@pytest.fixture
def bucket(moto):
    name = f"t-{uuid.uuid4().hex[:20]}"
    moto.admin.create_bucket(Bucket=name)
    return name


@pytest.fixture
def make(moto):
    return lambda **options: LakeFileSystem(**{**moto.storage_options, **options}, skip_instance_cache=True)


@pytest.mark.slow
def test_kms_headers(make, moto, bucket):
    fs = make(encryption=SseKms("alias/lake", context={"dataset": "flights"}))
    sent = fs.policy.for_key(bucket, "x").encryption.headers()
    assert json.loads(base64.b64decode(sent["SSEKMSEncryptionContext"])) == {"dataset": "flights"}
    fs.pipe_file(f"{bucket}/x", b"1")
    fs.pipe_file(f"{bucket}/parts", b"x" * (11 * 2**20), chunksize=5 * 2**20)
    fs.copy(f"{bucket}/x", f"{bucket}/copy")
    for key in ("x", "parts", "copy"):
        head = moto.admin.head_object(Bucket=bucket, Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/lake")


def test_two_layers(make, moto, bucket):
    make(encryption=SseKms("k", dsse=True)).pipe_file(f"{bucket}/x", b"1")
    assert moto.admin.head_object(Bucket=bucket, Key="x")["ServerSideEncryption"] == "aws:kms:dsse"


@pytest.mark.parametrize("storage_class", ["STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING"])
def test_classes(make, moto, bucket, storage_class):
    fs = make(storage_class=storage_class)
    fs.pipe_file(f"{bucket}/x", b"1", ContentType="text/csv", Metadata={"a": "1"})
    assert moto.admin.head_object(Bucket=bucket, Key="x")["StorageClass"] == storage_class
    fs.transition(f"{bucket}/x", storage_class="STANDARD")
    head = moto.admin.head_object(Bucket=bucket, Key="x")
    assert head.get("StorageClass", "STANDARD") == "STANDARD"
    assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"a": "1"})
    assert head["ServerSideEncryption"] == "AES256"


def test_an_archived_object_says_what_to_do(make, bucket):
    fs = make()
    fs.pipe_file(f"{bucket}/x", b"1")
    fs.transition(f"{bucket}/x", storage_class="DEEP_ARCHIVE")
    with pytest.raises(ObjectArchived, match=r"archived in DEEP_ARCHIVE.*fs\.restore\("):
        fs.cat_file(f"{bucket}/x", start=0, end=1)
    assert fs.restore_status(f"{bucket}/x").state == "archived"


def test_an_archived_object_is_restored(make, bucket):
    fs = make()
    fs.pipe_file(f"{bucket}/x", b"1")
    assert fs.restore(f"{bucket}/x").state == "not archived"
    fs.transition(f"{bucket}/x", storage_class="GLACIER")
    status = fs.restore(f"{bucket}/x", days=3, speed="bulk")
    assert (status.storage_class, status.state, status.readable) == ("GLACIER", "restored", True)
    assert status.expires is not None
    assert fs.restore(f"{bucket}/x", days=3) == status
    assert fs.cat_file(f"{bucket}/x", start=0, end=1) == b"1"


def test_restores_that_cannot_be(make, bucket, seaweedfs):
    with pytest.raises(InvalidSetting, match="expedited"):
        make().restore(f"{bucket}/x", speed="fast")
    with pytest.raises(UnsupportedByServer, match="nothing is archived"):
        LakeFileSystem(**seaweedfs.storage_options, skip_instance_cache=True).restore("bucket/x")


def test_a_bucket_with_a_kms_default(make, moto):
    name = f"t-{uuid.uuid4().hex[:20]}"
    assert ensure_bucket(make(), name, encryption=SseKms("alias/lake")).changed == ("default encryption",)
    assert not ensure_bucket(make(), name, encryption=SseKms("alias/lake"))
    rule = moto.admin.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": "alias/lake",
    }
