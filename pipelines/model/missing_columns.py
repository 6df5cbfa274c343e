"""A column that data lacks: what its author may have meant, and what to type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tierlake.connector.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_value", "missing_hint"]

_MARKS = (";", "\t", "|", ",", "^", "#", "~", ":")
"""What may separate columns."""
_VALUE = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)*|\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d.*)?)")
_SHOWN = 20


def is_value(name: str) -> bool:
    """Whether a column's name is a number or a time, as in a file whose first line is a row."""
    return bool(_VALUE.fullmatch(name.strip()))


def missing_hint(name: str, names: Sequence[str]) -> str:
    """What to do where data lacks a column.

    Args:
        name: The column.
        names: Those that the data has.
    """
    same = next((one for one in names if one.strip().lower() == name.lower()), None)
    if same is not None:
        return f"it has {same!r}: rename that to {name!r} in the source"
    mark = _mark_within(name, names)
    if mark is not None:
        said = "\\t" if mark == "\t" else mark
        return (
            f"the columns look separated by '{said}': say --delimiter '{said}', or in the spec "
            f"text: {{delimiter: \"{said}\"}} (pandas: sep='{said}')"
        )
    if names and is_value(names[0]):  # of a pivoted frame all but the first are
        return f"its first line looks like a row: name its columns in the spec, as text: {{header: [{name}, ...]}}"
    near = nearest(name, names)
    listed = f"it has: {', '.join(names[:_SHOWN])}" + (f" and {len(names) - _SHOWN:,} more" * (len(names) > _SHOWN))
    return listed if near is None else f"did you mean {near!r}? Rename it to {name!r} in the source; {listed}"


def _mark_within(name: str, names: Sequence[str]) -> str | None:
    """The mark that separates columns within each of the names, and the column from others within one of them."""
    for mark in _MARKS:
        parts = [one.split(mark) for one in names]
        if all(len(some) > 1 for some in parts) and any(name in (part.strip(" \"'") for part in one) for one in parts):
            return mark
    return None
