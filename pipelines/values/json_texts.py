"""JSON texts as lists, maps and structs: their leaves are read as any text is."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pat

from tierlake.pipelines.values.parts import Part, Unfit, Way, piecewise
from tierlake.pipelines.values.types import is_listing, is_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fit_json"]


class _Number(str):
    """A number as it is written: a leaf's type decides what it is."""

    __slots__ = ()


def fit_json(cells: pa.Array, kind: pa.DataType, leaf: Callable[[pa.Array, pa.DataType], Part]) -> Part:
    """JSON texts in a nested type.

    Args:
        cells: Of type string or large_string.
        kind: A list, a map (from an object, or from a list of objects with `key` and `value`) or a struct.
        leaf: Converts an array of texts to a flat type.
    """
    return piecewise(cells, kind, Way(_no_fast_path, partial(_parsed, kind=kind, leaf=leaf)))


def _no_fast_path(cells: pa.Array) -> pa.Array:
    raise pa.ArrowInvalid(f"{len(cells)} cells of JSON")


def _parsed(text: str, kind: pa.DataType, leaf: Callable[[pa.Array, pa.DataType], Part]) -> Any:
    try:
        value = json.loads(
            text, parse_int=_Number, parse_float=_Number, parse_constant=_Number, object_pairs_hook=_object
        )
    except (ValueError, RecursionError):
        raise Unfit("is not JSON") from None
    return _built(value, kind, leaf)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Unfit("has an object that names a field twice")
    return fields


def _built(value: Any, kind: pa.DataType, leaf: Callable[[pa.Array, pa.DataType], Part]) -> Any:
    if value is None:
        return None
    if is_listing(kind):
        if not isinstance(value, list):
            raise Unfit("is not a JSON list")
        return [_built(element, kind.value_type, leaf) for element in value]
    if pat.is_map(kind):
        return [(_built(key, kind.key_type, leaf), _built(item, kind.item_type, leaf)) for key, item in _entries(value)]
    if pat.is_struct(kind):
        if not isinstance(value, dict):
            raise Unfit("is not a JSON object")
        names = {field.name for field in kind}
        if not names.issuperset(value):
            raise Unfit("has a field that the column lacks")
        return {field.name: _built(value.get(field.name), field.type, leaf) for field in kind}
    return _leaf(value, kind, leaf)


def _entries(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list) and all(isinstance(entry, dict) and entry.keys() == {"key", "value"} for entry in value):
        entries = [(entry["key"], entry["value"]) for entry in value]
        if any(key is None for key, _ in entries):
            raise Unfit("has a key that is null")
        return entries
    raise Unfit("is not a JSON object")


def _leaf(value: Any, kind: pa.DataType, leaf: Callable[[pa.Array, pa.DataType], Part]) -> Any:
    if isinstance(value, bool):
        if not pat.is_boolean(kind):
            raise Unfit(f"holds true or false where {kind} is due")
        return value
    number = isinstance(value, _Number)
    numeric = pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind)
    if not isinstance(value, str) or (number and not numeric):
        what = "a number" if number else "an object or a list"
        raise Unfit(f"holds {what} where {kind} is due")
    if is_text(kind):
        return value
    values, reasons = leaf(pa.array([str(value)], pa.string()), kind)
    if reasons is not None:
        raise Unfit(f"has a part that {reasons[0].as_py()}")
    if pat.is_timestamp(kind):
        return values.view(pa.int64())[0].as_py()
    return values[0].as_py()
