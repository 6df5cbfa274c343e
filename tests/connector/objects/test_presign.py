"""Presigned URLs do one thing, for a while, without credentials."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
import uuid
from datetime import timedelta

import pytest

from tierlake.connector import SseC, SseKms
from tierlake.connector.errors import InvalidName, InvalidSetting, UnknownOption
from tierlake.connector.policy.rules import WriteRule

pytestmark = pytest.mark.each_value


def fetch(url, method="GET", data=None, headers=None):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})  # noqa: S310 -- loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 -- loopback
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_get(fs, bucket):
    fs.pipe_file(f"{bucket}/a b/x.txt", b"bytes")
    url = fs.presign(f"lake://{bucket}/a b/x.txt", expires=60)
    assert fetch(url)[:2] == (200, b"bytes")
    assert fetch(url.replace("x.txt", "y.txt"))[0] == 403
    assert fetch(url, "PUT", b"new")[0] == 403
    assert "X-Amz-Expires=60" in url


def test_get_with_response_headers(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"bytes")
    url = fs.presign(f"{bucket}/x", expires=timedelta(minutes=1), ResponseContentDisposition="attachment")
    assert fetch(url)[2]["Content-Disposition"] == "attachment"


def test_head(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"bytes")
    assert fetch(fs.presign(f"{bucket}/x", method="HEAD"), "HEAD")[0] == 200


def test_put_is_under_the_policy(make_fs, server, bucket, other_class):
    fs = make_fs(storage_class=other_class)
    url = fs.presign(f"{bucket}/x", expires=60, method="put")
    sent = {"x-amz-server-side-encryption": "AES256", "x-amz-storage-class": other_class}
    assert fetch(url, "PUT", b"bytes", sent)[0] == 200
    head = server.admin.head_object(Bucket=bucket, Key="x")
    assert (head["ServerSideEncryption"], head["StorageClass"]) == ("AES256", other_class)


def post(form, fields, name, data):
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in {**form["fields"], **fields}.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = (
        ("".join(parts) + head + "Content-Type: text/csv\r\n\r\n").encode() + data + f"\r\n--{boundary}--\r\n".encode()
    )
    return fetch(form["url"], "POST", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})[0]


@pytest.mark.more_than_a_role(
    "SeaweedFS 4.48 asks an identity's own actions for a form, not its policies", on="seaweedfs"
)
def test_post(fs, server, bucket):
    form = fs.presign_post(f"{bucket}/x", expires=60, size=(1, 10), content_type="text/*")
    assert post(form, {"Content-Type": "text/csv"}, "x", b"bytes") in {200, 204}
    head = server.admin.head_object(Bucket=bucket, Key="x")
    assert head["ContentLength"] == 5
    assert post(form, {"Content-Type": "text/csv"}, "x", b"far too many bytes") >= 400
    assert post(form, {"Content-Type": "image/png"}, "x", b"bytes") >= 400


async def nothing(*_, **__):
    """In the place of a guard that asks the server."""


@pytest.mark.more_than_a_role(
    "SeaweedFS 4.48 asks an identity's own actions for a form, not its policies", on="seaweedfs"
)
def test_a_form_carries_the_write_policy(make_fs, server, bucket, other_class):
    rule = WriteRule("*", storage_class=other_class, tags={"team": "a + b", "x": "y"}, content_type="text/csv")
    fs = make_fs(rules=[rule], s3_additional_kwargs={"Metadata": {"origin": "form"}, "CacheControl": "no-cache"})
    form = fs.presign_post(f"{bucket}/x", expires=60)
    assert post(form, {}, "x", b"bytes") in {200, 204}
    head = server.admin.head_object(Bucket=bucket, Key="x")
    assert (head["ServerSideEncryption"], head["StorageClass"]) == ("AES256", other_class)
    assert (head["ContentType"], head["CacheControl"], head["Metadata"]) == ("text/csv", "no-cache", {"origin": "form"})
    tags = server.admin.get_object_tagging(Bucket=bucket, Key="x")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "a + b", "x": "y"}
    for name in set(form["fields"]) - {"key", "policy"}:  # all of them are signed
        assert post(form, {name: "other"}, "x", b"bytes") >= 400, name


def test_a_form_carries_all_of_kms(make_offline, monkeypatch):
    fs = make_offline(profile="aws", encryption=SseKms("alias/k", context={"a": "b"}))
    monkeypatch.setattr(fs.views, "refuse_writes", nothing)
    form = fs.presign_post("bucket/x")
    prefix = "x-amz-server-side-encryption"
    found = {name.removeprefix(prefix): value for name, value in form["fields"].items() if name.startswith(prefix)}
    assert found.keys() == {"", "-aws-kms-key-id", "-bucket-key-enabled", "-context"}
    assert (found[""], found["-aws-kms-key-id"], found["-bucket-key-enabled"]) == ("aws:kms", "alias/k", "true")
    signed = json.loads(base64.b64decode(form["fields"]["policy"]))["conditions"]
    assert all({f"{prefix}{name}": value} in signed for name, value in found.items())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"encryption": SseC(b"k" * 32)}, "SSE-C"),
        ({"s3_additional_kwargs": {"ObjectLockMode": "GOVERNANCE"}}, "ObjectLockMode"),
    ],
)
def test_what_a_form_cannot_carry_is_refused(make_offline, monkeypatch, options, match):
    fs = make_offline(**options)

    monkeypatch.setattr(fs.views, "refuse_writes", nothing)
    with pytest.raises(InvalidSetting, match=match):
        fs.presign_post("bucket/x")


def test_it_ends(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"bytes")
    url = fs.presign(f"{bucket}/x", expires=1)
    deadline = time.monotonic() + 20
    while fetch(url)[0] == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert fetch(url)[0] == 403


@pytest.mark.parametrize("expires", [0, -1, 7 * 86400 + 1, timedelta(days=8)])
def test_a_lifetime_out_of_bounds(offline, expires):
    with pytest.raises(InvalidSetting, match="7 days"):
        offline.presign("bucket/x", expires=expires)
    with pytest.raises(InvalidSetting, match="7 days"):
        offline.presign_post("bucket/x", expires=expires)
    with pytest.raises(InvalidSetting, match="7 days"):
        offline.url("bucket/x", expires=expires)


def test_what_cannot_be_signed(offline):
    with pytest.raises(InvalidSetting, match="GET, HEAD, PUT"):
        offline.presign("bucket/x", method="DELETE")
    with pytest.raises(InvalidName):
        offline.presign("bucket")
    with pytest.raises(InvalidName):
        offline.presign("bucket/../x")
    with pytest.raises(UnknownOption):
        offline.presign("bucket/x", ResponseContentTyp="x")


def test_s3fs_names(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"bytes")
    assert fetch(fs.url(f"{bucket}/x"))[1] == fetch(fs.sign(f"{bucket}/x", 60))[1] == b"bytes"
    with fs.open(f"{bucket}/x") as file:
        assert fetch(file.url())[1] == b"bytes"
