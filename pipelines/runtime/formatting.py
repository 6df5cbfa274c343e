"""Numbers, and tables of them, as people read them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tierlake.connector.ages import rounded_age
from tierlake.pipelines.runtime.collector import collector_paused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

__all__ = ["age", "count", "day", "files", "money", "partitions", "size", "table_text"]

_STEP = 1000
_SMALLEST_DOLLARS = 1e-6


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


def money(dollars: float | None) -> str:
    """US dollars; sums below one keep two significant digits; `-` where there is no price."""
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


def partitions(number: int) -> str:
    """A number of partitions."""
    return "1 partition" if number == 1 else f"{number:,} partitions"


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
    """A table as plain text.

    Args:
        columns: Headings; one that starts with `>` is a column of numbers, aligned right.
        rows: Cells.
        number: How many rows there are, where `rows` are only those to show.
        title: A line above it.
        footer: A last row, for totals.
        limit: Show this many rows and say how many more there are; None shows all.
    """
    with collector_paused():
        cells = [[_line(cell) for cell in row] for row in rows]
    shown = cells if limit is None or len(cells) <= limit else cells[:limit]
    left = max(number or 0, len(cells)) - len(shown)
    heads = [heading.removeprefix(">") for heading in columns]
    is_number = [heading.startswith(">") for heading in columns]
    lines = [heads, *shown, *([list(footer)] if footer else [])]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]

    def text(line: Sequence[str]) -> str:
        padded = [
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ]
        return "  ".join(padded).rstrip()

    written = [text(line) for line in [heads, *shown]]
    if left:
        written.append(f"... and {left:,} more")
    if footer:
        written.append(text(footer))
    return "\n".join(([title] if title else []) + written)


def _width(cell: str) -> int:
    """Columns of a terminal."""
    if cell.isascii():
        return len(cell)
    from rich.cells import cell_len

    return cell_len(cell)


def _line(cell: str) -> str:
    """Text from people, such as a hold's reason, without line breaks and terminal control characters."""
    return cell if cell.isprintable() else "".join(char if char.isprintable() else " " for char in cell)
