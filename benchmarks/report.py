"""docs/benchmarks.md from the results: tables, and which figures are reached."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.results import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.model import Target, Work
    from benchmarks.results import Measured, Result, Verdict

BEGIN, END = "<!-- results: written by `python -m benchmarks` -->", "<!-- end of the results -->"
MIB, MB = 1 << 20, 1e6
MEASURES = {
    "seconds": "time",
    "cpu": "seconds of CPU",
    "down": "bytes fetched",
    "above": "peak memory above the result",
    "peak": "peak memory of the process",
}


def write(page: Path, works: Mapping[str, Work], results: Mapping[str, Result], scripts: Mapping[str, str]) -> None:
    """Put the results between their marks; what stands around them stays."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{generated(works, results, scripts)}\n{END}{after}")


def generated(works: Mapping[str, Work], results: Mapping[str, Result], scripts: Mapping[str, str]) -> str:
    """All that is generated."""
    measured = [(work, results[name]) for name, work in works.items() if name in results]
    parts = [_figures(measured), *(section(work, result) for work, result in measured)]
    parts += [f"### `{name}`\n\n```\n{output.rstrip()}\n```\n" for name, output in scripts.items()]
    return "\n".join(parts)


def _figures(measured: Iterable[tuple[Work, Result]]) -> str:
    rows = ["### Figures\n", "| work | figure | ratio | |", "|---|---|---|---|"]
    for work, result in measured:
        rows += [
            _row([f"[{work.name}](#{work.name})", figure(one.target), ratio(work, one), judgement(one)])
            for one in verdicts(work, result)
        ]
    return "\n".join(rows) + "\n"


def figure(target: Target) -> str:
    """A target in words."""
    where = f", {target.link}" if target.measure in {"seconds", "cpu"} else ""
    of = f"the best of {', '.join(target.of)}" if len(target.of) > 1 else target.of[0]
    return f"{target.ours}: {MEASURES[target.measure]}{where} at most {target.most:g} x {of}"


def judgement(verdict: Verdict) -> str:
    """Whether it is reached, in a word."""
    return {True: "reached", False: "**not reached**", None: "not measured"}[verdict.reached]


def ratio(work: Work, verdict: Verdict) -> str:
    """A ratio, in percents; more exactly where processes start several times for that."""
    return "" if verdict.ratio is None else f"{verdict.ratio:.{3 if work.starts > 1 else 2}f}"


def section(work: Work, result: Result) -> str:
    """A work's table."""
    links = result.links()
    head = [""]
    for link in links:
        head += [f"{link}, s", "/ ours", "/ best", *(["CPU, s"] if result.has_cpu(link) else [])]
    head += ["requests", "MB down", "MB up", "MiB above", "MiB peak"]
    rows = [
        f"### {work.name}\n",
        f"{result.title[:1].upper()}{result.title[1:]}.\n",
        _row(head),
        _row(["---"] * len(head)),
    ]
    rows += [_row(_cells(work, result, name, links)) for name in _order(result, links)]
    parts = [f"{result.server}, {result.cores} cores, {result.rounds} rounds", _versions(result)]
    rows.append(f"\n{'; '.join(part for part in parts if part)}.")
    if result.skipped:
        rows.append(f"Left out: {'; '.join(f'{name} ({why})' for name, why in sorted(result.skipped.items()))}.")
    return "\n".join(rows) + "\n"


def _order(result: Result, links: list[str]) -> list[str]:
    """The quickest first."""
    if not links:
        return list(result.contenders)
    return sorted(result.contenders, key=lambda name: result.contenders[name].median(links[0]) or float("inf"))


def _cells(work: Work, result: Result, name: str, links: list[str]) -> list[str]:
    one = result.contenders[name]
    bold = "**" if work.contender(name).is_ours else ""
    cells = [f"{bold}{name}{bold}"]
    for link in links:
        cells += _times(work, result, one, link)
        cells += [_seconds(one.cpu.get(link))] if result.has_cpu(link) else []
    requests = ", ".join(f"{count:,} {kind}" for kind, count in one.requests.items())
    return [
        *cells,
        requests,
        f"{one.down / MB:,.1f}",
        f"{one.up / MB:,.1f}",
        f"{one.above / MIB:,.0f}",
        f"{one.peak / MIB:,.0f}",
    ]


def _times(work: Work, result: Result, one: Measured, link: str) -> tuple[str, str, str]:
    median = one.median(link)
    if median is None:
        return "", "", ""
    medians = {name: other.median(link) for name, other in result.contenders.items()}
    ours = next((medians[name] for name in medians if work.contender(name).is_ours), None)
    best = min((value for name, value in medians.items() if value and not work.contender(name).is_ours), default=None)
    return (
        _seconds(one.seconds[link]),
        f"{median / ours:.2f}" if ours else "",
        f"{median / best:.2f}" if best else "",
    )


def _seconds(taken: list[float] | None) -> str:
    return f"{statistics.median(taken):.2f} ({min(taken):.2f}-{max(taken):.2f})" if taken else ""


def _versions(result: Result) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()) if name != "tierlake")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
