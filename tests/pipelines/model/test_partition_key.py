"""Partition keys survive the trip into a store key and back."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.partition_key import HIVE_NULL, PartitionKey, escape_value, unescape_value

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
values = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=12).filter(
    lambda value: value != HIVE_NULL
)
keys = st.dictionaries(names, values, min_size=1, max_size=3).map(PartitionKey.of)


@given(values)
def test_a_value_survives_its_path_segment(value):
    segment = escape_value(value)
    assert unescape_value(segment) == value
    assert "/" not in segment
    assert "=" not in segment
    assert segment.isascii()


@given(keys)
def test_a_key_survives_its_text_and_its_path(key):
    assert PartitionKey.parse(str(key)) == key
    assert PartitionKey.parse(key.prefix) == key
    assert PartitionKey.of_path(f"{key.prefix}/part-0.parquet", key.columns) == key


@given(keys)
def test_other_readers_get_the_same_values_by_percent_decoding(key):
    for segment, (name, value) in zip(key.prefix.split("/"), key.items, strict=True):
        column, _, text = segment.partition("=")
        assert column == name
        assert unquote(text) == (value or HIVE_NULL)


def test_null_has_hives_name_in_the_store_and_none_in_a_key():
    key = PartitionKey.of({"date": "2013-07-04", "origin": None})
    assert key.prefix == f"date=2013-07-04/origin={HIVE_NULL}"
    assert str(key) == "date=2013-07-04/origin="
    assert PartitionKey.parse(str(key)) == key


def test_an_unpartitioned_table_has_the_empty_key():
    assert PartitionKey.parse("") == PartitionKey(())
    assert PartitionKey(()).prefix == ""


@pytest.mark.parametrize("text", ["2013-07-04", "date=1/JFK", "=x"])
def test_what_is_no_key_is_refused_with_an_example(text):
    with pytest.raises(SpecError, match=r"is not a partition key.*date=2013-07-04"):
        PartitionKey.parse(text)
