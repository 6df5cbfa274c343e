"""MinIO's remote tiers, between two real servers: the object moves, and readers notice nothing."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from tests.readable import assert_readable
from tierlake.connector import LakeFileSystem
from tierlake.connector.bucket import (
    BucketSpec,
    RemoteTier,
    ensure_bucket,
    ensure_remote_tier,
    ensure_tier_rules,
    plan_bucket,
    remote_tiers,
)
from tierlake.connector.errors import (
    AccessDenied,
    EndpointUnreachable,
    InvalidSetting,
    PreconditionFailed,
    UnsupportedByServer,
)

pytestmark = pytest.mark.each_value

DESCRIBED = {"ContentType": "text/csv", "CacheControl": "no-cache", "Metadata": {"rows": "1"}}
WAIT_SECONDS = 120


@pytest.fixture(scope="module")
def cold(minio_tiers):
    """The hot server knows the other one as its tier COLD."""
    target = LakeFileSystem(**minio_tiers.cold.storage_options, skip_instance_cache=True)
    ensure_bucket(target, "tier-cold")
    tier = RemoteTier("COLD", minio_tiers.cold.endpoint_url, minio_tiers.cold.key, minio_tiers.cold.secret, "tier-cold")
    ensure_remote_tier(LakeFileSystem(**minio_tiers.hot.storage_options, skip_instance_cache=True), tier)
    return tier


@pytest.fixture
def fs(minio):
    return LakeFileSystem(**minio.storage_options, skip_instance_cache=True)


@pytest.fixture(params=[False, True], ids=["plain", "versioned"])
def bucket(request, minio, fs, cold):
    name = minio.make_bucket(versioned=request.param)
    ensure_tier_rules(fs, name, ["cold"])
    yield name
    drop(minio, name)


def drop(minio, name):
    """What MinIO still has to delete on the other server keeps a bucket from being empty for a moment."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return minio.drop_bucket(name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketNotEmpty" or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def facts(minio, bucket, key):
    head = minio.admin.head_object(Bucket=bucket, Key=key)
    return {name: head.get(name) for name in (*DESCRIBED, "ETag", "ContentLength", "ServerSideEncryption")}


def test_the_tier_is_known_without_secrets(fs, cold, minio_tiers):
    assert remote_tiers(fs)["COLD"] == {
        "endpoint": minio_tiers.cold.endpoint_url,
        "bucket": "tier-cold",
        "prefix": "",
        "region": "",
    }
    assert cold.secret not in repr(cold)
    assert not ensure_remote_tier(fs, cold)


def test_a_tier_never_changes_its_place(fs, cold):
    with pytest.raises(InvalidSetting, match="choose another name"):
        ensure_remote_tier(fs, RemoteTier("COLD", cold.endpoint_url, "k", "s", "elsewhere"))


UNUSABLE = {
    "wrong secret": ({"secret": "wrong-secret"}, "does not accept its credentials", "TIERLAKE_TIER_UNUSABLE_SECRET"),
    "unknown key": ({"key": "nobody"}, "does not accept its credentials", "TIERLAKE_TIER_UNUSABLE_KEY"),
    "no bucket": ({"bucket": "nosuch"}, "has no such bucket", "tierlake bucket apply nosuch --endpoint-url http://"),
    "refused": ({"endpoint_url": "http://127.0.0.1:1"}, "nothing listens there", "check `endpoint_url` of UNUSABLE"),
    "unknown host": ({"endpoint_url": "https://nosuch.invalid"}, "no such host is known", "check `endpoint_url`"),
    "no TLS": ({"endpoint_url": "https"}, "does not speak TLS", "check `endpoint_url` of UNUSABLE"),
    "no key": ({"key": ""}, "no credentials", "Set TIERLAKE_TIER_UNUSABLE_KEY to"),
    "no credentials": ({"key": "", "secret": ""}, "no credentials", "_KEY and TIERLAKE_TIER_UNUSABLE_SECRET to"),
}


@pytest.mark.parametrize(("fault", "says", "hint"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_tier_that_cannot_be_used_is_named_with_its_place(fs, cold, fault, says, hint):
    if fault.get("endpoint_url") == "https":
        fault = {"endpoint_url": cold.endpoint_url.replace("http://", "https://")}
    tier = replace(cold, name="UNUSABLE", **fault)
    with pytest.raises(InvalidSetting, match=says) as caught:
        ensure_remote_tier(fs, tier)
    assert_readable(caught.value)
    assert f"the tier UNUSABLE (endpoint {tier.endpoint_url}, bucket {tier.bucket})" in caught.value.message
    assert hint in caught.value.hint
    assert "wrong-secret" not in str(caught.value)
    assert "UNUSABLE" not in remote_tiers(fs)


def test_a_plan_without_credentials_says_so_and_changes_nothing(fs, minio, cold):
    name = minio.make_bucket()
    tier = {"name": "LACKING", "endpoint_url": cold.endpoint_url, "bucket": cold.bucket}
    try:
        plan = plan_bucket(fs, BucketSpec(bucket=name, versioning=True, remote_tiers=(tier,)))
        assert "Set TIERLAKE_TIER_LACKING_KEY and TIERLAKE_TIER_LACKING_SECRET" in str(plan)
        with pytest.raises(InvalidSetting, match="no credentials for the tier LACKING") as caught:
            plan.apply()
        assert_readable(caught.value)
        assert "Status" not in minio.admin.get_bucket_versioning(Bucket=name)
    finally:
        minio.drop_bucket(name)


def test_a_server_that_is_not_there():
    nowhere = LakeFileSystem(endpoint_url="http://127.0.0.1:1", key="k", secret="s", profile="minio")
    with pytest.raises(EndpointUnreachable, match="nothing listens there") as caught:
        remote_tiers(nowhere)
    assert_readable(caught.value)


def test_names_are_upper_case():
    with pytest.raises(InvalidSetting, match="upper-case"):
        RemoteTier("cold", "http://127.0.0.1:1", "k", "s", "b")


def test_only_an_administrator_may(minio):
    fs = LakeFileSystem(**{**minio.storage_options, "secret": "wrong-secret"}, skip_instance_cache=True)
    with pytest.raises(AccessDenied) as caught:
        remote_tiers(fs)
    assert_readable(caught.value)


def test_only_minio_has_them(seaweedfs):
    fs = LakeFileSystem(**seaweedfs.storage_options, skip_instance_cache=True)
    with pytest.raises(UnsupportedByServer, match="the mover 'copy'"):
        remote_tiers(fs)


def test_rules_are_added_once_and_others_stay(fs, minio, bucket):
    assert ensure_tier_rules(fs, bucket, ["hot", "cold"]).added == ()
    other = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 30}}
    minio.admin.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [other]})
    change = ensure_tier_rules(fs, bucket, ["cold"])
    assert (change.added, change.kept) == (("tierlake-tier-cold",), ("theirs",))
    rules = minio.admin.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert {rule["ID"] for rule in rules} == {"theirs", "tierlake-tier-cold"}


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "by the scanner"])
def test_there_and_back(fs, minio, minio_tiers, bucket, at_once):
    path, data = f"{bucket}/date=2013-01-01/x.parquet", b"bytes" * 100_000
    fs.pipe_file(path, data, **DESCRIBED, Tagging="team=air")
    before = facts(minio, bucket, "date=2013-01-01/x.parquet")
    remote = len(minio_tiers.cold.keys("tier-cold"))

    result = fs.tag_tier(path, "cold", at_once=at_once, wait_seconds=WAIT_SECONDS)
    assert (result.from_class, result.to_class, result.changed, result.pending) == ("STANDARD", "COLD", True, False)
    assert facts(minio, bucket, "date=2013-01-01/x.parquet") == before
    assert fs.get_tags(path) == {"team": "air", "tier": "cold"}
    fs.invalidate_cache()
    assert [entry["StorageClass"] for entry in fs.ls(f"{bucket}/date=2013-01-01", detail=True)] == ["COLD"]
    assert fs.cat_file(path) == data
    assert len(minio_tiers.cold.keys("tier-cold")) > remote
    assert not fs.tag_tier(path, "cold", at_once=at_once).changed

    back = fs.tag_tier(path, "hot", wait_seconds=WAIT_SECONDS)
    assert (back.from_class, back.to_class, back.changed) == ("COLD", "STANDARD", True)
    assert facts(minio, bucket, "date=2013-01-01/x.parquet") == before
    assert fs.get_tags(path) == {"team": "air", "tier": "hot"}
    assert fs.cat_file(path) == data
    assert len([version for version in fs.object_versions(path) if not version.is_delete_marker]) == 1


def test_the_tag_alone_waits_for_the_server(fs, bucket):
    fs.pipe_file(f"{bucket}/x", b"1")
    result = fs.tag_tier(f"{bucket}/x", "cold")
    assert (result.pending, result.changed) in {(True, False), (False, True)}


def test_the_condition(fs, bucket):
    etag = fs.put_if(f"{bucket}/x", b"1", if_none_match=True)
    fs.put_if(f"{bucket}/x", b"2", if_match=etag)
    with pytest.raises(PreconditionFailed):
        fs.tag_tier(f"{bucket}/x", "cold", if_match=etag)
    assert fs.get_tags(f"{bucket}/x") == {}


def test_an_append_to_what_is_cold(fs, bucket):
    """A remote tier is no class to write: the new object is hot."""
    fs.pipe_file(f"{bucket}/x", b"old")
    fs.tag_tier(f"{bucket}/x", "cold", at_once=True, wait_seconds=WAIT_SECONDS)
    with fs.open(f"{bucket}/x", "ab") as file:
        file.write(b" and new")
    assert fs.cat_file(f"{bucket}/x") == b"old and new"
