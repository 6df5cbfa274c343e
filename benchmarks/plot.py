"""The results as a picture: an axis for each work and link, a bar for each contender."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.model import Work
    from benchmarks.results import Result

COLUMNS = 2
OURS, PEERS = "#0b6e99", "#b9c4cc"
BAR_INCHES, HEAD_INCHES, WIDTH_INCHES = 0.24, 0.75, 11
SLOW = 6.0
"""Bars that are so many times ours are cut, or the others would be hairlines."""


def write(picture: Path, works: Mapping[str, Work], results: Mapping[str, Result]) -> None:
    """Write an SVG that is the same for the same results, byte for byte."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    panels = [(works[name], results[name], link) for name in works if name in results for link in results[name].links()]
    if not panels:
        return
    lines = (len(panels) + COLUMNS - 1) // COLUMNS
    heights = [
        max(len(result.contenders) for _, result, _ in panels[line * COLUMNS : (line + 1) * COLUMNS])
        for line in range(lines)
    ]
    inches = sum(heights) * BAR_INCHES + lines * HEAD_INCHES
    settings = {"svg.hashsalt": "tierlake", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH_INCHES, inches), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(lines, COLUMNS, squeeze=False, gridspec_kw={"height_ratios": heights}).ravel()
        for axis, (work, result, link) in zip(axes, panels, strict=False):
            _draw(axis, work, result, link)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
    lines_of_text = (line.rstrip() for line in picture.read_text().splitlines())
    picture.write_text("\n".join(lines_of_text) + "\n")


def _draw(axis: Axes, work: Work, result: Result, link: str) -> None:
    medians = {name: median for name, one in result.contenders.items() if (median := one.median(link))}
    names = sorted(medians, key=lambda name: -medians[name])
    ours = next((medians[name] for name in medians if work.contender(name).is_ours), min(medians.values()))
    end = min(max(medians.values()), SLOW * ours)
    colours = [OURS if work.contender(name).is_ours else PEERS for name in names]
    axis.barh(names, [min(medians[name], end) for name in names], color=colours)
    for position, name in enumerate(names):
        cut = " (cut)" if medians[name] > end else ""
        label = f"{medians[name]:.2f} s{cut}"
        axis.text(min(medians[name], end) + 0.01 * end, position, label, va="center")
    axis.set_xlim(0, 1.18 * end)
    axis.set_title(f"{work.name}, {link}: {result.title}", loc="left", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(left=False)
