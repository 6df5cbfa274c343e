"""A catalog as charts: where the bytes are, how old they are, and what they cost a month."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import TIER_ORDER
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.charts import drawn, stacked_bars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tierlake.pipelines.model.time_window import Window
    from tierlake.pipelines.query.outcome import Outcome, PricedPlan
    from tierlake.pipelines.query.partition_info import PartitionInfo
    from tierlake.pipelines.runtime.charts import Panel, Stacks

__all__ = ["OTHER_COLOURS", "TIER_COLOURS", "age_stacks", "plot_partitions", "size_of", "time_stacks"]

TIER_COLOURS: Final = dict(zip(TIER_ORDER, ("#d55e00", "#e69f00", "#56b4e9", "#0072b2"), strict=True))
"""Four that people with any kind of colour vision tell apart."""

OTHER_COLOURS: Final = ("#999999", "#555555", "#cccccc", "#777777", "#333333")
_MOST_BARS: Final = 60
_WIDTH: Final = 0.88  # a window is as wide as a unit: days of 25 hours, months of 31 days, years of 366
_NO_TIME, _NO_AGE, _OPEN = "no time", "no age", "open"


def plot_partitions(
    partitions: Sequence[PartitionInfo], as_of: datetime, panel: Panel | None, plan: PricedPlan | None, ax: Axes | None
) -> Figure | Axes:
    """Draw the partitions of a catalog; see `Catalog.plot`.

    Raises:
        SpecError: There is no such panel, or the plan is not for these partitions.
    """
    outcomes = plan.outcomes() if plan is not None else None
    if outcomes and (strange := outcomes.keys() - {str(part.key) for part in partitions}):
        raise SpecError(
            f"the plan has steps for {formatting.partitions(len(strange))} that this catalog does not have: "
            f"{min(strange)}",
            hint="plot a plan with the catalog of the same dataset, read before the plan was applied",
        )
    labels = [_label(part) for part in partitions]
    others = sorted({label for label in labels if label not in TIER_COLOURS})
    colours = TIER_COLOURS | {name: OTHER_COLOURS[place % len(OTHER_COLOURS)] for place, name in enumerate(others)}
    unit, by_time = time_stacks(
        (part.window, label, part.bytes) for part, label in zip(partitions, labels, strict=True)
    )
    by_age = age_stacks((part.age, label, part.bytes) for part, label in zip(partitions, labels, strict=True))

    def tiers(place: Axes) -> None:
        stacked_bars(place, by_time, colours, size_of, title="bytes by tier" + (f" and {unit}" if unit else ""))

    def ages(place: Axes) -> None:
        stacked_bars(place, by_age, colours, size_of, title=f"bytes by age on {formatting.day(as_of)}")

    def money(place: Axes) -> None:
        bill, without = _bill(partitions, outcomes)
        note = f" ({formatting.partitions(without)} without a price)" if without else ""
        stacked_bars(place, bill, colours, formatting.money, title=f"storage a month{note}", totals=True)

    return drawn({"tiers": tiers, "ages": ages, "money": money}, panel, ax)


def size_of(height: float) -> str:
    """Bytes on an axis."""
    return formatting.size(round(height))


def _label(part: PartitionInfo) -> str:
    return part.tier or part.storage_class


def _bill(partitions: Sequence[PartitionInfo], outcomes: Mapping[str, Outcome] | None) -> tuple[Stacks, int]:
    """Dollars a month by tier, now and after the plan, and how many partitions have no price."""
    now: dict[str, float] = defaultdict(float)
    then: dict[str, float] = defaultdict(float)
    without = 0
    for part in partitions:
        outcome = outcomes.get(str(part.key)) if outcomes else None
        if part.monthly_cost is None or (outcome and outcome.saved_monthly is None):
            without += 1
            continue
        now[_label(part)] += part.monthly_cost
        if outcome is None:
            then[_label(part)] += part.monthly_cost
        elif outcome.tier is not None:
            then[outcome.tier] += part.monthly_cost - (outcome.saved_monthly or 0.0)
    return ({"now": now} if outcomes is None else {"now": now, "after the plan": then}), without


# -- ages --------------------------------------------------------------------------------------------------------------

_AGES: Final = (
    (timedelta(0), _OPEN),
    (timedelta(days=1), "<1 d"),
    (timedelta(days=7), "<7 d"),
    (timedelta(days=30), "<30 d"),
    (timedelta(days=90), "<90 d"),
    (timedelta(days=180), "<180 d"),
    (timedelta(days=365), "<1 y"),
    (timedelta(days=730), "<2 y"),
    (timedelta(days=1826), "<5 y"),
    (timedelta.max, "more"),
)
"""The age that no partition of a class has reached, and the class's label; windows that go on are `open`."""


def age_stacks(aged: Iterable[tuple[timedelta | None, str, int]]) -> Stacks:
    """Bytes by classes of age.

    Args:
        aged: The age of each partition, the label of its part of the bar, and bytes.
    """
    classes: dict[int, dict[str, float]] = {}
    ageless: dict[str, float] = {}
    for age, label, size in aged:
        if age is None:
            ageless[label] = ageless.get(label, 0.0) + size
            continue
        place = next((place for place, (end, _) in enumerate(_AGES) if age < end), len(_AGES) - 1)
        stack = classes.setdefault(place, {})
        stack[label] = stack.get(label, 0.0) + size
    between = range(min(classes), max(classes) + 1) if classes else ()
    return {_AGES[place][1]: classes.get(place, {}) for place in between} | ({_NO_AGE: ageless} if ageless else {})


# -- times -------------------------------------------------------------------------------------------------------------


class _Unit(NamedTuple):
    """A width of bars on the calendar.

    Attributes:
        name: For the title.
        width: How long it is, or the shortest of them.
        number: Numbers the unit in which a wall clock's time lies.
        label: Names a unit by its number.
    """

    name: str
    width: timedelta
    number: Callable[[datetime], int]
    label: Callable[[int], str]


def _years(name: str, number: int) -> _Unit:
    return _Unit(name, timedelta(days=365 * number), lambda at: at.year // number, lambda count: f"{count * number}")


_UNITS: Final = (
    _Unit(
        "hour",
        timedelta(hours=1),
        lambda at: at.toordinal() * 24 + at.hour,
        lambda count: f"{date.fromordinal(count // 24)} {count % 24:02d}h",
    ),
    _Unit("day", timedelta(days=1), lambda at: at.toordinal(), lambda count: str(date.fromordinal(count))),
    _Unit(
        "week",
        timedelta(days=7),
        lambda at: (at.toordinal() - 1) // 7,
        lambda count: str(date.fromordinal(count * 7 + 1)),
    ),
    _Unit(
        "month",
        timedelta(days=28),
        lambda at: at.year * 12 + at.month - 1,
        lambda count: f"{count // 12:04d}-{count % 12 + 1:02d}",
    ),
    _Unit(
        "quarter",
        timedelta(days=90),
        lambda at: at.year * 4 + (at.month - 1) // 3,
        lambda count: f"{count // 4} Q{count % 4 + 1}",
    ),
    _years("year", 1),
    _years("decade", 10),
    _years("century", 100),
    _years("millennium", 1000),
)


def time_stacks(timed: Iterable[tuple[Window | None, str, int]]) -> tuple[str, Stacks]:
    """Bytes by event time, in the finest unit of the calendar of which few enough fit into a chart.

    Args:
        timed: The window of each partition, the label of its part of the bar, and bytes.

    Returns:
        The name of the unit and the bars; no name and a bar for each label where nothing has a window.
    """
    windows: list[tuple[Window, str, int]] = []
    timeless: dict[str, float] = {}
    for window, label, size in timed:
        if window is None:
            timeless[label] = timeless.get(label, 0.0) + size
        else:
            windows.append((window, label, size))
    if not windows:
        return "", {label: {label: size} for label, size in sorted(timeless.items())}
    unit = _unit_for([window for window, _, _ in windows])
    stacks: dict[int, dict[str, float]] = {}
    for window, label, size in windows:
        stack = stacks.setdefault(unit.number(window.start), {})
        stack[label] = stack.get(label, 0.0) + size
    between = range(min(stacks), max(stacks) + 1)
    bars = {unit.label(number): stacks.get(number, {}) for number in between}
    return unit.name, bars | ({_NO_TIME: timeless} if timeless else {})


def _unit_for(windows: list[Window]) -> _Unit:
    widest = max(window.end - window.start for window in windows) * _WIDTH
    first, last = min(window.start for window in windows), max(window.start for window in windows)
    for unit in _UNITS:
        if unit.width >= widest and unit.number(last) - unit.number(first) < _MOST_BARS:
            return unit
    return _UNITS[-1]
