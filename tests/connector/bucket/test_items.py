"""The pure part of a plan: our entries among those of others, and our statements as servers give them back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector import SseKms, SseS3
from tierlake.connector.bucket.items import Part, compared, merged
from tierlake.connector.bucket.lifecycle import tier_rules
from tierlake.connector.bucket.plan import apply_parts
from tierlake.connector.bucket.statements import deny_insecure, deny_wrong, lets_everybody_in, plain
from tierlake.connector.errors import BucketNotFound, InvalidSetting
from tierlake.connector.profiles import get_profile, profile_names

OURS = ("ours-a", "ours-b", "ours-c")
ENTRIES = st.lists(st.tuples(st.sampled_from([*OURS, "theirs", "", "other"]), st.integers(0, 2)), max_size=8)
WANTED = st.dictionaries(st.sampled_from(OURS), st.none() | st.integers(0, 2))


def put(present, wanted):
    entries = {name: value if value is None else (name, value) for name, value in wanted.items()}
    return merged(present, entries, name=lambda entry: entry[0], plain=lambda entry: entry[1])


@given(ENTRIES, WANTED)
def test_ours_become_as_wanted_and_others_stay_where_they_are(present, wanted):
    result = put(present, wanted)
    untouched = [entry for entry in present if entry[0] not in wanted]
    assert [entry for entry in result.entries if entry[0] not in wanted] == untouched
    ours = [entry for entry in result.entries if entry[0] in wanted]
    assert sorted(ours) == sorted((name, value) for name, value in wanted.items() if value is not None)
    assert (set(result.actions.values()) <= {"none"}) == (result.entries == present)


@given(ENTRIES, WANTED)
def test_twice_is_a_no_op(present, wanted):
    first = put(present, wanted).entries
    again = put(first, wanted)
    assert again.entries == first
    assert set(again.actions.values()) <= {"none"}


@given(ENTRIES, WANTED)
def test_the_action_says_what_was_there(present, wanted):
    names = [name for name, _ in present]
    for name, action in put(present, wanted).actions.items():
        assert (action == "create") == (name not in names and wanted[name] is not None)
        assert (action == "remove") == (name in names and wanted[name] is None)


def test_an_item_of_one_value():
    assert [compared("x", now, "b").action for now in ("", "a", "b")] == ["create", "change", "none"]


def test_a_statement_is_known_in_the_form_that_minio_gives_back():
    sent = deny_insecure("bucket")
    back = {
        **sent,
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:*"],
        "Resource": ["arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket"],
        "Condition": {"Bool": {"aws:SecureTransport": [False]}},
    }
    assert plain(back) == plain(sent)
    assert plain({**back, "Effect": "Allow"}) != plain(sent)


@pytest.mark.parametrize(
    ("encryption", "algorithms"),
    [
        (SseS3(), ["AES256", "aws:kms", "aws:kms:dsse"]),
        (SseKms(), ["aws:kms", "aws:kms:dsse"]),
        (SseKms(dsse=True), ["aws:kms:dsse"]),
    ],
)
def test_wrong_is_what_is_less(encryption, algorithms):
    (statement,) = deny_wrong("bucket", encryption, get_profile("aws").encryptions).values()
    assert statement["Condition"] == {
        "Null": {"s3:x-amz-server-side-encryption": "false"},
        "StringNotEquals": {"s3:x-amz-server-side-encryption": algorithms},
    }
    assert statement["Sid"].isalnum()


def test_a_key_that_is_named_is_the_only_one():
    found = deny_wrong("bucket", SseKms("arn:aws:kms:::key/k"), get_profile("aws").encryptions)
    assert list(found) == ["TierlakeDenyWrongEncryption", "TierlakeDenyWrongKey", "TierlakeDenyCustomerKey"]
    key = "s3:x-amz-server-side-encryption-aws-kms-key-id"
    assert found["TierlakeDenyWrongKey"]["Condition"]["StringNotEquals"] == {key: ["arn:aws:kms:::key/k"]}


def test_who_is_let_in():
    statements = [
        {"Sid": "web", "Effect": "Allow", "Principal": "*"},
        {"Sid": "one", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}},
        {"Effect": "Allow", "Principal": {"AWS": ["*"]}},
        {"Sid": "deny", "Effect": "Deny", "Principal": "*"},
    ]
    assert lets_everybody_in({"Statement": statements}) == ["web", "3"]
    assert lets_everybody_in({"Statement": statements[0]}) == ["web"]
    assert lets_everybody_in({}) == []


def test_tiers_that_a_profile_has():
    rules = tier_rules(get_profile("aws"), ["hot", "warm", "cold"])
    assert {name: rule["Transitions"] for name, rule in rules.items()} == {
        "tierlake-tier-warm": [{"Days": 30, "StorageClass": "STANDARD_IA"}],  # AWS takes no less
        "tierlake-tier-cold": [{"Days": 0, "StorageClass": "GLACIER_IR"}],
    }
    with pytest.raises(InvalidSetting, match="Did you mean 'cold'"):
        tier_rules(get_profile("minio"), ["colt"])


FIELDS = (
    "abort_uploads_rule",
    "bucket_cors",
    "bucket_policy",
    "default_encryption",
    "kms_bucket_key",
    "lifecycle_transitions",
    "ownership_controls",
    "public_access_block",
    "remote_tiers",
    "versions",
)


@pytest.mark.parametrize("name", profile_names())
def test_what_a_server_lacks_it_has_another_way_for(name):
    profile = get_profile(name)
    missing = [field for field in FIELDS if not getattr(profile, field)]
    assert missing
    assert all(profile.alternative(field) for field in missing)


@pytest.mark.parametrize(
    ("denials", "is_new", "is_done"), [(0, True, True), (5, True, True), (6, True, False), (1, False, False)]
)
def test_a_bucket_that_was_just_created_may_take_a_moment_to_be_known(denials, is_new, is_done):
    waits, left = [], [denials]

    async def write():
        if left[0]:
            left[0] -= 1
            raise BucketNotFound("not known yet")

    async def create():
        assert is_new

    async def pause(seconds):
        waits.append(seconds)

    made = Part((compared("bucket", "" if is_new else "there", "there"),), create)
    applied = asyncio.run(apply_parts([made, Part((compared("versioning", "", "enabled"),), write)], pause=pause))
    assert ("versioning" in {item.aspect for item in applied.done}) is is_done
    assert list(applied.failures) == ([] if is_done else ["versioning"])
    assert len(waits) == (min(denials, 5) if is_new else 0)
