"""The monthly report's picture, drawn by matplotlib: functions from a table to a PNG, and from that to metadata."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["draw", "metadata"]

_OTHER, _WET, _GREY = "#9db8d2", "#2f5d8a", "#5c6670"
_SIZE_INCHES: Final = (9.6, 4.2)


def draw(summary: pd.DataFrame, month: str) -> bytes:
    """A month in one picture: delays in rain or snow and otherwise, and cancellations, by carrier.

    Args:
        summary: The month's rows of `transforms.summarize`.
        month: Which one, as 2013-07.

    Returns:
        A PNG of some 40 KB.
    """
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    carriers = _by_carrier(summary)
    figure = Figure(figsize=_SIZE_INCHES, dpi=100, layout="constrained")
    delays, cancelled = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    place = range(len(carriers))
    delays.barh([at + 0.2 for at in place], carriers["wet"], 0.4, color=_WET, label="rain or snow")
    delays.barh([at - 0.2 for at in place], carriers["other"], 0.4, color=_OTHER, label="other hours")
    delays.set_yticks(list(place), carriers.index)
    delays.legend(frameon=False, loc="lower right", labelcolor=_GREY)
    _dress(delays, "mean departure delay, minutes")
    bars = cancelled.barh(place, carriers["cancelled"] * 100, 0.6, color=_OTHER)
    cancelled.bar_label(bars, fmt="%.1f", padding=3, color=_GREY, fontsize=8)
    cancelled.margins(x=0.15)
    _dress(cancelled, "cancelled, % of flights")
    figure.suptitle(f"Departures from New York City, {month}", x=0.01, ha="left", fontweight="bold")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", pil_kwargs={"optimize": True})
    return picture.getvalue()


def metadata(picture: bytes, uri: str) -> dict[str, Any]:
    """A materialization's metadata with a picture, which the UI shows.

    Args:
        picture: A PNG.
        uri: The picture's place in the lake.
    """
    inline = base64.b64encode(picture).decode("ascii")
    return {
        "dagster/uri": uri,
        "bytes": len(picture),
        "report": dg.MetadataValue.md(f"![{uri}](data:image/png;base64,{inline})"),
    }


def _by_carrier(summary: pd.DataFrame) -> pd.DataFrame:
    """Means over all origins, weighted by flights that left; the carrier with the most flights comes last, on top."""
    left = summary["flights"] - summary["cancelled"]
    sums = summary.assign(
        left=left,
        minutes=(summary["mean_dep_delay"] * left).fillna(0.0),
        wet_minutes=(summary["mean_wet_delay"] * summary["wet_departures"]).fillna(0.0),
    )
    names = ["flights", "cancelled", "left", "minutes", "wet_departures", "wet_minutes"]
    total = sums.groupby("carrier")[names].sum().astype("float64").sort_values("flights")
    return total.assign(
        wet=total["wet_minutes"] / total["wet_departures"],
        other=(total["minutes"] - total["wet_minutes"]) / (total["left"] - total["wet_departures"]),
        cancelled=total["cancelled"] / total["flights"],
    )


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=_GREY)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=_GREY, labelsize=9)
    axes.grid(axis="x", color="#e6e9ec", linewidth=0.8)
    axes.set_axisbelow(True)
