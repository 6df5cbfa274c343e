"""What a process holds: pandas and polars frames, Arrow tables, readers and datasets, iterables, several by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.types as pat

from tierlake.connector.redact import one_line
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.model.stored_types import storable_type
from tierlake.pipelines.sources.limits import check_names
from tierlake.pipelines.sources.python_objects import column_of_objects
from tierlake.pipelines.sources.refusals import UNREADABLE
from tierlake.pipelines.sources.row_origin import REASON_COLUMN, REJECT_COLUMN, REJECT_LINE, REJECT_VALUE
from tierlake.pipelines.sources.stream import RowStream, SourceBatch, line_numbers, text_field, with_origin
from tierlake.pipelines.values import meets, texts_of, wider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierlake.pipelines.sources.python_objects import Unfit

__all__ = ["numbered", "open_frame"]

_BATCH_ROWS = 1 << 17
_AS_TEXT = "rename it: `frame.columns = frame.columns.astype(str)`"
_RENAME = "rename the columns before: `frame.columns = [...]`"
_MEND = "make it a table that pyarrow can read, and ingest that"


def open_frame(source: Any, known: pa.Schema | None) -> RowStream:
    """Open what is no path.

    Args:
        source: See the module's docstring.
        known: Types to read a pandas column of mixed values in.

    Raises:
        SourceError: A kind that is not known, or columns that cannot be told apart or converted.
    """
    if isinstance(source, pads.Dataset):
        return _stream(source.schema, source.to_batches(), "pyarrow dataset")
    if isinstance(source, pa.RecordBatchReader):
        return _stream(source.schema, source, "record batch reader")
    if type(source).__module__.partition(".")[0] == "pandas":
        return _pandas(source, known)
    if hasattr(source, "collect_schema") and hasattr(source, "collect"):
        return open_frame(source.collect(), known)
    if hasattr(source, "__arrow_c_stream__"):
        return _exported(source)
    if isinstance(source, pa.RecordBatch):
        return _stream(source.schema, [source], "record batch")
    if isinstance(source, dict) and source and all(map(_is_frame, source.values())):
        return _together({name: open_frame(frame, known) for name, frame in source.items()}, known)
    if isinstance(source, Iterable) and not isinstance(source, dict | bytes):
        return _iterable(iter(source))
    message = f"cannot ingest a {type(source).__name__}"
    hint = "pass a path or URL, a pandas or polars frame, or an Arrow table, reader or dataset"
    if isinstance(source, dict):
        hint = "`pa.table(values)` makes a table of columns by name, `pa.Table.from_pylist([row])` one of rows"
    raise SourceError(message, hint=hint)


def _common(name: str, one: pa.DataType, other: pa.DataType, known: pa.Schema | None) -> pa.DataType | None:
    if one.equals(other) or pat.is_null(other):
        return one
    if pat.is_null(one):
        return other
    kind = wider(storable_type(one), storable_type(other))
    if kind is None and known is not None and name in known.names:  # pandas has whole numbers beside nulls as floats
        stored = known.field(name).type
        return stored if meets(one, stored) and meets(other, stored) else None
    return kind


def _is_frame(value: object) -> bool:
    kind = type(value)  # a lazy frame's own attributes are computed
    return hasattr(kind, "columns") or hasattr(kind, "schema")


def _together(streams: Mapping[str, RowStream], known: pa.Schema | None) -> RowStream:
    """Several frames, one after another; a column has a type that holds the values of all of them without loss."""
    fields: dict[str, tuple[str, pa.Field]] = {}
    for name, stream in streams.items():
        for field in stream.schema:
            first, before = fields.setdefault(field.name, (name, field))
            kind = _common(field.name, before.type, field.type, known)
            if kind is None:
                message = f"column {field.name} is {before.type} in the frame {first}, and {field.type} in {name}"
                raise SourceError(message, hint="give it one type in all of them")
            fields[field.name] = first, before.with_type(kind)
    batches = chain.from_iterable(stream.batches for stream in streams.values())
    return RowStream(pa.schema([field for _, field in fields.values()]), batches, f"{len(streams)} frames")


def numbered(path: str, batches: Iterable[pa.RecordBatch]) -> Iterator[SourceBatch]:
    """Batches with the number of each row, from 1."""
    first = 1
    for batch in batches:
        yield SourceBatch(with_origin(batch, path, line_numbers(first, batch.num_rows)))
        first += batch.num_rows


def _stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch], name: str) -> RowStream:
    check_columns_of(f"the {name}", schema)
    plain = pa.schema([field.with_type(_plain_type(field.type)) for field in schema])
    return RowStream(plain, numbered(name, _plain(_guarded(batches, name), plain)), name)


def check_columns_of(name: str, schema: pa.Schema) -> None:
    """Refuse a source without columns, or whose columns cannot be told apart.

    Raises:
        SourceError: It is one.
    """
    if not len(schema):
        raise SourceError(f"{name} has no columns", hint="ingest something with columns, if without a row")
    check_names(name, schema.names, hint="rename the columns before: `rename_columns([...])`")


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Extension types by their storage, run ends as their values."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    return _plain_type(kind.value_type) if pat.is_run_end_encoded(kind) else kind


def _plain(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_arrays([_plain_array(column) for column in batch.columns], schema=schema)


def _plain_array(array: pa.Array) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        return _plain_array(array.storage)
    return _plain_array(pc.run_end_decode(array)) if pat.is_run_end_encoded(array.type) else array


def _guarded(batches: Iterable[pa.RecordBatch], name: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except SourceError:
        raise
    except UNREADABLE as error:
        raise SourceError(f"cannot read the {name}: {one_line(str(error))}", hint=_MEND) from error


def _exported(source: Any) -> RowStream:
    """Through Arrow's C interface: polars, DuckDB, and whatever else has it."""
    for name, kind in getattr(source, "schema", {}).items() if hasattr(source, "get_columns") else ():
        if str(kind) == "Object":
            hint = "cast it to a type that polars can hand to others"
            raise SourceError(f"column {name} of the {type(source).__name__} holds Python objects", hint=hint)
    try:
        reader = pa.RecordBatchReader.from_stream(source)
    except UNREADABLE as error:
        raise SourceError(f"cannot read the {type(source).__name__}: {one_line(str(error))}", hint=_MEND) from error
    return _stream(reader.schema, reader, type(source).__name__)


def _iterable(items: Iterator[object]) -> RowStream:
    try:
        first = next(items)
    except StopIteration:
        message = "the source yielded nothing, not even a schema"
        raise SourceError(message, hint="yield one empty record batch where there are no rows") from None
    head = _batches_of(first)
    schema: pa.Schema = first.schema  # type: ignore[attr-defined] # `_batches_of` has refused what has none

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in chain(head, chain.from_iterable(map(_batches_of, items))):
            if not batch.schema.equals(schema):
                message = f"the iterable yields batches of different schemas: {batch.schema.names} after {schema.names}"
                raise SourceError(message, hint="types have to be the same as well")
            yield batch

    return _stream(schema, batches(), "iterable")


def _batches_of(item: object) -> list[pa.RecordBatch]:
    if isinstance(item, pa.RecordBatch):
        return [item]
    if isinstance(item, pa.Table):
        return list(item.to_batches())
    kind = type(item).__name__
    ways = {
        "dict": "`pa.Table.from_pylist(rows)` makes a table of rows",
        "str": "paths and frames are separate sources: ingest one after the other",
        "ndarray": "`pd.DataFrame(array, columns=[...])` gives it names",
        "DataFrame": "ingest `pd.concat(frames)`, or a dict of frames by name",
    }
    hint = ways.get(kind, "`pa.table({NAME: values})` makes a table")
    raise SourceError(f"an iterable source must yield Arrow tables or record batches, not {kind}", hint=hint)


def _pandas(frame: Any, known: pa.Schema | None) -> RowStream:
    """A pandas frame; a missing value, NaN among them as pandas means it, is null.

    A named index is a column; a plain one is not.
    """
    if not hasattr(frame, "columns"):
        raise SourceError("cannot ingest a pandas Series", hint="`series.to_frame()` makes it a frame")
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise SourceError("the pandas frame has columns of several levels", hint="join their names: one text a column")
    pairs = [(name, frame.iloc[:, place]) for place, name in enumerate(frame.columns)]
    levels = [(name, frame.index.get_level_values(place)) for place, name in enumerate(frame.index.names)]
    pairs.extend((name, level) for name, level in levels if name is not None)
    for name, _ in pairs:
        if not isinstance(name, str):
            raise SourceError(
                f"the pandas frame has a column {name!r}, which is no text",
                hint=_AS_TEXT,
            )
    if not pairs:
        raise SourceError("the pandas frame has no columns", hint="ingest one with columns, if without a row")
    check_names("the pandas frame", [name for name, _ in pairs], hint=_RENAME)
    wrong: dict[int, Unfit] = {}
    arrays = [_pandas_column(name, values, known, wrong) for name, values in pairs]
    table = pa.table(arrays, names=[name for name, _ in pairs])
    batches = _plain(table.to_batches(max_chunksize=_BATCH_ROWS), _plain_schema(table.schema))
    return RowStream(_plain_schema(table.schema), _without(numbered("pandas frame", batches), wrong), "pandas frame")


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_type(_plain_type(field.type)) for field in schema])


def _without(batches: Iterator[SourceBatch], wrong: dict[int, Unfit]) -> Iterator[SourceBatch]:
    """The rows but those with a cell that does not fit."""
    for batch in batches:
        rows = batch.rows
        numbers = rows.column(REJECT_LINE).to_pylist() if wrong else []
        bad = [place for place, number in enumerate(numbers) if number in wrong]
        if not bad:
            yield batch
            continue
        keep = pa.array([number not in wrong for number in numbers])
        rejects = _rejects(rows.take(pa.array(bad)), [wrong[numbers[place]] for place in bad])
        yield SourceBatch(rows.filter(keep), rejects)


def _rejects(rows: pa.RecordBatch, cells: Sequence[Unfit]) -> pa.Table:
    """Rows as they came; the columns that a cell does not fit are text."""
    table = pa.table(rows)
    for name in {column for column, _, _ in cells}:
        own = [text if column == name else None for column, text, _ in cells]
        texts = pc.coalesce(pa.array(own, pa.string()), texts_of(table.column(name)).combine_chunks())
        table = table.set_column(table.schema.get_field_index(name), text_field(name), texts)
    for place, name in enumerate((REJECT_COLUMN, REJECT_VALUE, REASON_COLUMN)):
        table = table.append_column(name, pa.array([cell[place] for cell in cells], pa.string()))
    return table


def _pandas_column(
    name: str, values: Any, known: pa.Schema | None, wrong: dict[int, Unfit]
) -> pa.Array | pa.ChunkedArray:
    kind = str(values.dtype)
    if kind.startswith(("period", "interval")):
        hint = "`dt.to_timestamp()` makes a period a time; an interval has two ends, each a column"
        raise SourceError(f"column {name} of the pandas frame is {kind}, which no table keeps", hint=hint)
    if kind.startswith("complex"):
        raise SourceError(f"column {name} of the pandas frame is {kind}", hint="store both parts, each as a column")
    plain = values.sparse.to_dense() if kind.startswith("Sparse") else values
    categories = getattr(plain.dtype, "categories", None)
    if categories is not None and categories.dtype == object:
        plain = plain.astype(object)

    def convert() -> pa.Array:
        return pa.array(plain, from_pandas=True)

    if plain.dtype != object:
        try:
            return convert()
        except (*UNREADABLE, TypeError, AttributeError):
            pass  # it is told what stands in the way
    expected = known.field(name).type if known is not None and name in known.names else None
    return column_of_objects(name, plain.tolist(), expected, wrong, convert)
