"""Undo of an expiry: the journal knows the files, the table takes them back, until the grace ends.

The grace counts by the server's clock. What came back is kept for another grace, else the next tick of a schedule would
expire it again before anybody could hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines import units
from pipelines.errors import CommitConflict, PolicyRefused
from pipelines.journal import UndoRecord, new_record_id
from pipelines.keys import unknown
from pipelines.layout import PartitionKey
from pipelines.placement import listed
from pipelines.results import UndoResult
from pipelines.tables.protocol import Change, StagedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pipelines.document import DatasetDocument
    from pipelines.handle import Handle
    from pipelines.journal import ExpiredPartition, ExpiryRecord
    from pipelines.tables.protocol import LiveFile, Snapshot

__all__ = ["ExpiredKey", "bring_back", "can_be_undone", "expired_keys", "undo_expiry"]

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ExpiredKey:
    """A partition that was expired and can still come back.

    Attributes:
        key: the partition, as `ls` printed it.
        expired_at: when it left, by the server's clock.
        undo_until: when its grace ends, by the same clock.
        reason: why it left.
        files: how many wait for the end of the grace.
        bytes: their size.
    """

    key: str
    expired_at: datetime
    undo_until: datetime
    reason: str
    files: int
    bytes: int


def expired_keys(handle: Handle) -> tuple[ExpiredKey, ...]:
    """What can still be undone, and until when, in key order."""
    now = handle.clock.now()
    live = {str(file.key) for file in handle.table.snapshot().files}
    found: dict[str, tuple[str, ExpiredKey] | None] = {}
    for record in handle.journal.iter_expiries():
        if record.at + max(record.grace, handle.spec.retention.grace) < now:
            break  # older ones have ended too
        for gone in record.partitions:
            is_over = gone.key in live or not record.undoable or record.undo_until <= now
            found.setdefault(gone.key, None if is_over else (record.id, _described(record, gone)))
    waiting = [expired for _, expired in sorted(found.items()) if expired is not None]
    undone = handle.journal.undone(min(expiry for expiry, _ in waiting)) if waiting else frozenset()
    return tuple(expired for expiry, expired in waiting if (expiry, expired.key) not in undone)


def can_be_undone(handle: Handle, key: str) -> bool:
    """Whether an expiry of this partition is still within its grace; the journal alone is asked."""
    record = handle.journal.latest_expiry(key)
    return record is not None and record.undoable and handle.clock.now() < record.undo_until


def undo_expiry(handle: Handle, key: PartitionKey | str, *, run_id: str | None = None) -> UndoResult:
    """Bring an expired partition back with all its rows.

    For a second time it changes nothing. The next expiry leaves the partition alone for another grace.

    Args:
        handle: the dataset.
        key: the partition.
        run_id: who did it, for the history.

    Raises:
        UnknownPartition: nothing of this key was ever expired.
        PolicyRefused: its grace is over, undo was given up, its files are gone, new data has taken its place, or it was
            emptied after it had come back.
        CommitConflict: other writers kept changing the partition.
    """
    name = str(PartitionKey.parse(key) if isinstance(key, str) else key)
    for attempt in range(1, _ATTEMPTS + 1):
        snapshot = handle.table.snapshot()
        record, gone = _last_expiry(handle, name, snapshot)
        if gone is None or record is None:
            return _nothing_to_do(snapshot, name)
        if _is_back(snapshot, gone):
            return _nothing_to_do(snapshot, name)
        _check_not_undone(handle, record, name)
        _check_grace(handle, record, name)
        _check_files(handle, gone)
        kept_until = _keep(handle, name)
        try:
            bring_back(handle, snapshot, record, [gone], run_id=run_id)
        except CommitConflict:
            if attempt == _ATTEMPTS:
                raise
            continue
        return UndoResult(
            key=name,
            changed=True,
            files=len(gone.files),
            rows=gone.rows,
            bytes=gone.bytes,
            kept_until=kept_until,
        )
    raise AssertionError


def bring_back(
    handle: Handle,
    snapshot: Snapshot,
    record: ExpiryRecord,
    partitions: Sequence[ExpiredPartition],
    *,
    run_id: str | None,
) -> None:
    """Commit the files of expired partitions again, and write it down.

    Raises:
        CommitConflict: another writer changed these partitions after `snapshot`.
    """
    commit = handle.table.commit(
        Change(
            operation="undo",
            base=snapshot,
            adds=tuple(StagedFile(file) for gone in partitions for file in gone.live_files()),
            details={"expiry": record.id} | ({"run_id": run_id} if run_id else {}),
        )
    )
    for gone in partitions:
        at = handle.clock.now()
        handle.journal.write_undo(
            UndoRecord(
                id=new_record_id(at),
                at=at,
                key=gone.key,
                expiry=record.id,
                files=len(gone.files),
                bytes=gone.bytes,
                version=commit.version,
                run_id=run_id,
            )
        )


def _described(record: ExpiryRecord, gone: ExpiredPartition) -> ExpiredKey:
    return ExpiredKey(
        key=gone.key,
        expired_at=record.committed_at or record.at,
        undo_until=record.undo_until,
        reason=gone.reason,
        files=len(gone.files),
        bytes=gone.bytes,
    )


def _last_expiry(
    handle: Handle, name: str, snapshot: Snapshot
) -> tuple[ExpiryRecord, ExpiredPartition] | tuple[None, None]:
    record = handle.journal.latest_expiry(name)
    gone = record.partition(name) if record else None
    if record is not None and gone is not None:
        return record, gone
    if _live(snapshot, name):
        return None, None
    raise unknown(handle.spec, snapshot, PartitionKey.parse(name), ", and none was expired")


def _live(snapshot: Snapshot, name: str) -> tuple[LiveFile, ...]:
    key = PartitionKey.parse(name)
    return tuple(file for file in snapshot.files if file.key == key)


def _is_back(snapshot: Snapshot, gone: ExpiredPartition) -> bool:
    """Whether exactly the expired files are live; anything else that is live is new data, and stays."""
    live = {(file.path, file.size) for file in _live(snapshot, gone.key)}
    expired = {(file.path, file.size) for file in gone.files}
    if live and not live <= expired:
        raise PolicyRefused(
            f"{gone.key} has been ingested again since it was expired: undo would double or replace its rows",
            hint="nothing was changed",
        )
    return live == expired


def _nothing_to_do(snapshot: Snapshot, name: str) -> UndoResult:
    live = _live(snapshot, name)
    counts = [file.rows for file in live]
    return UndoResult(
        key=name,
        changed=False,
        files=len(live),
        rows=None if None in counts else sum(count for count in counts if count is not None),
        bytes=sum(file.size for file in live),
    )


def _check_not_undone(handle: Handle, record: ExpiryRecord, name: str) -> None:
    """What came back once and has left since was erased or emptied: it must not return."""
    if (record.id, name) in handle.journal.undone(record.id):
        raise PolicyRefused(
            f"{name} came back from its expiry, and its rows were erased or replaced since: there is nothing to undo",
            hint="`tierlake history` says what happened to it; nothing was changed",
        )


def _check_grace(handle: Handle, record: ExpiryRecord, name: str) -> None:
    if not record.undoable:
        raise PolicyRefused(f"{name} was expired without undo (undo=False)", hint="ingest it again from its source")
    if handle.clock.now() >= record.undo_until:
        raise PolicyRefused(
            f"the grace of {name} ended on {units.day(record.undo_until)}: it was expired on "
            f"{units.day(record.committed_at or record.at)} and could be undone for {units.age(record.grace)}",
            hint="ingest it again from its source",
        )


def _check_files(handle: Handle, gone: ExpiredPartition) -> None:
    """Refuse to commit files that the store does not have; a plain table looks at its versions itself."""
    if handle.table.is_published_by_writing:
        return
    root = handle.table.root
    stored = listed(handle.fs, root, [file.path for file in gone.files])
    lost = [
        file.path
        for file in gone.files
        if int((stored.get(f"{root}/{file.path}") or {"size": -1})["size"]) != file.size
    ]
    if lost:
        raise PolicyRefused(
            f"{len(lost)} of the {len(gone.files)} files of {gone.key} are not in the store any more: {lost[0]}",
            hint="vacuum deletes files after the grace; ingest the partition again from its source",
        )


def _keep(handle: Handle, name: str) -> datetime | None:
    """Put the next expiry off by one grace, so that a person can look; a longer retention stays."""
    if handle.document is None or handle.spec.retention.expire_after is None:
        return None
    until = handle.clock.now() + handle.spec.retention.grace

    def longer(document: DatasetDocument) -> DatasetDocument:
        kept = document.retains.get(name)
        if kept is not None and kept >= until:
            return document
        return document.model_copy(update={"retains": {**document.retains, name: until}})

    return handle.document.update(longer).retains[name]
