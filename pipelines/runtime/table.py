"""A table of values, from which text, HTML and others make what people read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Table"]

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Table(Generic[ItemT]):
    """Values, and how each is a row.

    Attributes:
        columns: Headings; one that starts with `>` is a column of numbers, aligned right.
        items: The values.
        cells: The cells of one value; it is called for the rows that are shown, and for no others.
        footer: A last row, for totals.
    """

    columns: Sequence[str]
    items: Sequence[ItemT]
    cells: Callable[[ItemT], Sequence[str]]
    footer: Sequence[str] = ()

    def rows(self, limit: int | None = None) -> Iterator[Sequence[str]]:
        """The cells of the first values; None means all."""
        return map(self.cells, self.items if limit is None else self.items[:limit])

    def text(self, limit: int | None = None) -> str:
        """The table as text, for the page that is written; see `formatting.table_text`.

        Args:
            limit: Without a page, show this many rows and say how many more there are; None shows all.
        """
        number = len(self.items)
        return formatting.table_text(self.columns, self.rows(), number=number, footer=self.footer, limit=limit)
