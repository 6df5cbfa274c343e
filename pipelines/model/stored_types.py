"""The types in which tables keep columns, and the names that columns may have.

What Parquet and Delta cannot keep: a categorical becomes its values; the zone of an instant becomes UTC, the instant
stays; unsigned integers are stored in the next wider type; durations and times of day are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.types as pat

from tierlake.connector.nearest import did_you_mean
from tierlake.pipelines.errors import SchemaMismatch, SpecError
from tierlake.pipelines.model.column_names import clash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "ROW_COLUMN",
    "check_names",
    "check_storable",
    "declared_schema",
    "filterable_type",
    "nullable_schema",
    "settled_type",
    "storable_schema",
    "storable_type",
]

ROW_COLUMN: Final = "_tierlake_row"
"""The one column of files whose rows have nothing but their partition's key: Parquet has no rows without columns, and
readers refuse a key's column within the file (seen with pyarrow 26.0: Hive's folders give it another type)."""

_TAKEN: Final = {
    ROW_COLUMN: "a name that files use for rows of key columns alone",
    **dict.fromkeys(
        ("__fragment_index", "__batch_index", "__last_in_fragment", "__filename"),
        "a name that pyarrow's datasets give to a column of their own",
    ),
}
"""Names that no column may have, and why."""

_TIMESTAMP = re.compile(r"^timestamp(?:\[(?:us)(?:,\s*(?:tz=)?(?P<zone>[\w/+:-]+))?\])?$")
_DECIMAL = re.compile(r"^decimal(?:128)?\((?P<precision>\d+),\s*(?P<scale>\d+)\)$")
_NESTED = re.compile(r"^(?P<kind>list|struct|map)<(?P<inside>.*)>$")
_LARGEST_PRECISION = 38  # of a Delta decimal
_LIKENESS: Final = 0.7
_EXAMPLES: Final = "int64, string, timestamp[us, tz=UTC], decimal128(10, 2), list<int64>, struct<x: int64>"
_ARROW_NAMES: Final = (
    *("int8", "int16", "int32", "int64", "float32", "float64"),
    *("bool", "date32", "timestamp", "timestamp[us]", "timestamp[us, tz=UTC]", "decimal(10, 2)", "decimal128(10, 2)"),
)
"""Of those that `storable_type` takes, what people misspell."""

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


# -- what a spec declares ----------------------------------------------------------------------------------------------


def declared_schema(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a spec's `columns`.

    Args:
        columns: Name to type: Arrow's names (`int64`, `string`, `timestamp[us, tz=UTC]`, `decimal128(10, 2)`, `date32`)
            or Delta's (`long`, `double`, `date`, `timestamp`, `decimal(10, 2)`); nested ones as `list<int64>`,
            `struct<x: int64, y: string>` and `map<string, int64>`.

    Raises:
        SpecError: A type that is none of these, or that tables do not keep.
    """
    schema = pa.schema([pa.field(name, _declared_type(name, text.strip())) for name, text in columns.items()])
    try:
        check_names(schema.names)
        check_storable(schema)
    except SchemaMismatch as error:
        raise SpecError(f"columns: {error}") from error
    return schema


def _declared_type(name: str, text: str) -> pa.DataType:
    if text in _ALIASES:
        return _ALIASES[text]
    try:
        if match := _NESTED.match(text):
            return _declared_nested(name, match["kind"], match["inside"])
        if match := _DECIMAL.match(text):
            return pa.decimal128(int(match["precision"]), int(match["scale"]))
        if match := _TIMESTAMP.match(text):
            # Delta's word `timestamp` is an instant; Arrow's timestamp[us] is a wall clock time
            return pa.timestamp("us", "UTC" if text == "timestamp" or match["zone"] else None)
        return storable_type(pa.type_for_alias(text))
    except ValueError as error:
        message = f"columns.{name}: {text!r} is not a type"
        near = did_you_mean(text, (*_ALIASES, *_ARROW_NAMES), likeness=_LIKENESS)
        hint = near or f"for example {_EXAMPLES}"
        raise SpecError(message, hint=hint) from error


def _declared_nested(name: str, kind: str, inside: str) -> pa.DataType:
    parts = [part.strip() for part in _top_level_parts(inside)]
    if kind == "struct":
        named = [part.partition(":")[::2] for part in parts]
        return pa.struct([pa.field(field.strip(), _declared_type(name, text.strip())) for field, text in named])
    if kind == "map":
        key, item = parts
        return pa.map_(_declared_type(name, key), _declared_type(name, item))
    (element,) = parts
    label, colon, text = element.partition(":")
    is_labelled = colon and label.strip() in {"item", "element"}  # as Arrow prints a list
    return pa.list_(_declared_type(name, text.strip() if is_labelled else element))


def _top_level_parts(text: str) -> Iterator[str]:
    """The text between commas that stand in no bracket."""
    depth = start = 0
    for position, char in enumerate(text):
        depth += (char in "<([") - (char in ">)]")
        if char == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    yield text[start:]


# -- what tables keep --------------------------------------------------------------------------------------------------


def storable_type(kind: pa.DataType) -> pa.DataType:
    """The type that Parquet and Delta keep for an Arrow type: no dictionaries, views, nanoseconds or unsigned.

    The null type stays what it is: it settles nothing.
    """
    for applies, stored in _STORED_AS:
        if any(test(kind) for test in applies):
            return stored(kind)
    return kind


def filterable_type(kind: pa.DataType) -> pa.DataType:
    """The type in which a column of files is read: views as what they view, which Arrow can filter."""
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


_UNSIGNED = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}
_STORED_AS: tuple[tuple[tuple[Callable[[pa.DataType], bool], ...], Callable[[pa.DataType], pa.DataType]], ...] = (
    ((pat.is_dictionary, pat.is_run_end_encoded), lambda kind: storable_type(kind.value_type)),
    ((pat.is_timestamp,), lambda kind: pa.timestamp("us", "UTC" if kind.tz else None)),
    ((pat.is_large_string, pat.is_string_view), lambda _: pa.string()),
    ((pat.is_large_binary, pat.is_binary_view, pat.is_fixed_size_binary), lambda _: pa.binary()),
    ((pat.is_unsigned_integer,), lambda kind: _UNSIGNED[kind.bit_width]),
    ((pat.is_date64,), lambda _: pa.date32()),
    ((pat.is_float16,), lambda _: pa.float32()),
    (
        (pat.is_decimal,),
        lambda kind: pa.decimal128(kind.precision, kind.scale) if kind.precision <= _LARGEST_PRECISION else kind,
    ),
    ((pat.is_struct,), lambda kind: pa.struct([pa.field(field.name, storable_type(field.type)) for field in kind])),
    ((pat.is_map,), lambda kind: pa.map_(storable_type(kind.key_type), storable_type(kind.item_type))),
    (
        (pat.is_list, pat.is_large_list, pat.is_list_view, pat.is_large_list_view, pat.is_fixed_size_list),
        lambda kind: pa.list_(storable_type(kind.value_type)),
    ),
)
"""What an Arrow type is stored as, first match; other types are stored as they are."""


def storable_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with every field nullable, in its stored type, and without pandas metadata."""
    return pa.schema([pa.field(field.name, storable_type(field.type)) for field in schema])


def nullable_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with every field nullable, inside the columns too.

    What may not be null is checked when rows come in. Arrow writes no null whose fields may not be null, nor a table
    whose nullability differs from its file's.
    """
    return pa.schema([pa.field(field.name, _nullable(field.type)) for field in schema])


def _nullable(kind: pa.DataType) -> pa.DataType:
    if pat.is_struct(kind):
        return pa.struct([pa.field(field.name, _nullable(field.type)) for field in kind])
    if pat.is_map(kind):
        return pa.map_(_nullable(kind.key_type), _nullable(kind.item_type))
    return pa.list_(_nullable(kind.value_type)) if pat.is_list(kind) else kind


def check_storable(schema: pa.Schema) -> None:
    """Refuse types that no table format of ours keeps, and names that readers cannot find again.

    Raises:
        SchemaMismatch: Naming the column, and the field inside it.
    """
    for field in schema:
        if why := _TAKEN.get(field.name):
            raise SchemaMismatch(f"there is a column {field.name}, {why}", hint="rename it, or drop it")
        _check_fields(field.name, field.type)
        for path, kind in _leaves(field.name, field.type):
            problem = _why_not_storable(kind)
            if problem is not None:
                message = f"column {path} is {kind}, {problem[0]}"
                raise SchemaMismatch(message, hint=problem[1])


def _check_fields(path: str, kind: pa.DataType) -> None:
    """Refuse structs, at any depth, whose fields a table cannot tell apart."""
    if pat.is_struct(kind):
        names = [field.name for field in kind]
        check_names(names, of=path)
        for field in kind:
            _check_fields(f"{path}.{field.name}", field.type)
    elif pat.is_map(kind):
        _check_fields(f"{path}.key", kind.key_type)
        _check_fields(f"{path}.value", kind.item_type)
    elif pat.is_dictionary(kind) or pat.is_run_end_encoded(kind):
        _check_fields(path, kind.value_type)
    elif _is_list(kind):
        _check_fields(f"{path}.element", kind.value_type)


def _why_not_storable(kind: pa.DataType) -> tuple[str, str] | None:
    if any(test(kind) for test in _NOT_STORABLE):
        return (
            "a type that Delta tables do not have",
            "store a duration or a time of day as a number, and name the unit",
        )
    if pat.is_struct(kind):  # a leaf only where it has no field
        return "a struct without fields, which Parquet does not keep", "drop the column, or give it a field"
    if pat.is_decimal(kind) and (kind.precision > _LARGEST_PRECISION or kind.scale < 0 or kind.scale > kind.precision):
        return f"and tables keep decimals of at most {_LARGEST_PRECISION} digits", "cast it, or store it as text"
    if isinstance(kind, pa.BaseExtensionType):
        return "an extension type that Delta tables do not have", f"cast it to {kind.storage_type}"
    return None


_NOT_STORABLE = (pat.is_time, pat.is_duration, pat.is_interval, pat.is_union)


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    if pat.is_struct(kind) and kind.num_fields:
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    elif pat.is_map(kind):
        yield from _leaves(f"{path}.key", kind.key_type)
        yield from _leaves(f"{path}.value", kind.item_type)
    elif pat.is_dictionary(kind) or pat.is_run_end_encoded(kind):
        yield from _leaves(path, kind.value_type)
    elif _is_list(kind):
        yield from _leaves(f"{path}.element", kind.value_type)
    else:
        yield path, kind


def _is_list(kind: pa.DataType) -> bool:
    kinds = (pat.is_list, pat.is_large_list, pat.is_list_view, pat.is_large_list_view, pat.is_fixed_size_list)
    return any(test(kind) for test in kinds)


def check_names(names: Sequence[str], *, like: Sequence[str] = (), of: str = "") -> None:
    """Refuse names that a table cannot tell apart.

    Args:
        names: Of the data's columns, or of a struct's fields.
        like: Names that the table has: the same name in another case is refused too.
        of: The struct that has these fields.

    Raises:
        SchemaMismatch: A name that comes twice, that differs from another by case alone, or that is empty.
    """
    what, where = ("field", f" of the column {of}") if of else ("column", "")
    if not all(name.strip() for name in names):
        raise SchemaMismatch(f"a {what}{where} has no name", hint="name it, or drop it")
    if (both := clash(names, like=like)) is None:
        return
    other, name = both
    if other == name:
        raise SchemaMismatch(f"two {what}s{where} are named {name}", hint="rename one of them, or drop it")
    message = f"the {what}s {other} and {name}{where} differ by case alone, which Delta tables do not tell apart"
    raise SchemaMismatch(message, hint="rename one of them")


def settled_type(kind: pa.DataType) -> pa.DataType | None:
    """A type without what nulls alone tell; None where nothing is left."""
    if pat.is_null(kind):
        return None
    if pat.is_struct(kind):
        fields = [pa.field(field.name, inner) for field in kind if (inner := settled_type(field.type)) is not None]
        return pa.struct(fields) if fields else None
    if pat.is_map(kind):
        key, item = settled_type(kind.key_type), settled_type(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if pat.is_list(kind):
        element = settled_type(kind.value_type)
        return None if element is None else pa.list_(element)
    return kind
