"""Numbers, and tables of them, as people read them."""

from __future__ import annotations

import math
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

__all__ = ["age", "count", "day", "files", "money", "size", "table_text"]

_STEP = 1000
_HOURS_BELOW_DAYS = 2
_SMALLEST_DOLLARS = 1e-6
_WIDE = 10_000  # columns: text is cut by whoever shows it, not by us


def size(bytes_: int) -> str:
    """Bytes in KB, MB, GB, TB of a thousand each."""
    value = float(bytes_)
    for unit in ("B", "KB", "MB", "GB"):
        if abs(value) < _STEP:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} TB"


def count(number: int | None) -> str:
    """A count with thousands set apart; `-` where it is not known."""
    return "-" if number is None else f"{number:,}"


def age(span: timedelta | None) -> str:
    """A span of time in days, or in hours while it is short; `-` where it is not known."""
    if span is None:
        return "-"
    if abs(span.days) < _HOURS_BELOW_DAYS:
        return f"{span.total_seconds() / 3600:.0f} h"
    return f"{span.days:,} d"


def money(dollars: float | None) -> str:
    """US dollars; sums below one keep two digits that say something; `-` where there is no price."""
    if dollars is None:
        return "-"
    sign, value = ("-" if dollars < 0 else ""), abs(dollars)
    if value == 0:
        return "$0"
    if value >= 1:
        return f"{sign}${value:,.2f}"
    if value < _SMALLEST_DOLLARS:
        return f"{sign}<${_SMALLEST_DOLLARS:f}"
    return f"{sign}${value:.{max(2, 1 - math.floor(math.log10(value)))}f}"


def files(number: int) -> str:
    """A number of files."""
    return "1 file" if number == 1 else f"{number:,} files"


def day(moment: datetime | None) -> str:
    """The date of an instant, in its own zone; `-` where there is none."""
    return "-" if moment is None else f"{moment:%Y-%m-%d}"


def table_text(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    footer: Sequence[str] = (),
    limit: int | None = None,
) -> str:
    """A table as plain text.

    Args:
        columns: headings; one that starts with `>` is a column of numbers, set to the right.
        rows: cells.
        title: a line above it.
        footer: a last row, for totals.
        limit: show this many rows and say how many more there are; None shows all.
    """
    from rich.console import Console
    from rich.table import Table

    cells = list(rows)
    shown = cells if limit is None or len(cells) <= limit else cells[:limit]
    table = Table(
        title=title,
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        show_footer=bool(footer),
    )
    for place, heading in enumerate(columns):
        table.add_column(
            heading.removeprefix(">"),
            footer=footer[place] if footer else "",
            justify="right" if heading.startswith(">") else "left",
            no_wrap=True,
        )
    if len(shown) < len(cells):
        more = f"... and {len(cells) - len(shown):,} more"
        for row in shown:
            table.add_row(*row)
        table.add_row(more, *("" for _ in columns[1:]))
    else:
        for row in shown:
            table.add_row(*row)
    out = StringIO()
    Console(file=out, width=_WIDE, color_system=None, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
