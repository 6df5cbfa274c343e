"""Numbers, and tables of them, as people read them."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import TYPE_CHECKING, Final

from tierlake.connector.ages import rounded_age
from tierlake.pipelines.runtime.cells import escaped, padded, width_of, wrapped
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.runtime.page import current_page, emphasised, more

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from tierlake.pipelines.runtime.page import Page

__all__ = [
    "age",
    "are",
    "count",
    "counted",
    "day",
    "dollars",
    "files",
    "money",
    "monthly",
    "partitions",
    "rows",
    "size",
    "table_text",
    "were",
]

_STEP: Final = 1000
_SMALLEST_DOLLARS: Final = 1e-6
_CENT: Final = 0.01
_GAP: Final = "  "
_NARROWEST: Final = 12
"""Columns that a column of text keeps; where that is too much, a row becomes some lines of its own."""

_WIDEST: Final = 80
_PADDED_MOST: Final = 120
"""Columns of the widest column where lines may be of any length: a longer cell makes its own line longer, no other."""


def size(bytes_: int) -> str:
    """Bytes in KB, MB, GB, TB of a thousand each."""
    value = float(bytes_)
    for unit in ("B", "KB", "MB", "GB"):
        if abs(value) < _STEP:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} TB"


def count(number: int | None) -> str:
    """A count with separated thousands; `-` where it is not known."""
    return "-" if number is None else f"{number:,}"


def age(span: timedelta | None) -> str:
    """A span of time in days, or in hours while it is short; `-` where it is not known."""
    return "-" if span is None else rounded_age(span)


def money(amount: float | None) -> str:
    """US dollars; sums below one keep two significant digits; `-` where there is no price."""
    if amount is None:
        return "-"
    sign, value = ("-" if amount < 0 else ""), abs(amount)
    if value == 0:
        return "$0"
    if value >= 1:
        return f"{sign}${value:,.2f}"
    if value < _SMALLEST_DOLLARS:
        return f"{sign}<${_SMALLEST_DOLLARS:f}"
    return f"{sign}${value:.{max(2, 1 - math.floor(math.log10(value)))}f}"


def dollars(amount: float) -> str:
    """A sum for a sentence: to the cent, as anybody pays it."""
    if 0 < abs(amount) < _CENT:
        return "less than a cent"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}" if amount else "$0"


def monthly(amount: float | None) -> str:
    """What something costs a month, for a sentence."""
    return "at unknown cost" if amount is None else f"{dollars(amount)} a month"


def counted(number: int, noun: str) -> str:
    """A number of things: `1 file`, `2,000 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def are(number: int, noun: str) -> str:
    """A number of things with its verb: `1 file is`, `2 files are`."""
    return f"{counted(number, noun)} {'is' if number == 1 else 'are'}"


def were(number: int, noun: str) -> str:
    """A number of things with its verb: `1 file was`, `2 files were`."""
    return f"{counted(number, noun)} {'was' if number == 1 else 'were'}"


def rows(number: int | None) -> str:
    """A number of rows."""
    return "an unknown number of rows" if number is None else counted(number, "row")


def files(number: int) -> str:
    """A number of files."""
    return counted(number, "file")


def partitions(number: int) -> str:
    """A number of partitions."""
    return counted(number, "partition")


def day(moment: datetime | None) -> str:
    """The date of an instant, in its own zone; `-` where there is none."""
    return "-" if moment is None else f"{moment:%Y-%m-%d}"


def table_text(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    number: int | None = None,
    title: str | None = None,
    footer: Sequence[str] = (),
    limit: int | None = None,
) -> str:
    """A table as text, as wide as the page: what is too wide is wrapped, or written as a few lines for each row.

    Args:
        columns: Headings; one that starts with `>` is a column of numbers, aligned right.
        rows: Cells.
        number: How many rows there are; counted by default. Only those that are shown are taken from `rows`.
        title: A line above it.
        footer: A last row, for totals.
        limit: Without a page, show this many rows and say how many more there are; None shows all.
    """
    page = current_page()
    most = limit if page is None else page.rows
    every = iter(rows)
    with collector_paused():
        shown = [[escaped(cell) for cell in row] for row in itertools.islice(every, most)]
    left = sum(1 for _ in every) if number is None else number - len(shown)
    heads = [heading.removeprefix(">") for heading in columns]
    is_number = [heading.startswith(">") for heading in columns]
    last = [[escaped(cell) for cell in footer]] if footer else []
    natural = [_widest(column) for column in zip(heads, *shown, *last, strict=True)]
    width = page.width if page is not None else None
    widths = _fitting(natural, is_number, width)
    if widths is None:
        written = [line for row in shown for line in _record(heads, row, page)]
        ending = [line for row in last for line in _record(heads, row, page)]
    else:
        lines = partial(_lines, widths=widths, is_number=is_number, wraps=width is not None)
        written = [*map(emphasised, lines(heads))]
        written += [line for row in shown for line in lines(row)]
        ending = [emphasised(line) for row in last for line in lines(row)]
    return "\n".join([*([title] if title else []), *written, *([more(left)] if left > 0 else []), *ending])


def _widest(column: Sequence[str]) -> int:
    return max(map(len if "".join(column).isascii() else width_of, column))


def _fitting(widths: Sequence[int], is_number: Sequence[bool], limit: int | None) -> list[int] | None:
    """The widths of columns on a page: those of text but the first may shrink. None where that does not do."""
    if limit is None:
        return [min(width, _PADDED_MOST) for width in widths]
    may_shrink = [place > 0 and not is_count for place, is_count in enumerate(is_number)]
    fitting = [min(width, limit) if may else width for width, may in zip(widths, may_shrink, strict=True)]
    excess = sum(fitting) + len(_GAP) * (len(fitting) - 1) - limit
    while excess > 0:
        soft = [place for place, may in enumerate(may_shrink) if may and fitting[place] > _NARROWEST]
        if not soft:
            return None
        fitting[max(soft, key=fitting.__getitem__)] -= 1
        excess -= 1
    return fitting


def _lines(row: Sequence[str], widths: Sequence[int], is_number: Sequence[bool], *, wraps: bool) -> list[str]:
    """A row of a table; of several lines where a cell is wrapped."""
    parts = [
        wrapped(cell, width) if wraps and width_of(cell) > width else [cell]
        for cell, width in zip(row, widths, strict=True)
    ]
    return [
        _GAP.join(
            padded(cell, width, right=right) for cell, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip(" ")
        for line in itertools.zip_longest(*parts, fillvalue="")
    ]


def _record(heads: Sequence[str], row: Sequence[str], page: Page | None) -> list[str]:
    """A row that no table has room for: its first cell, and below it the others with their headings."""
    width = (page.width if page is not None and page.width else _WIDEST) - len(_GAP)
    pairs = [f"{head} {cell}".strip() for head, cell in zip(heads[1:], row[1:], strict=True) if cell not in {"", "-"}]
    lines = [""]
    for pair in pairs:
        joined = f"{lines[-1]}{_GAP}{pair}" if lines[-1] else pair
        if width_of(joined) <= width:
            lines[-1] = joined
        else:
            lines += wrapped(pair, width)
    return [emphasised(row[0] or "-"), *(f"{_GAP}{line}" for line in lines if line)]
