"""Each setting changes a request, a client or an option: none is declared and forgotten."""

from __future__ import annotations

import base64

import boto3
import pytest

from tierlake.connector import LakeFileSystem, LakeSettings, SseC, SseKms, SseS3, Unencrypted
from tierlake.connector.errors import BadCredentials, InvalidSetting
from tierlake.connector.settings import environment_token, is_aws, is_loopback

pytestmark = pytest.mark.each_value

ENDPOINT = "http://127.0.0.1:9000"


def client_of(**options):
    fs = LakeFileSystem(skip_instance_cache=True, **{"key": "k", "secret": "s", **options})
    fs.connect()
    return fs._s3


EFFECTS = {
    "endpoint_url": (ENDPOINT, lambda fs: fs.s3.meta.endpoint_url, ENDPOINT),
    "region": ("eu-west-1", lambda fs: fs.s3.meta.region_name, "eu-west-1"),
    "profile": ("seaweedfs", lambda fs: fs.profile.name, "seaweedfs"),
    "encryption": ("sse-kms:k", lambda fs: fs.policy.for_key("b", "k").encryption, SseKms("k")),
    "storage_class": ("STANDARD_IA", lambda fs: fs.policy.for_key("b", "k").storage_class, "STANDARD_IA"),
    "rules": ([{"match": "b/**", "tags": {"a": "1"}}], lambda fs: fs.policy.for_key("b", "k").tags, (("a", "1"),)),
    "view_freshness": (7.0, lambda fs: fs.views._freshness, 7.0),
    "connect_timeout": (1.5, lambda fs: fs.s3.meta.config.connect_timeout, 1.5),
    "read_timeout": (2.5, lambda fs: fs.s3.meta.config.read_timeout, 2.5),
    "max_retries": (7, lambda fs: fs.store.gateway._transport.budget.attempts, 8),
    "retry_seconds": (9.0, lambda fs: fs.store.gateway._transport.budget.seconds, 9.0),
    "read_memory_bytes": (4096, lambda fs: fs.settings.read_memory_bytes, 4096),  # effect: test_reading_file.py
    "key": ("another", lambda fs: credentials(fs).access_key, "another"),
    "secret": ("another", lambda fs: credentials(fs).secret_key, "another"),
    "token": ("another", lambda fs: credentials(fs).token, "another"),
    "engine": ("s3fs", lambda fs: fs.settings.engine, "s3fs"),  # its effect: client/test_native.py
    # what is observed has its effect in tests/connector/observe
    "log": ("json", lambda fs: fs.settings.observing.log, "json"),
    "log_level": ("warning", lambda fs: fs.settings.observing.log_level, "warning"),
    "log_sample": (0.5, lambda fs: fs.settings.observing.log_sample, 0.5),
    "metrics": ("prometheus:0", lambda fs: fs.settings.observing.metrics, "prometheus:0"),
    "metrics_datasets": ("lake://b/d", lambda fs: fs.settings.observing.metrics_datasets, "lake://b/d"),
    "traces": ("otlp", lambda fs: fs.settings.observing.traces, "otlp"),
    "allow_http": (True, lambda fs: fs.settings.allow_http, True),  # its effect: test_instances.py
}


def credentials(fs):
    return fs.s3._request_signer._credentials


def test_every_setting_is_in_the_table():
    assert set(EFFECTS) == set(LakeSettings.model_fields)


@pytest.mark.parametrize("name", EFFECTS)
def test_an_argument_has_its_effect(name):
    value, effect, expected = EFFECTS[name]
    assert effect(LakeFileSystem(**{"key": "k", "secret": "s", name: value}, skip_instance_cache=True)) == expected


@pytest.mark.parametrize("name", EFFECTS)
def test_the_environment_has_the_same_effect(name, monkeypatch):
    value, effect, expected = EFFECTS[name]
    monkeypatch.setenv("TIERLAKE_KEY", "k")
    monkeypatch.setenv("TIERLAKE_SECRET", "s")
    text = '[{"match": "b/**", "tags": {"a": "1"}}]' if name == "rules" else str(value)
    monkeypatch.setenv(f"TIERLAKE_{name.upper()}", text)
    assert effect(LakeFileSystem(skip_instance_cache=True)) == expected


def test_an_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", ENDPOINT)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9001")
    assert LakeSettings.of(endpoint_url="https://other").endpoint_url == "https://other"
    assert LakeSettings.of().endpoint_url == ENDPOINT
    monkeypatch.delenv("TIERLAKE_ENDPOINT_URL")
    assert LakeSettings.of().endpoint_url == "http://127.0.0.1:9001"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9002")
    assert LakeSettings.of().endpoint_url == "http://127.0.0.1:9002"


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_aws_names_of_the_region(name, monkeypatch):
    monkeypatch.setenv(name, "eu-west-3")
    assert LakeSettings.of().region == "eu-west-3"


def test_others_variables_are_none_of_ours(monkeypatch):
    for name in ("REGION", "ENDPOINT_URL", "KEY", "SECRET", "PROFILE"):
        monkeypatch.setenv(name, "not-ours")
    assert LakeSettings.of() == LakeSettings()
    assert LakeSettings().region is None


def test_explicit_credentials_are_not_completed_with_others(monkeypatch):
    monkeypatch.setenv("TIERLAKE_KEY", "theirs")
    monkeypatch.setenv("TIERLAKE_SECRET", "theirs")
    monkeypatch.setenv("TIERLAKE_TOKEN", "theirs")
    settings = LakeSettings.of(key="ours", secret="ours")
    assert (settings.key, settings.secret_of("secret"), settings.secret_of("token")) == ("ours", "ours", None)
    with pytest.raises(InvalidSetting, match="needs its secret"):
        LakeSettings.of(key="ours")
    assert LakeFileSystem(anon=True, skip_instance_cache=True).settings.key is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"view_freshness": -1},
        {"engine": "rust"},
        {"connect_timeout": 0},
        {"max_retries": "many"},
        {"encryption": "sse-s4"},
        {"rules": [{"macht": "*"}]},
        {"nothing": 1},
    ],
)
def test_wrong_values(wrong):
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        LakeSettings.of(**wrong)


def test_settings_do_not_change():
    settings = LakeSettings()
    with pytest.raises(ValueError, match="frozen"):
        settings.region = "x"


def test_settings_make_a_filesystem(monkeypatch):
    monkeypatch.setenv("TIERLAKE_STORAGE_CLASS", "GLACIER")
    settings = LakeSettings(endpoint_url=ENDPOINT, key="k", secret="s", storage_class="STANDARD_IA")
    fs = LakeFileSystem(settings=settings, encryption="none", skip_instance_cache=True)
    assert fs.policy.for_key("b", "k").storage_class == "STANDARD_IA"
    assert fs.policy.for_key("b", "k").encryption == Unencrypted()
    assert fs.endpoint == ENDPOINT


def test_one_setting_for_boto3(server, bucket):
    options = server.storage_options
    client = boto3.client("s3", **LakeSettings(**options).boto3_kwargs())
    client.put_object(Bucket=bucket, Key="x", Body=b"1")
    assert server.keys(bucket) == ["x"]
    client.close()


def test_one_setting_for_plain_s3fs(server, bucket):
    import s3fs

    fs = s3fs.S3FileSystem(**LakeSettings(**server.storage_options).s3fs_kwargs(), skip_instance_cache=True)
    assert fs.exists(bucket)


def test_options_for_delta():
    options = LakeFileSystem(endpoint_url=ENDPOINT, key="k", secret="s", token="t", max_retries=2).delta_options()
    assert options == {
        "aws_access_key_id": "k",
        "aws_secret_access_key": "s",
        "aws_session_token": "t",
        "aws_region": "us-east-1",
        "aws_endpoint_url": ENDPOINT,
        "aws_virtual_hosted_style_request": "false",
        "allow_http": "true",
        "aws_conditional_put": "etag",
        "aws_server_side_encryption": "AES256",
        "connect_timeout": "5s",
        "timeout": "60s",
        "max_retries": "2",
        "retry_timeout": "30s",
    }


@pytest.mark.parametrize(
    ("encryption", "expected"),
    [
        (SseS3(), {"aws_server_side_encryption": "AES256"}),
        (Unencrypted(), {}),
        (
            SseKms("k"),
            {
                "aws_server_side_encryption": "aws:kms",
                "aws_sse_kms_key_id": "k",
                "aws_sse_bucket_key_enabled": "true",
            },
        ),
        (
            SseC(b"1" * 32),
            {
                "aws_server_side_encryption": "sse-c",
                "aws_sse_customer_key_base64": base64.b64encode(b"1" * 32).decode(),
            },
        ),
    ],
)
def test_the_log_is_encrypted_as_the_policy_says(encryption, expected):
    rules = [{"match": "b/flights/**", "encryption": encryption}]
    fs = LakeFileSystem(key="k", secret="s", rules=rules, skip_instance_cache=True)
    options = fs.for_table("b/flights").delta_options()
    assert {name: value for name, value in options.items() if "side_encryption" in name or "sse" in name} == expected


def test_delta_takes_credentials_from_the_chain(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "chain-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "chain-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    options = LakeFileSystem(skip_instance_cache=True).delta_options()
    assert options["aws_access_key_id"] == "chain-key"
    assert options["aws_secret_access_key"] == "chain-secret"
    assert options["aws_region"] == "eu-west-2"
    assert "aws_endpoint_url" not in options


def test_delta_without_credentials():
    with pytest.raises(BadCredentials, match="TIERLAKE_KEY"):
        LakeFileSystem(endpoint_url=ENDPOINT, skip_instance_cache=True).delta_options()


def test_requests_are_not_tried_again_twice():
    """Trying again is this package's business, within a budget: botocore makes each request once."""
    assert client_of().meta.config.retries["total_max_attempts"] == 1


def test_a_users_botocore_options_win():
    client = client_of(config_kwargs={"connect_timeout": 11, "retries": {"total_max_attempts": 3}})
    assert client.meta.config.connect_timeout == 11
    assert client.meta.config.retries["total_max_attempts"] == 3


def test_the_region_of_a_new_bucket(monkeypatch):
    fs = LakeFileSystem(key="k", secret="s", region="eu-west-1", skip_instance_cache=True)
    fs.connect()
    located = fs.store.gateway._with_location({"Bucket": "b"})
    assert located["CreateBucketConfiguration"] == {"LocationConstraint": "eu-west-1"}
    said = {"Bucket": "b", "CreateBucketConfiguration": {"LocationConstraint": "us-east-1"}}
    assert fs.store.gateway._with_location(said) == {"Bucket": "b"}
    local = LakeFileSystem(key="k", secret="s", region="eu-west-1", endpoint_url=ENDPOINT, skip_instance_cache=True)
    assert local.store.gateway._with_location({"Bucket": "b"}) == {"Bucket": "b"}


def test_the_environment_as_a_token():
    token = environment_token({"AWS_REGION": "x", "HOME": "/a"})
    assert token == environment_token({"HOME": "/b", "AWS_REGION": "x"})
    assert token != environment_token({"AWS_REGION": "y"})
    assert token != environment_token({"AWS_REGION": "x", "TIERLAKE_KEY": "k"})


def test_endpoints():
    assert is_aws("https://s3.eu-west-1.amazonaws.com")
    assert not is_aws("https://amazonaws.com.example.org")
    assert is_loopback("http://[::1]:9000")
    assert is_loopback("http://0.0.0.0:5000"), "where moto's server says that it is"
    assert not is_loopback("http://10.0.0.1")


def test_the_default_is_encrypted():
    assert LakeSettings().policy.for_key("b", "k").encryption == SseS3()


def test_a_user_name_and_a_password_are_a_key_and_a_secret():
    fs = LakeFileSystem(username="u", password="p", endpoint_url="http://127.0.0.1:9", skip_instance_cache=True)
    assert (fs.settings.key, fs.settings.secret_of("secret")) == ("u", "p")
    for twice in ({"key": "k", "username": "u"}, {"secret": "s", "password": "p"}):
        with pytest.raises(KeyError, match="not both"):
            LakeFileSystem(**twice)
