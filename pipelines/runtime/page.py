"""The page that text is written for: a terminal, with its width, its rows and its colours, or a pipe, which takes all.

The command line sets it. Without a page, as in Python, a table has its natural width, no colour, and a few rows.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["SHOWS_ALL", "Page", "current_page", "emphasised", "has_colour", "listed", "muted", "on_page"]

SHOWS_ALL: Final = "--all"
"""The option that shows the rows which a terminal's page leaves out."""

_LINES_AROUND: Final = 8
_ROWS_AT_LEAST: Final = 10
_STYLES: Final = {"emphasised": "\x1b[1m", "muted": "\x1b[2m"}
_PLAIN: Final = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Page:
    """Where text is going to be read.

    Attributes:
        width: Columns; None where lines may be of any length.
        rows: Rows of a long table; None for all.
        is_coloured: Whether escape sequences of colours are understood.
    """

    width: int | None = None
    rows: int | None = None
    is_coloured: bool = False

    @classmethod
    def of(cls, stream: TextIO, *, shows_all: bool = False) -> Page:
        """The page behind a stream.

        Args:
            stream: Such as stdout.
            shows_all: Show all rows on a terminal too.
        """
        is_coloured = has_colour(stream)
        if not stream.isatty():
            return cls(is_coloured=is_coloured)
        size = shutil.get_terminal_size()
        rows = None if shows_all else max(_ROWS_AT_LEAST, size.lines - _LINES_AROUND)
        return cls(size.columns, rows, is_coloured)


_page: Final[ContextVar[Page | None]] = ContextVar("tierlake_page", default=None)


def current_page() -> Page | None:
    """The page that is written now; None where nobody set one."""
    return _page.get()


@contextmanager
def on_page(page: Page | None) -> Iterator[None]:
    """Write for a page; None takes the one away that was set."""
    token = _page.set(page)
    try:
        yield
    finally:
        _page.reset(token)


def has_colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether to colour what goes to a stream: a terminal that can, unless `NO_COLOR` or `FORCE_COLOR` decides.

    Args:
        stream: Such as stdout.
        environ: The environment; the process's own by default.
    """
    variables = os.environ if environ is None else environ
    if variables.get("NO_COLOR"):
        return False
    if variables.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    return stream.isatty() and variables.get("TERM") != "dumb"


def emphasised(text: str) -> str:
    """Text that is to be seen first, bold on a page with colours."""
    return _styled(text, "emphasised")


def muted(text: str) -> str:
    """Text that may be passed over, dim on a page with colours."""
    return _styled(text, "muted")


def _styled(text: str, style: str) -> str:
    page = _page.get()
    return f"{_STYLES[style]}{text}{_PLAIN}" if page is not None and page.is_coloured and text else text


def listed(lines: Sequence[str], limit: int) -> list[str]:
    """Lines of a list that may be long, as many as the page takes, and how many more there are.

    Args:
        lines: All.
        limit: How many are shown where there is no page.
    """
    page = _page.get()
    most = limit if page is None else page.rows
    if most is None or len(lines) <= most:
        return list(lines)
    return [*lines[:most], more(len(lines) - most)]


def more(number: int) -> str:
    """The line that stands for rows which are not shown."""
    way = "" if _page.get() is None else f": {SHOWS_ALL}"
    return muted(f"... and {number:,} more{way}")
