"""What a killed writer leaves is found and aborted, and a live upload is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tierlake.connector import LakeFileSystem, SseC
from tierlake.connector.errors import BucketNotFound, InvalidSetting

pytestmark = pytest.mark.each_value


@pytest.fixture
def begun(server, bucket):
    ids = {key: server.admin.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in ("a/x", "a/y", "b")}
    yield ids
    for upload in server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        server.admin.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def left(server, bucket):
    return sorted(upload["Key"] for upload in server.admin.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def test_old_ones_go(fs, server, bucket, begun):
    assert fs.abort_incomplete_uploads(bucket, older_than="1d") == []
    planned = fs.abort_incomplete_uploads(f"{bucket}/a/", older_than=timedelta(0), dry_run=True)
    assert sorted(upload.path for upload in planned) == [f"{bucket}/a/x", f"{bucket}/a/y"]
    assert {upload.upload_id for upload in planned} == {begun["a/x"], begun["a/y"]}
    assert left(server, bucket) == ["a/x", "a/y", "b"]
    assert fs.abort_incomplete_uploads(f"{bucket}/a/", older_than="0s") == planned
    assert left(server, bucket) == ["b"]
    assert fs.abort_incomplete_uploads(f"{bucket}/a/", older_than="0s") == []


def test_a_missing_bucket(fs, bucket):
    with pytest.raises(BucketNotFound):
        fs.abort_incomplete_uploads(f"{bucket}-missing", older_than="1d")


def test_an_age_that_is_none_aborts_nothing(fs, bucket):
    with pytest.raises(InvalidSetting, match="'yesterday' is no age"):
        fs.abort_incomplete_uploads(bucket, older_than="yesterday")


def test_a_failed_write_leaves_nothing(fs, server, bucket, monkeypatch):
    plain = fs.store.gateway._request

    async def without_the_second_part(operation, request):
        if operation == "upload_part" and request["PartNumber"] == 2:
            raise ConnectionResetError
        return await plain(operation, request)

    monkeypatch.setattr(fs.store.gateway, "_request", without_the_second_part)
    with pytest.raises(ConnectionError):
        fs.pipe_file(f"{bucket}/x", b"x" * (11 * 2**20), chunksize=5 * 2**20)
    assert left(server, bucket) == []
    assert server.keys(bucket) == []


def test_the_key_of_an_upload_goes_with_the_upload(seaweedfs, keyed):
    """A customer's key is known while parts are sent: not of what was aborted, by whomever, or abandoned."""
    fs, bucket = keyed
    known = fs.store.gateway._uploads

    def begin(key):
        return fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)["UploadId"]

    def send(key, upload, number=1):
        body = {"PartNumber": number, "Body": b"x"}
        return fs.call_s3("upload_part", Bucket=bucket, Key=key, UploadId=upload, **body)

    done, taken, left = begin("done"), begin("taken"), begin("left")
    assert {chosen["SSECustomerKey"] for chosen in known.values()} == {b"k" * 32}
    fs.call_s3("abort_multipart_upload", Bucket=bucket, Key="done", UploadId=done)
    seaweedfs.admin.abort_multipart_upload(Bucket=bucket, Key="taken", UploadId=taken)
    with pytest.raises(FileNotFoundError):
        send("taken", taken)
    assert list(known) == [left]
    now = [known._clock()]
    known._clock = lambda: now[0]
    slow = begin("slow")
    for number in (1, 2):
        now[0] += 20 * 3600
        send("slow", slow, number)
    assert list(known) == [slow]
    fs.call_s3("abort_multipart_upload", Bucket=bucket, Key="slow", UploadId=slow)
    seaweedfs.admin.abort_multipart_upload(Bucket=bucket, Key="left", UploadId=left)
    assert not known


@pytest.fixture
def keyed(seaweedfs):
    """A filesystem under a customer's key, and a bucket."""
    bucket = seaweedfs.make_bucket()
    yield LakeFileSystem(**seaweedfs.storage_options, encryption=SseC(b"k" * 32), skip_instance_cache=True), bucket
    seaweedfs.drop_bucket(bucket)
