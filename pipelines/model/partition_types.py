"""Which types of columns can partition a table: their values must have one spelling each as a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow.types as pat

from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.model.key_columns import is_text

if TYPE_CHECKING:
    import pyarrow as pa

    from tierlake.pipelines.model.spec import PartitionSpec

_KEY_TYPES: Final = (
    is_text,
    pat.is_integer,
    pat.is_boolean,
    pat.is_date,
    pat.is_decimal,
    pat.is_timestamp,
    pat.is_null,
)


def is_time(kind: pa.DataType) -> bool:
    """Whether a column of this type can be the event time of a stored table."""
    return bool(pat.is_timestamp(kind) or pat.is_date(kind))


def check_key_types(spec: PartitionSpec, schema: pa.Schema) -> None:
    """Refuse columns that rows carry as keys and whose type no key can spell; columns may be missing.

    Raises:
        SchemaMismatch: Naming the first of them.
    """
    for name in spec.carried:
        if name in schema.names:
            _check_key_type(schema.field(name))


def check_partitioned(spec: PartitionSpec, schema: pa.Schema) -> None:
    """Refuse columns of a table, or of its description, that cannot partition it; some may be missing.

    Raises:
        SchemaMismatch: A type that keys cannot spell, or a time column that is none.
    """
    check_key_types(spec, schema)
    name = spec.time.column if spec.time else None
    if name is not None and name in schema.names and not is_time(schema.field(name).type):
        message = f"the time column {name} is {schema.field(name).type} in the table, not a time"
        raise SchemaMismatch(message, hint="declare it as timestamp, timestamp[us] or date: text is read as that")


def _check_key_type(field: pa.Field[Any]) -> None:
    kind = field.type.value_type if pat.is_dictionary(field.type) else field.type
    if any(is_one(kind) for is_one in _KEY_TYPES):
        return
    message = f"the dataset is partitioned by {field.name}, which is {kind}: no key can spell every value of that type"
    hint = "cast it to decimal or to text" if pat.is_floating(kind) else "partition by text, a whole number or a time"
    raise SchemaMismatch(message, hint=hint)
