"""Columns that files hold before a value settles their type: empty lists, structs of nulls.

Their shape is recorded beside the table before a file has it. A type that such a column gets later must have that
shape, or the files could not be read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.types as pat

from tierlake.connector.documents import UnreadableDocument, json_list
from tierlake.connector.errors import ObjectArchived, PreconditionFailed
from tierlake.pipelines.errors import ArchivedError, SchemaMismatch, TableUnreadable
from tierlake.pipelines.model.stored_types import settled_type
from tierlake.pipelines.parquet.footers import read_footers
from tierlake.pipelines.runtime.conflicts import attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["check_untyped", "note_untyped"]

Node = tuple[tuple[str, ...], str]
"""The path of a column, or of a part of it, and its shape."""


def note_untyped(fs: LakeFileSystem, root: str, columns: pa.Schema) -> None:
    """Record the shapes of untyped columns that files are about to hold.

    Raises:
        CommitConflict: Others kept writing it.
    """
    untyped = set(_untyped(columns))
    if not untyped:
        return
    for attempt in attempts(f"lake://{_path(root)}", done="nothing was changed"):
        with attempt:
            kept, etag = _noted(fs, root)
            if untyped <= kept:
                return
            data = json.dumps(sorted(kept | untyped), ensure_ascii=False).encode()
            try:
                fs.put_if(_path(root), data, **({"if_match": etag} if etag else {"if_none_match": True}))
            except PreconditionFailed:
                continue
            return
    raise AssertionError  # the last attempt raises


def check_untyped(fs: LakeFileSystem, root: str, snapshot: Snapshot, schema: pa.Schema, added: Iterable[str]) -> None:
    """Refuse a new column whose type has another shape than files hold it in.

    Args:
        fs: The table's filesystem.
        root: The table's `bucket/prefix`.
        snapshot: Its live files.
        schema: The table's schema with the new columns.
        added: The new columns; nothing is read where there are none.

    Raises:
        SchemaMismatch: It names the column, the type and a file.
    """
    if not any(True for _ in added):
        return
    kept, _ = _noted(fs, root)
    wrong = [node for node in sorted(kept) if _clashes(node, schema)]
    if not wrong:
        return
    sizes = {file.path: file.size for file in snapshot.files}
    for path, footer in read_footers(fs, root, sizes):
        if isinstance(footer, ObjectArchived):
            raise _archived(root, path, wrong[0], schema) from footer
        held = set() if isinstance(footer, Exception) else set(_untyped(footer.schema.to_arrow_schema()))
        for parts, shape in wrong:
            if (parts, shape) in held:
                name = ".".join(parts)
                message = (
                    f"column {name} is {_at(parts, schema)}, and rows that came before it had a type hold a {shape}"
                )
                hint = f"make it a {shape}, or replace the partition of lake://{root}/{path} first"
                raise SchemaMismatch(message, hint=hint)


def _archived(root: str, path: str, node: Node, schema: pa.Schema) -> ArchivedError:
    name, folder = ".".join(node[0]), path.rpartition("/")[0]
    message = (
        f"lake://{root}: column {name} is {_at(node[0], schema)}, and rows that came before it had a type may hold a "
        f"{node[1]}: lake://{root}/{path} is archived and cannot tell"
    )
    return ArchivedError(message, hint=f"`tierlake restore lake://{root} {folder}` first, or make it a {node[1]}")


def _path(root: str) -> str:
    return f"{root}/_lake/untyped.json"


def _noted(fs: LakeFileSystem, root: str) -> tuple[set[Node], str | None]:
    try:
        data, etag = fs.read_with_etag(_path(root))
    except FileNotFoundError:
        return set(), None
    try:
        return {_node(one) for one in json_list(data)}, etag
    except UnreadableDocument as error:
        message = f"lake://{_path(root)} does not tell the columns without a type: {error}"
        raise TableUnreadable(message, hint="bring it back as it was, where the bucket keeps versions") from error


def _node(value: object) -> Node:
    match value:
        case [[str(), *_] as parts, str(shape)] if all(isinstance(part, str) for part in parts):
            return tuple(map(str, parts)), shape
    raise UnreadableDocument("an entry of it is no column with a shape")


def _untyped(schema: pa.Schema) -> Iterator[Node]:
    for field in schema:
        yield from _nodes((field.name,), field.type)


def _nodes(path: tuple[str, ...], kind: pa.DataType) -> Iterator[Node]:
    """The untyped parts of a schema that have a shape."""
    shape = _shape(kind)
    if shape is None:
        return
    if settled_type(kind) is None:
        yield path, shape
    for name, inner in _parts(kind):
        yield from _nodes((*path, name), inner)


def _shape(kind: pa.DataType) -> str | None:
    shapes = ((pat.is_list, "list"), (pat.is_map, "map"), (pat.is_struct, "struct"))
    return next((shape for test, shape in shapes if test(kind)), None)


def _parts(kind: Any) -> list[tuple[str, pa.DataType]]:
    if pat.is_struct(kind):
        return [(field.name, field.type) for field in kind]
    if pat.is_map(kind):
        return [("key", kind.key_type), ("value", kind.item_type)]
    return [("element", kind.value_type)]


def _at(path: tuple[str, ...], schema: pa.Schema) -> pa.DataType | None:
    if path[0] not in schema.names:
        return None
    kind: pa.DataType | None = schema.field(path[0]).type
    for name in path[1:]:
        kind = dict(_parts(kind)).get(name) if kind is not None and _shape(kind) else None
    return kind


def _clashes(node: Node, schema: pa.Schema) -> bool:
    path, shape = node
    kind = _at(path, schema)
    return kind is not None and _shape(kind) != shape
