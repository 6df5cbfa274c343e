"""The columns of deltalake's add actions as values of ours: paths, partition keys, times, statistics.

A table of 50,000 files is read by columns: values are converted once per distinct value, and statistics where they are
asked for.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.model.partition_key import PartitionKey, spelled
from tierlake.pipelines.parquet.statistics import log_stats
from tierlake.pipelines.tables.delta_commit import spelled_by_deltalake
from tierlake.pipelines.tables.paths import data_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tierlake.pipelines.errors import SchemaMismatch

__all__ = ["LoggedStatistics", "logged_keys", "logged_paths", "logged_times"]

_ORDINARY: Final = r"^(?:[A-Za-z0-9][A-Za-z0-9=.+,@~_-]*/)*[A-Za-z0-9][A-Za-z0-9=.+,@~_-]*$"
"""Paths below the root and outside our folders that are spelled alike by the log, the store and deltalake."""
_AT_ONCE: Final = 64
"""Files whose statistics are converted together."""
_STATISTICS: Final = ("num_records", "min", "max", "null_count")

_EPOCH = date(1970, 1, 1)
_DAY_US = 86_400_000_000
_FIRST_DAY, _LAST_DAY = (date.min - _EPOCH).days, (date.max - _EPOCH).days


def logged_paths(root: str, logged: pa.ChunkedArray) -> list[tuple[str, str | None]]:
    """Each path as the store spells it, and as the log does where deltalake would spell it otherwise.

    Args:
        root: The table's `bucket/prefix`.
        logged: The paths in the log.

    Raises:
        PolicyRefused: One of them leaves the root.
    """
    paths: list[tuple[str, str | None]] = [(path, None) for path in logged.to_pylist()]
    strange = pc.indices_nonzero(pc.invert(pc.match_substring_regex(logged, pattern=_ORDINARY)))
    for row in strange.to_pylist():
        spelling = paths[row][0]
        path = data_path(root, spelling)
        paths[row] = path, None if spelled_by_deltalake(path) == spelling else spelling
    return paths


def logged_keys(partition: pa.StructArray | None, columns: Sequence[str], number: int) -> list[PartitionKey]:
    """The partition of each file; files of one partition share the object.

    Args:
        partition: The partition values; None where there are none.
        columns: The partition columns, in the table's order.
        number: How many files there are.

    Raises:
        OverflowError: A value that Python cannot hold.
        ValueError: Likewise.
    """
    given = {} if partition is None else _fields(partition)
    nulls = [""] * number
    texts = [_spelled(given[name]) if name in given else nulls for name in columns]
    known: dict[tuple[str, ...], PartitionKey] = {}
    keys = []
    for values in zip(*texts, strict=True) if texts else [()] * number:
        key = known.get(values)
        if key is None:
            key = known[values] = PartitionKey(tuple(zip(columns, values, strict=True)))
        keys.append(key)
    return keys


def logged_times(milliseconds: Iterable[int]) -> list[datetime]:
    """Times in the log as instants."""
    known: dict[int, datetime] = {}
    times = []
    for number in milliseconds:
        at = known.get(number)
        if at is None:
            at = known[number] = datetime.fromtimestamp(number / 1000, UTC)
        times.append(at)
    return times


class LoggedStatistics:
    """The statistics of all files, converted to text when a file's are read."""

    def __init__(self, adds: pa.Table, failure: Callable[[Exception], SchemaMismatch]) -> None:
        """Keep the columns of statistics.

        Args:
            adds: The add actions.
            failure: The error for values that Python cannot hold.
        """
        self._kept = {name: adds.column(name).combine_chunks() for name in _STATISTICS if name in adds.column_names}
        self._failure = failure
        self._texts: dict[int, list[str]] = {}

    @cached_property
    def _columns(self) -> pa.Table:
        """Made when a file's statistics are read: many looks read none, and pyarrow imports pandas for a scalar."""
        return pa.table({name: _flat(column) for name, column in self._kept.items()})

    def text(self, row: int) -> str:
        """The statistics of a file as JSON text.

        Args:
            row: Its number among the add actions.

        Raises:
            SchemaMismatch: Values that Python cannot hold.
        """
        number, place = divmod(row, _AT_ONCE)
        if number not in self._texts:  # kept, as partitions are seldom in the order of the log
            self._texts[number] = self._converted(number)
        return self._texts[number][place]

    def _converted(self, number: int) -> list[str]:
        try:
            files = self._columns.slice(number * _AT_ONCE, _AT_ONCE).to_pylist()
        except (OverflowError, ValueError) as error:
            raise self._failure(error) from error
        return [
            log_stats(stats["num_records"], *(stats.get(name) or {} for name in ("min", "max", "null_count")))
            for stats in files
        ]


def _fields(values: pa.StructArray) -> dict[str, pa.Array]:
    """The fields of structs; null where the struct is."""
    return dict(zip((field.name for field in values.type), values.flatten(), strict=True))


def _spelled(values: pa.Array) -> list[str]:
    if pat.is_floating(values.type):  # a dictionary has one zero, and texts have two
        return [spelled(value) for value in values.to_pylist()]
    encoded = values.dictionary_encode()
    texts = [spelled(value) for value in encoded.dictionary.to_pylist()]
    return ["" if place is None else texts[place] for place in encoded.indices.to_pylist()]


def _flat(stats: pa.Array) -> pa.Array:
    """Statistics without nested columns, and without dates outside the years 1 to 9999, Python's range."""
    if not pat.is_struct(stats.type):
        return stats
    fields = [(index, field) for index, field in enumerate(stats.type) if not pat.is_nested(field.type)]
    if not fields:
        return pa.nulls(len(stats), pa.null())
    arrays = [_within_python(stats.field(index)) for index, _ in fields]
    return pa.StructArray.from_arrays(arrays, fields=[field for _, field in fields], mask=stats.is_null())


def _within_python(values: pa.Array) -> pa.Array:
    kind = values.type
    if pat.is_date32(kind):
        numbers, first, last = values.cast(pa.int32()), _FIRST_DAY, _LAST_DAY
    elif pat.is_timestamp(kind):
        numbers, first, last = values.cast(pa.int64()), _FIRST_DAY * _DAY_US, (_LAST_DAY + 1) * _DAY_US - 1
    else:
        return values
    is_within = pc.and_(pc.greater_equal(numbers, first), pc.less_equal(numbers, last))
    return pc.if_else(is_within, values, pa.scalar(None, kind))
