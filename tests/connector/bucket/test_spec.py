"""What a bucket should be is told in YAML or in Python, and a mistake is told with its place and the nearest name."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import ROOT
from tierlake.connector import SseKms
from tierlake.connector.bucket import BucketSpec, CorsRule, LifecycleSpec, PolicySpec, RemoteTier
from tierlake.connector.errors import InvalidName, InvalidSetting

KEY = "arn:aws:kms:us-east-1:1:key/k"


def test_what_is_not_said_is_safe():
    spec = BucketSpec(bucket="warehouse")
    assert spec.encryption == "sse-s3"
    assert (spec.ownership_enforced, spec.block_public_access) == (True, True)
    assert spec.policy == PolicySpec(deny_insecure_transport=True, deny_wrong_encryption=True)
    assert spec.lifecycle == LifecycleSpec(abort_uploads_after=timedelta(days=7))
    assert (spec.versioning, spec.cors, spec.remote_tiers) == (None, None, ())


def test_yaml_says_the_same_as_python():
    written = BucketSpec.from_yaml(f"""
        bucket: lake://warehouse
        versioning: true
        encryption: sse-kms:{KEY}
        policy: {{deny_wrong_encryption: null}}
        cors: [{{id: app, origins: ["https://app.example"], methods: [GET, PUT], max_age: 1h}}]
        lifecycle: {{abort_uploads_after: false, expire_noncurrent_after: 2w, tiers: [warm]}}
    """)
    assert written == BucketSpec(
        bucket="warehouse",
        versioning=True,
        encryption=SseKms(KEY),
        policy=PolicySpec(deny_wrong_encryption=None),
        cors=(
            CorsRule(id="app", origins=("https://app.example",), methods=("GET", "PUT"), max_age=timedelta(hours=1)),
        ),
        lifecycle=LifecycleSpec(abort_uploads_after=False, expire_noncurrent_after="14d", tiers=("warm",)),
    )
    assert written.default_encryption == SseKms(KEY, bucket_key=True)


SPECS = st.builds(
    BucketSpec,
    bucket=st.just("warehouse"),
    versioning=st.sampled_from([None, True, False]),
    encryption=st.sampled_from([None, "sse-s3", "sse-kms", f"sse-kms:{KEY}", "dsse-kms"]),
    bucket_key=st.booleans(),
    ownership_enforced=st.sampled_from([None, True]),
    policy=st.none() | st.builds(PolicySpec, deny_wrong_encryption=st.sampled_from([None, True, False])),
    cors=st.none()
    | st.just(())
    | st.tuples(st.builds(CorsRule, id=st.text("ab-", min_size=1), origins=st.just(("https://*.example",)))),
    lifecycle=st.none()
    | st.builds(
        LifecycleSpec,
        abort_uploads_after=st.sampled_from([None, False]) | st.integers(1, 400).map(lambda days: f"{days}d"),
        tiers=st.none() | st.lists(st.sampled_from(["warm", "cold"]), unique=True).map(tuple),
    ),
)


@given(SPECS)
def test_a_spec_survives_yaml(spec):
    assert BucketSpec.from_yaml(spec.to_yaml()) == spec


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bukcet: warehouse", "bukcet: there is no such field.*Did you mean 'bucket'"),
        (
            "bucket: warehouse\nlifecycle: {abort_upload_after: 7d}",
            r"lifecycle\.abort_upload_after.*'abort_uploads_after'",
        ),
        ("bucket: warehouse\npolicy: {deny_http: true}", "policy.deny_http.*There are deny_insecure_transport"),
        ("bucket: warehouse\nlifecycle: {abort_uploads_after: 36h}", "lifecycle.abort_uploads_after: 36h.*in days"),
        ("bucket: warehouse\nlifecycle: {abort_uploads_after: 7}", "7 is no age: write 7d"),
        ("bucket: warehouse\nlifecycle: {expire_noncurrent_after: soon}", "'soon' is no age"),
        ("bucket: warehouse\nencryption: sse-km", "Did you mean 'sse-kms'"),
        ("bucket: warehouse\nencryption: none", "encryption: a default is never taken away: write null"),
        ("bucket: warehouse\nblock_public_access: false", "never opened: write null"),
        ("bucket: warehouse\ncors: [{id: a, origins: [https://x.example/]}]", r"cors\.0\.origins.*without a path"),
        ("bucket: warehouse\ncors: [{id: a, origins: []}]", "one at least"),
        ("bucket: warehouse\ncors: [{id: a, origins: ['*'], methods: [PATCH]}]", r"cors\.0\.methods\.0.*'GET'"),
        ("bucket: warehouse\ncors: [{id: a, origins: ['*']}, {id: a, origins: ['*']}]", "ids repeat: a, a"),
        ("bucket: warehouse\nremote_tiers: [{name: COLD, endpoint: x, bucket: b}]", r"remote_tiers.*'endpoint_url'"),
        ("bucket: warehouse\nremote_tiers: [{name: cold, endpoint_url: x, bucket: b}]", "upper-case"),
        ("bucket: warehouse\nversioning: maybe", "versioning: .*boolean"),
        ("[warehouse]", "mapping with at least `bucket`"),
        ("a: [", "not YAML"),
    ],
)
def test_mistakes(text, told):
    with pytest.raises(InvalidSetting, match=f"(?s){told}"):
        BucketSpec.from_yaml(text)


def test_the_spec_in_the_guide_is_one():
    guide = (ROOT / "docs" / "how-to" / "buckets.md").read_text()
    (text,) = re.findall(r'^```yaml title="bucket.yaml"\n(bucket:.*?)^```$', guide, re.MULTILINE | re.DOTALL)
    spec = BucketSpec.from_yaml(text)
    defaults = BucketSpec(bucket="warehouse")
    for said_by_default in ("encryption", "ownership_enforced", "block_public_access", "policy"):
        assert getattr(spec, said_by_default) == getattr(defaults, said_by_default)


def test_names_of_buckets():
    with pytest.raises((InvalidName, InvalidSetting), match="no bucket name"):
        BucketSpec(bucket="x")


def test_parts_tell_their_mistakes_too():
    with pytest.raises(InvalidSetting, match="'abort_uploads_after'"):
        LifecycleSpec(abort_upload_after="7d")


def test_secrets_of_remote_tiers_are_never_shown(monkeypatch):
    monkeypatch.setenv("TIERLAKE_TIER_COLD_KEY", "the-key")
    monkeypatch.setenv("TIERLAKE_TIER_COLD_SECRET", "hush-hush")
    text = "bucket: warehouse\nremote_tiers: [{name: COLD, endpoint_url: 'https://cold.example', bucket: cold}]"
    spec = BucketSpec.from_yaml(text)
    assert spec.remote_tiers == (RemoteTier("COLD", "https://cold.example", "the-key", "hush-hush", "cold"),)
    for shown in (repr(spec), str(spec), spec.to_yaml(), spec.model_dump_json()):
        assert "hush-hush" not in shown
    for broken in (
        f"{text}\nsecret: hush-hush",
        "bucket: warehouse\nremote_tiers: [{secret: hush-hush}]",
        "a: [hush-hush",
    ):
        with pytest.raises(InvalidSetting) as caught:
            BucketSpec.from_yaml(broken)
        assert "hush-hush" not in f"{caught.value}{caught.value.__cause__}"
