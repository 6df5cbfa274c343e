"""Bills to come, held against a walk from day to day."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.costs.forecast import Forecast, Lot, Policy, forecast
from tierlake.pipelines.costs.model import GIB, MONTH, monthly_storage
from tierlake.pipelines.prices import price_list

AWS = price_list("aws_us_east_1")
DAY = timedelta(days=1)
TODAY = datetime(2014, 1, 1, tzinfo=UTC)
STEPS = ((30 * DAY, "STANDARD_IA"), (90 * DAY, "GLACIER_IR"))
RULES = Policy(STEPS, 300 * DAY, mover="rule", must_pay=False)

days = st.integers(min_value=-400, max_value=400).map(lambda number: TODAY + number * DAY)
lots = st.builds(
    lambda size, stored, older: Lot((size,), stored, stored - older * DAY),
    st.integers(min_value=1, max_value=10 * GIB),
    days,
    st.integers(min_value=0, max_value=400),
)
ages = st.lists(st.integers(min_value=0, max_value=500), min_size=2, max_size=2).map(sorted)
policies = st.builds(
    lambda ages, expire, mover, grace: Policy(
        ((ages[0] * DAY, "STANDARD_IA"), (ages[1] * DAY, "GLACIER_IR")),
        None if expire is None else expire * DAY,
        mover,
        must_pay=False,
        grace=grace * DAY,
    ),
    ages,
    st.none() | st.integers(min_value=0, max_value=600),
    st.sampled_from(["copy", "tag", "rule"]),
    st.integers(min_value=0, max_value=10),
)


def walked(lot: Lot, policy: Policy, since: datetime, until: datetime) -> float:
    """Storage alone, a day at a time: what is stored at a day's beginning is so all day."""
    total, today = 0.0, since
    expires = None if policy.expire_after is None else max(lot.born + policy.expire_after, lot.stored)
    moves = [(max(lot.born + after, lot.stored), name) for after, name in policy.steps]
    while today < until:
        is_gone = expires is not None and today >= expires + policy.grace
        if today >= lot.stored and not is_gone:
            done = [name for moment, name in moves if moment <= today and (expires is None or moment < expires)]
            place = ([*done] or ["STANDARD"])[-1]
            total += monthly_storage(lot.sizes, AWS.classes[place]) * (DAY / MONTH)
        today += DAY
    return total


@given(lots, policies, days, st.integers(min_value=0, max_value=300))
def test_storage_is_that_of_each_day(lot: Lot, policy: Policy, since: datetime, length: int) -> None:
    until = since + length * DAY
    bill = forecast([lot], policy, AWS, since=since, until=until)
    assert bill.storage == pytest.approx(walked(lot, policy, since, until))


@given(lots, policies, days, st.integers(min_value=0, max_value=300), st.integers(min_value=0, max_value=300))
def test_two_spans_are_billed_as_one(lot: Lot, policy: Policy, since: datetime, first: int, second: int) -> None:
    middle = since + first * DAY
    until = middle + second * DAY
    halves = [forecast([lot], policy, AWS, since=begin, until=end) for begin, end in ((since, middle), (middle, until))]
    assert forecast([lot], policy, AWS, since=since, until=until).total == pytest.approx(
        sum(half.total for half in halves)
    )


@given(lots, policies)
def test_moves_that_must_pay_never_cost_more_than_staying(lot: Lot, policy: Policy) -> None:
    ends = lot.stored if policy.expire_after is None else max(lot.born + policy.expire_after, lot.stored)
    until = max(ends, lot.born + 500 * DAY, lot.stored) + 366 * DAY
    careful = Policy(policy.steps, policy.expire_after, policy.mover, grace=policy.grace)
    staying = Policy((), policy.expire_after, grace=policy.grace)
    bills = [forecast([lot], each, AWS, since=lot.stored, until=until).total for each in (careful, staying)]
    assert bills[0] <= bills[1] + 1e-9


def test_a_backfill_is_new_to_a_lifecycle_rule() -> None:
    old = TODAY - 200 * DAY
    by_upload = forecast([Lot((GIB,), TODAY, TODAY)], RULES, AWS, since=TODAY, until=TODAY + 365 * DAY)
    by_event = forecast([Lot((GIB,), TODAY, old)], RULES, AWS, since=TODAY, until=TODAY + 365 * DAY)
    months = [span * DAY / MONTH for span in (30, 60, 210)]
    assert by_upload.storage == pytest.approx(sum(map(float.__mul__, months, (0.023, 0.0125, 0.004))))
    assert by_upload.moves == pytest.approx((0.01 + 0.02) / 1000)
    assert by_upload.early_deletion == 0
    assert by_event.storage == pytest.approx(100 * DAY / MONTH * 0.004)


def test_what_leaves_a_class_too_early_is_charged_for_the_rest() -> None:
    late = Policy(((290 * DAY, "GLACIER_IR"),), 300 * DAY, must_pay=False)
    bill = forecast([Lot((GIB,), TODAY, TODAY)], late, AWS, since=TODAY, until=TODAY + 365 * DAY)
    assert bill.early_deletion == pytest.approx(80 * DAY / MONTH * 0.004)
    careful = Policy(late.steps, late.expire_after)
    assert forecast([Lot((GIB,), TODAY, TODAY)], careful, AWS, since=TODAY, until=TODAY + 365 * DAY).moves == 0


def test_what_is_past_its_retention_at_the_upload_costs_nothing() -> None:
    lot = Lot((GIB,), TODAY, TODAY - 400 * DAY)
    assert forecast([lot], RULES, AWS, since=TODAY, until=TODAY + 365 * DAY) == Forecast()


def test_the_grace_of_what_is_past_its_retention_is_paid_for() -> None:
    lot = Lot((GIB,), TODAY, TODAY - 400 * DAY)
    bill = forecast([lot], replace(RULES, grace=7 * DAY), AWS, since=TODAY, until=TODAY + 365 * DAY)
    assert bill == Forecast(storage=pytest.approx(7 * DAY / MONTH * 0.023))
