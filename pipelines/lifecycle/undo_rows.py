"""What can be undone, and what undos did, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierlake.pipelines.lifecycle.results import UndoResult
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.rows import Rows
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.pipelines.lifecycle.undoable import Undoable

__all__ = ["UndoResults", "Undoables"]

_CLASS: Final = -2


class UndoResults(Rows[UndoResult]):
    """What an undo did to each partition."""

    __slots__ = ()

    NOUN = "partition", "partitions"
    COLUMNS = "key", ">files", ">rows", ">size", "what happened"

    @staticmethod
    def cells(item: UndoResult) -> tuple[str, ...]:
        """A partition as a row."""
        amounts = formatting.count(item.files), formatting.count(item.rows), formatting.size(item.bytes)
        return (item.key, *amounts, str(item))

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def _summary(self) -> str:
        changed = sum(one.changed or one.dry_run for one in self)
        would = "would come back" if any(one.dry_run for one in self) else "came back"
        return f"{changed:,} of {formatting.partitions(len(self))} {would}"


class Undoables(Rows["Undoable"]):
    """The partitions that can be brought back, in key order."""

    __slots__ = ()

    NOTHING = "nothing can be undone"
    NOUN = "partition that can be brought back", "partitions that can be brought back"
    COLUMNS = "key", "what", "when", "undo until", ">files", ">size", "class", "why"

    @staticmethod
    def cells(item: Undoable) -> tuple[str, ...]:
        """A partition as a row."""
        return (
            item.key or "(all)",
            item.operation,
            f"{item.removed_at:%Y-%m-%d %H:%M}",
            f"{item.undo_until:%Y-%m-%d %H:%M}",
            formatting.count(item.files),
            formatting.size(item.bytes),
            item.storage_class or "-",
            item.reason,
        )

    @property
    def files(self) -> int:
        """How many wait for the end of their graces."""
        return sum(one.files for one in self)

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(one.bytes for one in self)

    def _table(self) -> Table[Undoable]:
        """With the storage classes where somebody asked the store for them."""
        cells, footer = self.cells, self._footer()
        if any(one.storage_class is not None for one in self):
            return Table(self.COLUMNS, self, cells, footer)
        return Table(_without_class(self.COLUMNS), self, lambda one: _without_class(cells(one)), _without_class(footer))

    def _footer(self) -> tuple[str, ...]:
        amounts = formatting.count(self.files), formatting.size(self.bytes)
        return (formatting.partitions(len(self)), "", "", "", *amounts, "", "")


def _without_class(row: Sequence[str]) -> tuple[str, ...]:
    return (*row[:_CLASS], *row[_CLASS + 1 :])
