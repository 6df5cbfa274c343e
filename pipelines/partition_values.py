"""A partition's key, which is text, as the values that its columns have in rows."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.types as pat

from pipelines.errors import SchemaMismatch

if TYPE_CHECKING:
    import pyarrow.compute as pc

    from pipelines.layout import PartitionKey

__all__ = ["key_expression", "typed_value"]


def key_expression(key: PartitionKey, schema: pa.Schema, table: str) -> pc.Expression:
    """What holds for every row of a partition: each column equals its value, or is null.

    Args:
        key: the partition.
        schema: of the table.
        table: for the error.

    Raises:
        SchemaMismatch: a value that is none of its column's type.
    """
    expression = pads.scalar(value=True)
    for name, text in key.items:
        column = pads.field(name)
        if not text:
            expression = expression & column.is_null()
            continue
        kind = schema.field(name).type
        try:
            value = typed_value(text, kind)
        except (ValueError, OverflowError, pa.ArrowException) as error:
            message = f"{table}: the partition {key} does not fit its column {name}, which is {kind}: {error}"
            raise SchemaMismatch(message, hint="read the files themselves with pyarrow, or mend the table") from error
        expression = expression & (column == value)
    return expression


def typed_value(text: str, kind: pa.DataType) -> pa.Scalar:
    """The value that a key spells; see `layout.spelled`.

    Args:
        text: not empty, which is null.
        kind: of the column.

    Raises:
        ValueError: the text spells no such value; `pyarrow.ArrowInvalid` is one.
    """
    if pat.is_timestamp(kind):
        at = datetime.fromisoformat(text)
        if kind.tz is None and at.tzinfo is not None:
            raise ValueError(f"{text!r} has an offset")
        if kind.tz is not None and at.tzinfo is None:
            at = datetime.fromisoformat(f"{text}+00:00")
        return pa.scalar(at, pa.timestamp("us", kind.tz)).cast(kind)
    if pat.is_date(kind):
        return pa.scalar(date.fromisoformat(text), kind)
    if pat.is_binary(kind) or pat.is_large_binary(kind):
        if "\\" in text:
            raise ValueError("bytes that are no text")
        return pa.scalar(text.encode(), kind)
    return pa.scalar(text).cast(kind)
