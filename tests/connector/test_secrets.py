"""No secret is ever in a repr, a log, an error or a JSON document."""

from __future__ import annotations

import base64
import json
import logging
import traceback

import fsspec
import pytest
from pydantic import ValidationError

from tierlake.connector import LakeFileSystem, LakeSettings, SseC, WriteRule
from tierlake.connector.bucket import RemoteTier
from tierlake.connector.errors import InvalidName, InvalidSetting, LakeError
from tierlake.connector.redact import redact
from tierlake.connector.urls import without_secrets

pytestmark = pytest.mark.each_value

KEY = b"customer-provided-key-32-bytes!!"
SECRETS = (
    "top-secret-value",
    "top-secret-token",
    KEY.decode(),
    base64.b64encode(KEY).decode(),
)


def shown(text):
    return [secret for secret in SECRETS if secret in text]


@pytest.fixture
def secretive(offline):
    return LakeFileSystem(
        endpoint_url=offline.endpoint,
        key="some-key",
        secret="top-secret-value",
        token="top-secret-token",
        encryption=SseC(KEY),
        rules=[WriteRule("x/**", encryption=SseC(KEY))],
        client_kwargs={"aws_session_token": "top-secret-token"},
        profile="seaweedfs",
        max_retries=0,
        skip_instance_cache=True,
    )


def test_reprs(secretive):
    texts = [repr(secretive), str(secretive), repr(secretive.settings), str(secretive.settings)]
    texts += [repr(secretive.policy), repr(secretive.for_table("bucket/t")), repr(secretive.settings.model_dump())]
    assert shown("\n".join(texts)) == []


def test_json_without_passwords(secretive):
    document = secretive.to_json(include_password=False)
    assert shown(document) == []
    assert json.loads(document)["key"] == "some-key"
    assert shown(json.dumps(secretive.to_dict(include_password=False))) == []


def test_nested_secrets_too(offline):
    fs = LakeFileSystem(endpoint_url=offline.endpoint, s3_additional_kwargs={"SSECustomerKey": KEY, "ACL": "private"})
    assert fs.to_dict(include_password=False)["s3_additional_kwargs"] == {"ACL": "private"}


def test_positional_secrets_too(offline):
    fs = LakeFileSystem(False, offline.endpoint, "k", "top-secret-value", "top-secret-token", skip_instance_cache=True)
    assert shown(fs.to_json(include_password=False)) == []
    assert json.loads(fs.to_json(include_password=False))["args"] == [False, offline.endpoint, "k"]


def test_json_with_passwords_makes_the_same_filesystem(secretive):
    copy = LakeFileSystem.from_json(secretive.to_json())
    assert copy.settings.secret_of("secret") == "top-secret-value"
    assert copy.policy == secretive.policy


def test_settings_are_written_out_in_json():
    settings = LakeSettings(key="k", secret="top-secret-value", storage_class="STANDARD_IA")
    fs = LakeFileSystem(settings=settings, skip_instance_cache=True)
    assert shown(fs.to_json(include_password=False)) == []
    assert LakeFileSystem.from_json(fs.to_json()).settings == settings


def test_logs_of_a_customer_key(seaweedfs, caplog):
    """At DEBUG botocore prints whole requests, headers included."""
    bucket = seaweedfs.make_bucket()
    fs = LakeFileSystem(**seaweedfs.storage_options, encryption=SseC(KEY), skip_instance_cache=True)
    try:
        with caplog.at_level(logging.DEBUG):
            fs.pipe_file(f"{bucket}/x", b"1")
            assert fs.cat_file(f"{bucket}/x") == b"1"
            fs.copy(f"{bucket}/x", f"{bucket}/y")
            with pytest.raises(FileNotFoundError):
                fs.cat_file(f"{bucket}/z")
        log = "\n".join(record.getMessage() for record in caplog.records)
        assert "put_object" in log
        assert shown(log) == []
        assert seaweedfs.secret not in log
    finally:
        seaweedfs.drop_bucket(bucket)


def test_logs_and_errors_of_a_session_token(secretive, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(LakeError) as caught:
        secretive.ls("bucket")
    error = caught.value
    assert shown(str(error) + repr(error) + json.dumps(error.to_dict()) + repr(error.__cause__)) == []
    assert shown("\n".join(record.getMessage() for record in caplog.records)) == []


def test_presigned_signatures_are_not_logged(make_fs, bucket, caplog):
    with caplog.at_level(logging.DEBUG):
        url = make_fs().presign(f"{bucket}/x")
    signature = url.partition("X-Amz-Signature=")[2].partition("&")[0]
    assert signature
    assert signature not in "\n".join(record.getMessage() for record in caplog.records)


def test_a_wrong_setting_is_not_repeated():
    with pytest.raises(LakeError) as caught:
        LakeSettings.of(secret={"value": "top-secret-value"}, key="k")
    assert shown(str(caught.value)) == []
    with pytest.raises(LakeError) as caught:
        LakeSettings.of(encryption=f"sse-c:{base64.b64encode(KEY[:-1]).decode()}")
    assert base64.b64encode(KEY[:-1]).decode() not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{'x-amz-server-side-encryption-customer-key': 'top-secret-value'}",
        "SSECustomerKey=top-secret-value, Bucket=b",
        '"aws_secret_access_key": "top-secret-value"',
        "X-Amz-Security-Token: top-secret-token",
        "https://h/b/k?X-Amz-Signature=top-secret-value&X-Amz-Expires=1",
        "Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=top-secret-value",
    ],
)
def test_redaction(text):
    assert shown(redact(text)) == []


def test_redaction_keeps_the_rest():
    text = "put_object bucket=b key=the/secret/garden.parquet status=200"
    assert redact(text) == text


def test_a_wrapped_secret_is_not_taken():
    with pytest.raises(ValueError, match="plain text"):
        fsspec.filesystem("lake", key="k", secret=LakeSettings(key="k", secret="s").secret)


URLS = (
    "http://user:top-secret-value@127.0.0.1:9",
    "https://top-secret-token@host",
    "https://host/?sig=top-secret-value",
)


@pytest.mark.parametrize("url", URLS)
def test_an_endpoint_with_a_secret_is_refused_and_not_repeated(url, monkeypatch):
    def of_the_environment(name):
        with monkeypatch.context() as patch:
            patch.setenv(name, url)
            LakeFileSystem(skip_instance_cache=True)

    ways = {
        "endpoint_url": [
            lambda: LakeFileSystem(endpoint_url=url, skip_instance_cache=True),
            lambda: LakeFileSystem(client_kwargs={"endpoint_url": url}, skip_instance_cache=True),
            lambda: fsspec.filesystem("lake", endpoint_url=url, skip_instance_cache=True),
            lambda: fsspec.open("lake://bucket/key", endpoint_url=url),
            lambda: LakeSettings.of(endpoint_url=url),
            lambda: LakeSettings.of(LakeSettings(), endpoint_url=url),
            lambda: RemoteTier("COLD", url, "k", "s", "bucket"),
        ],
        "TIERLAKE_ENDPOINT_URL": [lambda: of_the_environment("TIERLAKE_ENDPOINT_URL")],
        "AWS_ENDPOINT_URL": [lambda: of_the_environment("AWS_ENDPOINT_URL")],
    }
    for name, calls in ways.items():
        for call in calls:
            with pytest.raises(InvalidSetting, match=f"{name}.* must not hold a .*AWS chain") as refused:
                call()
            assert shown("".join(traceback.format_exception(refused.value))) == []
    with pytest.raises(ValidationError) as invalid:
        LakeSettings(endpoint_url=url)
    assert shown(str(invalid.value)) == []


def test_a_bucket_with_a_password_before_it_is_not_repeated(offline):
    fs, uri = LakeFileSystem(endpoint_url=offline.endpoint, skip_instance_cache=True), f"lake://u:{SECRETS[0]}@bucket/k"
    with pytest.raises(InvalidName, match="user name or password") as refused:
        fs.ls(uri)
    assert shown("".join(traceback.format_exception(refused.value))) == []


def test_urls_in_what_others_say():
    said = "GET https://me:top-secret-value@h/x?a=1&token=top-secret-token&b=2 failed"
    assert redact(said) == "GET https://***@h/x?a=1&token=***&b=2 failed"
    assert without_secrets(said) == "GET https://h/x?*** failed"
    assert without_secrets("lake://bucket/what?/x.csv") == "lake://bucket/what?/x.csv"
