"""The write policy: the first glob that matches decides, the defaults fill in, a table's log is always hot."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.policy.encryption import SseKms, SseS3, Unencrypted
from tierlake.connector.policy.rules import ObjectPolicy, WritePolicy, WriteRule, matches

words = st.text("abc=-.", min_size=1, max_size=6)
keys = st.lists(words, min_size=1, max_size=4).map("/".join)


@given(words, keys)
def test_a_path_matches_itself(bucket, key):
    assert matches(f"{bucket}/{key}", bucket, key)


@given(words, keys)
def test_everything_matches_a_star(bucket, key):
    assert matches("*", bucket, key)
    assert matches("**", bucket, key)
    assert matches(f"{bucket}/**", bucket, key)


@given(words, keys, keys)
def test_two_stars_cross_folders_and_one_does_not(bucket, folder, key):
    assert matches(f"{bucket}/{folder}/**", bucket, f"{folder}/{key}")
    assert matches(f"{bucket}/{folder}/*", bucket, f"{folder}/{key}") == ("/" not in key)
    assert matches(f"**/{key}", bucket, f"{folder}/{key}")


@given(st.text("ab*?", min_size=1, max_size=6), st.text("abc", min_size=1, max_size=6))
def test_within_a_segment_it_is_a_shell_glob(glob, name):
    if "**" not in glob:
        assert matches(f"b/{glob}", "b", name) == fnmatch.fnmatchcase(name, glob)


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*.csv", "b/x/y.csv", True),
        ("*.csv", "b/x/y.parquet", False),
        ("b/[xy]/*", "b/x/1", True),
        ("b/[!xy]/*", "b/x/1", False),
        ("b/[!xy]/*", "b/z/1", True),
        ("b/[a-c]", "b/b", True),
        ("b/a[", "b/a[", True),
        ("b/x.y", "b/xzy", False),
        ("*/scratch/**", "b/scratch/deep/down", True),
        ("b/**/part-*", "b/part-1", True),
        ("b/**/part-*", "b/x/y/part-1", True),
    ],
)
def test_globs(glob, path, expected):
    assert matches(glob, *path.split("/", 1)) is expected


def test_the_first_match_wins_and_defaults_fill_in():
    policy = WritePolicy.of(
        rules=[
            WriteRule("b/secret/**", encryption="sse-kms:k"),
            {"match": "b/**", "storage_class": "STANDARD_IA", "tags": {"z": "1", "a": "2"}},
        ],
    )
    assert policy.for_key("b", "secret/x") == ObjectPolicy(SseKms("k"), "STANDARD")
    assert policy.for_key("b", "x") == ObjectPolicy(SseS3(), "STANDARD_IA", (("a", "2"), ("z", "1")))
    assert policy.for_key("b", "x").tagging() == "a=2&z=1"
    assert policy.for_key("c", "x") == ObjectPolicy(SseS3(), "STANDARD")


def test_nothing_is_unencrypted_unless_said():
    assert WritePolicy.of().for_key("b", "k").encryption == SseS3()
    assert WritePolicy.of(encryption="none").for_key("b", "k").encryption == Unencrypted()


@pytest.mark.parametrize("key", ["t/_delta_log/0.json", "t/_lake/dataset.json", "t/_lake/journal/x"])
def test_a_log_stays_hot(key):
    policy = WritePolicy.of([WriteRule("**", storage_class="GLACIER", tags={"tier": "cold"})], storage_class="GLACIER")
    assert policy.for_key("b", key) == ObjectPolicy(SseS3(), "STANDARD")
    assert policy.for_key("b", "t/data").storage_class == "GLACIER"


def test_a_rule_has_no_other_fields():
    with pytest.raises(InvalidSetting, match="storage_clas"):
        WriteRule.from_value({"storage_clas": "x"})


def test_an_object_has_ten_tags():
    with pytest.raises(InvalidSetting, match="10"):
        WriteRule(tags={str(number): "" for number in range(11)})
