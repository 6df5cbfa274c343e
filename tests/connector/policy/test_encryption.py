"""Encryption as values: what they send, how they are written as text, what a HEAD reports."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.policy.encryption import (
    SseC,
    SseKms,
    SseS3,
    Unencrypted,
    encryption_of,
    encryption_text,
    parse_encryption,
)

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (SseS3(), {"ServerSideEncryption": "AES256"}),
        (SseKms(), {"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True}),
        (SseKms("k", bucket_key=False), {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}),
        (SseKms("k", dsse=True), {"ServerSideEncryption": "aws:kms:dsse", "SSEKMSKeyId": "k"}),
        (SseC(KEY), {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}),
        (Unencrypted(), {}),
    ],
)
def test_headers(value, headers):
    assert value.headers() == headers


def test_a_context_is_sent_as_base64_of_json():
    headers = SseKms("k", context={"dataset": "flights"}).headers()
    assert json.loads(base64.b64decode(headers["SSEKMSEncryptionContext"])) == {"dataset": "flights"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sse-s3", SseS3()),
        ("SSE_S3", SseS3()),
        ("sse-kms", SseKms()),
        ("sse-kms:alias/lake", SseKms("alias/lake")),
        ("sse-kms:arn:aws:kms:eu:1:key/2", SseKms("arn:aws:kms:eu:1:key/2")),
        ("dsse-kms:k", SseKms("k", dsse=True)),
        ("none", Unencrypted()),
        (f"sse-c:{base64.b64encode(KEY).decode()}", SseC(KEY)),
    ],
)
def test_text(text, value):
    assert parse_encryption(text) == value
    assert parse_encryption(value) is value


@given(st.sampled_from([SseS3(), Unencrypted(), SseKms(), SseKms("a:b/c"), SseKms("k", dsse=True)]))
def test_text_round_trips(value):
    assert parse_encryption(encryption_text(value)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sse-s4", "sse-s3"),
        ("kms", "sse-kms"),
        ("aes256", "there are sse-s3"),
        ("sse-s3:key", "A KMS key needs a KMS mode"),
        ("sse-c", "32"),
        ("sse-c:!!!", "base64"),
    ],
)
def test_what_is_no_encryption(text, said):
    with pytest.raises(InvalidSetting, match=said):
        parse_encryption(text)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_customer_key_has_32_bytes(length):
    with pytest.raises(InvalidSetting, match="32"):
        SseC(b"k" * length)


def test_a_customer_key_is_never_shown():
    value = SseC(b"a-very-secret-key-of-32-bytes!!!")
    assert "secret" not in repr(value) + str(value)
    assert repr(value) != repr(SseC(KEY))


@pytest.mark.parametrize(
    ("head", "value"),
    [
        ({"ServerSideEncryption": "AES256"}, SseS3()),
        ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}, SseKms("k", bucket_key=False)),
        ({"ServerSideEncryption": "aws:kms:dsse"}, SseKms(bucket_key=False, dsse=True)),
        ({"SSECustomerAlgorithm": "AES256"}, None),
        ({}, Unencrypted()),
    ],
)
def test_what_a_head_reports(head, value):
    assert encryption_of(head) == value
