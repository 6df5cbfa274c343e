"""Columns in the types that tables store, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.values.json_texts import fit_json
from tierlake.pipelines.values.numbers import fit_number
from tierlake.pipelines.values.parts import Part, taken
from tierlake.pipelines.values.texts import fit_text
from tierlake.pipelines.values.times import fit_time
from tierlake.pipelines.values.types import is_bytes, is_listing, is_number, is_text, meets

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Fitted", "fit"]

_PIECE_BYTES = 1 << 29
_PIECE_ROWS = 1 << 22


@dataclass(frozen=True, slots=True)
class Fitted:
    """A column in the stored type.

    Attributes:
        values: Null where a cell did not fit.
        reasons: Why, as half a sentence that the column's name begins ("is not a number"), null where the cell fits;
            None where every cell does.
    """

    values: pa.ChunkedArray
    reasons: pa.ChunkedArray | None


@dataclass(frozen=True, slots=True)
class _Way:
    """What conversions must know beside the two types."""

    zone: str | None
    from_text: bool


def fit(column: pa.ChunkedArray, kind: pa.DataType, *, zone: str | None = None, from_text: bool = False) -> Fitted:
    """Store each value of a column exactly as it came, or say for its cell why that cannot be.

    Args:
        column: Any number of chunks, of a type that `meets` the stored one.
        kind: The stored type.
        zone: IANA name of the dataset's time zone: texts without an offset, in a column of instants, are times on
            its clock. The first of two where clocks are put back.
        from_text: The column is text that stands for values of any type (CSV). Else only dates, times and decimals
            are read from text.

    Raises:
        ValueError: The types do not meet.
    """
    if not (meets(column.type, kind) or (from_text and meets(column.type, pa.string()))):
        raise ValueError(f"{column.type} does not meet {kind}")
    way = _Way(zone, from_text)
    parts = [_fitted(piece, kind, way) for chunk in column.chunks for piece in _pieces(chunk)]
    values = pa.chunked_array([values for values, _ in parts], kind)
    if all(reasons is None for _, reasons in parts):
        return Fitted(values, None)
    reasons = [pa.nulls(len(values), pa.string()) if reasons is None else reasons for values, reasons in parts]
    return Fitted(values, pa.chunked_array(reasons, pa.string()))


def _pieces(chunk: pa.Array) -> list[pa.Array]:
    """Slices whose values fit into arrays with 32-bit offsets."""
    if len(chunk) <= 1 or (len(chunk) <= _PIECE_ROWS and chunk.nbytes <= _PIECE_BYTES):
        return [chunk]
    middle = len(chunk) // 2
    return [piece for half in (chunk[:middle], chunk[middle:]) for piece in _pieces(half)]


def _fitted(cells: pa.Array, kind: pa.DataType, way: _Way) -> Part:
    source = cells.type
    if source.equals(kind):
        return cells, None
    if pat.is_null(source):
        return pa.nulls(len(cells), kind), None
    if pat.is_run_end_encoded(source):
        return _by_runs(cells, kind, way)
    if pat.is_dictionary(source):
        return _by_dictionary(cells, kind, way)
    if is_text(source):
        return _texts(cells, kind, way)
    if is_number(source):
        return fit_number(cells, kind)
    if is_bytes(source):
        return cells.cast(kind), None
    return _nested(cells, kind, way) if pat.is_nested(kind) else fit_time(cells, kind)


def _by_runs(cells: pa.RunEndEncodedArray, kind: pa.DataType, way: _Way) -> Part:
    # Arrow cannot decode runs of views, and a slice has all the runs of its parent
    places = pa.RunEndEncodedArray.from_arrays(cells.run_ends, pa.array(range(len(cells.run_ends)), pa.int64()))
    rows = pc.run_end_decode(places[cells.offset : cells.offset + len(cells)])
    return taken(_fitted(cells.values, kind, way), rows)


def _by_dictionary(cells: pa.DictionaryArray, kind: pa.DataType, way: _Way) -> Part:
    if len(cells.dictionary) <= len(cells):
        return taken(_fitted(cells.dictionary, kind, way), cells.indices)
    used = cells.indices.dictionary_encode()
    values = cells.dictionary
    if is_text(values.type) or is_bytes(values.type):  # Arrow cannot take from views
        values = values.cast(pa.large_string() if is_text(values.type) else pa.large_binary())
    return taken(_fitted(values.take(used.dictionary), kind, way), used.indices)


def _texts(cells: pa.Array, kind: pa.DataType, way: _Way) -> Part:
    if is_text(kind) or is_bytes(kind):
        return cells.cast(kind), None
    if pat.is_string_view(cells.type):
        cells = cells.cast(pa.string())
    if pat.is_nested(kind):
        return fit_json(cells, kind, lambda texts, leaf: _fitted(texts, leaf, way))
    return fit_text(cells, kind, way.zone)


def _nested(cells: pa.Array, kind: pa.DataType, way: _Way) -> Part:
    if is_listing(kind):
        return _lists(cells, kind, way)
    return _maps(cells, kind, way) if pat.is_map(kind) else _structs(cells, kind, way)


def _lists(cells: pa.Array, kind: pa.DataType, way: _Way) -> Part:
    lengths = pc.list_value_length(cells).cast(pa.int32())
    elements, reasons = _fitted(cells.flatten(), kind.value_type, way)
    reasons = _required(elements, reasons, kind.value_field)
    offsets = _offsets(lengths)
    values = pa.ListArray.from_arrays(offsets, elements, type=kind, mask=pc.is_null(lengths))
    return _without_bad_rows(values, _in_rows(offsets, reasons, "has an element that"))


def _maps(cells: pa.MapArray, kind: pa.DataType, way: _Way) -> Part:
    # a map's children ignore the slice that it is
    pairs = pa.StructArray.from_arrays([cells.keys, cells.items], ["key", "value"])
    lists = pa.ListArray.from_arrays(pc.add(cells.offsets, 0), pairs, mask=cells.is_null())
    keys, items = lists.flatten().flatten()
    offsets = _offsets(pc.list_value_length(lists))
    keys, bad_keys = _fitted(keys, kind.key_type, way)
    items, bad_items = _fitted(items, kind.item_type, way)
    bad_items = _required(items, bad_items, kind.item_field)
    reasons = _first([_in_rows(offsets, bad_keys, "has a key that"), _in_rows(offsets, bad_items, "has a value that")])
    # a key that does not fit is null, which no map may have: its row goes before the map is made
    pairs = pa.StructArray.from_arrays([keys, items], ["key", "value"])
    lists, _ = _without_bad_rows(pa.ListArray.from_arrays(offsets, pairs, mask=cells.is_null()), reasons)
    keys, items = lists.flatten().flatten()
    offsets = _offsets(pc.list_value_length(lists))
    return pa.MapArray.from_arrays(offsets, keys, items, type=kind, mask=lists.is_null()), reasons


def _structs(cells: pa.StructArray, kind: pa.StructType, way: _Way) -> Part:
    children = dict(zip([field.name for field in cells.type], cells.flatten(), strict=True))
    fields, fitted = [], []
    for field in kind:
        child = children.get(field.name)
        values, reasons = _fitted(pa.nulls(len(cells)) if child is None else child, field.type, way)
        reasons = _required(values, reasons, field, cells.is_valid())
        fields.append(values)
        fitted.append(
            None if reasons is None else pc.binary_join_element_wise(f"has a field {field.name} that", reasons, " ")
        )
    values = pa.StructArray.from_arrays(fields, fields=list(kind), mask=cells.is_null())
    return _without_bad_rows(values, _first(fitted))


def _required(
    values: pa.Array, reasons: pa.Array | None, field: pa.Field, parents: pa.Array | None = None
) -> pa.Array | None:
    """The reasons, with one for each null of a field that allows none."""
    if field.nullable or not values.null_count:
        return reasons
    lacking = pc.is_null(values) if parents is None else pc.and_(pc.is_null(values), parents)
    lacks = pc.if_else(lacking, pa.scalar("is null"), pa.scalar(None, pa.string()))
    return _first([reasons, lacks])


def _offsets(lengths: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(pc.fill_null(lengths, 0))])


def _in_rows(offsets: pa.Array, reasons: pa.Array | None, preposition: str) -> pa.Array | None:
    """For each list the reason of its first element that has one."""
    if reasons is None:
        return None
    lists = pa.ListArray.from_arrays(offsets, reasons)
    bad = pc.is_valid(reasons)
    pairs = pa.table({"row": pc.list_parent_indices(lists).filter(bad), "reason": reasons.filter(bad)})
    firsts = pairs.group_by("row", use_threads=False).aggregate([("reason", "first")])
    at = pc.index_in(pa.array(range(len(lists)), pa.int64()), value_set=firsts["row"].combine_chunks())
    return pc.binary_join_element_wise(preposition, firsts["reason_first"].combine_chunks().take(at), " ")


def _first(reasons: Sequence[pa.Array | None]) -> pa.Array | None:
    """For each row the first reason that it has; None where no row has one."""
    some = [reason for reason in reasons if reason is not None and reason.null_count < len(reason)]
    return pc.coalesce(*some) if some else None


def _without_bad_rows(values: pa.Array, reasons: pa.Array | None) -> Part:
    if reasons is None:
        return values, None
    return pc.if_else(pc.is_null(reasons), values, pa.scalar(None, values.type)), reasons
