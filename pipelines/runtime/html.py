"""What a notebook shows of a value: a summary, small tables and notes, as HTML of a few kilobytes.

It has neither style sheets nor scripts nor colours, so that it reads in any theme. All text is escaped: a partition
value that is markup stays text, and control characters are written out.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tierlake.pipelines.runtime.cells import escaped as one_line
from tierlake.pipelines.runtime.page import on_page
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Shown", "escaped", "page"]

_MOST_BYTES: Final = 8_000
"""Of all parts below the summary; rows and lines that exceed it are counted."""

_ROWS_SHOWN: Final = 12
_LINES_SHOWN: Final = 20
_SUMMARY_CHARACTERS: Final = 300
_LINE_CHARACTERS: Final = 240
_CELL_CHARACTERS: Final = 80


class Shown(ABC):
    """A value that prints as text, is one line in a `repr`, and a page in a notebook."""

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str: ...

    def __repr__(self) -> str:
        """The kind and the summary."""
        with on_page(None):
            return f"<{type(self).__name__}: {_one_line(self._summary(), _SUMMARY_CHARACTERS)}>"

    def _repr_html_(self) -> str:
        with on_page(None):
            return page(self._summary(), *self._parts())

    def _summary(self) -> str:
        """The value in a line."""
        return str(self).partition("\n")[0]

    def _parts(self) -> Sequence[Table[Any] | str]:
        """What stands below the summary."""
        return (str(self).partition("\n")[2],)


def page(summary: str, *parts: Table[Any] | str) -> str:
    """A summary with tables and paragraphs below it, in about 10 KB at most.

    Args:
        summary: A line.
        parts: Tables, of which the first rows are shown, and texts of one or more lines; empty ones are left out.
    """
    written = [f"<p><strong>{escaped(summary, _SUMMARY_CHARACTERS)}</strong></p>"]
    left = _MOST_BYTES
    for part in parts:
        if not (part.items if isinstance(part, Table) else part):
            continue
        made = _table(part, left) if isinstance(part, Table) else _paragraph(part, left)
        left -= _bytes(made)
        written.append(made)
    return f"<div>{''.join(written)}</div>"


def escaped(text: str, limit: int = _CELL_CHARACTERS) -> str:
    """One line of text as HTML.

    Args:
        text: Any text; control characters are written out as Python writes them.
        limit: Characters; `…` stands for the rest.
    """
    return html.escape(_one_line(text, limit))


def _one_line(text: str, limit: int) -> str:
    cut = text[: limit + 1]  # first: a text may be of any length
    cut = one_line(cut)
    return cut if len(cut) <= limit else f"{cut[: limit - 1]}…"


def _table(table: Table[Any], most_bytes: int) -> str:
    heads = [heading.removeprefix(">") for heading in table.columns]
    is_number = [heading.startswith(">") for heading in table.columns]
    head = f"<thead>{_row('th', heads, is_number)}</thead>"
    foot = f"<tfoot>{_row('th', table.footer, is_number)}</tfoot>" if table.footer else ""
    rows: list[str] = []
    left = most_bytes - _bytes(head) - _bytes(foot)
    for cells in table.rows(_ROWS_SHOWN):
        row = _row("td", cells, is_number)
        left -= _bytes(row)
        if left < 0:
            break
        rows.append(row)
    more = len(table.items) - len(rows)
    if more:
        rows.append(f'<tr><td colspan="{len(heads)}" style="text-align:left">... and {more:,} more</td></tr>')
    return f"<table>{head}<tbody>{''.join(rows)}</tbody>{foot}</table>"


def _row(tag: str, cells: Sequence[str], is_number: Sequence[bool]) -> str:
    sides = ["right" if right else "left" for right in is_number]
    written = [
        f'<{tag} style="text-align:{side}">{escaped(cell)}</{tag}>' for side, cell in zip(sides, cells, strict=True)
    ]
    return f"<tr>{''.join(written)}</tr>"


def _paragraph(text: str, most_bytes: int) -> str:
    lines = text.strip("\n").split("\n")
    shown: list[str] = []
    for line in lines[:_LINES_SHOWN]:
        made = escaped(line, _LINE_CHARACTERS)
        most_bytes -= _bytes(made)
        if most_bytes < 0:
            break
        shown.append(made)
    more = len(lines) - len(shown)
    shown += [f"... and {more:,} more line{'s' * (more > 1)}"] if more else []
    return f"<p>{'<br>'.join(shown)}</p>"


def _bytes(text: str) -> int:
    return len(text.encode())
