"""Which partition each row belongs to, and which rows belong to none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from tierlake.connector.nearest import alternatives
from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.model.key_columns import coded_keys, coded_values, coded_windows, is_text
from tierlake.pipelines.model.partition_key import LONGEST_PATH, PartitionKey
from tierlake.pipelines.model.partition_types import check_key_types, is_time
from tierlake.pipelines.model.stored_types import ROW_COLUMN
from tierlake.pipelines.model.time_window import key_named_by
from tierlake.pipelines.sources.row_origin import PROVENANCE, REASON_COLUMN, REJECT_COLUMN, REJECT_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tierlake.pipelines.model.key_columns import CodedColumn, Codes
    from tierlake.pipelines.model.spec import PartitionSpec, TimePartition

__all__ = ["REASON_COLUMN", "Assigned", "Partitioner", "Run"]

_FILE_NAME_BYTES: Final = 100
"""Bytes of a path reserved for the file's name, and for the folder where a plain table's files wait for a commit."""

_ESCAPED_BYTES: Final = 12
"""The most bytes of one character of a value in a path: four bytes, each as `%F0`."""

_TOO_LONG: Final = f"the partition's path is too long ({LONGEST_PATH} bytes, with the table's and the file's name)"

_COUNTED: Final = 1 << 20
"""Up to this many combinations are counted in an array; more are looked up."""


class Run(NamedTuple):
    """Where the rows of a partition are, in rows that are sorted by partition.

    Attributes:
        key: The partition.
        start: The number of the first of them.
        rows: How many they are.
    """

    key: PartitionKey
    start: int
    rows: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """One batch, sorted out.

    Attributes:
        good: Rows with a partition, without the key columns that the partition implies and without provenance. Rows
            that have no other column have `ROW_COLUMN`.
        keys: One per run of rows in `good`, with the number of its rows; in key order.
        bad: Rows without one, as they came, with `_reject_column`, `_reject_value` and `_reject_reason`.
    """

    good: pa.Table
    keys: tuple[tuple[PartitionKey, int], ...]
    bad: pa.Table

    def runs(self) -> Iterator[Run]:
        """Where the good rows of each partition are."""
        start = 0
        for key, rows in self.keys:
            yield Run(key, start, rows)
            start += rows

    def parts(self) -> Iterator[tuple[PartitionKey, pa.Table]]:
        """The good rows of each partition."""
        for run in self.runs():
            yield run.key, self.good.slice(run.start, run.rows)


class Partitioner:
    """Splits batches by a dataset's partitioning."""

    def __init__(self, spec: PartitionSpec, root: str = "") -> None:
        """Take the partitioning of a spec.

        Args:
            spec: The partitioning.
            root: `bucket/prefix` of the table, which counts towards the longest key of the store.
        """
        self._spec = spec
        prefix = root.partition("/")[2]
        self._path_bytes = LONGEST_PATH - len(prefix.encode()) - _FILE_NAME_BYTES

    def check(self, schema: pa.Schema) -> None:
        """Refuse data that cannot be partitioned.

        Raises:
            SchemaMismatch: A source column of the partitioning is missing, or keys cannot spell its type.
        """
        event_time = self._event_time
        needed = [*([event_time] if event_time else []), *self._spec.carried]
        missing = [name for name in needed if name not in schema.names]
        if missing:
            message = f"the data lacks the column {missing[0]}, which the dataset is partitioned by"
            raise SchemaMismatch(message, hint=alternatives(missing[0], schema.names))
        check_key_types(self._spec, schema)
        if event_time is None:
            return
        kind = schema.field(event_time).type
        if not (is_time(kind) or is_text(kind) or pat.is_null(kind)):
            message = f"the time column {event_time} is {kind}, not a time"
            raise SchemaMismatch(message, hint="it must be a timestamp, a date or ISO 8601 text")

    @property
    def _event_time(self) -> str | None:
        return self._spec.time.column if self._spec.time else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The Hive columns, in order."""
        return self._spec.columns

    @property
    def computed(self) -> str | None:
        """The Hive column computed from the event time; None where rows carry all Hive columns."""
        return self._spec.time.key if self._spec.time and self._event_time else None

    def stored_columns(self, schema: pa.Schema) -> pa.Schema:
        """The columns of the files: all but those in the path; `ROW_COLUMN` where none is left."""
        dropped = {*self._spec.carried, *PROVENANCE}
        kept = [field for field in schema if field.name not in dropped]
        return pa.schema(kept or [pa.field(ROW_COLUMN, pa.bool_())])

    def assign(self, batch: pa.Table) -> Assigned:
        """Sort one batch by partition.

        Args:
            batch: Rows that passed `check`, in the table's types, with or without the provenance columns. They may have
                the computed key as a column, as rows read from a table do; then its values must agree.

        Raises:
            SchemaMismatch: A row's key column names another window than its event time.
        """
        time, event_time = self._spec.time, self._event_time
        coded: dict[str, CodedColumn] = {}
        if time is not None and event_time is not None:
            # a time column with only nulls so far has no type yet
            known = event_time in batch.column_names
            column = batch.column(event_time) if known else pa.chunked_array([pa.nulls(batch.num_rows)])
            coded[time.key] = coded_windows(event_time, column, time)
            if time.key in batch.column_names:
                _check_claimed(batch, coded[time.key], time)
        for name in self._spec.carried:
            column = batch.column(name)
            is_key = time is not None and event_time is None and name == time.key
            coded[name] = coded_keys(column, time) if is_key and time else coded_values(name, column)
        dropped = [name for name in {*self._spec.columns, *PROVENANCE} if name in batch.column_names]
        stored = batch.drop_columns(dropped)
        if not stored.num_columns:
            stored = pa.table({ROW_COLUMN: np.ones(batch.num_rows, np.bool_)})
        return self._split(batch, stored, _Combined.of([coded[name] for name in self._spec.columns], batch))

    def _split(self, batch: pa.Table, rows: pa.Table, combined: _Combined) -> Assigned:
        names = self._spec.columns
        keys = [PartitionKey(tuple(zip(names, texts, strict=True))) for texts in combined.texts()]
        faults = combined.faults()
        if sum(len(name) + 2 for name in names) + combined.longest_values() > self._path_bytes:
            too_long = (at for at, key in enumerate(keys) if len(key.prefix) > self._path_bytes)
            faults |= {at: (None, _TOO_LONG) for at in too_long if at not in faults}
        codes = combined.codes
        order, bad = np.arange(len(codes)), _rejected(batch.slice(0, 0), [], [])
        if faults:
            is_fault = np.zeros(combined.count, np.bool_)
            is_fault[list(faults)] = True
            is_bad = is_fault[codes]
            at_bad, order = np.flatnonzero(is_bad), np.flatnonzero(~is_bad)
            rejections = [faults[int(codes[at])] for at in at_bad.tolist()]
            bad = _rejected(
                batch.take(pa.array(at_bad)), [column for column, _ in rejections], [why for _, why in rejections]
            )
            codes = codes[order]
        counts = np.bincount(codes, minlength=combined.count).tolist()
        runs = tuple((key, count) for key, count in zip(keys, counts, strict=True) if count)
        if (codes[1:] < codes[:-1]).any():
            # small integers are sorted by counting; equal ones keep the source's order
            kind = np.uint16 if combined.count <= 1 << 16 else np.int64
            order = order[np.argsort(codes.astype(kind), kind="stable")]
        elif len(order) == batch.num_rows:
            return Assigned(rows, runs, bad)
        return Assigned(rows.take(pa.array(order)), runs, bad)


@dataclass(frozen=True, slots=True)
class _Combined:
    """Rows by the values of several columns together, in the order of their texts."""

    columns: Sequence[CodedColumn]
    codes: Codes
    members: Sequence[Codes]
    count: int

    @classmethod
    def of(cls, columns: Sequence[CodedColumn], batch: pa.Table) -> _Combined:
        """Combine columns two at a time: a combination has no more values than rows, so that codes never overflow."""
        if not columns:
            return cls((), np.zeros(batch.num_rows, np.int64), (), 1)
        codes, members = columns[0].codes, [np.arange(len(columns[0].texts))]
        for column in columns[1:]:
            size = max(1, len(column.texts))
            codes, pairs = _dense(codes * size + column.codes, len(members[0]) * size)
            members = [*(member[pairs // size] for member in members), pairs % size]
        return cls(columns, codes, members, len(members[0]))

    def texts(self) -> Iterator[tuple[str, ...]]:
        """The values of each combination."""
        if not self.columns:
            return iter([()])
        values = [
            [column.texts[code] for code in member.tolist()]
            for column, member in zip(self.columns, self.members, strict=True)
        ]
        return zip(*values, strict=True)

    def longest_values(self) -> int:
        """An upper bound of the bytes that all values of a combination take in a path."""
        return sum(_ESCAPED_BYTES * max(map(len, column.texts), default=0) for column in self.columns)

    def faults(self) -> dict[int, tuple[str | None, str]]:
        """The combinations that cannot be a key, each with the first bad column and the reason."""
        faults: dict[int, tuple[str | None, str]] = {}
        for column, member in zip(self.columns, self.members, strict=True):
            reasons = {code: reason for code, reason in enumerate(column.reasons) if reason}
            for at in np.flatnonzero(np.isin(member, list(reasons))).tolist() if reasons else ():
                faults.setdefault(at, (column.column, reasons[int(member[at])]))
        return faults


def _dense(codes: Codes, count: int) -> tuple[Codes, Codes]:
    """Codes as dense numbers from 0 in the same order, and the code of each number; codes are below `count`."""
    if count <= _COUNTED:
        is_there = np.zeros(count, np.bool_)
        is_there[codes] = True
        distinct = np.flatnonzero(is_there)
        ranks = np.cumsum(is_there, dtype=np.int64) - 1
        return ranks[codes], distinct
    encoded = pa.array(codes).dictionary_encode()
    distinct, indices = encoded.dictionary.to_numpy(), encoded.indices.to_numpy()
    order = np.argsort(distinct)
    ranks = np.empty(len(distinct), np.int64)
    ranks[order] = np.arange(len(distinct))
    return ranks[indices], distinct[order]


def _check_claimed(batch: pa.Table, windows: CodedColumn, time: TimePartition) -> None:
    """Refuse rows whose key column names another window than their event time falls into.

    Raises:
        SchemaMismatch: It names the first of them.
    """
    claimed = coded_values(time.key, batch.column(time.key))
    pairs = windows.codes * max(1, len(claimed.texts)) + claimed.codes
    distinct, first_rows = np.unique(pairs, return_index=True)
    for pair, row in sorted(zip(distinct.tolist(), first_rows.tolist(), strict=True), key=lambda entry: entry[1]):
        at, own = divmod(pair, len(claimed.texts))
        expected, text = windows.texts[at], claimed.texts[own]
        if windows.reasons[at] is None and text != expected:
            if key_named_by(text, time.every, time.timezone) == expected:
                continue  # the same window in the spelling of a date
            claim = f"{time.key}={text}" if text else f"no {time.key}"
            when = _text(batch.column(windows.column)[row])
            message = f"a row says {claim}, and its {windows.column} {when} falls into {time.key}={expected}"
            hint = f"drop the column {time.key}, which {windows.column} tells; or name another in partition.time.key"
            raise SchemaMismatch(message, hint=hint)


def _rejected(rows: pa.Table, columns: Sequence[str | None], reasons: Sequence[str]) -> pa.Table:
    """Unchanged rows, each with its bad column, the text of that cell and the reason."""
    texts: list[str | None] = [None] * len(columns)
    for name in {column for column in columns if column in rows.column_names}:
        cells = rows.column(name)
        for at in [at for at, column in enumerate(columns) if column == name]:
            texts[at] = _text(cells[at])
    for name, values in ((REJECT_COLUMN, columns), (REJECT_VALUE, texts), (REASON_COLUMN, reasons)):
        rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows


def _text(cell: pa.Scalar[Any]) -> str | None:
    if not cell.is_valid:
        return None
    plain = cell.type.value_type if pat.is_dictionary(cell.type) else cell.type
    if pat.is_timestamp(plain) and plain.tz:  # Arrow spells an instant in the zone of its type, from its own database
        cell = cell.cast(pa.timestamp(plain.unit))
        return f"{cell.cast(pa.string()).as_py()}Z"
    text: str | None = cell.cast(pa.string()).as_py()
    return text
