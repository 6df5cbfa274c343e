"""Buckets as desired state on real servers: planned, applied, applied again, and what is not ours left alone."""

from __future__ import annotations

import json
import uuid

import pytest
from fsspec.asyn import sync

from tests.servers.roles import with_role
from tierlake.connector import LakeFileSystem, SseKms
from tierlake.connector.bucket import (
    BucketSpec,
    CorsRule,
    LifecycleSpec,
    PolicySpec,
    RemoteTier,
    ensure_bucket,
    plan_bucket,
)
from tierlake.connector.bucket.lifecycle import rules_part, tier_rules
from tierlake.connector.bucket.plan import site_of
from tierlake.connector.errors import AccessDenied, AppliedInPart, InvalidSetting, PreconditionFailed
from tierlake.connector.local_server.servers import MinioServer

pytestmark = [pytest.mark.each_value, pytest.mark.more_than_a_role("buckets are an administrator's")]

APP = CorsRule(id="app", origins=("https://app.example",), methods=("GET", "PUT"), headers=("*",), max_age="1h")
THEIR_RULE = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 30}}
THEIR_CORS = {"AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["GET"]}
LACKING = {
    "seaweedfs": {"public access", "deny plain HTTP", "move to tier warm"},
    "minio": {
        "move to tier warm",
        "public access",
        "object ownership",
        "abort incomplete uploads",
        "CORS rule app",
        "deny plain HTTP",
    },
}


def whole_spec(bucket, **other):
    said = {
        "versioning": True,
        "cors": (APP,),
        "lifecycle": LifecycleSpec(expire_noncurrent_after="30d", tiers=("warm",)),
    }
    return BucketSpec(bucket=bucket, **(said | other))


@pytest.fixture
def name(server):
    new = f"t-{uuid.uuid4().hex[:20]}"
    yield new
    server.drop_bucket(new)


def their_statement(bucket):
    return {
        "Sid": "theirs",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/public/*",
    }


def policy_of(rig, bucket):
    """Its statements; MinIO gives the values of a condition in any order."""
    statements = json.loads(rig.admin.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    for tests in (test for statement in statements for test in statement.get("Condition", {}).values()):
        tests.update({name: sorted(values) for name, values in tests.items() if isinstance(values, list)})
    return statements


def rules_of(rig, bucket):
    return rig.admin.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]


def aspects(items):
    return {item.aspect for item in items}


def test_planned_applied_and_applied_again(fs, server, name):
    plan = plan_bucket(fs, whole_spec(name))
    assert name not in {bucket["Name"] for bucket in server.admin.list_buckets()["Buckets"]}
    tier = {"move to tier warm"} & aspects(plan.todo)  # on MinIO where another test has told it of that remote tier
    assert aspects(plan.lacking) == LACKING[server.name] - tier
    assert all(item.note for item in plan.lacking)
    assert plan.todo[0].aspect == "bucket"

    result = plan.apply()
    assert aspects(result.done) == aspects(plan.todo)
    assert result.lacking == plan.lacking
    assert server.admin.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    rules = server.admin.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    expected = {"tierlake-expire-noncurrent"} | ({"tierlake-tier-warm"} if tier else set())
    expected |= {"tierlake-abort-uploads"} if server.name == "seaweedfs" else set()
    assert {rule["ID"] for rule in rules_of(server, name)} == expected
    if server.name == "seaweedfs":
        controls = server.admin.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]
        assert controls["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        (rule,) = server.admin.get_bucket_cors(Bucket=name)["CORSRules"]
        assert (rule["ID"], rule["MaxAgeSeconds"]) == ("tierlake-app", 3600)

    again = plan_bucket(fs, whole_spec(name))
    assert again.todo == ()
    assert not again.apply()
    assert not plan.apply()  # an old plan is done, too


def test_what_others_made_stays_and_what_is_ours_goes_when_it_is_no_longer_wanted(fs, server, bucket):
    admin, has_cors = server.admin, fs.profile.bucket_cors
    admin.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [THEIR_RULE]})
    statement = their_statement(bucket)
    admin.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    if has_cors:
        admin.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [THEIR_CORS]})
    before = (rules_of(server, bucket), policy_of(server, bucket))

    plan = plan_bucket(fs, whole_spec(bucket))
    closed = next(item for item in plan.items if item.aspect == "public access")
    assert closed.current == "open to everybody by the policy's statement theirs"
    plan.apply()
    assert rules_of(server, bucket)[:1] == before[0]
    assert policy_of(server, bucket)[:1] == before[1]
    assert len(policy_of(server, bucket)) == 2
    if has_cors:
        assert [rule.get("ID") for rule in admin.get_bucket_cors(Bucket=bucket)["CORSRules"]] == [None, "tierlake-app"]

    nothing = BucketSpec(
        bucket=bucket,
        cors=(),
        policy=PolicySpec(deny_insecure_transport=False, deny_wrong_encryption=False),
        lifecycle=LifecycleSpec(abort_uploads_after=False, expire_noncurrent_after=False, tiers=()),
    )
    plan_bucket(fs, nothing).apply()
    assert (rules_of(server, bucket), policy_of(server, bucket)) == before
    if has_cors:
        assert [rule.get("ID") for rule in admin.get_bucket_cors(Bucket=bucket)["CORSRules"]] == [None]


def test_null_leaves_what_is_there(fs, server, bucket):
    plan_bucket(fs, whole_spec(bucket)).apply()
    before = (rules_of(server, bucket), policy_of(server, bucket))
    left = {"encryption": None, "policy": None, "lifecycle": None, "ownership_enforced": None}
    plan = plan_bucket(fs, BucketSpec(bucket=bucket, block_public_access=None, **left))
    assert [item.aspect for item in plan.items] == ["bucket"]
    assert not plan.apply()
    assert (rules_of(server, bucket), policy_of(server, bucket)) == before


def test_what_drifted_is_mended(fs, server, bucket):
    plan_bucket(fs, whole_spec(bucket)).apply()
    ours = next(rule for rule in rules_of(server, bucket) if rule["ID"] == "tierlake-expire-noncurrent")
    drifted = {**ours, "Status": "Disabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 3}}
    server.admin.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [drifted]})
    server.admin.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    plan = plan_bucket(fs, whole_spec(bucket))
    changes = {item.aspect: (item.current, item.wanted) for item in plan.todo if item.action == "change"}
    assert changes == {
        "versioning": ("suspended", "enabled"),
        "expire old versions": ("after 3 d, disabled", "after 30 d"),
    }
    plan.apply()
    assert plan_bucket(fs, whole_spec(bucket)).todo == ()


def test_aws_has_all_of_it(over_tls, moto):
    fs = over_tls(moto)
    bucket = f"t-{uuid.uuid4().hex[:20]}"
    key = "arn:aws:kms:us-east-1:123456789012:key/k"
    spec = whole_spec(bucket, encryption=SseKms(key), lifecycle=LifecycleSpec(tiers=("warm", "cold", "archive")))
    plan = plan_bucket(fs, spec)
    assert plan.lacking == ()
    notes = {item.aspect: item.note for item in plan.items}
    assert (
        notes["deny other encryption"] == "our own writes ask for sse-s3 and would be denied: set TIERLAKE_ENCRYPTION"
    )
    assert aspects(plan.apply().done) >= {
        "public access",
        "object ownership",
        "deny plain HTTP",
        "deny another KMS key",
    }
    block = moto.admin.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    (rule,) = moto.admin.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["BucketKeyEnabled"] is True
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    assert {one["ID"]: one["Transitions"][0]["Days"] for one in rules_of(moto, bucket) if "Transitions" in one} == {
        "tierlake-tier-warm": 30,
        "tierlake-tier-cold": 0,
        "tierlake-tier-archive": 0,
    }
    assert plan_bucket(fs, spec).todo == ()


def test_what_else_a_lifecycle_says_is_kept(moto):
    """AWS takes the smallest size of what moves back where a PUT does not repeat it; moto has no such thing."""
    fs = LakeFileSystem(**moto.storage_options, skip_instance_cache=True)
    bucket = moto.make_bucket()
    sent = []
    kept = {"Rules": [THEIR_RULE], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}

    async def write():
        site = await site_of(fs.store, bucket)
        client = await fs.set_session()
        event = "provide-client-params.s3.PutBucketLifecycleConfiguration"
        client.meta.events.register(event, lambda params, **_: sent.append(params))
        await rules_part(site, kept, tier_rules(site.profile, ["cold"])).write()

    sync(fs.loop, write)
    assert sent[0]["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert [rule["ID"] for rule in rules_of(moto, bucket)] == ["theirs", "tierlake-tier-cold"]


def test_a_key_without_its_arn_cannot_be_compared(moto):
    fs = LakeFileSystem(**moto.storage_options, skip_instance_cache=True)
    plan = plan_bucket(fs, BucketSpec(bucket=moto.make_bucket(), encryption="sse-kms:alias/lake"))
    lacking = {item.aspect: item.note for item in plan.lacking}
    assert "the key's ARN" in lacking["deny another KMS key"]


def test_an_encryption_that_a_server_lacks_is_no_default(seaweedfs):
    """SeaweedFS would take it, and then fail on every write."""
    fs = LakeFileSystem(**seaweedfs.storage_options, skip_instance_cache=True)
    bucket = seaweedfs.make_bucket()
    plan = plan_bucket(fs, BucketSpec(bucket=bucket, encryption="sse-kms"))
    lacking = {item.aspect: item.note for item in plan.lacking}
    assert lacking["default encryption"] == lacking["deny other encryption"] == "instead: sse-s3"
    plan.apply()
    seaweedfs.admin.put_object(Bucket=bucket, Key="x", Body=b"1")
    seaweedfs.drop_bucket(bucket)


def test_a_remote_tier_comes_with_the_bucket(minio_tiers):
    """The other way round than in other tests: a tier cannot be taken from a server again."""
    near, far = minio_tiers.cold, minio_tiers.hot
    fs = LakeFileSystem(**near.storage_options, skip_instance_cache=True)
    bucket, place = near.make_bucket(), far.make_bucket()
    tiers = LifecycleSpec(tiers=("archive",))
    archive = RemoteTier("ARCHIVE", far.endpoint_url, far.key, "wrong-secret", place)
    alone = plan_bucket(fs, BucketSpec(bucket=bucket, lifecycle=tiers))
    lacking = {item.aspect: item.note for item in alone.lacking}
    assert "no remote tier ARCHIVE" in lacking["move to tier archive"]

    wrong = BucketSpec(bucket=bucket, encryption=None, policy=None, lifecycle=tiers, remote_tiers=(archive,))
    plan = plan_bucket(fs, wrong)
    assert "move to tier archive" in aspects(plan.todo)
    assert "wrong-secret" not in f"{plan}{plan!r}{plan.to_json()}"
    with pytest.raises(InvalidSetting) as caught:
        plan.apply()
    assert "wrong-secret" not in str(caught.value)

    right = RemoteTier("ARCHIVE", archive.endpoint_url, archive.key, far.secret, place)
    spec = BucketSpec(bucket=bucket, lifecycle=tiers, remote_tiers=(right,))
    assert aspects(plan_bucket(fs, spec).apply().done) >= {"remote tier ARCHIVE", "move to tier archive"}
    assert plan_bucket(fs, spec).todo == ()
    fs.pipe_file(f"{bucket}/x", b"1")
    assert fs.tag_tier(f"{bucket}/x", "archive", at_once=True, wait_seconds=60).to_class == "ARCHIVE"
    elsewhere = RemoteTier("ARCHIVE", archive.endpoint_url, archive.key, "any", "another-bucket")
    with pytest.raises(InvalidSetting, match="choose another name"):
        plan_bucket(fs, BucketSpec(bucket=bucket, remote_tiers=(elsewhere,)))


def test_a_tier_that_nobody_has(fs, bucket):
    with pytest.raises(InvalidSetting, match="Did you mean 'cold'"):
        plan_bucket(fs, BucketSpec(bucket=bucket, lifecycle=LifecycleSpec(tiers=("colt",))))


def test_an_operator_is_told_what_is_an_administrators(server, bucket, tmp_path):
    fs = LakeFileSystem(**with_role(server, "operator", tmp_path, bucket).storage_options, skip_instance_cache=True)
    with pytest.raises(AccessDenied, match=r"may not look at .*the policy.* nothing was changed") as caught:
        plan_bucket(fs, whole_spec(bucket))
    assert caught.value.request_id
    assert "Status" not in server.admin.get_bucket_versioning(Bucket=bucket)
    own = {"ownership_enforced": None, "block_public_access": None, "policy": None, "cors": None}
    own["lifecycle"] = LifecycleSpec(expire_noncurrent_after="30d")
    plan = plan_bucket(fs, whole_spec(bucket, **own))
    assert aspects(plan.apply().done) >= {"versioning", "default encryption", "expire old versions"}
    assert plan_bucket(fs, whole_spec(bucket, **own)).todo == ()


def test_a_request_that_fails_in_the_middle(seaweedfs):
    fs = LakeFileSystem(**seaweedfs.storage_options, skip_instance_cache=True)
    bucket = seaweedfs.make_bucket()
    denied = {**their_statement(bucket), "Effect": "Deny", "Action": "s3:PutBucketCors"}
    denied["Resource"] = f"arn:aws:s3:::{bucket}"
    document = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    seaweedfs.admin.put_bucket_policy(Bucket=bucket, Policy=document)
    plan = plan_bucket(fs, whole_spec(bucket))
    with pytest.raises(AppliedInPart) as caught:
        plan.apply()
    assert caught.value.failures["deny other encryption"] == "not tried"
    assert "Access Denied" in caught.value.failures["CORS rule app"]
    assert {rule["ID"] for rule in rules_of(seaweedfs, bucket)} >= {"tierlake-abort-uploads"}
    seaweedfs.admin.delete_bucket_policy(Bucket=bucket)
    assert aspects(plan.apply().done) == {"CORS rule app", "deny other encryption"}
    seaweedfs.drop_bucket(bucket)


def test_what_not_even_the_profile_knows_is_named(seaweedfs):
    """Here, that of another server: reading is refused at once, a rule when it is put."""
    options = {**seaweedfs.storage_options, "profile": "aws"}
    fs = LakeFileSystem(**options, skip_instance_cache=True)
    bucket = seaweedfs.make_bucket()
    plan = plan_bucket(fs, whole_spec(bucket))
    assert {item.aspect: "NotImplemented" in item.note for item in plan.lacking}["public access"]
    with pytest.raises(AppliedInPart) as caught:
        plan.apply()
    assert "move to tier warm" in caught.value.failures
    assert {"versioning", "CORS rule app"}.isdisjoint(caught.value.failures)
    seaweedfs.drop_bucket(bucket)


@pytest.mark.slow
def test_what_a_server_turns_out_to_lack_does_not_stop_the_rest(tmp_path):
    """MinIO without a KMS refuses every encryption, and only then."""

    class WithoutKms(MinioServer):
        def launch(self, binary):
            plain = super().launch(binary)
            del plain.environ["MINIO_KMS_SECRET_KEY"]
            return plain

    with WithoutKms(tmp_path) as server:
        fs = LakeFileSystem(endpoint_url=server.endpoint_url, key=server.key, secret=server.secret, profile="minio")
        with pytest.raises(AppliedInPart) as caught:
            plan_bucket(fs, BucketSpec(bucket="warehouse", versioning=True)).apply()
        assert caught.value.failures.keys() == {"default encryption"}
        assert fs.is_versioned("warehouse")
        change = ensure_bucket(fs, "other", versioning=True)
        assert (change.created, change.changed) == (True, ("versioning",))
        assert "KMS is not configured" in change.lacking[0]


def test_a_plan_does_no_more_than_it_said(fs, server, bucket):
    plan_bucket(fs, BucketSpec(bucket=bucket)).apply()
    plan = plan_bucket(fs, whole_spec(bucket))
    server.admin.delete_bucket_encryption(Bucket=bucket)
    with pytest.raises(PreconditionFailed, match="changed since it was planned: default encryption"):
        plan.apply()
    assert "Status" not in server.admin.get_bucket_versioning(Bucket=bucket)


def test_a_plan_as_text_and_as_json(fs, bucket):
    plan = plan_bucket(fs, BucketSpec(bucket=bucket, versioning=True))
    head, columns, *rows = str(plan).splitlines()
    assert head.startswith(f"bucket {bucket} on {plan.server}: {len(plan.todo)} to do, {len(plan.lacking)} lacking")
    assert columns.split() == ["now", "wanted", "action"]
    assert sum(not row.startswith("    ") for row in rows) == len(plan.items)
    document = json.loads(plan.to_json())
    assert {item["aspect"]: item["action"] for item in document["items"]}["versioning"] == "create"
    assert (document["to_do"], document["lacking"]) == (len(plan.todo), len(plan.lacking))
