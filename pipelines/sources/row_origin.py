"""The columns that say where a rejected row comes from, and why it is one."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALL",
    "HAS_A_POINT",
    "PROVENANCE",
    "REASON_COLUMN",
    "REJECT_COLUMN",
    "REJECT_FILE",
    "REJECT_LINE",
    "REJECT_VALUE",
    "TEXT_MARK",
]

REJECT_FILE: Final = "_reject_file"
"""The source's name."""

REJECT_LINE: Final = "_reject_line"
"""The row's line in it, counted from 1 as an editor shows it; where there are no lines, the number of the row."""

REJECT_COLUMN: Final = "_reject_column"
"""The column whose value is bad; null where the whole row is."""

REJECT_VALUE: Final = "_reject_value"
"""That value as text."""

REASON_COLUMN: Final = "_reject_reason"
"""Why it was rejected, in words that do not repeat the value: they are counted."""

ALL: Final = (REJECT_FILE, REJECT_LINE, REJECT_COLUMN, REJECT_VALUE, REASON_COLUMN)
"""All of them; no column of a table may be named so."""

PROVENANCE: Final = (REJECT_FILE, REJECT_LINE)
"""What rows carry on their way in; never stored with good rows."""

TEXT_MARK: Final = b"lake.text"
"""In a field's metadata: the column's text stands for values of another type."""

HAS_A_POINT: Final = "has a point, and the decimal mark is a comma"
"""The end of the reason of a number that would be one in another file."""
