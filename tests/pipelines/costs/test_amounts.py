"""Sums of objects cost what the objects cost one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierlake.pipelines.costs.amounts import BILLED_LEAST, Amount, size_steps
from tierlake.pipelines.costs.model import monthly_storage
from tierlake.pipelines.prices import price_list

PRICES = price_list("aws_us_east_1")
sizes = st.lists(st.one_of(st.integers(0, 2 * BILLED_LEAST), st.integers(0, 2**40)), max_size=20)


def amount_of(objects):
    amount = Amount(size_steps(PRICES))
    for size in objects:
        amount.add(size)
    return amount


@settings(max_examples=40)
@given(sizes, st.sampled_from(sorted(PRICES.classes)))
def test_the_sum_costs_what_its_objects_cost(objects, storage_class):
    rates = PRICES.classes[storage_class]
    expected = monthly_storage(objects, rates, PRICES.standard)
    assert amount_of(objects).monthly(rates, PRICES.standard) == pytest.approx(expected)


@settings(max_examples=40)
@given(sizes, sizes)
def test_sums_can_be_added_and_parted(one, other):
    both = amount_of(one)
    both.merge(amount_of(other))
    assert (both.count, both.bytes) == (len(one + other), sum(one + other))
    large = both.at_least(BILLED_LEAST)
    expected = [size for size in one + other if size >= BILLED_LEAST]
    assert (large.count, large.bytes, large.smaller(BILLED_LEAST)) == (len(expected), sum(expected), (0, 0))
