"""The type of a column of text, settled by all of its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from tierlake.pipelines.values.numbers import fit_number
from tierlake.pipelines.values.texts import AWARE, fit_text, way_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Spoiler", "Spoilers", "TextTypes"]

_Shape: TypeAlias = Literal["bool", "integer", "long", "float", "date", "wall", "instant", "other"]

_CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?"
_SHAPES: dict[_Shape, tuple[str, pa.DataType]] = {
    "integer": (r"^(0|-?[1-9][0-9]{0,18})$", pa.int64()),
    "float": (
        r"^(-0|-?(0|[1-9][0-9]*)?(\.[0-9]*([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))$",
        pa.float64(),
    ),
    "date": (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", pa.date32()),
    "wall": (rf"^{_CLOCK}$", pa.timestamp("us")),
    "instant": (rf"^{_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$", pa.timestamp("us", "UTC")),
    "bool": (r"^(?i:true|false)$", pa.bool_()),
}
"""What a cell looks like: no text has two shapes. A text whose shape promises what it does not keep (February 30th)
is `other`; a `long` is an integer that no double equals."""

_FAMILIES: tuple[tuple[frozenset[_Shape], pa.DataType], ...] = (
    (frozenset({"bool"}), pa.bool_()),
    (frozenset({"integer", "long"}), pa.int64()),
    (frozenset({"integer", "float"}), pa.float64()),
    (frozenset({"date"}), pa.date32()),
    (frozenset({"date", "wall"}), pa.timestamp("us")),
    (frozenset({"instant"}), pa.timestamp("us", "UTC")),
)
"""The shapes that one type can hold, the narrowest type first."""

_SAMPLE_CELLS = 100_000
_EXAMPLES = 5
_DATE_LENGTH = len("2013-07-04")
_MOST = 0.9


@dataclass(frozen=True, slots=True)
class Spoiler:
    """A text that is not of the type that most of its column has.

    Attributes:
        text: As it stands there.
        line: Its position, counted as `TextTypes.add` was given it.
    """

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Spoilers:
    """Why a column is text although nearly all of it is not.

    Attributes:
        kind: The type that nine tenths of its first cells have.
        texts: The first few that have another.
    """

    kind: pa.DataType
    texts: tuple[Spoiler, ...]


class TextTypes:
    """The narrowest type that every text of a column has, whatever the order and the batches they come in.

    `true` and `false` are bool. Integers within 64 bits are int64; leading zeros, a leading plus or more bits make them
    text. Numbers with a point or an exponent, alone or among integers that a double holds exactly, are float64. ISO
    dates are date32, ISO times timestamp[us], those with an offset timestamp[us, UTC]; times with and without offset in
    one column make it text. Every text fits into the type, read with `fit(..., from_text=True)`.
    """

    def __init__(self) -> None:
        self._cells = 0
        self._rows = 0
        self._counts: dict[_Shape, int] = {}
        self._examples: dict[_Shape, list[Spoiler]] = {}

    def add(self, column: pa.ChunkedArray | pa.Array, first_line: int | None = None) -> None:
        """Take in more of the column.

        Args:
            column: Texts, of any of Arrow's types for them; nulls say nothing.
            first_line: The position of the first; None goes on counting where the last column ended, from 0.
        """
        line = self._rows if first_line is None else first_line
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            if not (self._is_text() and self._cells >= _SAMPLE_CELLS):
                self._add(chunk.cast(pa.string()), line)
            line += len(chunk)
        self._rows = line

    @property
    def kind(self) -> pa.DataType | None:
        """The type, or None where there was nothing but nulls."""
        if not self._counts:
            return None
        return next((kind for shapes, kind in _FAMILIES if shapes.issuperset(self._counts)), pa.string())

    @property
    def spoilers(self) -> Spoilers | None:
        """What makes the column text although nearly all of it is not; None where there is no such thing."""
        if not self._is_text():
            return None
        best, kind = max(_FAMILIES, key=lambda family: self._count(family[0]))
        if self._count(best) < _MOST * sum(self._counts.values()):
            return None
        others = [example for shape, examples in self._examples.items() if shape not in best for example in examples]
        return Spoilers(kind, tuple(sorted(others, key=lambda spoiler: spoiler.line)[:_EXAMPLES]))

    def _is_text(self) -> bool:
        return self.kind is not None and bool(self.kind.equals(pa.string()))

    def _count(self, shapes: frozenset[_Shape]) -> int:
        return sum(count for shape, count in self._counts.items() if shape in shapes)

    def _add(self, cells: pa.Array, line: int) -> None:
        places = pc.indices_nonzero(cells.is_valid()) if cells.null_count else None
        originals = cells if places is None else cells.take(places)
        self._cells += len(originals)
        for shape, rows in self._shaped(originals):
            count = len(originals) if rows is None else len(rows)
            if not count:
                continue
            self._counts[shape] = self._counts.get(shape, 0) + count
            examples = self._examples.setdefault(shape, [])
            first = range(min(count, _EXAMPLES)) if rows is None else rows[:_EXAMPLES].to_pylist()
            for row in list(first)[: _EXAMPLES - len(examples)]:
                place = row if places is None else places[row].as_py()
                examples.append(Spoiler(originals[row].as_py(), line + place))

    def _shaped(self, texts: pa.Array) -> Iterator[tuple[_Shape, pa.Array | None]]:
        """The rows of each shape; None for all rows."""
        # the shape that most cells have had so far goes first: often it leaves none to the others
        shapes = sorted(_SHAPES, key=lambda shape: -self._counts.get(shape, 0))
        if _all_have(shapes[0], texts):
            yield shapes[0], None
            return
        rows: pa.Array | None = None
        left = pc.ascii_trim_whitespace(texts)
        for shape in shapes:
            if not len(left):
                return
            pattern, kind = _SHAPES[shape]
            alike = pc.match_substring_regex(left, pattern)
            if not pc.any(alike).as_py():
                continue
            if pc.all(alike).as_py():
                yield from _kept(shape, left, kind, rows)
                return
            yield from _kept(shape, left.filter(alike), kind, _of(rows, pc.indices_nonzero(alike)))
            others = pc.invert(alike)
            left, rows = left.filter(others), _of(rows, pc.indices_nonzero(others))
        if len(left):
            yield "other", rows


def _all_have(shape: _Shape, texts: pa.Array) -> bool:
    """Whether a test that costs less than a regular expression is sure that all texts have a shape."""
    if not len(texts):
        return False
    if shape == "instant":
        return AWARE.certain(texts) is not None
    if shape not in {"integer", "date", "wall"}:
        return False
    values = way_of(_SHAPES[shape][1]).certain(texts)
    if values is None:
        return False
    if shape == "wall":
        return bool(pc.min(pc.binary_length(texts)).as_py() > _DATE_LENGTH)
    if shape == "date":
        return True
    zero_first = pc.starts_with(texts, "0")
    leading = pc.and_(zero_first, pc.greater(pc.binary_length(texts), 1))
    if pc.any(pc.or_(leading, pc.starts_with(texts, "-0"))).as_py():
        return False
    return fit_number(values, pa.float64())[1] is None


def _kept(
    shape: _Shape, texts: pa.Array, kind: pa.DataType, rows: pa.Array | None
) -> Iterator[tuple[_Shape, pa.Array | None]]:
    """The texts that are what they look like, and `other` for those that are not."""
    values, reasons = fit_text(texts, kind, None)
    if reasons is not None:
        fits = pc.is_null(reasons)
        yield "other", _of(rows, pc.indices_nonzero(pc.invert(fits)))
        values, rows = values.filter(fits), _of(rows, pc.indices_nonzero(fits))
    if shape == "integer":
        _, inexact = fit_number(values, pa.float64())
        if inexact is not None:
            exact = pc.is_null(inexact)
            yield "long", _of(rows, pc.indices_nonzero(pc.invert(exact)))
            rows = _of(rows, pc.indices_nonzero(exact))
    yield shape, rows


def _of(rows: pa.Array | None, places: pa.Array) -> pa.Array:
    return places if rows is None else rows.take(places)
