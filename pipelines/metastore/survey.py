"""What lies below a prefix that others wrote: files that can belong to a table, their common schema, and odd objects.

Looks at the listing and at the footers, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pat

from tierlake.connector.errors import ObjectArchived, ObjectNotFound
from tierlake.pipelines.errors import ArchivedError, SchemaMismatch, TableNotFound, UnsupportedByTable
from tierlake.pipelines.model.partition_key import PartitionKey, hive_columns, path_columns
from tierlake.pipelines.model.stored_types import check_storable, settled_type, storable_type
from tierlake.pipelines.parquet.footers import NotParquet, read_footers
from tierlake.pipelines.parquet.statistics import footer_stats
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.tables.change_times import ChangeTimes
from tierlake.pipelines.tables.nested import nested_roots
from tierlake.pipelines.tables.snapshot import LiveFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["OddObject", "Survey", "listed_below", "refuse_nested", "survey"]

_HIDDEN = ("_", ".")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class OddObject:
    """An object that does not become part of the table, and why.

    Attributes:
        path: Below the root.
        problem: In words.
    """

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class Survey:
    """The result of a survey.

    Attributes:
        files: Data files, with rows and statistics.
        columns: The Hive columns, in order.
        schema: The files' common schema without the Hive columns; all nullable, in the types that Delta keeps.
        odd: Objects that are left alone.
        notes: Remarks about the files, such as columns that some lack.
    """

    files: tuple[LiveFile, ...]
    columns: tuple[str, ...]
    schema: pa.Schema
    odd: tuple[OddObject, ...]
    notes: tuple[str, ...]


def survey(fs: LakeFileSystem, root: str) -> Survey:
    """Look at every object below a root: one listing, and the footers.

    Raises:
        TableNotFound: No Parquet file is there.
        UnsupportedByTable: A table of its own lies below.
        SchemaMismatch: The files' schemas do not merge, naming two that clash.
        ArchivedError: Files whose footers cannot be read before they are restored.
    """
    infos = listed_below(fs, root)
    refuse_nested(root, infos)
    odd = {path: problem for path, info in infos.items() if (problem := _problem(path, info))}
    candidates = {path: info for path, info in infos.items() if path not in odd and not _is_hidden(path)}
    columns = hive_columns(candidates)
    for path in candidates:
        if path_columns(path) != columns:
            odd[path] = f"not below {'/'.join(f'{name}=…' for name in columns) or 'the root itself'}"
    sizes = {path: int(info["size"]) for path, info in candidates.items() if path not in odd}
    files: list[LiveFile] = []
    times = ChangeTimes(fs, root).read()
    merging = _Merging(columns)
    archived: list[str] = []
    for path, footer in read_footers(fs, root, sizes):
        if isinstance(footer, ObjectNotFound):
            raise footer
        if isinstance(footer, ObjectArchived):
            archived.append(path)
            continue
        if isinstance(footer, NotParquet):
            odd[path] = f"not Parquet: {footer}"
            continue
        merging.add(path, footer.schema.to_arrow_schema())
        files.append(
            LiveFile(
                path=path,
                size=sizes[path],
                key=PartitionKey.of_path(path, columns),
                rows=footer.num_rows,
                modified=times.changed(path, candidates[path]),
                stats=footer_stats(footer, has_float_bounds=False),
            )
        )
    if archived:
        raise _archived(root, columns, archived)
    if not files:
        raise TableNotFound(f"no Parquet file below lake://{root}", hint=_first_problem(odd))
    schema = merging.schema()
    check_storable(schema)
    return Survey(
        files=tuple(files),
        columns=columns,
        schema=schema,
        odd=tuple(OddObject(path, problem) for path, problem in sorted(odd.items())),
        notes=merging.notes(),
    )


def _archived(root: str, columns: tuple[str, ...], paths: list[str]) -> ArchivedError:
    keys = tuple(sorted({str(PartitionKey.of_path(path, columns)) for path in paths}))
    shown = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
    message = (
        f"lake://{root}: only footers tell columns and rows, and those of archived files cannot be read: "
        f"{shown or min(paths)} ({formatting.files(len(paths))})"
    )
    hint = f"`tierlake restore lake://{root} {keys[0]}` asks for them; Dataset.open works on the prefix as it is"
    return ArchivedError(message, hint=hint, keys=keys)


def refuse_nested(root: str, paths: Iterable[str]) -> None:
    """Refuse a prefix with tables below it.

    Args:
        root: `bucket/prefix`.
        paths: Of all objects below it.

    Raises:
        UnsupportedByTable: Naming one of the tables.
    """
    if nested := sorted(nested_roots(paths)):
        inner = f"lake://{root}/{nested[0]}"
        raise UnsupportedByTable(
            f"another table lies below lake://{root}: {inner}", hint="one lies beside the other, never inside it"
        )


def listed_below(fs: LakeFileSystem, root: str) -> dict[str, Mapping[str, Any]]:
    """All objects below the root by path, "directory" objects too, except our own metadata."""
    infos = fs.list_fresh(root, withdirs=True)
    below = {name.removeprefix(f"{root}/"): info for name, info in infos.items() if name != root}
    return {
        path: info
        for path, info in sorted(below.items())
        if not path.startswith("_lake/") and (info["type"] == "file" or info.get("LastModified") is not None)
    }


def _problem(path: str, info: Mapping[str, Any]) -> str | None:
    if path.endswith("/") or info["type"] != "file":
        return '"directory" object'
    if _is_hidden(path):
        return "hidden by its name: readers skip it"
    if not path.lower().endswith((".parquet", ".pq")):
        return "not Parquet by its name"
    if int(info["size"]) == 0:
        return "empty: zero bytes"
    return None


def _is_hidden(path: str) -> bool:
    return any(segment.startswith(_HIDDEN) for segment in path.split("/"))


def _first_problem(odd: Mapping[str, str]) -> str | None:
    path = next(iter(sorted(odd)), None)
    return None if path is None else f"{len(odd)} other objects, such as {path}: {odd[path]}"


class _Merging:
    """The merged schema of many files."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self._types: dict[str, pa.DataType] = {}
        self._first: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._widened: dict[str, pa.DataType] = {}
        self._files = 0

    def add(self, path: str, schema: pa.Schema) -> None:
        """Merge one file's schema.

        Raises:
            SchemaMismatch: A column has a type that does not merge with another file's.
        """
        self._files += 1
        for field in schema:
            if field.name in self._columns:
                continue  # the path tells it
            kind = settled_type(storable_type(field.type))
            if kind is None:
                continue  # nothing but nulls: it settles no type
            self._seen[field.name] = self._seen.get(field.name, 0) + 1
            known = self._types.setdefault(field.name, kind)
            self._first.setdefault(field.name, path)
            if known == kind:
                continue
            wider = _wider(known, kind)
            if wider is None:
                raise SchemaMismatch(
                    f"column {field.name} is {known} in {self._first[field.name]}, but {kind} in {path}: "
                    "one table cannot have both",
                    hint="ingest the files into a new dataset, or move one kind to another prefix",
                )
            self._types[field.name] = self._widened[field.name] = wider

    def schema(self) -> pa.Schema:
        """All columns, in the order in which they came."""
        return pa.schema([pa.field(name, kind) for name, kind in self._types.items()])

    def notes(self) -> tuple[str, ...]:
        """Remarks on columns that some files lack or have in a narrower type."""
        lacking = [
            f"{self._files - seen} of {self._files} files lack the column {name}: null there"
            for name, seen in self._seen.items()
            if seen < self._files
        ]
        widened = [
            f"column {name} is narrower in some files: {kind} in the table" for name, kind in self._widened.items()
        ]
        return (*lacking, *widened)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The wider of two numbers of one kind; None where no reader could take both for one column."""
    for kind in (pat.is_signed_integer, pat.is_floating):
        if kind(one) and kind(other):
            return one if one.bit_width >= other.bit_width else other
    return None
