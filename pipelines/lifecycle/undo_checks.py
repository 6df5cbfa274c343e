"""Reasons why a removal cannot be undone: its grace, columns, erasures, other writers, missing files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierlake.pipelines.errors import PolicyRefused
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovalRecord, RemovedPartition
    from tierlake.pipelines.tables.snapshot import Snapshot


__all__ = ["check_columns", "check_erased", "check_files", "check_grace", "check_not_ended", "check_others", "too_late"]


def check_grace(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> None:
    """Refuse a removal whose undo was given up, or whose grace is over."""
    name = partitions[0].key
    if not record.undoable and record.operation == "replace":
        raise PolicyRefused(
            f"{name} was replaced in a bucket that keeps no versions: what was there before is gone",
            hint="ingest it again from its source; versions, or `format: delta`, would keep it",
        )
    if not record.undoable:
        raise PolicyRefused(f"{name} was expired without undo (undo=False)", hint="ingest it again from its source")
    if handle.clock.now() >= record.undo_until or any(gone.folded is not None for gone in partitions):
        left = "expired" if record.operation == "expire" else "replaced"
        raise PolicyRefused(
            f"the grace of {name} ended on {formatting.day(record.undo_until)}: it was {left} on "
            f"{formatting.day(record.committed_at or record.at)} "
            f"and could be undone for {formatting.age(record.grace)}",
            hint="ingest it again from its source",
        )
    check_not_ended(handle, record, partitions)


def check_not_ended(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> None:
    """Refuse a removal whose files a vacuum or an erasure is taking, or has taken."""
    ended = handle.journal.ended(record.id)
    over = [gone.key for gone in partitions if (record.id, gone.key) in ended]
    if over:
        raise too_late(over[0])


def too_late(name: str) -> PolicyRefused:
    """The error for files that are deleted for good, or are about to be."""
    return PolicyRefused(
        f"the old files of {name} are being deleted for good, or were: its grace is over, or an erasure took them",
        hint="ingest it again from its source",
    )


def check_columns(record: RemovalRecord, snapshot: Snapshot) -> None:
    """Old files under another schema would be read wrongly, or not at all."""
    now = {field.name: str(field.type) for field in snapshot.known_schema or ()}
    other = [f"{name} was {kind}" for name, kind in record.columns.items() if now.get(name) != kind]
    if other and now:
        raise PolicyRefused(
            f"the table has other columns by now ({', '.join(other)}): what was taken out no longer fits",
            hint="read an older version, or ingest the partition again from its source",
        )


def check_erased(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> None:
    """Refuse files that hold rows which were erased since."""
    spoiled = handle.journal.spoiled(record.id)
    if spoiled is None:
        raise PolicyRefused(
            f"an erasure is at work, or stopped on its way: the old files of {partitions[0].key} may hold rows of it",
            hint="wait for it; where it stopped, ingest the partition again from its source",
        )
    for gone in partitions:
        if any(file.path in spoiled or f"{file.path}?{file.version_id}" in spoiled for file in gone.files):
            raise PolicyRefused(
                f"the old files of {gone.key} hold rows that were erased since: they must not come back",
                hint="ingest it again from its source, without those rows",
            )


def check_others(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> None:
    """Refuse where another writer brought these files back and removed them again: that decision stands."""
    if record.version is None:
        return
    touched = handle.table.named_after(record.version)
    if touched is None:
        raise PolicyRefused(
            f"the log of {handle.spec.uri} has forgotten commits since {partitions[0].key} left: nobody can say "
            "whether its rows were deleted by another writer meanwhile",
            hint="ingest it again from its source",
        )
    for gone in partitions:
        if any(file.path in touched for file in gone.files):
            raise PolicyRefused(
                f"another writer brought {gone.key} back since, and took its rows out again: they must not come back",
                hint="`tierlake history` says who; nothing was changed",
            )


def check_files(handle: Handle, partitions: Sequence[RemovedPartition]) -> None:
    """Refuse to commit files that the store does not have."""
    lost = frozenset(handle.table.lost([file for gone in partitions for file in gone.live_files()]))
    for gone in partitions if lost else ():
        missing = [file.path for file in gone.files if file.path in lost]
        if missing:
            raise PolicyRefused(
                f"{len(missing)} of the {len(gone.files)} files of {gone.key} are not in the store any more: "
                f"{missing[0]}",
                hint="vacuum deletes files after the grace; ingest the partition again from its source",
            )
