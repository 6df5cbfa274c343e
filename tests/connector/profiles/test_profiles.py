"""Profiles are data: found by name or by what a server calls itself, and asked before any request."""

from __future__ import annotations

import pytest

from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import InvalidSetting, UnsupportedByServer
from tierlake.connector.profiles import detect, get_profile, profile_for_server_header, profile_names

pytestmark = pytest.mark.each_value


def test_ours():
    assert set(profile_names()) >= {"aws", "generic", "minio", "seaweedfs"}


@pytest.mark.parametrize("name", ["aws", "generic", "minio", "seaweedfs"])
def test_a_profile_is_consistent(name):
    profile = get_profile(name)
    assert set(profile.tier_classes) == {"hot", "warm", "cold", "archive"}
    assert profile.tier_classes["hot"] == "STANDARD"
    assert set(profile.archived_classes) <= set(profile.storage_classes)
    if profile.mover == "copy":
        assert set(profile.tier_classes.values()) <= set(profile.storage_classes)
    else:
        assert profile.lifecycle_transitions
    assert "none" in profile.encryptions


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("SeaweedFS 8000GB 4.48", "seaweedfs"),
        ("MinIO", "minio"),
        ("AmazonS3", "aws"),
        ("nginx", "generic"),
        (None, "generic"),
    ],
)
def test_what_a_server_calls_itself(header, name):
    assert profile_for_server_header(header).name == name


def test_a_mistyped_profile():
    with pytest.raises(InvalidSetting, match="Did you mean 'minio'"):
        get_profile("minoi")


@pytest.mark.parametrize(
    ("name", "storage_class", "instead"),
    [
        ("seaweedfs", "STANDARDIA", "STANDARD_IA"),
        ("seaweedfs", "EXPRESS_ONEZONE", "one of"),
        ("minio", "COLD", "tag tier="),
        ("aws", "glacier_ir", "GLACIER_IR"),
    ],
)
def test_an_unknown_class_names_the_right_one(name, storage_class, instead):
    with pytest.raises(UnsupportedByServer, match=instead) as caught:
        get_profile(name).check_class(storage_class)
    assert caught.value.server == name


@pytest.mark.parametrize(("name", "mode"), [("seaweedfs", "dsse-kms"), ("seaweedfs", "sse-kms"), ("minio", "dsse-kms")])
def test_an_encryption_that_a_server_lacks(name, mode):
    with pytest.raises(UnsupportedByServer, match="Use instead"):
        get_profile(name).check_encryption(mode)


def test_aws_where_there_is_no_endpoint():
    assert LakeFileSystem(key="k", secret="s").profile.name == "aws"


def test_the_server_is_recognised_by_its_header(server, monkeypatch):
    monkeypatch.setattr(detect, "_headers", {})
    fs = LakeFileSystem(
        endpoint_url=server.endpoint_url, key=server.key, secret=server.secret, skip_instance_cache=True
    )
    assert fs.profile.name == server.name


def test_the_server_is_recognised_even_by_a_refusal(server, monkeypatch):
    monkeypatch.setattr(detect, "_headers", {})
    fs = LakeFileSystem(endpoint_url=server.endpoint_url, key="nobody", secret="s", skip_instance_cache=True)
    assert fs.profile.name == server.name
