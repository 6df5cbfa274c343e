"""Which data a table takes, and in which types it is stored.

A `SchemaPlan` carries a source's way into a table: the table's schema afterwards, the columns of the files that the
ingest writes, and what is worth telling. The rules are DESIGN section 6's: `evolution: add` takes new nullable columns,
nested ones too, and gives null to nullable columns that the data lack; `freeze` takes the table's columns alone.
Anything else is refused with both schemas shown. Values are another matter: `pipelines.values` stores each as it came,
or its row is rejected.

What Parquet and Delta cannot keep: a categorical becomes its values; the zone of an instant becomes UTC, the instant
stays; unsigned integers are stored in the next wider type; durations and times of day are refused.

A column of nothing but nulls settles no type: it stays out of the table until a value comes. Where null is not all
there is to keep (empty lists, structs of nulls), the files hold the column already, and the
table gets it with its type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa
import pyarrow.types as pat

from pipelines.errors import SchemaMismatch, SpecError
from pipelines.values import meets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "ROW_COLUMN",
    "Evolution",
    "SchemaPlan",
    "check_names",
    "check_storable",
    "declared_schema",
    "evolved_schema",
    "filterable_type",
    "nullable_schema",
    "plan_schema",
    "settled_type",
    "storable_schema",
    "storable_type",
]

Evolution = Literal["add", "freeze"]

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
_COLUMNS_SHOWN = 40
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
        columns: name to type: Arrow's names (`int64`, `string`, `timestamp[us, tz=UTC]`, `decimal128(10, 2)`, `date32`)
            or Delta's (`long`, `double`, `date`, `timestamp`, `decimal(10, 2)`); nested ones as `list<int64>`,
            `struct<x: int64, y: string>` and `map<string, int64>`.

    Raises:
        SpecError: a type that is none of these, or that tables do not keep.
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
        hint = "for example int64, string, timestamp[us, tz=UTC], decimal128(10, 2), list<int64>, struct<x: int64>"
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
        SchemaMismatch: naming the column, and the field inside it.
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
        names: of the data's columns, or of a struct's fields.
        like: names that the table has: the same name in another case is refused too.
        of: the struct that has these fields.

    Raises:
        SchemaMismatch: a name that comes twice, that differs from another by case alone, or that is empty.
    """
    known = {name.lower(): name for name in like}
    seen: dict[str, str] = {}
    what, where = ("field", f" of the column {of}") if of else ("column", "")
    for name in names:
        if not name.strip():
            raise SchemaMismatch(f"a {what}{where} has no name", hint="name it, or drop it")
        if seen.get(name.lower()) == name:
            raise SchemaMismatch(f"two {what}s{where} are named {name}", hint="rename one of them, or drop it")
        other = seen.get(name.lower()) or known.get(name.lower())
        if other is not None and other != name:
            message = (
                f"the {what}s {other} and {name}{where} differ by case alone, which Delta tables do not tell apart"
            )
            raise SchemaMismatch(message, hint="rename one of them")
        seen[name.lower()] = name


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


# -- a source's way into a table ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """A source's way into a table.

    Attributes:
        table: the table's schema after the ingest, partition columns included and first.
        rows: the columns that rows are fitted to: all but the keys that are computed.
        files: the columns of the files: all but those that the path tells.
        added: columns that are new in the table, nested ones by their path (`v.z`).
        lacking: columns of the table that the data lack: null in their rows.
        untyped: columns of nothing but nulls, which settle no type yet.
        required: columns that may not be null.
    """

    table: pa.Schema
    rows: pa.Schema
    files: pa.Schema
    added: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    untyped: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()


def plan_schema(
    source: pa.Schema,
    *,
    table: pa.Schema | None,
    keys: Sequence[str],
    carried: Sequence[str],
    evolution: Evolution,
) -> SchemaPlan:
    """Plan how rows of one schema become rows of a table.

    Args:
        source: the rows' schema, without provenance columns.
        table: the table's schema, or the declared one; None where the first rows settle it.
        keys: the partition columns, in order.
        carried: those of them that the rows carry themselves.
        evolution: whether new columns are taken.

    Raises:
        SchemaMismatch: a name that comes twice, a type that cannot be stored, a column that is new under `freeze`, that
            is missing and may not be null, or whose type does not meet the table's.
    """
    check_names(source.names, like=[*(() if table is None else table.names), *keys])
    check_storable(source)
    computed = set(keys) - set(carried)
    current = {field.name: field for field in table or () if field.name not in computed}
    incoming = {field.name: field for field in storable_schema(source)}
    _check_carried(source, carried)
    for name, field in incoming.items():
        # a key that no value settles is text, whose null is the empty key
        if pat.is_null(field.type) and name in carried:
            incoming[name] = field.with_type(pa.string())
    problems = _Differences()
    columns: dict[str, pa.Field] = {}
    for name, field in current.items():
        if name not in incoming:
            columns[name] = field
            problems.lacking.append(name)
            continue
        kind = _united(name, field.type, incoming[name].type, problems)
        if not meets(source.field(name).type, kind):
            problem = f"column {name} is {source.field(name).type}, which does not fit {field.type}"
            raise _mismatch(problem, table, source)
        columns[name] = field.with_type(kind)
    for name, field in incoming.items():
        if name not in current:
            columns[name] = field
            _note_new(name, field.type, problems, is_first=table is None)
    if table is not None:
        _check_evolution(problems, table, source, evolution, required=_required(current, keys))
    settled = {name: inner for name, field in columns.items() if (inner := settled_type(field.type)) is not None}
    logical = pa.schema(
        [
            *(pa.field(name, settled[name] if name in carried else pa.string()) for name in keys),
            *(columns[name].with_type(kind) for name, kind in settled.items() if name not in keys),
        ]
    )
    rows = pa.schema([field for field in columns.values() if not pat.is_null(field.type)])
    files = [field for field in rows if field.name not in carried]
    return SchemaPlan(
        table=logical,
        rows=rows,
        files=pa.schema(files),
        added=tuple(problems.added),
        lacking=tuple(problems.lacking),
        untyped=tuple(problems.untyped),
        required=frozenset(name for name, field in current.items() if not field.nullable),
    )


def evolved_schema(current: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The table's schema with the new columns of a plan that was made on an older one.

    Raises:
        SchemaMismatch: another writer gave a column a type that does not meet the plan's.
    """
    problems = _Differences()
    fields = {field.name: field for field in current}
    for field in wanted:
        known = fields.get(field.name)
        if known is None:
            fields[field.name] = field
            continue
        kind = _united(field.name, known.type, field.type, problems)
        if not meets(field.type, kind):
            raise _mismatch(f"column {field.name} is {known.type} by now, not {field.type}", current, wanted)
        fields[field.name] = known.with_type(kind)
    return pa.schema(list(fields.values()))


class _Differences:
    """What a source has that its table lacks, and the other way round; nested fields by their paths."""

    def __init__(self) -> None:
        self.added: list[str] = []
        self.lacking: list[str] = []
        self.nested_lacking: list[str] = []
        self.untyped: list[str] = []


def _united(path: str, table: pa.DataType, source: pa.DataType, problems: _Differences) -> pa.DataType:
    """The table's type, with the nested fields that only the source has."""
    if pat.is_struct(table) and pat.is_struct(source):
        check_names([field.name for field in source], like=[field.name for field in table], of=path)
        incoming = {field.name: field for field in source}
        fields = []
        for field in table:
            inner = f"{path}.{field.name}"
            if field.name in incoming:
                fields.append(field.with_type(_united(inner, field.type, incoming.pop(field.name).type, problems)))
            else:
                problems.nested_lacking.append(inner)
                fields.append(field)
        for name, field in incoming.items():
            _note_new(f"{path}.{name}", field.type, problems)
            fields.append(field)
        return pa.struct(fields)
    if pat.is_map(table) and pat.is_map(source):
        return pa.map_(
            _united(f"{path}.key", table.key_type, source.key_type, problems),
            _united(f"{path}.value", table.item_type, source.item_type, problems),
        )
    if pat.is_list(table) and pat.is_list(source):
        return pa.list_(
            table.value_field.with_type(_united(f"{path}.element", table.value_type, source.value_type, problems))
        )
    return table


def _note_new(path: str, kind: pa.DataType, problems: _Differences, *, is_first: bool = False) -> None:
    if settled_type(kind) is None:
        problems.untyped.append(path)
    elif not is_first:
        problems.added.append(path)


def _check_carried(source: pa.Schema, carried: Sequence[str]) -> None:
    for name in carried:
        if source.get_field_index(name) < 0:
            message = f"the data lacks the column {name}, which the dataset is partitioned by"
            raise SchemaMismatch(message, hint=f"it has: {_brief(source)}")


def _required(current: Mapping[str, pa.Field], keys: Sequence[str]) -> list[str]:
    return [name for name, field in current.items() if not field.nullable or name in keys]


def _check_evolution(
    problems: _Differences, table: pa.Schema, source: pa.Schema, evolution: Evolution, required: Sequence[str]
) -> None:
    missing = [name for name in problems.lacking if name in required]
    if evolution == "freeze":
        missing = [*problems.lacking, *problems.nested_lacking]
    if missing:
        raise _mismatch(f"the data lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}", table, source)
    if evolution == "freeze" and problems.added:
        new = ", ".join(problems.added)
        problem = f"the data has the column{'s' * (len(problems.added) > 1)} {new}, which the table does not"
        raise _mismatch(problem, table, source, hint="drop it, or say `evolution: add` in the spec to take new columns")


def _mismatch(problem: str, table: pa.Schema | None, source: pa.Schema, hint: str | None = None) -> SchemaMismatch:
    message = f"{problem}\n  table: {_brief(table or pa.schema([]))}\n  data:  {_brief(source)}"
    return SchemaMismatch(message, hint=hint or "rename or cast the column, or write to another dataset")


def _brief(schema: pa.Schema) -> str:
    columns = ", ".join(f"{field.name} {field.type}" for field in list(schema)[:_COLUMNS_SHOWN])
    more = len(schema) - _COLUMNS_SHOWN
    return f"{columns} and {more:,} more" if more > 0 else columns
