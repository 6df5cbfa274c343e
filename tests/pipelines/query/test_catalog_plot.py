"""A catalog's charts: what is drawn is what the catalog says."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.model.spec import Tier
from tierlake.pipelines.model.time_window import Every, window_of
from tierlake.pipelines.query.catalog import Catalog
from tierlake.pipelines.query.catalog_plot import TIER_COLOURS
from tierlake.pipelines.query.outcome import Outcome
from tierlake.pipelines.query.partition_info import PartitionInfo

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)
CLASSES = {"hot": "STANDARD", "warm": "STANDARD_IA", "cold": "GLACIER_IR"}


def a_partition(value: str, every: Every = "day", *, size: int = 1000, zone: str = "UTC") -> PartitionInfo:
    window = window_of(value, every, zone)
    age = window.age(AS_OF) if window else None
    days = age.days if age else 0
    tier: Tier = "cold" if days >= 90 else "warm" if days >= 30 else "hot"
    return PartitionInfo(
        key=PartitionKey.of({"date": value}),
        rows=1,
        files=1,
        bytes=size,
        storage_class=CLASSES[tier],
        tier=tier,
        age=age,
        window=window,
        monthly_cost=0.25,
        held=None,
        changed=AS_OF,
    )


def of(parts: Iterable[PartitionInfo]) -> Catalog:
    return Catalog(parts, as_of=AS_OF)


YEAR = of(a_partition(str(date(2013, 1, 1) + timedelta(days=day)), size=1000 + day) for day in range(365))


def heights(ax: Axes) -> dict[str, float]:
    """The sum of what is drawn of each label."""
    return {bars.get_label().replace("\\", ""): sum(bar.get_height() for bar in bars) for bars in ax.containers}


def labels(ax: Axes) -> list[str]:
    return [text.get_text().replace("\\", "") for text in ax.get_xticklabels()]


def bars_at(ax: Axes, label: str) -> list[float]:
    (bars,) = [bars for bars in ax.containers if bars.get_label() == label]
    return [bar.get_height() for bar in bars]


def by_tier(catalog: Catalog) -> dict[str, float]:
    return {
        tier: sum(part.bytes for part in catalog if part.tier == tier)
        for tier in TIER_COLOURS
        if any(part.tier == tier for part in catalog)
    }


def test_three_panels_add_up_to_the_catalog() -> None:
    figure = YEAR.plot()
    tiers, ages, money = figure.axes
    assert heights(tiers) == heights(ages) == by_tier(YEAR)
    assert heights(money) == {
        tier: pytest.approx(0.25 * sum(part.tier == tier for part in YEAR)) for tier in by_tier(YEAR)
    }
    assert [text.get_text() for text in money.texts] == [r"\$91.25"]
    assert tiers.get_title("left") == "bytes by tier and week"
    assert ages.get_title("left") == "bytes by age on 2014-01-01"


def test_units_can_be_read() -> None:
    tiers, _, money = YEAR.plot().axes
    tiers.figure.draw_without_rendering()
    assert all(text.get_text().endswith((" B", " KB")) for text in tiers.get_yticklabels())
    assert all(text.get_text().startswith(r"\$") for text in money.get_yticklabels())


def test_a_picture_is_small_and_the_same_again() -> None:
    first, second = (YEAR.plot()._repr_png_() for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert len(first) < 60_000


def test_pyplot_is_not_needed_and_knows_nothing() -> None:
    before = sys.modules.get("matplotlib.pyplot")
    YEAR.plot()
    assert sys.modules.get("matplotlib.pyplot") is before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_a_panel_goes_into_axes_of_the_callers() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert YEAR.plot(ax=left) is left
    assert YEAR.plot("money", ax=right) is right
    assert heights(left) == by_tier(YEAR)
    assert len(YEAR.plot("ages").axes) == 1


@pytest.mark.parametrize(("panel", "hint"), [("tier", "tiers"), ("money!", "money"), ("x", "tiers, ages, money")])
def test_a_panel_that_there_is_not(panel: str, hint: str) -> None:
    with pytest.raises(SpecError, match=hint):
        YEAR.plot(panel)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("every", "values", "unit", "first", "bars"),
    [
        ("hour", [f"2013-07-04T{hour:02d}" for hour in range(24)], "hour", "2013-07-04 00h", 24),
        ("hour", ["2013-07-04T00", "2013-07-30T00"], "day", "2013-07-04", 27),
        ("day", ["2013-07-04"], "day", "2013-07-04", 1),
        ("day", ["2013-07-04", "2013-09-01"], "day", "2013-07-04", 60),
        ("day", ["2013-07-03", "2013-09-01"], "week", "2013-07-01", 9),
        ("month", ["2013-01", "2013-12"], "month", "2013-01", 12),
        ("day", ["2010-01-31", "2013-12-01"], "month", "2010-01", 48),
        ("day", ["2000-01-31", "2013-12-01"], "quarter", "2000 Q1", 56),
        ("year", ["1999", "2013"], "year", "1999", 15),
        ("day", ["0001-01-02", "2013-12-01"], "century", "0", 21),
        ("day", ["0001-01-02", "9999-12-30"], "millennium", "0", 10),
    ],
)
def test_time_is_in_units_of_which_few_enough_fit(
    every: Every, values: list[str], unit: str, first: str, bars: int
) -> None:
    catalog = of(a_partition(value, every) for value in values)
    ax = catalog.plot("tiers").axes[0]
    assert ax.get_title("left") == f"bytes by tier and {unit}"
    assert labels(ax)[0] == first
    assert len(labels(ax)) <= 12
    assert {len(container) for container in ax.containers} == {bars}
    assert heights(ax) == by_tier(catalog)


def test_gaps_in_time_are_gaps() -> None:
    ax = of([a_partition("2013-07-01", size=5), a_partition("2013-07-04", size=7)]).plot("tiers").axes[0]
    assert bars_at(ax, "cold") == [5, 0, 0, 7]


def test_days_are_those_of_the_datasets_zone() -> None:
    ax = of([a_partition("2013-07-04", zone="Asia/Tokyo"), a_partition("2013-07-05", zone="Asia/Tokyo")]).plot("tiers")
    assert labels(ax.axes[0]) == ["2013-07-04", "2013-07-05"]


def test_what_has_no_time_has_a_bar_of_its_own() -> None:
    tiers, ages, _ = of([a_partition("2013-07-04", size=5), a_partition("__null__", size=7)]).plot().axes
    assert labels(tiers)[-1] == "no time"
    assert labels(ages)[-1] == "no age"
    assert heights(tiers) == heights(ages) == {"cold": 5, "hot": 7}


def test_without_any_time_the_bars_are_tiers() -> None:
    parts = [a_partition("x", size=5), replace(a_partition("y", size=7), tier=None, storage_class="STANDARD+COLD")]
    ax = of(parts).plot("tiers").axes[0]
    assert labels(ax) == ["STANDARD+COLD", "hot"]
    assert heights(ax) == {"hot": 5, "STANDARD+COLD": 7}


def test_a_window_that_is_not_over_is_open() -> None:
    ages = of([a_partition("2014-01-02"), a_partition("2013-12-31"), a_partition("2013-12-20")]).plot("ages").axes[0]
    assert labels(ages) == ["open", "<1 d", "<7 d", "<30 d"]
    assert bars_at(ages, "hot") == [1000, 1000, 0, 1000]


def test_what_has_no_price_is_counted_and_not_drawn() -> None:
    parts = [a_partition("2013-07-04"), replace(a_partition("2013-07-05"), monthly_cost=None)]
    money = of(parts).plot("money").axes[0]
    assert heights(money) == {"cold": 0.25}
    assert money.get_title("left") == "storage a month (1 partition without a price)"


def test_an_empty_catalog_has_empty_panels() -> None:
    figure = of([]).plot()
    assert [ax.containers for ax in figure.axes] == [[], [], []]
    assert figure._repr_png_()


class Priced:
    def __init__(self, outcomes: dict[str, Outcome]) -> None:
        self._outcomes = outcomes

    def outcomes(self) -> dict[str, Outcome]:
        return self._outcomes


def test_a_plan_adds_the_bill_that_follows_it() -> None:
    parts = [a_partition("2013-07-04"), a_partition("2013-07-05"), a_partition("2013-12-30")]
    plan = Priced({"date=2013-07-04": Outcome("archive", 0.2), "date=2013-07-05": Outcome(None, 0.25)})
    money = of(parts).plot("money", plan=plan).axes[0]
    assert labels(money) == ["now", "after the plan"]
    assert bars_at(money, "hot") == [0.25, 0.25]
    assert bars_at(money, "cold") == [0.5, 0]
    assert bars_at(money, "archive") == [0, pytest.approx(0.05)]
    assert [text.get_text() for text in money.texts] == [r"\$0.75", r"\$0.30"]


def test_a_plan_without_steps_leaves_the_bill() -> None:
    money = of([a_partition("2013-07-04")]).plot("money", plan=Priced({})).axes[0]
    assert bars_at(money, "cold") == [0.25, 0.25]


def test_a_plan_of_other_partitions_is_refused() -> None:
    with pytest.raises(SpecError, match=r"1 partition that this catalog does not have: date=2012-01-01"):
        YEAR.plot(plan=Priced({"date=2012-01-01": Outcome("cold", 1.0)}))


@pytest.mark.slow
def test_ten_thousand_partitions_are_drawn_at_once() -> None:
    days = [str(date(1990, 1, 1) + timedelta(days=day)) for day in range(10_000)]
    figure = of(map(a_partition, days)).plot()
    assert sum(heights(figure.axes[0]).values()) == 10_000_000
    assert len(figure.axes[0].patches) < 400
