"""Objects in the store that are no live files: old files, orphans, older versions, and which of them hold some rows.

A commit takes rows out of the table at once, but the files that held them stay until their grace ends and `vacuum`
runs. This module finds where rows still are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierlake.pipelines.maintenance.stored_files import StoredObject, stored_objects
from tierlake.pipelines.metastore.deletion import Doomed, delete_for_good
from tierlake.pipelines.metastore.records import RemovalRecord
from tierlake.pipelines.model.instant import instant_after
from tierlake.pipelines.model.partition_key import PartitionKey, typed_expression
from tierlake.pipelines.parquet.file_skipping import columns_in
from tierlake.pipelines.parquet.scan import parquet_format
from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.tables.snapshot import ORPHAN_AGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow.compute as pc

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovedPartition
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["Remnant", "delete_remnants", "matching_remnants"]

_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class Remnant:
    """An object, or an older version of one, that has left the table or was never in it.

    Attributes:
        path: Below the root.
        key: The partition in its path; all null where there is none.
        size: Bytes.
        rows: How many matching rows it holds; None where that is unknown.
        why: What it is, in words.
        until: The instant from which `vacuum` deletes it; None where it does not.
        version_id: The id of an older version; None for the current object.
        versions: The ids to delete with it; none where the bucket keeps none.
        etag: The object's ETag, where there are no versions.
        removal: The journal's record that took it out, where one did.
        was_live: Whether a commit named it. Another file may still be committed, by a running ingest.
        is_ours: False for a file that may belong to a nested table: it is never deleted.
    """

    path: str
    key: PartitionKey
    size: int
    rows: int | None
    why: str
    until: datetime | None
    version_id: str | None = None
    versions: tuple[str, ...] = ()
    etag: str | None = None
    removal: str | None = None
    was_live: bool = True
    is_ours: bool = True


def matching_remnants(handle: Handle, matching: pc.Expression, snapshot: Snapshot) -> tuple[Remnant, ...]:
    """The remnants that hold matching rows, or may hold some.

    Args:
        handle: The dataset.
        matching: The predicate of the rows.
        snapshot: The table's present state.
    """
    schema = snapshot.schema if snapshot.schema is not None else pa.schema([])
    columns = snapshot.files[0].key.columns if snapshot.files else handle.table.partition_columns
    candidates = list(_candidates(handle, {file.path: file.etag for file in snapshot.files}, columns))
    needed = columns_in(matching, schema)
    needs_key = needed is None or bool(needed & set(columns))

    def counted(remnant: Remnant) -> Remnant:
        has_key = handle.table.path_key(remnant.path, columns) is not None
        # without the key, the matches are unknown
        return replace(remnant, rows=_count(handle, remnant, matching, schema) if has_key or not needs_key else None)

    total = sum(remnant.size for remnant in candidates)
    with reporting("read old files", total=len(candidates), bytes_total=total) as advance:
        counts = in_threads(
            counted,
            candidates,
            at_once=_CONCURRENCY,
            name="unreferenced",
            advance=lambda remnant: advance(remnant.path, remnant.size),
        )
    return tuple(remnant for remnant in counts if remnant.rows != 0)


def delete_remnants(
    handle: Handle, remnants: Sequence[Remnant], *, reason: str, run_id: str | None = None
) -> tuple[Remnant, ...]:
    """Delete remnants for good, now; readers of older versions and `undo` lose them.

    Args:
        handle: The dataset.
        remnants: The remnants to delete.
        reason: For the history.
        run_id: Likewise.

    Returns:
        The deleted ones: held remnants, and those in use again, stay.
    """
    doomed = {
        Doomed(
            path=one.path,
            size=one.size,
            key=one.key,
            versions=one.versions,
            etag=one.etag,
            removal=one.removal,
            is_expired=True,
        ): one
        for one in remnants
    }
    deleted = delete_for_good(handle, tuple(doomed), now=handle.clock.now(), reason=reason, run_id=run_id)
    return tuple(doomed[one] for one in deleted)


def _candidates(handle: Handle, live: Mapping[str, str | None], columns: tuple[str, ...]) -> Iterator[Remnant]:
    """Objects and versions that are not live."""
    grace = handle.spec.retention.grace
    removed = {file.path: instant_after(file.removed_at, grace) for file in handle.table.removed_files()}
    records = _records(handle)
    for one in stored_objects(handle):
        if one.is_nested and one.path not in removed and one.path not in records:
            continue
        own_key = handle.table.path_key(one.path, columns)
        key = PartitionKey.of((name, None) for name in columns) if own_key is None else own_key
        for version_id in one.versions or (None,):
            size = one.size if version_id is None else one.sizes[version_id]
            is_older = version_id is not None and version_id != one.shown
            if not size or (one.path in live and not is_older):
                continue
            named = [
                (record, gone)
                for record, gone, version in records.get(one.path, ())
                if version is None or version == version_id
            ]
            until: datetime | None = None
            was_live = True
            if one.is_nested:
                why = "in another table that lies there"
            elif named:
                why, until = "expired or replaced", max(record.undo_until for record, _ in named)
            elif one.path in removed and one.path not in live:
                why, until = "expired or replaced", removed[one.path]
            elif is_older:
                why = "an older version of an object"
            else:
                why, until, was_live = "named by no commit", one.modified + ORPHAN_AGE, False
            yield Remnant(
                path=one.path,
                key=named[0][1].partition_key if named else key,
                size=size,
                rows=None,
                why=why,
                until=until,
                version_id=version_id if is_older else None,
                versions=_with_it(handle, one, version_id),
                etag=one.etag,
                removal=named[0][0].id if named else None,
                was_live=was_live,
                is_ours=not one.is_nested,
            )


def _records(handle: Handle) -> dict[str, list[tuple[RemovalRecord, RemovedPartition, str | None]]]:
    """The removals that are not undone, by path, each with the version of the file."""
    records: dict[str, list[tuple[RemovalRecord, RemovedPartition, str | None]]] = {}
    undone = handle.journal.undone()
    for record in handle.journal.records(RemovalRecord):
        for gone, file in record.files():
            if (record.id, gone.key) not in undone:
                records.setdefault(file.path, []).append((record, gone, file.version_id))
    return records


def _with_it(handle: Handle, one: StoredObject, version_id: str | None) -> tuple[str, ...]:
    """The versions to delete with one; for a file that no commit names, the delete markers too."""
    if version_id is None:
        return ()
    is_hidden = not handle.table.is_replaced_in_place(one.path) and not one.is_shown
    return (version_id, *(other for other in one.versions if is_hidden and not one.sizes[other]))


def _count(handle: Handle, remnant: Remnant, matching: pc.Expression, schema: pa.Schema) -> int | None:
    path = f"{handle.table.root}/{remnant.path}"
    try:
        with _open_version(handle.fs, path, remnant.version_id) if remnant.version_id else handle.fs.open(path) as file:
            fragment = parquet_format().make_fragment(file, partition_expression=typed_expression(remnant.key, schema))
            # computed for every row: a filter would use statistics, which ignore NaN
            batches = fragment.to_batches(schema=schema, columns={"matches": matching})
            return int(sum(batch.column(0).true_count for batch in batches))
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None  # not Parquet, other types, gone, or archived: the count is unknown


def _open_version(fs: LakeFileSystem, path: str, version_id: str) -> Any:
    """An older version of an object, for reading; only a filesystem that was made so takes a version id."""
    options = {**fs.storage_options, "settings": fs.settings, "version_aware": True}
    return type(fs)(*fs.storage_args, **options).open(path, "rb", version_id=version_id)
