"""Reading a dataset: filters are expressions, never text that is pasted into a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.dataset as pads

    from pipelines.handle import Handle

__all__ = ["Where", "read", "scan"]

Where: TypeAlias = pc.Expression | list[tuple[str, str, Any]] | list[list[tuple[str, str, Any]]]
"""A pyarrow expression, or filters as pandas and pyarrow take them: `[("date", "==", "2013-07-04")]` (all must hold),
or a list of such lists (one must hold)."""


def scan(handle: Handle, version: int | None = None) -> pads.Dataset:
    """The whole table, lazily.

    Args:
        handle: the dataset.
        version: an older version of a Delta table.

    Raises:
        TableNotFound: no such version.
    """
    return handle.table.dataset(handle.table.snapshot(version))


def read(
    handle: Handle, columns: Sequence[str] | None = None, where: Where | None = None, version: int | None = None
) -> pa.Table:
    """Rows in memory.

    Args:
        handle: the dataset.
        columns: names to read; all by default.
        where: which rows; partitions and files that cannot hold any are not read.
        version: an older version of a Delta table.

    Raises:
        SchemaMismatch: an unknown column, or a filter that does not fit its type.
    """
    dataset = scan(handle, version)
    unknown = [name for name in columns or () if name not in dataset.schema.names]
    if unknown:
        message = f"no column {', '.join(unknown)} in lake://{handle.table.root}"
        raise SchemaMismatch(message, hint=f"it has: {', '.join(dataset.schema.names)}")
    expression = pq.filters_to_expression(where) if isinstance(where, list) else where
    try:
        return dataset.to_table(columns=list(columns) if columns is not None else None, filter=expression)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
        message = f"cannot filter lake://{handle.table.root} by {expression}: {error}"
        raise SchemaMismatch(message) from error
