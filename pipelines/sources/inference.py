"""Types of text columns that nobody declared: told by all values of all files, never by the first ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.values import fit

if TYPE_CHECKING:
    from pipelines.sources.text import Dialect

__all__ = ["TextTypes", "as_written_with_points"]

_COMMA_NUMBER = r"^(\s*[+-]?\d+),(\d+(?:[eE][+-]?\d+)?\s*)$"
_POINT_NUMBER = r"^(\s*[+-]?\d+)\.(\d)"
_PLAIN = {
    pa.bool_(): r"^(?i:true|false)$",
    pa.int64(): r"^(?:0|-?[1-9][0-9]*)$",
    pa.float64(): r"^(?:-?(?:0|[1-9][0-9]{0,17})|-?(?:0|[1-9][0-9]*)(?:\.[0-9]*|(?:\.[0-9]*)?[eE][+-]?[0-9]+)|-?\.[0-9]+|(?i:nan|[+-]?inf(?:inity)?))$",
    pa.date32(): r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    pa.timestamp("us"): r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+$",
    pa.timestamp("us", "UTC"): r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+(?:[Zz]|[+-][0-9:]+)$",
}
_TIMES = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))


class TextTypes:
    """The best type for a column of text, as its values come by.

    Args:
        only_times: whether text alone can only be a time (JSON writes numbers as numbers).
    """

    def __init__(self, *, only_times: bool = False) -> None:
        self._open = [kind for kind in _PLAIN if not only_times or kind in _TIMES]
        self._is_empty = True

    def add(self, column: pa.ChunkedArray | pa.Array) -> None:
        """Take some values."""
        if not self._open or column.null_count == len(column):
            self._is_empty = self._is_empty and column.null_count == len(column)
            return
        self._is_empty = False
        values = pa.chunked_array([pc.drop_null(column)]) if isinstance(column, pa.Array) else column.drop_null()
        self._open = [kind for kind in self._open if _all_are(values, kind)]

    @property
    def kind(self) -> pa.DataType | None:
        """Text where nothing better is left; None where there were only nulls."""
        if self._is_empty:
            return None
        return self._open[0] if self._open else pa.string()


def _all_are(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    first = values[0].as_py()
    if re.search(_PLAIN[kind], first) is None or not pc.all(pc.match_substring_regex(values, _PLAIN[kind])).as_py():
        return False
    return fit(values, kind, from_text=True).reasons is None


def as_written_with_points(column: pa.Array, dialect: Dialect) -> pa.Array:
    """Numbers with a decimal comma as with a point; what has a point already is made none."""
    if dialect.decimal == ".":
        return column
    without = pc.replace_substring_regex(column, _POINT_NUMBER, r"\1 . \2")
    return pc.replace_substring_regex(without, _COMMA_NUMBER, r"\1.\2")
