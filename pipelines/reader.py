"""Reading a dataset: filters are expressions, never text that is pasted into a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pat

from pipelines.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.dataset as pads

    from pipelines.handle import Handle

__all__ = ["Where", "checked_columns", "checked_filter", "expression_of", "read", "scan"]

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


def expression_of(where: Where, schema: pa.Schema) -> pc.Expression:
    """Filters as an expression; text is compared with numbers and dates by what it says, as keys are text.

    Args:
        where: an expression (taken as it is) or filters.
        schema: of the rows.

    Raises:
        pyarrow.ArrowInvalid: text that is no value of its column's type.
    """
    if not isinstance(where, list):
        return where
    any_of = where if where and isinstance(where[0], list) else [where]
    return pq.filters_to_expression([[_typed(condition, schema) for condition in all_of] for all_of in any_of])


def _typed(condition: Any, schema: pa.Schema) -> tuple[str, str, Any]:
    name, operator, value = condition
    if name not in schema.names:
        raise pa.ArrowKeyError(f"there is no column {name}")
    kind = schema.field(name).type
    if isinstance(value, str) and not (pat.is_string(kind) or pat.is_large_string(kind) or pat.is_null(kind)):
        return name, operator, pa.scalar(value).cast(kind)
    if isinstance(value, list | tuple | set | frozenset) and not (pat.is_string(kind) or pat.is_large_string(kind)):
        return name, operator, [_typed((name, operator, item), schema)[2] for item in value]
    return name, operator, value


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
    names = checked_columns(handle, dataset, columns)
    matching = checked_filter(handle, dataset, where)
    return dataset.to_table(columns=names, filter=matching)


def checked_columns(handle: Handle, dataset: pads.Dataset, columns: Sequence[str] | None) -> list[str]:
    """The columns to read.

    Raises:
        SchemaMismatch: one that the table does not have.
    """
    names: list[str] = dataset.schema.names
    unknown = [name for name in columns or () if name not in names]
    if unknown:
        message = f"no column {', '.join(unknown)} in lake://{handle.table.root}"
        raise SchemaMismatch(message, hint=f"it has: {', '.join(names)}")
    return names if columns is None else list(columns)


def checked_filter(handle: Handle, dataset: pads.Dataset, where: Where | None) -> pc.Expression | None:
    """The filter as an expression that fits the table.

    Raises:
        SchemaMismatch: it does not fit a column's type.
    """
    if where is None:
        return None
    try:
        expression = expression_of(where, dataset.schema)
        dataset.schema.empty_table().filter(expression)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
        message = f"cannot filter lake://{handle.table.root} by {where}: {error}"
        raise SchemaMismatch(message) from error
    return expression
