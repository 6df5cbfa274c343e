"""Keeping only the last of rows with equal keys."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.ingest.spill import spooled_batches

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

__all__ = ["last_of_each", "last_rows", "unique_batches"]


def last_rows(keys: pa.Table) -> pa.Array:
    """Whether each row is the last with its key. Nulls are equal to one another, and so are 0.0 and -0.0.

    Raises:
        SchemaMismatch: A key column has a type that cannot be compared, such as a list.
    """
    columns = [*map(_comparable, keys.columns), pa.array(range(keys.num_rows), pa.int64())]
    *names, row = map(str, range(len(columns)))  # a column may have any name
    numbered = pa.table(columns, names=[*names, row])
    try:
        last = numbered.group_by(names, use_threads=False).aggregate([(row, "max")]).column(f"{row}_max")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        message = f"rows cannot be told apart by {', '.join(keys.column_names)}: {error}"
        raise SchemaMismatch(message, hint="name columns of numbers, text, times or booleans in unique_by") from error
    return pc.is_in(pa.array(range(keys.num_rows), pa.int64()), value_set=last.combine_chunks())


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.add(column, pa.scalar(0.0, column.type)) if pat.is_floating(column.type) else column


def last_of_each(rows: pa.Table, unique_by: Sequence[str]) -> pa.Table:
    """The rows in their order, without those whose key occurs again later."""
    return rows.filter(last_rows(rows.select(list(unique_by))))


def unique_batches(spooled: Path, unique_by: Sequence[str]) -> Generator[pa.RecordBatch]:
    """The same for the rows of a spool; holds its key columns and one batch in memory.

    Args:
        spooled: The file.
        unique_by: Its key columns.
    """
    names = list(unique_by)
    keep = last_rows(pa.Table.from_batches([batch.select(names) for batch in spooled_batches(spooled)]))
    start = 0
    with closing(spooled_batches(spooled)) as batches:
        for batch in batches:
            yield batch.filter(keep.slice(start, batch.num_rows))
            start += batch.num_rows
