"""What came of a load, as a table of text: a column for each library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.load.samples import Growth
from benchmarks.load.traffic import VERBS

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.load.crew import Watched
    from benchmarks.load.samples import Sample

MIB, MB = 1 << 20, 1e6
SHARES = (0.50, 0.95, 0.99)
NAMES_WIDTH, CELL_WIDTH = 28, 34
FIGURES: Mapping[str, Callable[[Sample], float]] = {
    "MiB resident": lambda sample: sample.memory / MIB,
    "sockets": lambda sample: sample.sockets,
    "threads": lambda sample: sample.threads,
}


def percentile(waits: array[int], share: float) -> float:
    """The least wait that so many calls did not exceed, in microseconds; the nearest rank, as no call lies between."""
    ordered = sorted(waits)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else float("nan")


def text(watched: Mapping[str, Watched]) -> str:
    """All figures of all contenders."""
    columns = [dict(_rows(one)) for one in watched.values()]
    names = dict.fromkeys(name for column in columns for name in column)
    lines = [_line("", list(watched))]
    lines += [_line(name, [column.get(name, "-") for column in columns]) for name in names]
    errors = [
        f"{library}, {count:,} x {kind}: {one.outcome.messages[kind]}"
        for library, one in watched.items()
        for kind, count in one.outcome.errors.most_common()
    ]
    return "\n".join([*lines, *errors])


def _line(name: str, cells: list[str]) -> str:
    return f"{name:{NAMES_WIDTH}}" + "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells)


def _rows(one: Watched) -> Iterator[tuple[str, str]]:
    outcome = one.outcome
    yield "calls/s", f"{outcome.calls / outcome.seconds:,.0f}"
    yield "MB/s read", f"{outcome.read / MB / outcome.seconds:,.1f}"
    yield "MB/s written", f"{outcome.written / MB / outcome.seconds:,.1f}"
    yield "errors", f"{outcome.errors.total():,}"
    yield "calls of a reader and turn", f"{min(outcome.readers):,} to {max(outcome.readers):,}"
    yield "ms: p50, p95, p99, longest", ""
    for verb in VERBS:
        waits = outcome.waits.get(verb)
        if waits:
            figures = [*(percentile(waits, share) for share in SHARES), max(waits)]
            yield f"  {verb}", "".join(f"{figure / 1000:8,.1f}" for figure in figures)
    yield "start, peak, end", ""
    for name, figure in FIGURES.items():
        peak = max(map(figure, [one.before, *one.during, one.after]))
        yield f"  {name}", "".join(f"{value:8,.0f}" for value in (figure(one.before), peak, figure(one.after)))
    yield "medians, first to last third", ""
    for name, figure in FIGURES.items():
        growth = Growth.of(one.during, figure)
        yield f"  {name}, medians", f"{growth.first:,.0f} to {growth.last:,.0f}"
