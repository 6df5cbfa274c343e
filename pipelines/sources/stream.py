"""What a source gives: rows, and where in the source each of them stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierlake.pipelines.sources.row_origin import (
    REASON_COLUMN,
    REJECT_COLUMN,
    REJECT_FILE,
    REJECT_LINE,
    REJECT_VALUE,
    TEXT_MARK,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tierlake.pipelines.values import Spoilers

__all__ = [
    "ORIGIN",
    "BadRow",
    "RowStream",
    "SourceBatch",
    "bad_rows",
    "gathered",
    "line_numbers",
    "text_field",
    "with_origin",
]

ORIGIN = pa.schema([(REJECT_FILE, pa.string()), (REJECT_LINE, pa.int64())])
"""The columns that tell where a row comes from."""


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Some rows of a source.

    Attributes:
        rows: The columns of the stream's schema, then those of `ORIGIN`.
        bad: What is no row: a short line, broken JSON. It has the columns named by
            `tierlake.pipelines.sources.row_origin`, and of the source's columns those that
            could be read, as text. None where every row is one.
    """

    rows: pa.RecordBatch
    bad: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class RowStream:
    """Rows to be ingested, readable once.

    Attributes:
        schema: Of the rows, without the columns of `ORIGIN`; for CSV the types that its text is to be fitted to.
        batches: The rows.
        name: Where they come from, for messages and history.
        is_text: Whether every column of `rows` is text, null only where the source says so.
        texts: Of a typed source, the columns that are text which stands for values of other types.
        notes: What was guessed about the source, a sentence each.
        spoilers: Columns that are text because of a few values, with these and their lines.
    """

    schema: pa.Schema
    batches: Iterator[SourceBatch]
    name: str
    is_text: bool = False
    notes: tuple[str, ...] = ()
    spoilers: Mapping[str, Spoilers] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()

    @property
    def columns_of_text(self) -> frozenset[str]:
        """The columns whose text is to be fitted to other types."""
        return frozenset(self.schema.names) if self.is_text else self.texts


def gathered(batches: Iterable[SourceBatch], size: int) -> Iterator[SourceBatch]:
    """The same rows in batches of at least some bytes, but for the last: each costs steps for each of its columns."""
    waiting: list[SourceBatch] = []
    waiting_bytes = 0
    for batch in batches:
        waiting.append(batch)
        waiting_bytes += batch.rows.nbytes + (batch.bad.nbytes if batch.bad is not None else 0)
        if waiting_bytes >= size:
            yield from _together(waiting)
            waiting, waiting_bytes = [], 0
    yield from _together(waiting)


def _together(batches: Sequence[SourceBatch]) -> Iterator[SourceBatch]:
    if not batches[1:]:
        yield from batches
        return
    tables = [batch.bad for batch in batches if batch.bad is not None]
    bad = pa.concat_tables(tables, promote_options="default") if tables else None
    for rows in pa.Table.from_batches([batch.rows for batch in batches]).combine_chunks().to_batches():
        yield SourceBatch(rows, bad)
        bad = None
    if bad is not None:
        yield SourceBatch(batches[0].rows, bad)


def line_numbers(first: int, count: int) -> pa.Array:
    """Consecutive numbers as 64-bit integers."""
    return pa.arange(first, first + count) if count else pa.array([], pa.int64())


def with_origin(rows: pa.RecordBatch, file: str, lines: pa.Array) -> pa.RecordBatch:
    """Rows with the columns of `ORIGIN`."""
    files = pa.repeat(pa.scalar(file, pa.string()), rows.num_rows)
    return pa.RecordBatch.from_arrays([*rows.columns, files, lines], schema=pa.schema([*rows.schema, *ORIGIN]))


@dataclass(frozen=True, slots=True)
class BadRow:
    """What is no row.

    Attributes:
        line: Where it stands.
        column: Of the cell that does not fit; None for a whole line.
        value: The cell's text, or the line's.
        reason: Why it is no row.
        cells: The row's own columns, as text.
    """

    line: int
    column: str | None
    value: str | None
    reason: str
    cells: Mapping[str, str | None] = field(default_factory=dict)


def text_field(name: str) -> pa.Field[Any]:
    """A column of bad rows whose text stands for values of another type."""
    return pa.field(name, pa.string(), metadata={TEXT_MARK: b"1"})


def bad_rows(file: str, rows: Sequence[BadRow]) -> pa.Table | None:
    """What `SourceBatch.bad` is made of, in the order of the lines; None where nothing is bad."""
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row.line)
    names = dict.fromkeys(name for row in ordered for name in row.cells)
    own = [pa.array([row.cells.get(name) for row in ordered], pa.string()) for name in names]
    origin = {
        REJECT_FILE: pa.array([file] * len(rows), pa.string()),
        REJECT_LINE: pa.array([row.line for row in ordered], pa.int64()),
        REJECT_COLUMN: pa.array([row.column for row in ordered], pa.string()),
        REJECT_VALUE: pa.array([row.value for row in ordered], pa.string()),
        REASON_COLUMN: pa.array([row.reason for row in ordered], pa.string()),
    }
    fields = [*map(text_field, names), *(pa.field(name, column.type) for name, column in origin.items())]
    return pa.Table.from_arrays([*own, *origin.values()], schema=pa.schema(fields))
