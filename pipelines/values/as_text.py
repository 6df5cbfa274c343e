"""Values as the text that stands for them: `fit(..., from_text=True)` reads it back."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from tierlake.pipelines.values.types import is_bytes, is_listing, is_text, plain

__all__ = ["texts_of"]


def texts_of(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """A column of any type as text; lists, maps and structs as JSON."""
    kind = plain(column.type)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if not (pat.is_nested(kind) or is_bytes(kind)):
        try:
            return pa.chunked_array([chunk.cast(kind).cast(pa.string()) for chunk in chunks], pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # a type whose text only Python knows
    return pa.chunked_array([[_text(cell) for cell in chunk] for chunk in chunks], pa.string())


def _text(cell: pa.Scalar[Any]) -> str | None:
    value = _json_value(cell)
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json_value(cell: Any) -> Any:
    kind = cell.type
    if not cell.is_valid:
        return None
    if pat.is_dictionary(kind):
        return _json_value(cell.value)
    if pat.is_map(kind):
        return [{"key": _json_value(pair["key"]), "value": _json_value(pair["value"])} for pair in cell.values]
    if is_listing(kind):
        return [_json_value(element) for element in cell.values]
    if pat.is_struct(kind):
        return {field.name: _json_value(cell[place]) for place, field in enumerate(kind)}
    if is_bytes(kind):
        return cell.as_py().decode("utf-8", "backslashreplace")
    if pat.is_boolean(kind) or pat.is_integer(kind) or is_text(kind) or pat.is_float64(kind):
        return cell.as_py()
    try:
        return cell.cast(pa.string()).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return str(cell.as_py())
