"""Keys and bucket names are checked before any request."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.connector.errors import InvalidName
from tierlake.connector.names import KEY_BYTES_MAX, check_bucket, check_key, check_new_bucket, hive_folders

segments = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=20
).filter(lambda segment: segment not in {".", ".."})


@given(st.lists(segments, min_size=1, max_size=10).map("/".join))
def test_ordinary_keys_are_taken(key):
    check_key(key)


@given(st.lists(segments, max_size=4), st.sampled_from([".", ".."]), st.lists(segments, max_size=4))
def test_a_key_never_climbs(before, dots, after):
    with pytest.raises(InvalidName, match=r"segment '\.' or '\.\.'"):
        check_key("/".join([*before, dots, *after]))


@given(st.text(max_size=5), st.characters(whitelist_categories=["Cc"], max_codepoint=0x7F), st.text(max_size=5))
def test_a_key_holds_no_control_characters(before, control, after):
    with pytest.raises(InvalidName):
        check_key(f"a{before}{control}{after}")


@pytest.mark.parametrize("key", ["", "k" * (KEY_BYTES_MAX + 1), "é" * (KEY_BYTES_MAX // 2 + 1), "a\ud800"])
def test_impossible_keys(key):
    with pytest.raises(InvalidName):
        check_key(key)


def test_the_limit_counts_bytes():
    check_key("é" * (KEY_BYTES_MAX // 2))


@pytest.mark.parametrize("name", ["abc", "my-bucket.2013", "a" * 63])
def test_bucket_names(name):
    check_bucket(name)
    check_new_bucket(name)


@pytest.mark.parametrize("name", ["Upper", "under_score", "a" * 255, "arn:aws:s3:us-east-1:123456789012:accesspoint/x"])
def test_old_and_other_names_can_be_used(name):
    check_bucket(name)
    with pytest.raises(InvalidName):
        check_new_bucket(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 64, "Upper", "under_score", "-a-", "a..b", "a.-b", "10.0.0.1", "xn--abc", "abc-s3alias"]
)
def test_names_that_no_new_bucket_has(name):
    with pytest.raises(InvalidName):
        check_new_bucket(name)


@pytest.mark.parametrize("name", ["", "ab", "a" * 256, "-a-", "a..b", "a b", "a\nb", "10.0.0.1"])
def test_impossible_bucket_names(name):
    with pytest.raises(InvalidName):
        check_bucket(name)


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("pipe_file", "bucket/a/../b"),
        ("cat_file", "bucket/a/../b"),
        ("touch", "bucket/a\nb"),
        ("pipe_file", "bucket/" + "k" * 1025),
        ("pipe_file", "Bad Bucket/key"),
        ("mkdir", "Bad Bucket"),
    ],
)
def test_no_request_is_made(offline, call, path):
    """The endpoint is down: had a request been made, the error would be another."""
    arguments = [b"data"] if call == "pipe_file" else []
    with pytest.raises(InvalidName):
        getattr(offline, call)(path, *arguments)


@given(st.text("a=/é\n", max_size=16))
def test_hive_folders_are_the_first_ones_with_a_name_and_a_value(key):
    folders = key.split("/")[:-1]
    above = list(itertools.takewhile(lambda folder: "=" not in folder[1:], folders))
    hive = list(itertools.takewhile(lambda folder: "=" in folder[1:], folders[len(above) :]))
    assert hive_folders(key) == (("/".join(above), "/".join(hive)) if hive else ("", ""))
