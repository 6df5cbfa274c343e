"""What JSON values are, over a whole source: the types of its columns, and where each was first seen."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.types as pat

from tierlake.pipelines.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LARGEST", "SMALLEST", "Kind", "Literal", "holds_decimals"]

SMALLEST, LARGEST = -(1 << 63), (1 << 63) - 1


class Literal(float):
    """A number with a fraction, and how it was written."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> Self:
        """Read it."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Literal: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}
_HUGE = "a whole number beyond 64 bits"


class Kind:
    """The values of one column, field or list, as they come by."""

    __slots__ = ("fields", "items", "seen")

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.items: Kind | None = None
        self.fields: dict[str, Kind] = {}

    def add(self, values: Sequence[Any], file: str, lines: Sequence[int]) -> None:
        """Take values, each with its line."""
        types = set(map(type, values))
        types.discard(type(None))
        fresh = [one for one in types if _NAMES[one] not in self.seen]
        firsts = [
            (next(line for value, line in zip(values, lines, strict=True) if type(value) is one), one) for one in fresh
        ]
        for line, one in sorted(firsts, key=lambda first: first[0]):
            self.seen.setdefault(_NAMES[one], f"{file} line {line:,}")
        if int in types and _HUGE not in self.seen:
            self._add_huge(values, file, lines)
        if list in types:
            self.items = self.items or Kind()
            lists = [(value, line) for value, line in zip(values, lines, strict=True) if type(value) is list]
            items = [item for value, _ in lists for item in value]
            self.items.add(items, file, [line for value, line in lists for _ in value])
        if dict in types:
            self._add_objects(values, file, lines)

    def _add_huge(self, values: Sequence[Any], file: str, lines: Sequence[int]) -> None:
        numbers = [value for value in values if type(value) is int]
        if min(numbers) >= SMALLEST and max(numbers) <= LARGEST:
            return
        for value, line in zip(values, lines, strict=True):
            if type(value) is int and not SMALLEST <= value <= LARGEST:
                self.seen[_HUGE] = f"{file} line {line:,}"
                return

    def _add_objects(self, values: Sequence[Any], file: str, lines: Sequence[int]) -> None:
        places = [place for place, value in enumerate(values) if type(value) is dict]
        objects = [values[place] for place in places]
        for name in dict.fromkeys(chain.from_iterable(objects)):
            field = self.fields.setdefault(name, Kind())
            cells = [value.get(name) for value in objects]  # a field that is missing is null: neither tells a type
            field.add(cells, file, lines if len(places) == len(lines) else [lines[place] for place in places])

    def type(self, path: str, known: pa.DataType | None = None) -> pa.DataType:
        """The type in which these values are handed over.

        Where the table knows a time, a decimal or the like, it is text, that the table's own rules read.

        Args:
            path: The column, and within it the field.
            known: By the table.

        Raises:
            SourceError: Values of several types, and the table knows none; the message names a line of each.
        """
        if known is not None:
            return self._known_type(path, known)
        kinds = set(self.seen)
        if not kinds:
            return pa.null()
        if _HUGE in kinds:
            message = f"column {path}: {self.seen[_HUGE]} has {_HUGE}"
            raise SourceError(message, hint=f"declare it in the spec: `columns: {{{path}: decimal(38, 0)}}`")
        if kinds <= {"a whole number", "a number"}:
            return pa.float64() if "a number" in kinds else pa.int64()
        if len(kinds) > 1:
            what = ", ".join(f"{kind} in {where}" for kind, where in self.seen.items())
            hint = f"declare {path} in the spec's `columns`: then rows that do not fit are rejected; or mend the source"
            raise SourceError(f"column {path} has values of several types: {what}", hint=hint)
        return self._single_type(path, kinds.pop())

    def _single_type(self, path: str, kind: str) -> pa.DataType:
        if kind == "a list":
            return pa.list_((self.items or Kind()).type(f"{path}[]"))
        if kind == "an object":
            fields = [pa.field(name, field.type(f"{path}.{name}")) for name, field in self.fields.items()]
            return pa.struct(fields) if fields else pa.null()
        return pa.bool_() if kind == "true or false" else pa.string()

    def _known_type(self, path: str, known: pa.DataType) -> pa.DataType:
        if pat.is_struct(known):
            fields = [
                pa.field(field.name, self.fields.get(field.name, Kind()).type(f"{path}.{field.name}", field.type))
                for field in known
            ]
            names = {field.name for field in known}
            more = [(name, kind) for name, kind in self.fields.items() if name not in names]
            return pa.struct([*fields, *(pa.field(name, kind.type(f"{path}.{name}")) for name, kind in more)])
        if pat.is_list(known) or pat.is_large_list(known) or pat.is_fixed_size_list(known):
            return pa.list_((self.items or Kind()).type(f"{path}[]", known.value_type))
        if pat.is_boolean(known):
            return pa.bool_()
        if pat.is_integer(known):
            return pa.int64()
        if pat.is_floating(known):
            return pa.float32() if pat.is_float32(known) else pa.float64()
        if pat.is_map(known):
            key = pa.int64() if pat.is_integer(known.key_type) else pa.string()
            return pa.map_(key, Kind().type(f"{path}[]", known.item_type))
        return pa.string()


def holds_decimals(kind: pa.DataType) -> bool:
    """Whether numbers within it have to be kept as they are written."""
    if pat.is_struct(kind):
        return any(holds_decimals(field.type) for field in kind)
    if pat.is_map(kind):
        return holds_decimals(kind.item_type)
    return holds_decimals(kind.value_type) if hasattr(kind, "value_type") else bool(pat.is_decimal(kind))
