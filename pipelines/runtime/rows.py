"""Answers that are several values of one kind: a tuple for programs, and a table for people."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeVar

from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.table import Table

__all__ = ["Rows"]

ItemT = TypeVar("ItemT")


class Rows(Shown, tuple[ItemT, ...]):
    """A tuple that prints as a table.

    Attributes:
        NOUN: One of the values, and several, in words.
        NOTHING: What there is to say where there is none; None says `no`, and several.
        COLUMNS: The headings, as `formatting.table_text` takes them.
    """

    __slots__ = ()

    NOUN: ClassVar[tuple[str, str]]
    NOTHING: ClassVar[str | None] = None
    COLUMNS: ClassVar[tuple[str, ...]]

    @staticmethod
    @abstractmethod
    def cells(item: ItemT) -> tuple[str, ...]:
        """A value as a row."""

    def __str__(self) -> str:
        return self._table().text() if self else self._summary()

    def _summary(self) -> str:
        one, several = self.NOUN
        if not self:
            return self.NOTHING or f"no {several}"
        return f"1 {one}" if len(self) == 1 else f"{len(self):,} {several}"

    def _parts(self) -> tuple[Table[ItemT]]:
        return (self._table(),)

    def _table(self) -> Table[ItemT]:
        return Table(self.COLUMNS, self, self.cells, self._footer())

    def _footer(self) -> tuple[str, ...]:
        """The totals; none by default."""
        return ()
