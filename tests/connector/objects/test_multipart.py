"""What a killed writer leaves is found and aborted, and a live upload is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tierlake.connector.errors import BucketNotFound, InvalidSetting
from tierlake.connector.objects.multipart import parse_age

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


def test_ages():
    assert parse_age("12h") == timedelta(hours=12)
    assert parse_age(" 2w ") == timedelta(weeks=2)
    with pytest.raises(InvalidSetting, match="12h"):
        parse_age("yesterday")


def test_a_failed_write_leaves_nothing(fs, server, bucket, monkeypatch):
    plain = fs.seam._request

    async def without_the_second_part(operation, request):
        if operation == "upload_part" and request["PartNumber"] == 2:
            raise ConnectionResetError
        return await plain(operation, request)

    monkeypatch.setattr(fs.seam, "_request", without_the_second_part)
    with pytest.raises(ConnectionError):
        fs.pipe_file(f"{bucket}/x", b"x" * (11 * 2**20), chunksize=5 * 2**20)
    assert left(server, bucket) == []
    assert server.keys(bucket) == []
