"""The six things that every S3 integration is asked for, on real servers, one test each."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest

from tests.polling import until
from tierlake.connector.errors import UnsupportedByServer

pytestmark = pytest.mark.each_value

ORIGIN = "https://app.example"
DEADLINE_SECONDS = 30


def anonymous(url, method="GET", data=None, **headers):
    """Status, headers and body of a request that carries no credentials."""
    asked = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=data, method=method, headers=asked)  # noqa: S310 -- loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 -- loopback
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "report.csv"
    path.write_bytes(bytes(range(256)) * 40_000)  # 10 MB: more than one part
    return path


def test_1_upload(fs, server, bucket, file):
    fs.put_file(str(file), f"{bucket}/in/report.csv")
    head = server.admin.head_object(Bucket=bucket, Key="in/report.csv")
    assert head["ContentLength"] == file.stat().st_size
    assert server.admin.get_object(Bucket=bucket, Key="in/report.csv")["Body"].read() == file.read_bytes()


def test_2_download(fs, server, bucket, file, tmp_path):
    server.admin.upload_file(str(file), bucket, "report.csv")
    fs.get_file(f"lake://{bucket}/report.csv", str(tmp_path / "again.csv"))
    assert (tmp_path / "again.csv").read_bytes() == file.read_bytes()
    assert fs.cat_file(f"{bucket}/report.csv") == file.read_bytes()


def test_3_presigned_url(fs, server, bucket):
    fs.pipe({f"{bucket}/mine.txt": b"mine", f"{bucket}/other.txt": b"other"})
    url = fs.presign(f"{bucket}/mine.txt", expires=300)
    assert anonymous(url)[::2] == (200, b"mine")
    assert anonymous(url.partition("?")[0])[0] == 403, "without a signature"
    assert anonymous(url.replace("mine.txt", "other.txt"))[0] == 403, "for another key"
    assert anonymous(url, "DELETE")[0] == 403, "with another method"
    assert server.keys(bucket) == ["mine.txt", "other.txt"]
    short = fs.presign(f"{bucket}/mine.txt", expires=1)
    until(lambda: anonymous(short)[0] == 403, DEADLINE_SECONDS)  # after its lifetime


def test_4_encryption_at_rest(fs, server, bucket, file):
    fs.put_file(str(file), f"{bucket}/in-parts.csv")
    fs.pipe_file(f"{bucket}/small.csv", b"small")
    heads = server.heads(bucket)
    assert {key: head["ServerSideEncryption"] for key, head in heads.items()} == {
        "in-parts.csv": "AES256",
        "small.csv": "AES256",
    }
    assert fs.head_object(f"{bucket}/small.csv")["ServerSideEncryption"] == "AES256"


@pytest.mark.more_than_a_role("sets CORS rules")
def test_5_cors_preflight_from_another_origin(fs, server, bucket):
    rule = {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"], "MaxAgeSeconds": 60}
    rules = {"Bucket": bucket, "CORSConfiguration": {"CORSRules": [rule]}}
    if fs.profile.bucket_cors:
        fs.call_s3("put_bucket_cors", **rules)
    else:  # MinIO has one setting for the whole server, `api cors_allow_origin`, which allows all unless told
        with pytest.raises(UnsupportedByServer, match="put_bucket_cors"):
            fs.call_s3("put_bucket_cors", **rules)
    url = fs.presign(f"{bucket}/x", method="PUT")
    asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "content-type"}
    status, headers, _ = anonymous(url, "OPTIONS", Origin=ORIGIN, **asked)
    assert status in {200, 204}
    assert headers["Access-Control-Allow-Origin"] in {ORIGIN, "*"}
    assert "PUT" in headers["Access-Control-Allow-Methods"]
    if fs.profile.bucket_cors:
        _, headers, _ = anonymous(url, "OPTIONS", Origin="https://elsewhere.example", **asked)
        assert "Access-Control-Allow-Origin" not in headers


def test_6_a_lifecycle_rule_deletes_what_is_old(fs, server, bucket):
    """A date in the past is due at once. MinIO's scanner comes by itself, SeaweedFS's daily pass is asked to."""
    fs.pipe({f"{bucket}/old/x": b"old", f"{bucket}/new/x": b"new"})
    rule = {
        "ID": "old",
        "Status": "Enabled",
        "Filter": {"Prefix": "old/"},
        "Expiration": {"Date": datetime(2020, 1, 1, tzinfo=UTC)},
    }
    fs.call_s3("put_bucket_lifecycle_configuration", Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})

    def is_gone():
        server.run_lifecycle()
        return server.keys(bucket) == ["new/x"]

    until(is_gone, DEADLINE_SECONDS)
    assert not fs.exists(f"{bucket}/old/x", refresh=True)
