"""What the store still holds beside the table: old files, orphans, older versions, and which of them have some rows.

A commit takes rows out of the table at once, but the files that held them stay until their grace ends and `vacuum`
runs. Whoever must know where rows still are looks here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.journal import VacuumRecord, new_record_id
from pipelines.layout import PartitionKey, typed_expression
from pipelines.maintenance import ORPHAN_AGE
from pipelines.nested import is_nested, nested_roots
from pipelines.scanning import parquet_format
from pipelines.skipping import columns_in
from pipelines.tables.waiting import WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import pyarrow.compute as pc

    from connector.filesystem import LakeFileSystem
    from pipelines.handle import Handle
    from pipelines.tables.protocol import Snapshot

__all__ = ["Remnant", "delete_remnants", "matching_remnants"]

_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class Remnant:
    """An object, or an older version of one, that is not part of the table any more, or never was.

    Attributes:
        path: below the root.
        key: the partition that its path names; all null where it names none.
        size: bytes.
        rows: how many of the rows in question it holds; None where it cannot be told.
        why: what it is, in words.
        until: from when `vacuum` deletes it; None where it does not.
        version_id: of the older version; None for the object as it is.
        is_ours: False for what another table that lies there may name: it is never deleted.
    """

    path: str
    key: PartitionKey
    size: int
    rows: int | None
    why: str
    until: datetime | None
    version_id: str | None = None
    is_ours: bool = True


def matching_remnants(handle: Handle, matching: pc.Expression, snapshot: Snapshot) -> tuple[Remnant, ...]:
    """The remnants that hold matching rows, or may.

    Args:
        handle: the dataset.
        matching: which rows.
        snapshot: the table as it is.
    """
    schema = snapshot.schema if snapshot.schema is not None else pa.schema([])
    columns = snapshot.files[0].key.columns if snapshot.files else handle.table.partition_columns
    candidates = list(_candidates(handle, frozenset(file.path for file in snapshot.files), columns))
    asked = columns_in(matching, schema)
    needs_key = asked is None or bool(asked & set(columns))

    def counted(remnant: Remnant) -> Remnant:
        is_told = handle.table.told_key(remnant.path.removeprefix(WAITING), columns) is not None
        # without its key nobody can tell which rows match
        return replace(remnant, rows=_count(handle, remnant, matching, schema) if is_told or not needs_key else None)

    with ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="remnants") as pool:
        return tuple(remnant for remnant in pool.map(counted, candidates) if remnant.rows != 0)


def delete_remnants(handle: Handle, remnants: Sequence[Remnant], *, reason: str, run_id: str | None = None) -> None:
    """Delete remnants for good, now; readers of older versions and `undo` lose them.

    Args:
        handle: the dataset.
        remnants: which.
        reason: for the history.
        run_id: likewise.
    """
    if not remnants:
        return
    root = handle.table.root
    is_versioned = handle.fs.is_versioned(root.partition("/")[0])
    for path in sorted({remnant.path for remnant in remnants}):
        versions = [one.version_id for one in remnants if one.path == path and one.version_id is not None]
        if versions:
            handle.fs.delete_versions(f"{root}/{path}", versions)
        elif is_versioned:
            found = [one for one in handle.fs.object_versions(f"{root}/{path}") if one.path == f"{root}/{path}"]
            handle.fs.delete_versions(f"{root}/{path}", [one.version_id for one in found])
        else:
            handle.fs.rm_file(f"{root}/{path}")
    handle.fs.invalidate_cache()
    at = handle.clock.now()
    handle.journal.write_vacuum(
        VacuumRecord(
            id=new_record_id(at),
            at=at,
            run_id=run_id,
            keys=tuple(sorted({str(remnant.key) for remnant in remnants})),
            reason=reason,
            files=len(remnants),
            bytes=sum(remnant.size for remnant in remnants),
        )
    )


def _candidates(handle: Handle, live: frozenset[str], columns: tuple[str, ...]) -> Iterator[Remnant]:
    root = handle.table.root
    removed = {file.path: file.removed_at for file in handle.table.removed_files()}
    grace = handle.spec.retention.grace
    if handle.fs.is_versioned(root.partition("/")[0]):
        found = [
            (version.path, version.size, version.modified, None if version.is_latest else version.version_id)
            for version in handle.fs.object_versions(f"{root}/")
            if not version.is_delete_marker
        ]
    else:
        infos = handle.fs.find(root, detail=True, refresh=True)
        found = [
            (name, int(info["size"]), info["LastModified"], None)
            for name, info in infos.items()
            if info["type"] == "file"
        ]
    nested = nested_roots(name.removeprefix(f"{root}/") for name, *_ in found)
    for name, size, modified, version_id in found:
        path = name.removeprefix(f"{root}/")
        is_ours = not is_nested(path, nested)
        if not is_ours and path not in removed:
            continue
        is_other = path.startswith(("_delta_log/", "_lake/")) and not path.startswith(WAITING)
        if is_other or not size or (path in live and version_id is None):
            continue
        told = handle.table.told_key(path.removeprefix(WAITING), columns)
        key = PartitionKey.of((name, None) for name in columns) if told is None else told
        if not is_ours:
            why, until = "in another table that lies there", None
        elif path in removed and path not in live:
            why, until = "expired or replaced", removed[path] + grace
        elif version_id is not None:
            why, until = "an older version of an object", None
        else:
            why, until = "named by no commit", modified + ORPHAN_AGE
        yield Remnant(path, key, size, None, why, until, version_id, is_ours)


def _count(handle: Handle, remnant: Remnant, matching: pc.Expression, schema: pa.Schema) -> int | None:
    path = f"{handle.table.root}/{remnant.path}"
    try:
        with _open_version(handle.fs, path, remnant.version_id) if remnant.version_id else handle.fs.open(path) as file:
            fragment = parquet_format().make_fragment(file, partition_expression=typed_expression(remnant.key, schema))
            # a column that is computed of every row: a filter would go by statistics, which say nothing of NaN
            batches = fragment.to_batches(schema=schema, columns={"matches": matching})
            return int(sum(batch.column(0).true_count for batch in batches))
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None  # not Parquet, other types, gone, or archived: said as such


def _open_version(fs: LakeFileSystem, path: str, version_id: str) -> Any:
    """An older version of an object, for reading; only a filesystem that was made so takes a version id."""
    options = {**fs.storage_options, "settings": fs.settings, "version_aware": True}
    return type(fs)(*fs.storage_args, **options).open(path, "rb", version_id=version_id)
