"""Which data a table takes, and in which types it is stored.

The rules (DESIGN section 6): new nullable columns are taken, data that fits a column's type without loss is taken,
anything else is refused with both schemas shown.

What Parquet and Delta cannot keep: a categorical becomes its values; the zone of an instant becomes UTC, the instant
stays; unsigned integers are stored in the next wider type; nanoseconds that a microsecond cannot hold, durations and
times of day are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pat

from pipelines.errors import SchemaMismatch, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "check_storable",
    "conform",
    "declared_schema",
    "merged_schema",
    "storable_schema",
    "storable_type",
    "without_views",
]

_TIMESTAMP = re.compile(r"^timestamp(?:\[(?:us)(?:,\s*(?:tz=)?(?P<zone>[\w/+:-]+))?\])?$")
_DECIMAL = re.compile(r"^decimal(?:128)?\((?P<precision>\d+),\s*(?P<scale>\d+)\)$")
_ALIASES = {
    "long": pa.int64(),
    "integer": pa.int32(),
    "int": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "double": pa.float64(),
    "float": pa.float32(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "binary": pa.binary(),
    "string": pa.string(),
}


def declared_schema(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a spec's `columns`.

    Args:
        columns: name to type: Arrow's names (`int64`, `string`, `timestamp[us, tz=UTC]`, `decimal128(10, 2)`, `date32`)
            or Delta's (`long`, `double`, `date`, `timestamp`, `decimal(10, 2)`).

    Raises:
        SpecError: a type that is none of these.
    """
    return pa.schema([pa.field(name, _declared_type(name, text.strip())) for name, text in columns.items()])


def _declared_type(name: str, text: str) -> pa.DataType:
    if text in _ALIASES:
        return _ALIASES[text]
    if match := _DECIMAL.match(text):
        return pa.decimal128(int(match["precision"]), int(match["scale"]))
    if match := _TIMESTAMP.match(text):
        # Delta's word `timestamp` is an instant; Arrow's timestamp[us] is a wall clock time
        return pa.timestamp("us", "UTC" if text == "timestamp" else match["zone"])
    try:
        return storable_type(pa.type_for_alias(text))
    except ValueError as error:
        message = f"columns.{name}: {text!r} is not a type"
        raise SpecError(message, hint="for example int64, string, timestamp[us, tz=UTC], decimal128(10, 2)") from error


def storable_type(kind: pa.DataType) -> pa.DataType:
    """The type that Parquet and Delta keep for an Arrow type: no dictionaries, views, nanoseconds or unsigned."""
    for applies, stored in _STORED_AS:
        if any(test(kind) for test in applies):
            return stored(kind)
    return kind


_UNSIGNED = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}
_STORED_AS: tuple[tuple[tuple[Callable[[pa.DataType], bool], ...], Callable[[pa.DataType], pa.DataType]], ...] = (
    ((pat.is_dictionary,), lambda kind: storable_type(kind.value_type)),
    ((pat.is_timestamp,), lambda kind: pa.timestamp("us", "UTC" if kind.tz else None)),
    ((pat.is_null, pat.is_large_string, pat.is_string_view), lambda _: pa.string()),
    ((pat.is_large_binary, pat.is_binary_view, pat.is_fixed_size_binary), lambda _: pa.binary()),
    ((pat.is_unsigned_integer,), lambda kind: _UNSIGNED[kind.bit_width]),
    ((pat.is_date64,), lambda _: pa.date32()),
    ((pat.is_float16,), lambda _: pa.float32()),
    ((pat.is_struct,), lambda kind: pa.struct([field.with_type(storable_type(field.type)) for field in kind])),
    ((pat.is_map,), lambda kind: pa.map_(storable_type(kind.key_type), storable_type(kind.item_type))),
    (
        (pat.is_list, pat.is_large_list, pat.is_list_view, pat.is_fixed_size_list),
        lambda kind: pa.list_(storable_type(kind.value_type)),
    ),
)
"""What an Arrow type is stored as, first match; other types are stored as they are."""


def storable_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with every field nullable, in its stored type, and without pandas metadata."""
    return pa.schema([pa.field(field.name, storable_type(field.type)) for field in schema])


def check_storable(schema: pa.Schema) -> None:
    """Refuse types that no table format of ours keeps.

    Raises:
        SchemaMismatch: naming the column.
    """
    for field in schema:
        _check_type(field.name, field.type)


def _check_type(path: str, kind: pa.DataType) -> None:
    if isinstance(kind, pa.BaseExtensionType):
        hint = f"store it as {kind.storage_type}"
        raise SchemaMismatch(f"column {path} is {kind}, a type that Delta tables do not have", hint=hint)
    for test, hint in _NOT_STORABLE:
        if test(kind):
            raise SchemaMismatch(f"column {path} is {kind}, a type that Delta tables do not have", hint=hint)
    if pat.is_struct(kind):
        names = [field.name.casefold() for field in kind]
        if len(set(names)) < len(names):
            hint = "rename the fields: they have to differ by more than upper and lower case"
            raise SchemaMismatch(f"column {path} is {kind}, with two fields of one name", hint=hint)
        for field in kind:
            _check_type(f"{path}.{field.name}", field.type)
    elif pat.is_map(kind):
        _check_type(f"{path}.key", kind.key_type)
        _check_type(f"{path}.value", kind.item_type)
    elif pat.is_dictionary(kind) or pat.is_run_end_encoded(kind):
        _check_type(path, kind.value_type)
    elif hasattr(kind, "value_type"):
        _check_type(f"{path}[]", kind.value_type)


_A_NUMBER = "store a duration or a time of day as a number, and name the unit"
_NOT_STORABLE: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pat.is_time, _A_NUMBER),
    (pat.is_duration, _A_NUMBER),
    (pat.is_interval, _A_NUMBER),
    (pat.is_union, "store each kind of value in a column of its own"),
    (pat.is_decimal256, "cast it to a decimal of at most 38 digits"),
    (lambda kind: pat.is_struct(kind) and not kind.num_fields, "leave it out: it holds nothing"),
)


def without_views(table: pa.Table) -> pa.Table:
    """Text and bytes as plain arrays: polars hands over views, for which Arrow lacks kernels (seen with 26.0: take)."""
    columns = [_plain(column) if "_view" in str(column.type) else column for column in table.itercolumns()]
    return pa.table(columns, names=table.column_names) if columns else table


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = storable_type(column.type)
    if not pat.is_dictionary(column.type):
        return column.cast(kind)
    # casting a dictionary of views takes from them too: only its values are cast
    chunks = [pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(kind)) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.dictionary(column.type.index_type, kind)).cast(kind)


def merged_schema(current: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The table's schema after taking data of another one.

    Raises:
        SchemaMismatch: a column is missing, or has a type that does not fit.
    """
    missing = [field.name for field in current if field.name not in wanted.names]
    if missing:
        raise _mismatch(f"the data lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}", current, wanted)
    for field in wanted:
        if field.name in current.names and not _fits(field.type, current.field(field.name).type):
            kind = current.field(field.name).type
            raise _mismatch(f"column {field.name} is {field.type}, which does not fit {kind}", current, wanted)
    return pa.schema([*current, *(field for field in storable_schema(wanted) if field.name not in current.names)])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in the columns, order and types of `schema`.

    Raises:
        SchemaMismatch: a column is missing, or a value does not fit its type without loss.
    """
    columns: list[pa.ChunkedArray] = []
    for field in schema:
        if field.name not in table.column_names:
            raise _mismatch(f"the data lacks the column {field.name}", schema, table.schema)
        column = table.column(field.name)
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            problem = f"column {field.name} is {column.type}, which does not fit {field.type} ({error})"
            raise _mismatch(problem, schema, table.schema) from error
    return pa.table(columns, schema=schema)


def _fits(data: pa.DataType, column: pa.DataType) -> bool:
    """Whether values of one type can be stored in another; values that turn out not to fit are refused at the cast."""
    data, column = storable_type(data) if not pat.is_null(data) else data, storable_type(column)
    if data == column or pat.is_null(data):
        return True
    if pat.is_timestamp(data) and pat.is_timestamp(column):
        return bool(data.tz) == bool(column.tz)
    if pat.is_date(data):
        return pat.is_timestamp(column) and column.tz is None
    numeric = (pat.is_integer, pat.is_floating, pat.is_decimal)
    if any(kind(data) for kind in numeric) and any(kind(column) for kind in numeric):
        return not (pat.is_decimal(data) and pat.is_floating(column))
    return bool(pat.is_nested(data) and pat.is_nested(column) and data.id == column.id)


def _mismatch(problem: str, table: pa.Schema, data: pa.Schema) -> SchemaMismatch:
    message = f"{problem}\n  table: {_brief(table)}\n  data:  {_brief(data)}"
    return SchemaMismatch(message, hint="rename or cast the column, or write to another dataset")


def _brief(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
