"""Reading a dataset: filters are expressions, never text that is pasted into a query."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pat

from pipelines.archived import archived_among, refusal, wait_until_readable
from pipelines.errors import SchemaMismatch, SpecError
from pipelines.spec import parsed_duration
from pipelines.windows import as_instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    import pyarrow.dataset as pads

    from pipelines.handle import Handle
    from pipelines.tables.protocol import Snapshot

__all__ = [
    "Version",
    "Where",
    "checked_columns",
    "checked_filter",
    "expression_of",
    "paths_in",
    "read",
    "scan",
    "snapshot_at",
]

Where: TypeAlias = pc.Expression | list[tuple[str, str, Any]] | list[list[tuple[str, str, Any]]]
"""A pyarrow expression, or filters as pandas and pyarrow take them: `[("date", "==", "2013-07-04")]` (all must hold),
or a list of such lists (one must hold)."""


Version: TypeAlias = int | datetime | date | str | None
"""A version's number; or an instant, or the beginning of a day: the version that was the newest then. None: now."""


def snapshot_at(handle: Handle, version: Version = None) -> Snapshot:
    """The live files, now or at an older version.

    Args:
        handle: the dataset.
        version: which.

    Raises:
        TableNotFound: no such version, or an instant before the oldest that the log remembers.
        UnsupportedByTable: time travel on a plain table.
    """
    if version is None or isinstance(version, int):
        return handle.table.snapshot(version)
    time = handle.spec.partition.time
    return handle.table.snapshot(handle.table.version_at(as_instant(version, time.timezone if time else "UTC")))


def scan(handle: Handle, version: Version = None) -> pads.Dataset:
    """The whole table, lazily.

    Args:
        handle: the dataset.
        version: an older version of a Delta table, or the instant at which it was the newest.

    Raises:
        TableNotFound: no such version.
    """
    return handle.table.dataset(snapshot_at(handle, version))


def expression_of(where: Where, schema: pa.Schema) -> pc.Expression:
    """Filters as an expression; text is compared with numbers and dates by what it says, as keys are text.

    Args:
        where: an expression (taken as it is) or filters.
        schema: of the rows.

    Raises:
        SpecError: it is neither.
        pyarrow.ArrowInvalid: text that is no value of its column's type.
    """
    if isinstance(where, pc.Expression):
        return where
    if not isinstance(where, list) or not all(isinstance(condition, list | tuple) for condition in where):
        hint = "write [('carrier', '=', 'AA')], or an expression of pyarrow.compute"
        raise SpecError(f"{where!r} is no filter", hint=hint)
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
    handle: Handle,
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    version: Version = None,
    wait: timedelta | str | None = None,
) -> pa.Table:
    """Rows in memory.

    Args:
        handle: the dataset.
        columns: names to read; all by default.
        where: which rows; partitions and files that cannot hold any are not read.
        version: an older version of a Delta table, or the instant at which it was the newest.
        wait: for archived partitions: ask for them and wait so long, as `12h` or a timedelta.

    Raises:
        SchemaMismatch: an unknown column, or a filter that does not fit its type.
        ArchivedError: partitions that have to be restored first.
        SpecError: `wait` is no duration, or `where` no filter.
    """
    patience = parsed_duration(wait, "wait") if wait is not None else None
    snapshot = snapshot_at(handle, version)
    dataset = handle.table.dataset(snapshot)
    names = checked_columns(handle, dataset, columns)
    matching = checked_filter(handle, dataset, where)
    try:
        return dataset.to_table(columns=names, filter=matching)
    except OSError:
        # no request is spent on classes before a read has failed
        waiting = archived_among(handle, snapshot, paths_in(handle, dataset, matching))
        if not waiting:
            raise
    if patience is None:
        raise refusal(handle, waiting)
    wait_until_readable(handle, [file for files in waiting.values() for file in files], patience)
    return dataset.to_table(columns=names, filter=matching)


def paths_in(handle: Handle, dataset: pads.Dataset, matching: pc.Expression | None) -> list[str]:
    """The files, below the root, that may hold rows which match."""
    prefix = f"{handle.table.root}/"
    return [fragment.path.removeprefix(prefix) for fragment in dataset.get_fragments(filter=matching)]


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
