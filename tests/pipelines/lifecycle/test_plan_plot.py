"""A plan's charts: the bytes, ages and dollars of its steps."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.pipelines.lifecycle.test_plan import a_move, a_plan
from tests.pipelines.query.test_catalog_plot import bars_at, heights, labels
from tierlake.pipelines.lifecycle.plan import Expiration, ExpiryPlan, PlannedFile, TieringPlan

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)


def an_expiry(*steps: Expiration) -> ExpiryPlan:
    return ExpiryPlan(uri="lake://warehouse/flights", version=3, as_of=AS_OF, steps=steps)


def an_expiration(key: str = "date=2013-01-01", *, monthly: float | None = 0.5, at: str = "COLD") -> Expiration:
    files = (PlannedFile(path=f"{key}/a.parquet", size=1_500_000, etag="e", storage_class=at),)
    return Expiration(key=key, files=files, rows=3, age=timedelta(days=365), reason="365 d old", monthly=monthly)


def test_a_tiering_plan() -> None:
    plan = a_plan(a_move("date=2013-07-04"), a_move("date=2013-07-05", at="COLD"))
    tiers, ages, money = plan.plot().axes
    assert labels(tiers) == labels(money) == ["now", "then"]
    assert bars_at(tiers, "STANDARD") == bars_at(tiers, "COLD") == [1_500_000, 0]
    assert bars_at(tiers, "STANDARD_IA") == [0, 3_000_000]
    assert tiers.get_title("left") == "bytes of 2 partitions by storage class"
    assert heights(ages) == {"STANDARD_IA": 3_000_000}
    assert labels(ages) == ["<90 d"]
    assert [text.get_text() for text in money.texts] == [r"\$1.00", r"\$0.50"]
    assert money.get_title("left") == r"storage a month (\$0.020 once)"


def test_an_expiry_plan() -> None:
    tiers, ages, money = an_expiry(an_expiration(), an_expiration("date=2013-01-02")).plot().axes
    assert bars_at(tiers, "COLD") == [3_000_000, 0]
    assert heights(ages) == {"COLD": 3_000_000}
    assert bars_at(money, "COLD") == [1.0, 0]
    assert money.get_title("left") == "storage a month"


def test_what_has_no_price_is_counted() -> None:
    money = an_expiry(an_expiration(), an_expiration("date=2013-01-02", monthly=None)).plot("money").axes[0]
    assert bars_at(money, "COLD") == [0.5, 0]
    assert money.get_title("left") == "storage a month (1 partition without a price)"


@pytest.mark.parametrize("plan", [a_plan(), an_expiry()], ids=lambda plan: plan.kind)
def test_a_plan_without_steps(plan: TieringPlan | ExpiryPlan) -> None:
    assert [ax.containers for ax in plan.plot().axes] == [[], [], []]
