"""Charts of stacked bars on matplotlib: figures of their own, which pyplot does not know.

The module is imported where somebody plots: matplotlib is an extra.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tierlake.connector.nearest import did_you_mean
from tierlake.pipelines.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

__all__ = ["Chart", "Panel", "Stacks", "drawn", "stacked_bars", "text_of"]

Panel = Literal["tiers", "ages", "money"]
Stacks: TypeAlias = "Mapping[str, Mapping[str, float]]"
"""The bars by their labels, each with the heights of its parts."""

_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 4.0, 3.0, 80
_MOST_LABELS: Final = 12
_WIDE_LABEL: Final = 7  # characters from which on fewer labels fit
_MOST_APART: Final = 20  # bars that have gaps between them
_LEAST_PLACES: Final = 3  # that the axis has, so that a single bar is no wall


class Chart(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def drawn(
    panels: Mapping[Panel, Callable[[Axes], None]], panel: Panel | None = None, ax: Axes | None = None
) -> Figure | Axes:
    """Draw all panels side by side, or one of them.

    Args:
        panels: What draws each.
        panel: One of them; all by default, and with `ax` the first.
        ax: Where to draw one panel.

    Returns:
        A new figure, or `ax`.

    Raises:
        SpecError: There is no such panel.
    """
    if panel is not None and panel not in panels:
        raise SpecError(
            f"there is no panel {panel!r}: choose one of {', '.join(panels)}", hint=did_you_mean(str(panel), panels)
        )
    if ax is not None:
        panels[next(iter(panels)) if panel is None else panel](ax)
        return ax
    names = list(panels) if panel is None else [panel]
    figure = Chart(figsize=(_WIDTH_INCHES * len(names), _HEIGHT_INCHES), dpi=_DPI, layout="constrained")
    for name, place in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        panels[name](place)
    return figure


def stacked_bars(
    ax: Axes,
    stacks: Stacks,
    colours: Mapping[str, str],
    unit: Callable[[float], str],
    *,
    title: str,
    totals: bool = False,
) -> None:
    """Draw bars of parts.

    Args:
        ax: Where.
        stacks: The bars, from left to right.
        colours: The parts from the lowest to the highest, each with its colour.
        unit: Writes a height for people.
        title: Above the bars.
        totals: Write its whole height above each bar.
    """
    places = range(len(stacks))
    bottoms = [0.0] * len(stacks)
    width = 0.9 if len(stacks) <= _MOST_APART else 1.0
    for part, colour in colours.items():
        heights = [stack.get(part, 0.0) for stack in stacks.values()]
        if any(heights):
            ax.bar(places, heights, width, bottom=bottoms, color=colour, label=text_of(part))
            bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    if totals:
        for place, height in zip(places, bottoms, strict=True):
            ax.annotate(
                text_of(unit(height)), (place, height), (0, 2), textcoords="offset points", ha="center", va="bottom"
            )
    _label(ax, list(stacks))
    ax.set_title(text_of(title), fontsize="medium", loc="left")
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda height, _: text_of(unit(height))))
    ax.set_ylim(0, max(bottoms, default=0.0) * 1.3 or 1.0)  # the legend has room above the bars
    ax.spines[["top", "right"]].set_visible(False)
    if any(bottoms):
        ax.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")
    else:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "nothing", transform=ax.transAxes, ha="center", va="center")


def text_of(text: str) -> str:
    """Text that matplotlib draws as it is: a pair of dollar signs is no formula."""
    return text.replace("$", r"\$")


def _label(ax: Axes, labels: Sequence[str]) -> None:
    """Label as many bars as there is room for, the first one always."""
    longest = max(map(len, labels), default=0)
    most = _MOST_LABELS if longest < _WIDE_LABEL else _MOST_LABELS // 3
    is_crowded = len(labels) > most
    step = -(-len(labels) // most) if is_crowded else 1
    shown = range(0, len(labels), step)
    ax.set_xticks(list(shown), [text_of(labels[place]) for place in shown], fontsize="small")
    spare = max(_LEAST_PLACES - len(labels), 0) / 2
    ax.set_xlim(-0.6 - spare, len(labels) - 0.4 + spare)
