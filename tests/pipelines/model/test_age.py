"""What the policy says of an age."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.model.age import NextStep, is_past_retention, next_step, tier_at, window_of_key
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import TIER_ORDER, DatasetSpec

SPEC = DatasetSpec(
    uri="lake://warehouse/flights",
    partition={"time": {"column": "time_hour", "timezone": "America/New_York"}},
    tiers=[{"after": "30d", "tier": "warm"}, {"after": "90d", "tier": "cold"}],
    retention={"expire_after": "300d"},
)
DAY = timedelta(days=1)
ages = st.timedeltas(min_value=-400 * DAY, max_value=400 * DAY)


def test_a_step_is_reached_at_its_age_exactly() -> None:
    assert tier_at(SPEC, 30 * DAY - timedelta(microseconds=1)) == "hot"
    assert tier_at(SPEC, 30 * DAY) == "warm"
    assert tier_at(SPEC, 90 * DAY) == "cold"
    assert is_past_retention(SPEC, 300 * DAY)
    assert not is_past_retention(SPEC, 300 * DAY - timedelta(microseconds=1))


@given(ages, ages)
def test_older_is_never_hotter(one: timedelta, other: timedelta) -> None:
    younger, older = sorted((one, other))
    assert TIER_ORDER.index(tier_at(SPEC, younger)) <= TIER_ORDER.index(tier_at(SPEC, older))
    assert is_past_retention(SPEC, younger) <= is_past_retention(SPEC, older)


@given(ages)
def test_the_next_step_is_ahead_and_changes_something(age: timedelta) -> None:
    step = next_step(SPEC, age)
    if step is None:
        assert is_past_retention(SPEC, age)
        return
    assert step.after > age
    if step.what == "expire":
        assert is_past_retention(SPEC, step.after)
    else:
        assert tier_at(SPEC, step.after) == step.what != tier_at(SPEC, age)


def test_a_step_comes_at_the_end_of_the_window_plus_its_age() -> None:
    window = window_of_key(SPEC, PartitionKey.parse("date=2013-07-04"))
    assert window is not None
    assert NextStep("warm", 30 * DAY).at(window) == datetime(2013, 8, 4, 4, tzinfo=UTC)


def test_null_and_foreign_keys_have_no_window() -> None:
    assert window_of_key(SPEC, PartitionKey.parse("date=")) is None
    assert window_of_key(SPEC, PartitionKey.parse("date=yesterday")) is None
    assert window_of_key(DatasetSpec(uri="lake://w/t"), PartitionKey.parse("date=2013-07-04")) is None
