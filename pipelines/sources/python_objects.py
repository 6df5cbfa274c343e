"""Python objects of a frame as an Arrow column: each is what it is, whoever stands beside it.

Arrow makes bytes of a text beside bytes, drops the time of a datetime beside a date, takes a wall clock time beside an
instant for one in UTC, and cuts what is finer than a microsecond (seen with 26.0). So the kinds of a column are looked
at first: several that no type holds are refused or, where the table knows the type, told one by one.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources.refusals import UNREADABLE
from tierlake.pipelines.values import fit, meets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Unfit", "column_of_objects"]

Unfit = tuple[str, str, str]
"""A cell that does not fit: its column, its text and the reason."""

_UNTAKEN: Final = (*UNREADABLE, TypeError, AttributeError)
_FINER: Final = "Timestamp finer than a microsecond"
_FAMILIES: Final = (
    ((bool, np.bool_), "truth"),
    ((int, float, Decimal, np.integer, np.floating), "number"),
    ((str,), "text"),
    ((bytes, bytearray, memoryview), "bytes"),
    ((dict,), "{}"),
    ((list, tuple, set, frozenset, np.ndarray), "[]"),
    ((dt.datetime,), "time"),
    ((dt.date,), "date"),
)
_LOOKED_INTO: Final = frozenset({"time", "[]", "{}"})
_MISSING: Final = frozenset({"NoneType", "NAType", "NaTType"})


def column_of_objects(
    name: str,
    items: Sequence[Any],
    known: pa.DataType | None,
    wrong: dict[int, Unfit],
    convert: Callable[[], pa.Array],
) -> pa.Array | pa.ChunkedArray:
    """The objects as a column of the type that they have, or that the table knows.

    Args:
        name: Of the column.
        items: Its objects.
        known: Its type in the table.
        wrong: Gets the number of each row, from 1, whose object does not fit.
        convert: Has Arrow make an array of them all.

    Raises:
        SourceError: They have no type together, and the table knows none.
    """
    kind = _Kind()
    kind.add(items, range(1, len(items) + 1))
    clash, error = kind.clash(name), None
    if clash is None:
        try:
            return convert()
        except _UNTAKEN as untaken:
            error = untaken
    fine = _without_finer(name, items, wrong) if _FINER in kind.seen else None
    if fine is not None:
        return column_of_objects(name, fine, known, wrong, lambda: pa.array(fine, from_pandas=True))
    if known is None:
        raise _mixed(name, clash or (name, kind.seen), error)
    return _one_by_one(name, items, known, wrong)


class _Kind:
    """What a column, a list or a field holds: each label with the first row that has it."""

    __slots__ = ("families", "fields", "items", "seen")

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.families: set[str] = set()
        self.items: _Kind | None = None
        self.fields: dict[str, _Kind] = {}

    def add(self, values: Sequence[Any], rows: Sequence[int]) -> None:
        for kind in sorted(set(map(type, values)), key=lambda kind: kind.__name__):
            family = _family(kind)
            if kind.__name__ in _MISSING or (family not in _LOOKED_INTO and kind.__name__ in self.seen):
                continue
            own: Iterator[tuple[Any, int]] = (
                (value, row) for value, row in zip(values, rows, strict=True) if type(value) is kind
            )
            if family == "time":
                for value, row in own:
                    label, exact = _time_label(value)
                    self._note(label, exact, row)
            elif family == "[]":
                self._add_lists(kind.__name__, list(own))
            elif family == "{}":
                self._add_objects(kind.__name__, list(own))
            elif (first := next((row for value, row in own if not _is_missing(value)), None)) is not None:
                self._note(kind.__name__, family, first)

    def clash(self, path: str) -> tuple[str, dict[str, int]] | None:
        """Where kinds meet that no type holds, and which; None where they do not."""
        if len(self.families) > 1 or _FINER in self.seen:
            return path, self.seen
        inner = [(f"{path}[]", self.items)] if self.items else []
        inner += [(f"{path}.{name}", field) for name, field in self.fields.items()]
        return next((clash for where, kind in inner if (clash := kind.clash(where)) is not None), None)

    def _note(self, label: str, family: str, row: int) -> None:
        self.seen.setdefault(label, row)
        self.families.add(family)

    def _add_lists(self, label: str, lists: Sequence[tuple[Any, int]]) -> None:
        self._note(label, "[]", lists[0][1])
        self.items = self.items or _Kind()
        # of an array of numbers or times, one tells what the others are
        parts = [(value[:1] if _is_of_one_type(value) else value, row) for value, row in lists]
        self.items.add([item for value, _ in parts for item in value], [row for value, row in parts for _ in value])

    def _add_objects(self, label: str, objects: Sequence[tuple[Any, int]]) -> None:
        self._note(label, "{}", objects[0][1])
        rows = [row for _, row in objects]
        for name in dict.fromkeys(chain.from_iterable(value for value, _ in objects)):
            self.fields.setdefault(str(name), _Kind()).add([value.get(name) for value, _ in objects], rows)


def _is_of_one_type(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype != object


def _family(kind: type) -> str:
    return next((family for types, family in _FAMILIES if issubclass(kind, types)), kind.__name__)


def _time_label(value: dt.datetime) -> tuple[str, str]:
    if getattr(value, "nanosecond", 0):
        return _FINER, "time finer"
    name = type(value).__name__
    return (name, "time") if value.tzinfo is None else (f"{name} with an offset", "instant")


def _mixed(name: str, clash: tuple[str, dict[str, int]], error: Exception | None) -> SourceError:
    path, seen = clash
    what = ", ".join(f"{label} in row {row:,}" for label, row in sorted(seen.items(), key=lambda one: one[1]))
    where = f"{path} is " if path != name else ""
    why = f" ({str(error).partition(chr(10))[0]})" if error is not None and len(seen) == 1 else ""
    hint = f"make them one type, or declare {name} in the spec's `columns`: then rows that do not fit are rejected"
    return SourceError(f"column {name} of the pandas frame cannot be stored as one type: {where}{what}{why}", hint=hint)


def _without_finer(name: str, items: Sequence[Any], wrong: dict[int, Unfit]) -> list[Any] | None:
    fine = list(items)
    for place, item in enumerate(items):
        if getattr(item, "nanosecond", 0):
            fine[place] = None
            wrong.setdefault(place + 1, (name, _shown(item), f"{name} has digits finer than a microsecond"))
    return fine


def _one_by_one(name: str, items: Sequence[Any], known: pa.DataType, wrong: dict[int, Unfit]) -> pa.Array:
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        if not _is_missing(item):
            label = _time_label(item)[0] if isinstance(item, dt.datetime) else type(item).__name__
            groups.setdefault(label, []).append(place)
    order = np.full(len(items), -1, np.int64)
    parts, length = [], 0
    for places in groups.values():
        for run, values in _fitted(name, items, places, known, wrong):
            order[run] = np.arange(length, length + len(run))
            parts.append(values)
            length += len(run)
    cells = pa.concat_arrays(parts) if parts else pa.nulls(0, known)
    return cells.take(pa.array(order, mask=order < 0))


def _fitted(
    name: str, items: Sequence[Any], places: list[int], known: pa.DataType, wrong: dict[int, Unfit]
) -> Iterator[tuple[list[int], pa.Array]]:
    """Objects of one kind in the known type: together where they have a type together, else each by itself."""
    array = _array([items[place] for place in places], known)
    if array is None and len(places) > 1 and not _is_flat(items[places[0]], known):
        for place in places:
            yield from _fitted(name, items, [place], known, wrong)
        return
    if array is None:
        reason = f"{name} is a {type(items[places[0]]).__name__}, and the column {known}"
        for place in places:
            wrong.setdefault(place + 1, (name, _shown(items[place]), reason))
        yield places, pa.nulls(len(places), known)
        return
    fitted = fit(pa.chunked_array([array]), known)
    for place, reason in zip(places, fitted.reasons.to_pylist() if fitted.reasons is not None else (), strict=False):
        if reason is not None:
            wrong.setdefault(place + 1, (name, _shown(items[place]), f"{name} {reason}"))
    yield places, fitted.values.combine_chunks()


def _is_flat(item: Any, known: pa.DataType) -> bool:
    """Whether objects of this kind never meet a type, whatever they hold."""
    simple = {"text": pa.string(), "bytes": pa.binary(), "truth": pa.bool_(), "number": pa.int64()}
    kind = simple.get(_family(type(item)))
    return kind is not None and not meets(kind, known)


def _array(items: Sequence[Any], known: pa.DataType) -> pa.Array | None:
    """The objects in their own type, which meets the known one; None where they have none."""
    if pat.is_map(known) and all(isinstance(item, dict | list | tuple) for item in items):
        return _maps(items, known)
    if pat.is_decimal(known):
        items = [Decimal(item) if type(item) is int else item for item in items]
    kind = _Kind()
    kind.add(items, [1] * len(items))
    if kind.clash("") is not None:
        return None
    try:
        array = pa.array(items, from_pandas=True)
    except _UNTAKEN:
        return None
    return array if meets(array.type, known) else None


def _maps(items: Sequence[Any], known: pa.MapType) -> pa.Array | None:
    try:
        pairs = [list(item.items() if isinstance(item, dict) else item) for item in items]
        entries = [(key, value) for pair in pairs for key, value in pair]
    except _UNTAKEN:
        return None
    keys = _array([key for key, _ in entries], known.key_type)
    values = _array([value for _, value in entries], known.item_type)
    if keys is None or values is None or keys.null_count:
        return None
    offsets = np.cumsum([0, *map(len, pairs)], dtype=np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values)


def _shown(item: object) -> str:
    if isinstance(item, dict | list | tuple | set | frozenset | np.ndarray):
        plain = list(item) if isinstance(item, tuple | set | frozenset) else item
        return json.dumps(plain, ensure_ascii=False, default=_plain)
    return item.decode("utf-8", "backslashreplace") if isinstance(item, bytes) else str(item)


def _plain(item: Any) -> object:
    if isinstance(item, set | frozenset):
        return list(item)
    return item.tolist() if isinstance(item, np.ndarray | np.generic) else _shown(item)


def _is_missing(item: object) -> bool:
    if isinstance(item, Decimal):
        return item.is_nan()
    if isinstance(item, float | np.floating | np.datetime64 | np.timedelta64):
        return bool(item != item)  # noqa: PLR0124 - NaN, and what numpy says of no time
    return type(item).__name__ in _MISSING
