"""Cells on the fast path together, the others one by one.

A fast conversion answers for a whole array, or refuses all of it with `ArrowInvalid`. What it refuses is halved until
the cells that do not fit stand alone; these are decided in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Part", "Unfit", "checked", "has_bytes", "joined", "name_of", "piecewise", "taken"]

Part: TypeAlias = tuple[pa.Array, pa.Array | None]
"""Values in the stored type, null where a cell does not fit, and the reasons (None: every cell fits)."""

_FEW = 32
_DISTINCT_WORTH = 4


class Unfit(Exception):
    """One cell does not fit; the message is the reason, without column and value."""


def piecewise(
    cells: pa.Array, kind: pa.DataType, fast: Callable[[pa.Array], pa.Array], cell: Callable[[Any], Any]
) -> Part:
    """Convert with `fast` as many cells together as it takes, and the rest with `cell`.

    Args:
        cells: any array.
        kind: the stored type.
        fast: converts an array exactly, or raises `ArrowInvalid` where it is not sure of every cell.
        cell: converts one value that is not null, or raises `Unfit`.
    """
    try:
        return fast(cells), None
    except pa.ArrowInvalid:
        if len(cells) <= _FEW:
            return _one_by_one(cells, kind, cell)
    distinct = cells.dictionary_encode()
    if len(distinct.dictionary) * _DISTINCT_WORTH < len(cells):
        return taken(_halved(distinct.dictionary, kind, fast, cell), distinct.indices)
    return _halved(cells, kind, fast, cell)


def _halved(
    cells: pa.Array, kind: pa.DataType, fast: Callable[[pa.Array], pa.Array], cell: Callable[[Any], Any]
) -> Part:
    if len(cells) <= _FEW:
        return _one_by_one(cells, kind, cell)
    parts: list[Part] = []
    middle = len(cells) // 2
    for half in (cells[:middle], cells[middle:]):
        try:
            parts.append((fast(half), None))
        except pa.ArrowInvalid:
            parts.append(_halved(half, kind, fast, cell))
    return joined(parts)


def _one_by_one(cells: pa.Array, kind: pa.DataType, cell: Callable[[Any], Any]) -> Part:
    values: list[Any] = []
    reasons: list[str | None] = []
    for value in cells.to_pylist():
        reason = None
        converted = None
        if value is not None:
            try:
                converted = cell(value)
            except Unfit as unfit:
                reason = str(unfit)
        values.append(converted)
        reasons.append(reason)
    bad = any(reason is not None for reason in reasons)
    return pa.array(values, kind), pa.array(reasons, pa.string()) if bad else None


def joined(parts: Sequence[Part]) -> Part:
    """Parts that follow each other, as one."""
    values = pa.concat_arrays([values for values, _ in parts])
    if all(reasons is None for _, reasons in parts):
        return values, None
    filled = [pa.nulls(len(values), pa.string()) if reasons is None else reasons for values, reasons in parts]
    return values, pa.concat_arrays(filled)


def taken(part: Part, indices: pa.Array) -> Part:
    """The part's cells in another order, as `take` has it."""
    values, reasons = part
    if reasons is None:
        return values.take(indices), None
    reasons = reasons.take(indices)
    return values.take(indices), reasons if reasons.null_count < len(reasons) else None


def checked(values: pa.Array, *checks: tuple[pa.Array, str]) -> Part:
    """The values that pass all checks; the reason of the others is that of the first check that fails.

    Args:
        values: converted, right wherever all checks are true.
        checks: for each cell whether it passes (null for a null cell), and the reason where it does not.
    """
    reasons = None
    for passes, reason in reversed(checks):
        if pc.all(passes).as_py() is False:
            fails = pc.fill_null(pc.invert(passes), fill_value=False)
            others = pa.scalar(None, pa.string()) if reasons is None else reasons
            reasons = pc.if_else(fails, pa.scalar(reason), others)
    if reasons is None:
        return values, None
    return pc.if_else(pc.is_null(reasons), values, pa.scalar(None, values.type)), reasons


def has_bytes(cells: pa.Array, *bytestrings: bytes) -> bool:
    """Whether one of these occurs in the texts (or between two of them: a hint that costs next to nothing)."""
    _, offsets, data = cells.buffers()
    if data is None or not len(cells):
        return False
    view = memoryview(offsets).cast("q" if pat.is_large_string(cells.type) else "i")
    start, end = view[cells.offset], view[cells.offset + len(cells)]
    text = data.slice(start, end - start).to_pybytes()
    return any(bytestring in text for bytestring in bytestrings)


def name_of(kind: pa.DataType) -> str:
    """The type as users write it."""
    if pat.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    return "timestamp" if pat.is_timestamp(kind) else str(kind)
