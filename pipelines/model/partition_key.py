"""Partition keys and where they lie in the store.

A key is what `ls` prints and what every call takes: `date=2013-07-04`, or `date=2013-07-04/origin=JFK`. Its values are
texts, one for each value of the column's type (`spelled`, `typed`); the empty string is null. In the store it is a Hive
path: special characters percent-escaped as Spark and Hive do, null as `__HIVE_DEFAULT_PARTITION__`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, unquote

from tierlake.connector.observe.edges import reporting
from tierlake.pipelines.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pyarrow as pa
    import pyarrow.compute as pc

__all__ = [
    "HIVE_NULL",
    "LONGEST_PATH",
    "LONGEST_SEGMENT",
    "PartitionKey",
    "canonical",
    "escape_value",
    "hive_columns",
    "path_columns",
    "spelled",
    "typed",
    "typed_expression",
    "unescape_value",
]

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"

LONGEST_PATH: Final = 1024
"""Bytes of an object's key, as S3 allows them."""

LONGEST_SEGMENT: Final = 255
"""Bytes of a folder in it, as MinIO allows them, which keeps objects in a filesystem."""

_TOO_FINE = re.compile(r"\.\d{6}0*[1-9]")
"""Of a second: `datetime.fromisoformat` drops what a microsecond does not hold."""

_SHOWN: Final = 200

_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]+")
"""What `quote` leaves as it is, in a tenth of its time."""


def escape_value(value: str) -> str:
    """One partition value as a path segment (Hive's percent escapes; null for the empty string)."""
    if value == "":
        return HIVE_NULL
    if value == HIVE_NULL:  # another writer's text: escaped, it is not null's folder
        return f"%5F{HIVE_NULL[1:]}"
    return value if _UNRESERVED.fullmatch(value) else quote(value, safe="")


def unescape_value(segment: str) -> str:
    """The inverse of `escape_value`; bytes that are no UTF-8 stay escaped, so that they stay different."""
    if segment == HIVE_NULL:
        return ""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return segment


def spelled(value: object) -> str:
    """A partition value of any type as Delta's log spells it; null is the empty string.

    Different values of one column have different texts: see `typed` for the way back. An instant is spelled in UTC, a
    decimal with the digits of its column's scale.

    Format: the Delta protocol's "Partition Value Serialization".
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            wall = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return wall.isoformat(sep=" ")
        case date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case _:
            return str(value)


def typed(text: str, kind: pa.DataType) -> pa.Scalar[Any]:
    """A partition value in its column's type: the inverse of `spelled`.

    Other writers' spellings of the same value are read too: `007` as an integer, `2013-07-04 00:00:00` as a date.

    Args:
        text: The value; the empty string is null.
        kind: A type that columns of partitions may have: text, integers, floats, booleans, dates, timestamps, decimals.

    Raises:
        SpecError: Text that spells no value of the type, or another type.
    """
    import pyarrow as pa

    if text == "":
        return pa.scalar(None, kind)
    try:
        return pa.scalar(_reader(kind)(text), kind)
    except (ValueError, OverflowError, InvalidOperation, pa.ArrowException) as error:
        raise SpecError(f"{text[:_SHOWN]!r} is not a value of a partition column of type {kind}") from error


@lru_cache(maxsize=256)
def _reader(kind: pa.DataType) -> Callable[[str], object]:
    """What reads a type's values: looked up once, as a table has many."""
    import pyarrow.types as pat

    readers: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], object]], ...] = (
        (pat.is_string, str),
        (pat.is_large_string, str),
        (pat.is_string_view, str),
        (pat.is_boolean, lambda value: {"true": True, "false": False}.get(value.lower(), value)),
        (pat.is_integer, _integer),
        (pat.is_decimal, Decimal),
        (pat.is_floating, float),
        (pat.is_date, _date),
        (pat.is_timestamp, lambda value: _time(value, is_instant=bool(kind.tz))),
    )
    for is_of, read in readers:
        if is_of(kind):
            return read
    raise SpecError(f"a partition column cannot be {kind}", hint="it may be text, a number, a boolean or a time")


def _integer(text: str) -> int:
    if not text.lstrip("+-").isdecimal():
        raise ValueError(text)  # int() takes underscores and spaces
    return int(text)


def _date(text: str) -> date:
    at = datetime.fromisoformat(text)
    if at.tzinfo or at.time() != time.min:
        raise ValueError(text)
    return at.date()


def _time(text: str, *, is_instant: bool) -> datetime:
    at = datetime.fromisoformat(text)
    if (at.tzinfo and not is_instant) or _TOO_FINE.search(text):
        raise ValueError(text)
    if not is_instant:
        return at
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def typed_expression(key: PartitionKey, schema: pa.Schema) -> pc.Expression:
    """The rows of a partition, as a filter over the table's columns.

    Args:
        key: The partition.
        schema: Of the table; its columns' types are those that the values are compared in.

    Raises:
        SpecError: A value that its column's type does not have.
    """
    import pyarrow.compute as pc

    expression = pc.scalar(True)  # noqa: FBT003 - the scalar's value
    for name, value in key.items:
        column = pc.field(name)
        expression &= column == typed(value, schema.field(name).type) if value else column.is_null()
    return expression


def canonical(key: PartitionKey, schema: pa.Schema | None) -> PartitionKey:
    """A key as the table itself spells it: other writers' folders, and people, write `day=2024-1-5 00:00` too.

    Args:
        key: In anybody's spelling.
        schema: Of the table; None, and a column that it lacks, leave the text as it is.
    """
    if schema is None:
        return key
    return PartitionKey(tuple((name, _canonical(name, value, schema)) for name, value in key.items))


def _canonical(name: str, value: str, schema: pa.Schema) -> str:
    if not value or name not in schema.names:
        return value
    try:
        return spelled(typed(value, schema.field(name).type).as_py())
    except SpecError:
        return value


def path_columns(path: str) -> tuple[str, ...] | None:
    """The Hive columns in a file's path; None where a folder is not `name=value`, or a column comes twice."""
    names: list[str] = []
    for segment in path.split("/")[:-1]:
        name, equals, _ = segment.partition("=")
        if not equals or not name or name in names:
            return None
        names.append(name)
    return tuple(names)


def hive_columns(paths: Iterable[str]) -> tuple[str, ...]:
    """The Hive columns of most paths below a root."""
    counts = Counter(columns for path in paths if (columns := path_columns(path)) is not None)
    return counts.most_common(1)[0][0] if counts else ()


@dataclass(frozen=True, slots=True, order=True)
class PartitionKey:
    """One partition: its columns and values, in the table's order. The empty key is an unpartitioned table."""

    items: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, values: Mapping[str, str | None] | Iterable[tuple[str, str | None]]) -> Self:
        """From column to value; None is null."""
        pairs = values.items() if hasattr(values, "items") else values
        return cls(tuple((name, value or "") for name, value in pairs))

    @classmethod
    @reporting
    def parse(cls, text: str) -> Self:
        """Read what `str` writes.

        Raises:
            SpecError: A segment without `=`, or with half of a pair of surrogates, which no name of an object has.
        """
        if text == "":
            return cls(())
        pairs: list[tuple[str, str]] = []
        for segment in text.strip("/").split("/"):
            name, equals, value = segment.partition("=")
            if not equals or not name or any("\ud800" <= char <= "\udfff" for char in segment):
                message = f"{text!r} is not a partition key"
                raise SpecError(message, hint="write it as `ls` prints it: date=2013-07-04")
            pairs.append((name, unescape_value(value)))
        return cls(tuple(pairs))

    @classmethod
    def of_path(cls, path: str, columns: tuple[str, ...]) -> Self:
        """The key of a file by its path below the table's root; missing segments are null."""
        given = {
            name: unescape_value(value)
            for name, equals, value in (segment.partition("=") for segment in path.split("/")[:-1])
            if equals
        }
        return cls(tuple((name, given.get(name, "")) for name in columns))

    @property
    def prefix(self) -> str:
        """The Hive path below the table's root, without slashes at the ends."""
        return "/".join(f"{name}={escape_value(value)}" for name, value in self.items)

    @property
    def columns(self) -> tuple[str, ...]:
        """The partition columns' names."""
        return tuple(name for name, _ in self.items)

    def value(self, column: str) -> str | None:
        """The value of a column; the empty string is null, and None is no such column."""
        for name, value in self.items:
            if name == column:
                return value
        return None

    def as_dict(self) -> dict[str, str]:
        """Column to value; the empty string is null."""
        return dict(self.items)

    def __str__(self) -> str:
        """As `ls` prints it: the Hive path."""
        return "/".join([f"{name}={escape_value(value) if value else ''}" for name, value in self.items])
