"""Which files a filter can leave out: those of which partition values and statistics prove that no row matches.

Everything that filters goes by this one decision. For each column that the filter names, what is known of a file is a
list of cases that together hold every row: null, NaN, and a range. A file is left out only where Arrow cannot satisfy
the filter in any combination of cases, so null and NaN mean here what they mean when rows are compared. What is not
known for certain is no case: a bound that is missing, cut, not finite, or of a type whose order readers do not share
proves nothing.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.types as pat
from pyarrow.fs import LocalFileSystem

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.pipelines.parquet.lazy_statistics import HasStatistics, LazyStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

__all__ = ["FileFacts", "columns_in", "may_match"]

_MOST_COMBINATIONS = 64
_WHOLE_TEXT = 32
"""Writers cut longer texts; the shorter ones among the upper bounds are whole."""
_LAST_COMMON_CHARACTER = "\ud7ff"
"""Above it, the orders of UTF-8 and UTF-16 differ."""
_FIRST_COMMON_YEAR = 1900
"""Before it, writers differ about calendars and about the offsets of zones."""
_UNDER_A_MILLISECOND = timedelta(microseconds=999)

_Case: TypeAlias = "tuple[Hashable, pc.Expression]"


@dataclass(frozen=True)
class FileFacts(HasStatistics):
    """What is known of a file, or of a part of one, without reading its rows.

    Attributes:
        key: What tells its partition from others.
        known: The partition's values: equalities and null tests, true of every row.
        stats: Statistics as the Delta log spells them (JSON text); None where there are none; may be given as a
            function.
    """

    key: Hashable
    known: pc.Expression
    stats: LazyStatistics = LazyStatistics()


def may_match(
    matching: pc.Expression, schema: pa.Schema, keys: Iterable[str], files: Sequence[FileFacts]
) -> list[bool]:
    """For each file, whether some row of it may match; False is a proof that none does.

    Args:
        matching: The filter; it fits the schema.
        schema: Of the rows.
        keys: The partition columns.
        files: What is known of each.
    """
    names = columns_in(matching, schema)
    alike = _alike(files, None if names is None else names & set(keys))
    partitions = {alike[file.key]: file.known for file in files}
    possible = dict(zip(partitions, _satisfiable(matching, schema, list(partitions.values())), strict=True))
    columns = [] if names is None else [schema.field(name) for name in sorted(names - set(keys))]
    if not columns:
        return [possible[alike[file.key]] for file in files]
    # files that are alike in all that the filter asks for are decided once
    numbers: dict[Hashable, int] = {}
    situations: list[pc.Expression] = []
    of_files: list[list[int]] = []
    for file in files:
        of_file = []
        partition = alike[file.key]
        for combination in _combinations(columns, file.stats) if possible[partition] else ():
            identity = (partition, *(case[0] for case in combination))
            if identity not in numbers:
                numbers[identity] = len(situations)
                situations.append(reduce(operator.and_, (case[1] for case in combination), file.known))
            of_file.append(numbers[identity])
        of_files.append(of_file)
    satisfiable = _satisfiable(matching, schema, situations)
    return [any(satisfiable[number] for number in of_file) for of_file in of_files]


def _alike(files: Sequence[FileFacts], filtered: frozenset[str] | None) -> dict[Hashable, Hashable]:
    """Each partition's key, and what is the same for all that do not differ in the columns that a filter asks for."""
    if filtered is None:
        return {file.key: file.key for file in files}
    knowns = {file.key: file.known for file in files} if filtered else dict.fromkeys(file.key for file in files)
    of_key: dict[Hashable, Hashable] = {}
    for key, known in knowns.items():
        values = {} if known is None else pads.get_partition_keys(known)
        of_key[key] = repr([values.get(name) for name in sorted(filtered)])
    return of_key


def columns_in(matching: pc.Expression, schema: pa.Schema) -> frozenset[str] | None:
    """The columns that an expression needs; None where that cannot be told (references by position).

    Args:
        matching: The expression; it fits the schema.
        schema: Of the rows.
    """
    text = str(matching)
    if "FieldPath" in text:
        return None
    candidates = pa.schema([field for field in schema if field.name in text])
    needed = set()
    for index, field in enumerate(candidates):
        try:
            candidates.set(index, field.with_name("\0absent")).empty_table().filter(matching.is_valid())
        except pa.ArrowInvalid:
            needed.add(field.name)
    return frozenset(needed)


def _satisfiable(matching: pc.Expression, schema: pa.Schema, situations: Sequence[pc.Expression]) -> list[bool]:
    """For each of these guarantees, whether the filter can be true under it, by Arrow's own simplification."""
    form, nowhere = pads.ParquetFileFormat(), LocalFileSystem()
    fragments = [
        form.make_fragment(f"/{number}", nowhere, partition_expression=situation, file_size=0)
        for number, situation in enumerate(situations)
    ]
    try:
        left = list(pads.FileSystemDataset(fragments, schema, form, nowhere).get_fragments(filter=matching))
    except pa.ArrowException:  # a value of the statistics does not go with the filter's types: no proof
        return [True] * len(situations)
    numbers = {int(fragment.path.removeprefix("/")) for fragment in left}
    return [number in numbers for number in range(len(situations))]


def _combinations(columns: Sequence[pa.Field], stats: str | None) -> list[tuple[_Case, ...]]:
    """Every combination of the columns' cases; where there are too many, further columns prove nothing."""
    parsed = _parsed(stats)
    chosen: list[list[_Case]] = []
    count = 1
    for field in columns:
        cases = _cases(field, parsed)
        if cases and count * len(cases) <= _MOST_COMBINATIONS:
            chosen.append(cases)
            count *= len(cases)
    return list(product(*chosen))


def _parsed(stats: str | None) -> dict[str, Any]:
    try:
        return json_object(stats or "{}")
    except UnreadableDocument:
        return {}


def _of(parsed: dict[str, Any], kind: str, name: str) -> Any:
    values = parsed.get(kind)
    return values.get(name) if isinstance(values, dict) else None


def _cases(field: pa.Field, parsed: dict[str, Any]) -> list[_Case]:
    """What each row's value may be; empty where nothing is known."""
    name, column = field.name, pc.field(field.name)
    nulls, rows = _of(parsed, "nullCount", name), parsed.get("numRecords")
    bounds = _of(parsed, "minValues", name), _of(parsed, "maxValues", name)
    low, high = _bound(bounds[0], field.type, is_upper=False), _bound(bounds[1], field.type, is_upper=True)
    is_all_null = _is_count(nulls) and _is_count(rows) and nulls == rows and rows > 0
    if (is_all_null and bounds != (None, None)) or _are_crossed(low, high):
        return []  # what contradicts itself proves nothing
    null: _Case = (("null", name), column.is_null())
    if is_all_null:
        return [null]
    has_no_nulls = _is_count(nulls) and nulls == 0
    if low is None and high is None and not has_no_nulls:
        return []
    cases = [] if has_no_nulls else [null]
    if pat.is_floating(field.type):
        # by itself also where no bound is known: Arrow takes "valid" for "not null, nor NaN where that counts as null"
        cases.append((("nan", name), column == pa.scalar(math.nan, field.type)))
    if low is None and high is None:
        return [*cases, (("valid", name), column.is_valid())]
    if low is not None and high is not None:
        within = (column >= low) & (column <= high)
    else:
        within = column >= low if low is not None else column <= high
    cases.append((("range", name, low, high), within))
    return cases


def _are_crossed(low: pa.Scalar | None, high: pa.Scalar | None) -> bool:
    return low is not None and high is not None and bool(pc.greater(low, high).as_py())


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# -- bounds ------------------------------------------------------------------------------------------------------------


def _bound(value: object, kind: pa.DataType, *, is_upper: bool) -> pa.Scalar | None:
    """A bound that holds for every row, in the column's type; None where the log's value proves nothing."""
    for applies, read in _BOUNDS:
        if applies(kind):
            try:
                return read(value, kind, is_upper)
            except (ValueError, OverflowError, pa.ArrowException):
                return None
    return None


def _integer(value: object, kind: pa.DataType, is_upper: bool) -> pa.Scalar | None:  # noqa: ARG001, FBT001 - a table's
    return pa.scalar(value, kind) if _is_count(value) else None


def _float(value: object, kind: pa.DataType, is_upper: bool) -> pa.Scalar | None:  # noqa: FBT001 - a table's
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    width = np.float32 if pat.is_float32(kind) else np.float64
    with np.errstate(over="ignore"):
        # writers print decimals: the next float outwards makes up for how they round
        bound = float(np.nextafter(width(value), width(math.inf if is_upper else -math.inf)))
    return pa.scalar(bound, kind) if math.isfinite(value) and math.isfinite(bound) else None


def _text(value: object, kind: pa.DataType, is_upper: bool) -> pa.Scalar | None:  # noqa: FBT001 - a table's
    if not isinstance(value, str) or any(char > _LAST_COMMON_CHARACTER for char in value):
        return None
    return None if is_upper and len(value) >= _WHOLE_TEXT else pa.scalar(value, kind)


def _date(value: object, kind: pa.DataType, is_upper: bool) -> pa.Scalar | None:  # noqa: ARG001, FBT001 - a table's
    day = date.fromisoformat(value) if isinstance(value, str) else None
    return pa.scalar(day, kind) if day is not None and day.year >= _FIRST_COMMON_YEAR else None


def _time(value: object, kind: pa.DataType, is_upper: bool) -> pa.Scalar | None:  # noqa: FBT001 - a table's
    if not isinstance(value, str):
        return None
    at = datetime.fromisoformat(value)
    if at.year < _FIRST_COMMON_YEAR or (at.tzinfo is None) != (kind.tz is None):
        return None
    # the log keeps milliseconds, cut downwards
    return pa.scalar(at + _UNDER_A_MILLISECOND if is_upper else at, pa.timestamp("us", kind.tz)).cast(kind)


_BOUNDS: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[object, pa.DataType, bool], pa.Scalar | None]],
    ...,
] = (
    (pat.is_integer, _integer),
    (lambda kind: pat.is_float32(kind) or pat.is_float64(kind), _float),
    (lambda kind: pat.is_string(kind) or pat.is_large_string(kind), _text),
    (pat.is_date32, _date),
    (lambda kind: pat.is_timestamp(kind) and kind.unit in {"us", "ns"}, _time),
)
"""How the bounds of a type are read from the log; other types have none: decimals are JSON numbers there, bytes and
nested values have no order that readers share."""
