"""A spec is a value: it survives YAML and JSON, and says what is wrong with it."""

import itertools
import traceback
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import TIER_ORDER, DatasetSpec

YAML = """
uri: lake://warehouse/flights
format: delta
partition:
  time: {column: time_hour, every: day, timezone: America/New_York, key: date}
  by: [origin]
columns: {}
write: {encryption: sse-s3, storage_class: STANDARD, compression: zstd, target_file_size: 256MB, sort_by: [carrier]}
tiers:
  - {after: 30d, tier: warm}
  - {after: 90d, tier: cold}
retention: {expire_after: 300d, grace: 7d, after: [monthly_summary]}
rejects: {max_ratio: 0.01}
"""
TIME = {"time": {"column": "t"}}


def test_the_yaml_of_the_design_is_read():
    spec = DatasetSpec.from_yaml(YAML)
    assert spec.partition.columns == ("date", "origin")
    assert spec.write.target_file_size == 256_000_000
    assert [step.after for step in spec.tiers] == [timedelta(days=30), timedelta(days=90)]
    assert spec.retention.grace == timedelta(days=7)
    assert (spec.root, spec.bucket, spec.name) == ("warehouse/flights", "warehouse", "flights")


def test_it_survives_yaml_and_json():
    spec = DatasetSpec.from_yaml(YAML)
    assert DatasetSpec.from_yaml(spec.to_yaml()) == spec
    assert DatasetSpec.model_validate_json(spec.model_dump_json()) == spec


@st.composite
def ladders(draw):
    """Tiers as people write them, in any order and with any ages, sensible or not."""
    steps = draw(st.lists(st.tuples(st.integers(1, 400), st.sampled_from(TIER_ORDER[1:])), max_size=4))
    return [{"after": f"{days}d", "tier": tier} for days, tier in steps]


@given(ladders(), st.one_of(st.none(), st.integers(1, 400)))
def test_tiers_are_taken_exactly_when_each_is_later_and_colder_and_before_expiry(tiers, expire_after):
    retention = {} if expire_after is None else {"expire_after": f"{expire_after}d"}
    ages = [int(step["after"][:-1]) for step in tiers]
    coldness = [TIER_ORDER.index(step["tier"]) for step in tiers]
    is_sensible = (
        all(a < b for a, b in itertools.pairwise(ages))
        and all(a < b for a, b in itertools.pairwise(coldness))
        and (expire_after is None or not ages or ages[-1] < expire_after)
    )
    if is_sensible:
        assert len(DatasetSpec(uri="lake://b/x", partition=TIME, tiers=tiers, retention=retention).tiers) == len(tiers)
    else:
        with pytest.raises(SpecError, match="contradict"):
            DatasetSpec(uri="lake://b/x", partition=TIME, tiers=tiers, retention=retention)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"uri": "warehouse/flights"}, "lake://bucket/prefix"),
        ({"uri": "lake://warehouse"}, "must name a bucket and a prefix"),
        ({"uri": "lake://b/x", "tierz": []}, "tierz"),
        ({"uri": "lake://b/x", "format": "orc"}, "format"),
        ({"uri": "lake://b/x", "tiers": [{"after": "30d", "tier": "warm"}]}, "partition by time"),
        ({"uri": "lake://b/x", "partition": TIME, "tiers": [{"after": "soon", "tier": "warm"}]}, "12h, 30d or 8w"),
        ({"uri": "lake://b/x", "partition": {"time": {"column": "t", "timezone": "Mars"}}}, "IANA timezone"),
        ({"uri": "lake://b/x", "partition": {"time": {"column": "date"}}}, "is the time column itself"),
        ({"uri": "lake://b/x", "partition": {"time": {"column": "Date"}}}, "is the time column itself"),
        ({"uri": "lake://b/x", "partition": {"by": ["a", "a"]}}, "repeat"),
        ({"uri": "lake://b/x", "partition": {"by": ["a", "A"]}}, "a and A differ by case alone"),
        ({"uri": "lake://b/x", "partition": {"by": ["a"]}, "columns": {"A": "date"}}, "a and A differ by case alone"),
        ({"uri": "lake://b/x", "partition": {"by": ["a/b"]}}, "not usable as a Hive column"),
        ({"uri": "lake://b/x", "partition": TIME, "columns": {"x": "int64"}}, "not among the declared columns"),
        ({"uri": "lake://b/x", "partition": TIME, "columns": {"t": "date", "date": "date"}}, "is also a column"),
        ({"uri": "lake://b/x", "rejects": {"max_ratio": 2}}, "rejects.max_ratio"),
        ({"uri": "lake://b/x", "write": {"target_file_size": "0MB"}}, "write.target_file_size"),
    ],
)
def test_what_is_wrong_is_named(change, says):
    with pytest.raises(SpecError, match=says):
        DatasetSpec(**change)


@pytest.mark.parametrize(("text", "says"), [("a: [", "is not YAML"), ("- 1", "must be a mapping")])
def test_text_that_is_no_spec(text, says):
    with pytest.raises(SpecError, match=says):
        DatasetSpec.from_yaml(text)


@pytest.mark.parametrize(
    "uri", ["lake://me:hush@bucket/t", "http://me:hush@host/t", "lake://b/t?X-Amz-Signature=hush", "me:hush@bucket/t"]
)
def test_a_uri_with_a_secret_is_refused_and_not_repeated(uri):
    ways = (
        lambda: DatasetSpec(uri=uri),
        lambda: DatasetSpec.from_yaml(f"uri: {uri!r}"),
        lambda: DatasetSpec.model_validate({"uri": uri, "nonsense": 1}),
        lambda: Dataset.open(uri),
    )
    for way in ways:
        with pytest.raises(ValueError, match="must not hold a") as refused:
            way()
        assert "hush" not in "".join(traceback.format_exception(refused.value))
