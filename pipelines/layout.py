"""Partition keys and where they lie in the store.

A key is what `ls` prints and what every call takes: `date=2013-07-04`, or `date=2013-07-04/origin=JFK`. Its values are
ISO strings, the empty string is null. In the store it is a Hive path: special characters percent-escaped as Spark and
Hive do, null as `__HIVE_DEFAULT_PARTITION__`.
"""

from __future__ import annotations

import string
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from pipelines.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["HIVE_NULL", "PartitionKey", "escape_value", "hive_columns", "path_columns", "spelled", "unescape_value"]

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"

_SAFE = frozenset(string.ascii_letters + string.digits + "-_.~")


def escape_value(value: str) -> str:
    """One partition value as a path segment (Hive's percent escapes; null for the empty string)."""
    if value == "":
        return HIVE_NULL
    return "".join(char if char in _SAFE else "".join(f"%{byte:02X}" for byte in char.encode()) for char in value)


def unescape_value(segment: str) -> str:
    """The inverse of `escape_value`."""
    return "" if segment == HIVE_NULL else unquote(segment)


def spelled(value: object) -> str:
    """A partition value of any type as Delta's log spells it; null is the empty string.

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
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case _:
            return str(value)


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
    def parse(cls, text: str) -> Self:
        """Read what `str` writes.

        Raises:
            SpecError: a segment without `=`.
        """
        if text == "":
            return cls(())
        pairs: list[tuple[str, str]] = []
        for segment in text.strip("/").split("/"):
            name, equals, value = segment.partition("=")
            if not equals or not name:
                message = f"{text!r} is not a partition key"
                raise SpecError(message, hint="write it as `ls` prints it: date=2013-07-04")
            pairs.append((name, unescape_value(value)))
        return cls(tuple(pairs))

    @classmethod
    def of_path(cls, path: str, columns: tuple[str, ...]) -> Self:
        """The key of a file by its path below the table's root; missing segments are null."""
        found = {
            name: unescape_value(value)
            for name, equals, value in (segment.partition("=") for segment in path.split("/")[:-1])
            if equals
        }
        return cls(tuple((name, found.get(name, "")) for name in columns))

    @property
    def prefix(self) -> str:
        """The Hive path below the table's root, without slashes at the ends."""
        return "/".join(f"{name}={escape_value(value)}" for name, value in self.items)

    @property
    def columns(self) -> tuple[str, ...]:
        """The partition columns' names."""
        return tuple(name for name, _ in self.items)

    def as_dict(self) -> dict[str, str]:
        """Column to value; the empty string is null."""
        return dict(self.items)

    def __str__(self) -> str:
        """As `ls` prints it: the Hive path."""
        return "/".join(f"{name}={escape_value(value) if value else ''}" for name, value in self.items)
