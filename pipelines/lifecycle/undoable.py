"""What can be undone: the newest removal of each partition, while its grace lasts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tierlake.connector.errors import AccessDenied
from tierlake.pipelines.metastore.records import RemovalRecord
from tierlake.pipelines.metastore.removal import settled
from tierlake.pipelines.query.placement import MISSING
from tierlake.pipelines.runtime.listing import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovedPartition

__all__ = [
    "Removed",
    "Undoable",
    "can_be_undone",
    "classes_of",
    "described",
    "expired_keys",
    "newest_removals",
    "still_waiting",
    "undoable",
]

Removed: TypeAlias = "tuple[RemovalRecord, RemovedPartition]"
"""A partition with the removal that took it out."""

_FEW_FOLDERS = 4

logger = logging.getLogger("tierlake.pipelines")


@dataclass(frozen=True, slots=True)
class Undoable:
    """A partition that can still come back.

    Attributes:
        key: The partition, as `ls` printed it.
        operation: What took its files out: `expire` or `replace`.
        removed_at: When, by the server's clock.
        undo_until: When its grace ends, by the same clock.
        reason: Why it left.
        files: How many wait for the end of the grace.
        bytes: Their size.
        run_key: The run key of the ingest that replaced it.
        storage_class: Where its files wait, several classes joined by `+`, `MISSING` where one is not there; None where
            nobody asked the store.
    """

    key: str
    operation: str
    removed_at: datetime
    undo_until: datetime
    reason: str
    files: int
    bytes: int
    run_key: str | None = None
    storage_class: str | None = None


def undoable(handle: Handle, operations: Sequence[str] = ("expire", "replace")) -> tuple[Undoable, ...]:
    """The newest removal of each partition that can still be undone, and until when, in key order.

    Args:
        handle: The dataset.
        operations: Only removals by these.
    """
    live = {str(file.key) for file in handle.table.snapshot().files}
    waiting = still_waiting(handle, newest_removals(handle, operations), live)
    return tuple(described(record, gone) for _, (record, gone) in sorted(waiting.items()))


def newest_removals(handle: Handle, operations: Collection[str] = ("expire", "replace")) -> dict[str, Removed]:
    """The newest removal of each partition, by key, whether it can still be undone or not.

    Args:
        handle: The dataset.
        operations: Only removals by these.
    """
    newest: dict[str, Removed] = {}
    for stored in handle.journal.records(RemovalRecord):
        record = settled(handle, stored) if stored.operation in operations else None
        if record is not None:
            for gone in record.partitions:
                newest.setdefault(gone.key, (record, gone))
    return newest


def still_waiting(handle: Handle, removals: Mapping[str, Removed], live: Collection[str]) -> dict[str, Removed]:
    """Those of some removals that can be undone now, and are not.

    Args:
        handle: The dataset.
        removals: The newest of each partition.
        live: The partitions of the table.
    """
    now = handle.clock.now()
    waiting = {
        key: (record, gone)
        for key, (record, gone) in removals.items()
        if record.can_be_undone and now < record.undo_until and not (record.operation == "expire" and key in live)
    }
    oldest = min((record.id for record, _ in waiting.values()), default="")
    over = handle.journal.undone(oldest) | handle.journal.ended(oldest) if waiting else frozenset()
    return {key: removed for key, removed in waiting.items() if (removed[0].id, key) not in over}


def expired_keys(handle: Handle) -> tuple[Undoable, ...]:
    """Which expiries can still be undone, and until when, in key order."""
    return undoable(handle, ("expire",))


def can_be_undone(handle: Handle, key: str) -> bool:
    """Whether an expiry of this partition is still within its grace, by the journal alone."""
    record = handle.journal.latest_removal(key, ("expire",))
    return (
        record is not None
        and record.can_be_undone
        and handle.clock.now() < record.undo_until
        and (record.id, key) not in handle.journal.ended(record.id)
    )


def described(record: RemovalRecord, gone: RemovedPartition) -> Undoable:
    """A partition that can be undone, as users see it."""
    return Undoable(
        key=gone.key,
        operation=record.operation,
        removed_at=record.committed_at or record.at,
        undo_until=record.undo_until,
        reason=gone.reason,
        files=len(gone.files),
        bytes=gone.bytes,
        run_key=record.run_key,
    )


def classes_of(handle: Handle, removed: Sequence[RemovedPartition]) -> list[str | None]:
    """The storage classes of the files of partitions that left, in words, by a listing of the store.

    None where its versions may not be listed.
    """
    try:
        return _listed_classes(handle, removed)
    except AccessDenied as error:
        logger.warning("the classes of what can be undone may not be seen: %s", error)
        return [None] * len(removed)


def _listed_classes(handle: Handle, removed: Sequence[RemovedPartition]) -> list[str | None]:
    root = handle.table.root
    files = [file for gone in removed for file in gone.files]
    plain = listed(handle.fs, root, [file.path for file in files if file.version_id is None])
    folders = {f"{root}/{file.path}".rpartition("/")[0] for file in files if file.version_id is not None}
    # one listing of all is cheaper than that of many folders
    where = [f"{folder}/" for folder in folders] if len(folders) <= _FEW_FOLDERS else [f"{root}/"]
    versions = handle.fs.object_versions_many(where) if folders else ()
    known: dict[tuple[str, str | None], str] = {
        (path, None): str(info.get("StorageClass") or "STANDARD") for path, info in plain.items()
    }
    known |= {(one.path, one.version_id): one.storage_class for found in versions for one in found}
    return [
        "+".join(sorted({known.get((f"{root}/{file.path}", file.version_id)) or MISSING for file in gone.files}))
        for gone in removed
    ]
