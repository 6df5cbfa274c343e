"""Cells on the fast path together, the others one by one.

A fast conversion answers for a whole array, or refuses all of it with `ArrowInvalid`. What it refuses is split until
the cells that do not fit stand alone; these are decided in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Part", "Unfit", "Way", "checked", "has_bytes", "joined", "name_of", "piecewise", "taken"]

Part: TypeAlias = tuple[pa.Array, pa.Array | None]
"""Values in the stored type, null where a cell does not fit, and the reasons (None: every cell fits)."""

_FEW = 64
_BLOCKS = 8
_DISTINCT_WORTH = 4


class Unfit(Exception):
    """One cell does not fit; the message is the reason, without column and value."""


@dataclass(frozen=True, slots=True)
class Way:
    """How cells of one type become cells of another.

    Attributes:
        fast: Converts an array exactly, or raises `ArrowInvalid` where it is not sure of every cell.
        cell: Converts one value that is not null, or raises `Unfit`.
        shape: Of texts that `fast` nearly always takes, a regular expression of Arrow's; None where there is none.
    """

    fast: Callable[[pa.Array], pa.Array]
    cell: Callable[[Any], Any]
    shape: str | None = None

    def certain(self, cells: pa.Array) -> pa.Array | None:
        """The converted cells, or None where `fast` is not sure of all of them.

        Arrow writes an error for each bad cell before it gives up (2 us), so a few cells are tried first.
        """
        try:
            if len(cells) > _FEW:
                self.fast(cells[:_FEW])
            return self.fast(cells)
        except pa.ArrowInvalid:
            return None


def piecewise(cells: pa.Array, kind: pa.DataType, way: Way) -> Part:
    """Convert as many cells together as possible, and the others one by one.

    Args:
        cells: Any array.
        kind: The stored type.
        way: How.
    """
    values = way.certain(cells)
    if values is not None:
        return values, None
    if len(cells) <= _FEW:
        return _one_by_one(cells, kind, way)
    distinct = cells.dictionary_encode()
    if len(distinct.dictionary) * _DISTINCT_WORTH < len(cells):
        return taken(_sorted_out(distinct.dictionary, kind, way), distinct.indices)
    return _sorted_out(cells, kind, way)


def _sorted_out(cells: pa.Array, kind: pa.DataType, way: Way) -> Part:
    if way.shape is None:
        return _in_blocks(cells, kind, way)
    shapely = pc.fill_null(pc.match_substring_regex(cells, way.shape), fill_value=True)
    places = pc.indices_nonzero(shapely)
    if len(places) in (0, len(cells)):
        return _in_blocks(cells, kind, way) if len(places) else _one_by_one(cells, kind, way)
    others = pc.indices_nonzero(pc.invert(shapely))
    part = joined([_in_blocks(cells.take(places), kind, way), _one_by_one(cells.take(others), kind, way)])
    return taken(part, pc.sort_indices(pa.concat_arrays([places, others])))


def _in_blocks(cells: pa.Array, kind: pa.DataType, way: Way) -> Part:
    """Convert the blocks that `fast` takes, split those that it does not; where it takes none, the cells go alone."""
    values = way.certain(cells)
    if values is not None:
        return values, None
    if len(cells) <= _FEW:
        return _one_by_one(cells, kind, way)
    size = -(-len(cells) // _BLOCKS)
    blocks = [cells[start : start + size] for start in range(0, len(cells), size)]
    results = [way.certain(block) for block in blocks]
    if all(result is None for result in results):
        return _one_by_one(cells, kind, way)
    return joined(
        [
            _in_blocks(block, kind, way) if result is None else (result, None)
            for block, result in zip(blocks, results, strict=True)
        ]
    )


def _one_by_one(cells: pa.Array, kind: pa.DataType, way: Way) -> Part:
    values: list[Any] = []
    reasons: list[str | None] = []
    for value in cells.to_pylist():
        reason = None
        converted = None
        if value is not None:
            try:
                converted = way.cell(value)
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
        values: Converted, right wherever all checks are true.
        checks: For each cell whether it passes (null for a null cell), and the reason where it does not.
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
