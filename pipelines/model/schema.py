"""Which data a table takes.

A `SchemaPlan` carries a source's way into a table: the table's schema afterwards, the columns of the files that the
ingest writes, and what is worth telling. The rules are DESIGN section 6's: `evolution: add` takes new nullable columns,
nested ones too, and gives null to nullable columns that the data lack; `freeze` takes the table's columns alone.
Anything else is refused with both schemas shown. Values are another matter: `pipelines.values` stores each as it came,
or its row is rejected.

A column of nothing but nulls settles no type: it stays out of the table until a value comes. Where null is not all
there is to keep (empty lists, structs of nulls), the files hold the column already, and the table gets it with its
type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.types as pat

from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.model.missing_columns import missing_hint
from tierlake.pipelines.model.stored_types import check_names, check_storable, settled_type, storable_schema
from tierlake.pipelines.values import meets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Evolution", "SchemaPlan", "evolved_schema", "plan_schema"]

Evolution = Literal["add", "freeze"]

_COLUMNS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """A source's way into a table.

    Attributes:
        table: The table's schema after the ingest, partition columns included and first.
        rows: The columns that rows are fitted to: all but the keys that are computed.
        files: The columns of the files: all but those that the path tells.
        added: Columns that are new in the table, nested ones by their path (`v.z`).
        lacking: Columns of the table that the data lack: null in their rows.
        untyped: Columns of nothing but nulls, which settle no type yet.
        required: Columns that may not be null.
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
        source: The rows' schema, without provenance columns.
        table: The table's schema, or the declared one; None where the first rows settle it.
        keys: The partition columns, in order.
        carried: Those of them that the rows carry themselves.
        evolution: Whether new columns are taken.

    Raises:
        SchemaMismatch: A name that comes twice, a type that cannot be stored, a column that is new under `freeze`, that
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


def evolved_schema(current: pa.Schema, requested: pa.Schema) -> pa.Schema:
    """The table's schema with the new columns of a plan that was made on an older one.

    Raises:
        SchemaMismatch: Another writer gave a column a type that does not meet the plan's.
    """
    problems = _Differences()
    fields = {field.name: field for field in current}
    for field in requested:
        known = fields.get(field.name)
        if known is None:
            fields[field.name] = field
            continue
        kind = _united(field.name, known.type, field.type, problems)
        if not meets(field.type, kind):
            raise _mismatch(f"column {field.name} is {known.type} by now, not {field.type}", current, requested)
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
            raise SchemaMismatch(message, hint=missing_hint(name, source.names))


def _required(current: Mapping[str, pa.Field], keys: Sequence[str]) -> list[str]:
    return [name for name, field in current.items() if not field.nullable or name in keys]


def _check_evolution(
    problems: _Differences, table: pa.Schema, source: pa.Schema, evolution: Evolution, required: Sequence[str]
) -> None:
    missing = [name for name in problems.lacking if name in required]
    if evolution == "freeze":
        missing = [*problems.lacking, *problems.nested_lacking]
    if missing:
        problem = f"the data lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}"
        raise _mismatch(problem, table, source, hint=missing_hint(missing[0], source.names))
    if evolution == "freeze" and problems.added:
        new = ", ".join(problems.added)
        problem = f"the data has the column{'s' * (len(problems.added) > 1)} {new}, which the table does not"
        raise _mismatch(problem, table, source, hint="drop it, or say `evolution: add` in the spec to take new columns")


def _mismatch(problem: str, table: pa.Schema | None, source: pa.Schema, hint: str | None = None) -> SchemaMismatch:
    message = f"{problem}; table: {_brief(table or pa.schema([]))}; data: {_brief(source)}"
    return SchemaMismatch(message, hint=hint or "rename or cast the column, or write to another dataset")


def _brief(schema: pa.Schema) -> str:
    columns = ", ".join(f"{field.name} {field.type}" for field in list(schema)[:_COLUMNS_SHOWN])
    more = len(schema) - _COLUMNS_SHOWN
    return f"{columns} and {more:,} more" if more > 0 else columns
