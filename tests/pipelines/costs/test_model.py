"""Money: storage, moves and whether they pay."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlake.pipelines.costs.model import DEFAULT_HORIZON, GIB, MONTH, MoveRates, monthly_storage
from tierlake.pipelines.prices import PriceList, Rates, price_list

AWS = price_list("aws_us_east_1")
NOW = datetime(2014, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)
sizes = st.lists(st.integers(min_value=0, max_value=10 * GIB), min_size=1, max_size=20)
classes = st.sampled_from(sorted(AWS.classes))


def rates(name: str) -> Rates:
    return AWS.classes[name]


def move(
    size: int,
    source: str,
    target: str,
    *,
    days: float = 365,
    mover: str = "copy",
    since: datetime = LONG_AGO,
    keeps_versions: bool = False,
):
    ways = MoveRates.of(
        rates(source),
        rates(target),
        prices=AWS,
        mover=mover,  # type: ignore[arg-type]
        keeps_versions=keeps_versions,
    )
    return ways.cost([(size, since)], as_of=NOW, horizon=timedelta(days=days))


def test_a_gibibyte_month_costs_what_the_list_says() -> None:
    assert monthly_storage([GIB], rates("STANDARD")) == pytest.approx(0.023)
    assert monthly_storage([GIB // 2] * 4, rates("GLACIER_IR")) == pytest.approx(0.008)


def test_small_objects_are_charged_as_128_kib() -> None:
    assert monthly_storage([1], rates("STANDARD_IA")) == monthly_storage([131072], rates("STANDARD_IA"))
    assert monthly_storage([1], rates("STANDARD")) < monthly_storage([2], rates("STANDARD"))


def test_archived_objects_have_an_overhead_in_two_classes() -> None:
    cost = monthly_storage([0] * 1000, rates("DEEP_ARCHIVE"), rates("STANDARD"))
    assert cost == pytest.approx(1000 * (32768 / GIB * 0.00099 + 8192 / GIB * 0.023))


@given(sizes, classes)
def test_storage_never_shrinks_with_bytes_and_adds_up(bytes_: list[int], name: str) -> None:
    whole = monthly_storage(bytes_, rates(name), rates("STANDARD"))
    parts = sum(monthly_storage([size], rates(name), rates("STANDARD")) for size in bytes_)
    assert whole == pytest.approx(parts)
    assert monthly_storage([size + 1 for size in bytes_], rates(name)) >= monthly_storage(bytes_, rates(name))


@given(sizes, classes, classes, st.floats(min_value=0, max_value=3650))
def test_figures_are_consistent_and_never_negative(bytes_: list[int], source: str, target: str, days: float) -> None:
    ways = MoveRates.of(rates(source), rates(target), prices=AWS, mover="copy")
    cost = ways.cost([(size, LONG_AGO) for size in bytes_], as_of=NOW, horizon=timedelta(days=days))
    assert min(cost.monthly_before, cost.monthly_after, cost.requests, cost.retrieval, cost.early_deletion) >= 0
    assert cost.one_off == pytest.approx(cost.requests + cost.retrieval + cost.early_deletion)
    assert (cost.saved > 0) <= (cost.monthly_after < cost.monthly_before)
    assert not (cost.pays and cost.saved < cost.one_off)


def test_a_large_file_pays_and_a_small_one_does_not() -> None:
    assert move(GIB, "STANDARD", "STANDARD_IA").pays
    assert not move(10_000, "STANDARD", "STANDARD_IA").pays


def test_a_move_must_earn_its_request_before_the_next_step() -> None:
    mebibyte = 2**20
    monthly = mebibyte / GIB * (0.023 - 0.0125)
    requests = {"HEAD": 0.0004 + 0.001, "COPY": 0.01}
    break_even = sum(requests.values()) / 1000 / monthly * MONTH
    assert not move(mebibyte, "STANDARD", "STANDARD_IA", days=break_even / timedelta(days=1) * 0.99).pays
    assert move(mebibyte, "STANDARD", "STANDARD_IA", days=break_even / timedelta(days=1) * 1.01).pays


def test_a_copy_of_a_version_pays_for_looking_after_versions() -> None:
    plain = move(GIB, "STANDARD", "STANDARD_IA").requests
    kept = move(GIB, "STANDARD", "STANDARD_IA", keeps_versions=True).requests
    assert kept - plain == pytest.approx((3 * 0.005 + 0.0004) / 1000)
    tagged = {key: move(GIB, "STANDARD", "STANDARD_IA", mover="tag", keeps_versions=key) for key in (True, False)}
    assert tagged[True] == tagged[False]


def test_nothing_pays_without_a_future() -> None:
    assert not move(GIB, "STANDARD", "STANDARD_IA", days=-3).pays
    assert move(GIB, "STANDARD", "STANDARD_IA", days=-3).saved == 0


def test_moving_back_to_a_hotter_class_does_not_pay() -> None:
    assert not move(GIB, "GLACIER_IR", "STANDARD").pays


def test_a_copy_out_of_a_class_reads_it_and_a_tag_does_not() -> None:
    assert move(GIB, "STANDARD_IA", "GLACIER_IR").retrieval == pytest.approx(0.01)
    assert move(GIB, "STANDARD_IA", "GLACIER_IR", mover="tag").retrieval == 0


def test_leaving_a_class_early_is_charged_for_the_rest() -> None:
    stayed = NOW - timedelta(days=10)
    early = move(GIB, "STANDARD_IA", "GLACIER_IR", since=stayed).early_deletion
    assert early == pytest.approx(0.0125 * (timedelta(days=20) / MONTH))
    assert move(GIB, "STANDARD_IA", "GLACIER_IR", since=NOW - timedelta(days=30)).early_deletion == 0
    assert move(GIB, "STANDARD_IA", "GLACIER_IR", since=NOW + timedelta(days=99)).early_deletion == pytest.approx(
        0.0125 * (timedelta(days=30) / MONTH)
    )


def test_a_server_of_ones_own_always_gains_by_a_colder_tier() -> None:
    own: PriceList = price_list("self_hosted")
    ways = MoveRates.of(own.tiers["hot"], own.tiers["warm"], prices=own, mover="tag")
    cost = ways.cost([(1, LONG_AGO)], as_of=NOW, horizon=DEFAULT_HORIZON)
    assert cost.one_off == 0
    assert cost.pays


def test_a_tail_that_is_kept_has_its_price() -> None:
    """Read from where the file is, written to the hot class, however many files move with it."""
    ways = MoveRates.of(rates("STANDARD_IA"), rates("GLACIER"), prices=AWS, mover="tag")
    files = [(GIB, LONG_AGO)] * 3
    without, with_one = (ways.cost(files, as_of=NOW, horizon=MONTH, tails=tails).requests for tails in (0, 1))
    assert with_one - without == pytest.approx((0.001 + 0.005) / 1000)


def test_a_class_that_would_be_left_before_its_minimum_is_charged_for_the_rest() -> None:
    short = move(GIB, "STANDARD", "GLACIER_IR", days=10)
    assert short.early_deletion == pytest.approx(80 * timedelta(days=1) / MONTH * 0.004)
    assert short.saved > 0
    assert not short.pays
    assert move(GIB, "STANDARD", "GLACIER_IR", days=90).early_deletion == 0
    assert move(GIB, "STANDARD", "GLACIER_IR", days=20).pays  # 20 days in STANDARD cost more than 90 in GLACIER_IR
