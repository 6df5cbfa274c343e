"""Which partition each row belongs to, and which rows belong to none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from pipelines.errors import SchemaMismatch
from pipelines.layout import PartitionKey, spelled
from pipelines.schema import without_views
from pipelines.windows import KEY_FORMATS, window_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.spec import PartitionSpec, TimePartition

__all__ = ["EARLIEST", "LATEST", "REASON_COLUMN", "Assigned", "Partitioner"]

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Event times outside are taken for placeholders (0001-01-01, 9999-12-31) or damage, and rejected."""

_ARROW_ZONES_END = datetime(2037, 1, 1, tzinfo=UTC)
"""Arrow knows no summer time after the year 2037 (seen with 26.0: New York in April 2038 is at -05:00)."""

REASON_COLUMN = "_reject_reason"


@dataclass(frozen=True, slots=True)
class Assigned:
    """One batch, sorted out.

    Attributes:
        good: rows with a partition, without the key columns that the partition implies.
        keys: one per run of rows in `good`, with the number of its rows.
        bad: rows without one, as they came, with `_reject_reason`.
    """

    good: pa.Table
    keys: tuple[tuple[PartitionKey, int], ...]
    bad: pa.Table

    def parts(self) -> Iterator[tuple[PartitionKey, pa.Table]]:
        """The good rows of each partition."""
        start = 0
        for key, rows in self.keys:
            yield key, self.good.slice(start, rows)
            start += rows


class Partitioner:
    """Splits batches by a dataset's partitioning."""

    def __init__(self, spec: PartitionSpec) -> None:
        """Take the partitioning of a spec."""
        self._spec = spec

    def check(self, schema: pa.Schema) -> None:
        """Refuse data that cannot be partitioned at all.

        Raises:
            SchemaMismatch: a partition source column is missing, or the key column is one of the data's own.
        """
        event_time = self._event_time
        needed = [*([event_time] if event_time else []), *self._spec.carried]
        missing = [name for name in needed if name not in schema.names]
        if missing:
            message = f"the data lacks the column {missing[0]}, which the dataset is partitioned by"
            raise SchemaMismatch(message, hint=f"it has: {', '.join(schema.names)}")
        if event_time is None:
            return
        if self._spec.time and self._spec.time.key in schema.names:
            message = f"the data has a column named {self._spec.time.key}, the name of the partition key"
            raise SchemaMismatch(message, hint="choose another name in partition.time.key, or drop the column")
        kind = schema.field(event_time).type
        if not (pat.is_temporal(kind) or _is_text(kind) or pat.is_null(kind)) or pat.is_time(kind):
            message = f"the time column {event_time} is {kind}, not a time"
            raise SchemaMismatch(message, hint="it must be a timestamp, a date or ISO 8601 text")

    @property
    def _event_time(self) -> str | None:
        return self._spec.time.column if self._spec.time else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The Hive columns, in order."""
        return self._spec.columns

    def typed(self, schema: pa.Schema) -> pa.Schema:
        """The schema with a text time column as the instant that `assign` makes of it."""
        event_time = self._event_time
        if event_time is None or not _is_text(schema.field(event_time).type):
            return schema
        return schema.set(schema.get_field_index(event_time), pa.field(event_time, pa.timestamp("us", "UTC")))

    def stored_columns(self, schema: pa.Schema) -> pa.Schema:
        """The columns that go into the files: all but those that the path tells."""
        return pa.schema([field for field in schema if field.name not in self._spec.carried])

    def assign(self, source: pa.Table) -> Assigned:
        """Sort one batch by partition.

        Args:
            source: rows that passed `check`; a text time column is stored as the instant that it spells.
        """
        batch = without_views(source)
        if not self._spec.columns:
            return Assigned(batch, ((PartitionKey(()), batch.num_rows),), _with_reason(batch.slice(0, 0), pa.nulls(0)))
        values = {name: key_texts(batch.column(name)) for name in self._spec.carried}
        reasons: pa.ChunkedArray | None = None
        rows = batch
        time, event_time = self._spec.time, self._event_time
        if time is not None and event_time is not None:
            times, reasons = event_times(batch.column(event_time), time)
            position = batch.schema.get_field_index(event_time)
            if _is_text(batch.schema.field(position).type):
                rows = batch.set_column(position, event_time, _as_instants(times, time))
            values[time.key] = _key_values(times, time)
        elif time is not None:
            reasons = _no_window(values[time.key], time)
        names = [values[name] for name in self._spec.columns]
        if reasons is not None and reasons.null_count < len(reasons):
            is_bad = reasons.is_valid()
            bad = _with_reason(batch.filter(is_bad), reasons.filter(is_bad))
            is_good = pc.invert(is_bad)
            rows, names = rows.filter(is_good), [name.filter(is_good) for name in names]
        else:
            bad = _with_reason(batch.slice(0, 0), pa.nulls(0))
        return self._sorted(rows.drop_columns(list(self._spec.carried)), names, bad)

    def _sorted(self, rows: pa.Table, names: list[pa.ChunkedArray], bad: pa.Table) -> Assigned:
        columns = self._spec.columns
        texts, codes = _encoded(_joined(names))
        # small integers are sorted by counting, much faster than their texts; equal ones keep the source's order
        codes = pc.sort_indices(pc.sort_indices(texts)).take(codes)
        order = pc.sort_indices(codes)
        ends = pc.run_end_encode(codes.take(order), run_end_type=pa.int64()).run_ends.to_pylist()
        starts = [0, *ends[:-1]] if ends else []
        firsts = order.take(pa.array(starts, pa.int64()))
        values = zip(*(name.take(firsts).to_pylist() for name in names), strict=True)
        keys = tuple(
            (PartitionKey(tuple(zip(columns, value, strict=True))), end - start)
            for value, start, end in zip(values, starts, ends, strict=True)
        )
        return Assigned(rows.take(order), keys, bad)


def event_times(column: pa.ChunkedArray, time: TimePartition) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Instants or wall clock times of a time column, and for each row a reason to reject it or null."""
    was_null = column.is_null()
    if _is_text(column.type):
        column = _parsed(column)
    elif pat.is_null(column.type):
        column = column.cast(pa.timestamp("us", "UTC"))
    elif not (pat.is_timestamp(column.type) and column.type.unit == "us"):
        column = column.cast(pa.timestamp("us", column.type.tz if pat.is_timestamp(column.type) else None), safe=False)
    bounds = [
        pa.scalar(bound if column.type.tz else bound.replace(tzinfo=None), column.type) for bound in (EARLIEST, LATEST)
    ]
    is_out = pc.or_(pc.less(column, bounds[0]), pc.greater_equal(column, bounds[1]))
    reasons = pc.case_when(
        pc.make_struct(
            was_null, pc.and_(column.is_null(), pc.invert(was_null)), pc.fill_null(is_out, fill_value=False)
        ),
        pa.scalar(f"{time.column} is null"),
        pa.scalar(f"{time.column} is not a time"),
        pa.scalar(f"{time.column} is out of range ({EARLIEST.year} to {LATEST.year})"),
    )
    column = pc.if_else(pc.fill_null(is_out, fill_value=False), pa.scalar(None, column.type), column)
    return column, reasons if isinstance(reasons, pa.ChunkedArray) else pa.chunked_array([reasons])


def key_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column's values as partition keys spell them; null is the empty string."""
    if _is_text(column.type):
        return pc.fill_null(column.cast(pa.string()), "")
    values, codes = _encoded(column)
    texts = pa.array([spelled(value) for value in values.to_pylist()], pa.string())
    return pc.fill_null(pa.chunked_array([texts.take(codes)]), "")


def _no_window(values: pa.ChunkedArray, time: TimePartition) -> pa.ChunkedArray:
    """For each key value a reason to reject its row, or null."""
    reasons = {text: _why_no_window(text, time) for text in pc.unique(values).to_pylist()}
    if not any(reasons.values()):
        return pa.chunked_array([pa.nulls(len(values), pa.string())])
    return pa.chunked_array([pa.array([reasons[text] for text in values.to_pylist()], pa.string())])


def _why_no_window(text: str, time: TimePartition) -> str | None:
    if not text:
        return f"{time.key} is null"
    window = window_of(text, time.every, time.timezone)
    if window is None or window.start.astimezone(ZoneInfo(time.timezone)).strftime(KEY_FORMATS[time.every]) != text:
        return f"{time.key} is not the key of one {time.every}"
    return None


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    instant, wall = pa.timestamp("us", "UTC"), pa.timestamp("us")
    for kind in (wall, instant):
        try:
            return column.cast(pa.string()).cast(kind)
        except pa.ArrowInvalid:
            continue
    # the slow way, for a batch in which some text is no time
    times = [_one_time(text) for text in column.to_pylist()]
    if all(time is None or time.tzinfo is None for time in times):
        return pa.chunked_array([pa.array(times, wall)])
    aware = [time if time is None or time.tzinfo else time.replace(tzinfo=UTC) for time in times]
    return pa.chunked_array([pa.array(aware, instant)])


def _one_time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def _key_values(times: pa.ChunkedArray, time: TimePartition) -> pa.ChunkedArray:
    local = _local(times, time.timezone) if times.type.tz else times
    # windows are few: only they are spelled, and not every row
    windows, codes = _encoded(pc.floor_temporal(local, unit=time.every))
    # whole seconds: strftime would print fractions otherwise
    texts = pc.strftime(windows.cast(pa.timestamp("s")), format=KEY_FORMATS[time.every])
    return pc.fill_null(pa.chunked_array([texts.take(codes)]), "")


def _local(times: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    latest = pc.max(times).as_py()
    if latest is None or latest < _ARROW_ZONES_END or timezone == "UTC":
        return pc.local_timestamp(times.cast(pa.timestamp("us", timezone)))
    zone = ZoneInfo(timezone)
    local = [at and at.astimezone(zone).replace(tzinfo=None) for at in times.to_pylist()]
    return pa.chunked_array([pa.array(local, pa.timestamp("us"))])


def _as_instants(times: pa.ChunkedArray, time: TimePartition) -> pa.ChunkedArray:
    """Text without an offset is a wall clock time in the dataset's timezone."""
    if times.type.tz:
        return times
    aware = pc.assume_timezone(times, time.timezone, ambiguous="earliest", nonexistent="latest")
    return aware.cast(pa.timestamp("us", "UTC"))


def _joined(names: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    joined = names[0] if len(names) == 1 else pc.binary_join_element_wise(*names, "\x1f")
    return joined if isinstance(joined, pa.ChunkedArray) else pa.chunked_array([joined])


def _encoded(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """A column's distinct values, and for each row the position of its value among them."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary, encoded.indices


def _with_reason(rows: pa.Table, reasons: pa.ChunkedArray | pa.Array) -> pa.Table:
    return rows.append_column(REASON_COLUMN, reasons.cast(pa.string()))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind))
