"""The demo's money: the policy that it prices is the demo's, and its figures add up."""

import re

import pytest

from tests import ROOT
from tierlake.connector.profiles.aws import PROFILE
from tierlake.dagster_project.demo import bill
from tierlake.dagster_project.demo.datasets import DATASETS
from tierlake.dagster_project.demo.referee import Referee, source_folder
from tierlake.dagster_project.demo.stage import TODAY
from tierlake.pipelines.costs.model import GIB
from tierlake.pipelines.prices import price_list

EVEN = {f"2013-{month:02}-{day:02}": 900 for month in range(1, 13) for day in range(1, 29)}


def test_its_policy_is_that_of_the_flights():
    spec = DATASETS["flights"].lake_asset().spec
    assert tuple((step.after, PROFILE.tier_classes[step.tier]) for step in spec.tiers) == bill._STEPS
    assert (spec.retention.expire_after, spec.retention.grace) == (bill._RETENTION, bill._GRACE)


def test_ten_terabytes_cost_what_the_list_says():
    year = bill.bill_of(EVEN, "2014-01-01")
    rate = price_list("aws_us_east_1").classes["STANDARD"].storage.value
    assert year.kept.total == pytest.approx(bill.TEN_TB / GIB * rate * 365 / (365.25 / 12), rel=1e-6)
    assert year.kept.moves == year.kept.early_deletion == 0


def test_a_backfill_costs_more_under_rules_and_daily_uploads_cost_less():
    facts = bill.bill_of(EVEN, "2014-01-01").facts()
    assert facts["ours"] < facts["rules"] < facts["kept"]
    assert facts["rules_daily"] < facts["ours_daily"]


def test_the_table_has_the_sums():
    year = bill.bill_of(EVEN, "2014-01-01")
    lines = year.table().splitlines()
    for line, total in zip(lines[1:], (year.kept.total, year.rules.total, year.ours.total), strict=True):
        assert f"${total:,.2f}" in line
    assert f"${year.ours_daily.total:,.2f}" in year.prose()


def test_the_pages_show_the_bill_of_the_real_year():
    year = bill.bill_of(Referee(source_folder()).flights_a_day(), TODAY)
    assert year.table() in (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\$\d[\d,.]*\d", (ROOT / "docs" / "explanation" / "tiers.md").read_text(encoding="utf-8"))
    sums = (year.rules, year.ours, year.rules_daily, year.ours_daily)
    assert shown == [f"${way.total:,.2f}" for way in sums]
