"""A plan as charts: the bytes with a step by storage class, their ages, and what they cost a month, now and then."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tierlake.pipelines.lifecycle.planned import Expiration, TierMove
from tierlake.pipelines.query.catalog_plot import OTHER_COLOURS, TIER_COLOURS, age_stacks, size_of
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.charts import drawn, stacked_bars

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tierlake.pipelines.lifecycle.planned import PlannedFile, PlannedStep
    from tierlake.pipelines.runtime.charts import Panel, Stacks

__all__ = ["plot_steps"]

_NOW, _THEN, _MIXED = "now", "then", "several classes"


def plot_steps(steps: Sequence[PlannedStep], panel: Panel | None, ax: Axes | None) -> Figure | Axes:
    """Draw the steps of a plan; see `Plan.plot`.

    Raises:
        SpecError: There is no such panel.
    """
    colours = _colours(steps)
    count = formatting.partitions(len(steps))

    def tiers(place: Axes) -> None:
        title = f"bytes of {count} by storage class"
        stacked_bars(place, _sizes(steps), colours, size_of, title=title, totals=True)

    def ages(place: Axes) -> None:
        aged = ((step.age, _after(step) or _before(step), _bytes(step)) for step in steps)
        stacked_bars(place, age_stacks(aged), colours, size_of, title="bytes by age")

    def money(place: Axes) -> None:
        bill, without, once = _bill(steps)
        notes = [f"{formatting.money(once)} once"] if once is not None else []
        notes += [f"{formatting.partitions(without)} without a price"] if without else []
        title = "storage a month" + (f" ({', '.join(notes)})" if notes else "")
        stacked_bars(place, bill, colours, formatting.money, title=title, totals=True)

    return drawn({"tiers": tiers, "ages": ages, "money": money}, panel, ax)


def _colours(steps: Sequence[PlannedStep]) -> dict[str, str]:
    """The classes from which files come in grey, those to which they go in the colours of their tiers."""
    targets = {step.storage_class: step.tier for step in steps if isinstance(step, TierMove)}
    sources = sorted({label for step in steps for label in (_before(step), *_classes(step))} - targets.keys())
    greys = {name: OTHER_COLOURS[place % len(OTHER_COLOURS)] for place, name in enumerate(sources)}
    order = list(TIER_COLOURS)
    return greys | {
        name: TIER_COLOURS[tier] for name, tier in sorted(targets.items(), key=lambda one: order.index(one[1]))
    }


def _files(step: PlannedStep) -> tuple[PlannedFile, ...]:
    return step.to_move() if isinstance(step, TierMove) else step.files


def _bytes(step: PlannedStep) -> int:
    return sum(file.size for file in _files(step))


def _classes(step: PlannedStep) -> Iterator[str]:
    return (file.storage_class for file in _files(step))


def _before(step: PlannedStep) -> str:
    classes = set(_classes(step))
    return classes.pop() if len(classes) == 1 else _MIXED


def _after(step: PlannedStep) -> str | None:
    return step.storage_class if isinstance(step, TierMove) else None


def _monthly(step: PlannedStep) -> tuple[float | None, float | None]:
    if isinstance(step, TierMove):
        return step.monthly_before, step.monthly_after
    return (step.monthly, 0.0) if isinstance(step, Expiration) else (None, None)


def _sizes(steps: Sequence[PlannedStep]) -> Stacks:
    now: dict[str, float] = defaultdict(float)
    then: dict[str, float] = defaultdict(float)
    for step in steps:
        for file in _files(step):
            now[file.storage_class] += file.size
        if isinstance(step, TierMove):
            then[step.storage_class] += _bytes(step)
    return {_NOW: now, _THEN: then}


def _bill(steps: Sequence[PlannedStep]) -> tuple[Stacks, int, float | None]:
    """Dollars a month by class, now and then; how many steps have no price; what the moves cost once."""
    now: dict[str, float] = defaultdict(float)
    then: dict[str, float] = defaultdict(float)
    without, once = 0, 0.0
    for step in steps:
        before, after = _monthly(step)
        if before is None or after is None:
            without += 1
            continue
        now[_before(step)] += before
        if isinstance(step, TierMove):
            then[step.storage_class] += after
            once += step.one_off or 0.0
    is_moving = any(isinstance(step, TierMove) for step in steps)
    return {_NOW: now, _THEN: then}, without, once if is_moving else None
