"""What an asset returns, as a source for an ingest: what Arrow takes only all at once becomes a stream.

    a lazy polars frame       its batches, as polars' streaming engine makes them
    a Dask frame              its partitions, one after the other
    a generator               each frame, table, batch or path that it yields, one after the other
    a dict of any of these    one after the other

One of them is in memory at a time, and all of them are one commit. The columns of the first count: later ones may have
them in another order, and in types that hold the same values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.types as pat

from tierlake.dagster_project.io.frames import type_name
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources import RowStream, open_source
from tierlake.pipelines.sources.stream import ORIGIN, SourceBatch
from tierlake.pipelines.values import wider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import polars as pl

    from tierlake.pipelines.model.text_options import TextOptions

__all__ = ["source_of"]

_BATCH_ROWS: Final = 1 << 17
_WAY_OUT: Final = "give it one type in all of them, or declare it in the description: columns: {...}"


def source_of(obj: object, known_columns: Callable[[], pa.Schema | None], text: TextOptions | None = None) -> object:
    """What an asset returned, as `Dataset.ingest` takes it.

    Args:
        obj: The asset's output.
        known_columns: Returns the columns that the table or its description knows; called where types are to be told.
        text: How text files are written, where paths are yielded.

    Raises:
        SourceError: A generator that yields nothing, or something that is no rows.
    """
    if isinstance(obj, dict) and obj and any(_is_streamed(one) or isinstance(one, str | Path) for one in obj.values()):
        parts = chain.from_iterable(part if isinstance(part, Iterator) else [part] for part in obj.values())
        return _streamed(parts, known_columns(), text)
    if not _is_streamed(obj):
        return obj
    known = known_columns()
    return _streamed(obj, known, text) if isinstance(obj, Iterator) else _opened(obj, known, text)


def _is_streamed(obj: object) -> bool:
    if isinstance(obj, pa.RecordBatchReader):
        return False
    return isinstance(obj, Iterator) or type_name(type(obj)) in {"polars.LazyFrame", "dask.DataFrame"}


def _opened(item: Any, known: pa.Schema | None, text: TextOptions | None) -> RowStream:
    match type_name(type(item)):
        case "polars.LazyFrame":
            return open_source(_lazy_reader(item), known)
        case "dask.DataFrame":
            return _streamed((item.partitions[place].compute() for place in range(item.npartitions)), known, text)
    return open_source(item, known, text=text)


def _lazy_reader(frame: pl.LazyFrame) -> pa.RecordBatchReader:
    """The rows of a lazy frame, which is executed while they are read."""
    import polars as pl

    names = frame.collect_schema()
    for name, kind in names.items():
        if kind == pl.Object:
            raise SourceError(
                f"column {name} of the LazyFrame holds Python objects",
                hint="cast it to a type that polars can hand to others",
            )
    schema = pl.DataFrame(schema=names).to_arrow().schema

    def batches() -> Iterator[pa.RecordBatch]:
        for part in frame.collect_batches(chunk_size=_BATCH_ROWS):
            yield from part.to_arrow().cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _streamed(items: Iterable[Any], known: pa.Schema | None, text: TextOptions | None) -> RowStream:
    """One item after the other, each opened when its turn comes."""
    rest = iter(items)
    try:
        first = _opened(_checked(next(rest), 1), known, text)
    except StopIteration:
        message = "the source yielded nothing, not even a schema"
        raise SourceError(message, hint="yield one empty frame where there are no rows") from None
    schema = first.schema if first.is_text else _as_known(first.schema, known)
    rows = pa.schema(
        [field.with_type(pa.string()) if field.name in first.columns_of_text else field for field in schema]
    )

    def batches() -> Iterator[SourceBatch]:
        yield from _alike(first, rows, 1)
        for number, item in enumerate(rest, 2):
            yield from _alike(_opened(_checked(item, number), schema, text), rows, number)

    name = f"generator of {first.name}"
    return RowStream(schema, batches(), name, first.is_text, first.notes, first.spoilers, first.texts)


def _checked(item: object, number: int) -> object:
    is_rows = isinstance(item, str | Path | pa.RecordBatchReader) or not isinstance(item, Mapping | Iterator | bytes)
    if item is None or not is_rows:
        raise SourceError(
            f"the source yields a {type(item).__name__} as item {number}",
            hint="yield frames, Arrow tables or record batches, or paths of files",
        )
    return item


def _as_known(schema: pa.Schema, known: pa.Schema | None) -> pa.Schema:
    """The first item's columns in the types of the table: numbers and times, whose values are checked as they come."""
    types = {field.name: field.type for field in known or ()}

    def kind(field: pa.Field[Any]) -> pa.DataType:
        stored = types.get(field.name, field.type)
        return stored if pat.is_null(field.type) or _is_comparable(field.type, stored) else field.type

    return pa.schema([field.with_type(kind(field)) for field in schema])


def _is_comparable(one: pa.DataType, other: pa.DataType) -> bool:
    if pat.is_timestamp(one) and pat.is_timestamp(other):
        return (one.tz is None) == (other.tz is None)  # a clock's time is no instant
    return any(all(map(kind, (one, other))) for kind in (_is_number, pat.is_date, pat.is_time, pat.is_duration))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pat.is_integer(kind) or pat.is_floating(kind))


def _alike(stream: RowStream, rows: pa.Schema, number: int) -> Iterator[SourceBatch]:
    """One item's rows in the columns and types of all.

    Args:
        stream: The item's.
        rows: The columns of all, as batches have them.
        number: The item's, for messages.

    Raises:
        SourceError: It has others.
    """
    own, first = set(stream.schema.names), set(rows.names)
    if own != first:
        lacking = f"lacks {', '.join(sorted(first - own))}" if first - own else ""
        more = f"also has {', '.join(sorted(own - first))}" if own - first else ""
        raise SourceError(
            f"item {number} of the source {' and '.join(filter(None, (lacking, more)))}, unlike the first",
            hint="yield the same columns each time; null where there is no value",
        )
    for batch in stream.batches:
        columns = [_as(field, batch.rows.column(field.name), number) for field in rows]
        origin = [batch.rows.column(field.name) for field in ORIGIN]
        yield SourceBatch(
            pa.RecordBatch.from_arrays([*columns, *origin], schema=pa.schema([*rows, *ORIGIN])), batch.bad
        )


def _as(field: pa.Field[Any], column: pa.Array[Any], number: int) -> pa.Array[Any]:
    """A column in the type of all items, where that holds its values exactly."""
    if column.type == field.type:
        return column
    reason = ""
    try:
        same = column.cast(field.type)
        if wider(column.type, field.type) == field.type or _is_exact(column, same):
            return same
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = f": {error}"
    raise SourceError(
        f"column {field.name} is {column.type} in item {number} of the source, and {field.type} in the table or in "
        f"the items before{reason}",
        hint=_WAY_OUT,
    )


def _is_exact(column: pa.Array[Any], same: pa.Array[Any]) -> bool:
    return _is_comparable(column.type, same.type) and bool(same.cast(column.type).equals(column))
