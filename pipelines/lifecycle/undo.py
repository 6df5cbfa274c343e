"""Undo of expiries and replacements: the journal knows the files, the table takes them back, until the grace ends.

Undo and vacuum cannot both win. A vacuum records what ends and puts a fence into the log before it deletes anything; an
undo commits on a snapshot that includes both, or starts again. What came back from an expiry is kept for another grace:
otherwise the next tick of a schedule would expire it before anybody could hold it. The grace counts by the server's
clock.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tierlake.connector.errors import LakeError
from tierlake.pipelines.errors import CommitConflict, CommitUnknown, PolicyRefused, UnknownPartition
from tierlake.pipelines.lifecycle.results import UndoResult
from tierlake.pipelines.lifecycle.undo_checks import (
    check_columns,
    check_erased,
    check_files,
    check_grace,
    check_not_ended,
    check_others,
    too_late,
)
from tierlake.pipelines.metastore.records import RemovalRecord, UndoRecord
from tierlake.pipelines.metastore.removal import begun, completed, removed_partitions, settled
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.after_commit import after_commit, noting
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.tables.requested_keys import unknown
from tierlake.pipelines.tables.runs import run_token, runs_of
from tierlake.pipelines.tables.snapshot import Change, StagedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierlake.pipelines.metastore.document import DatasetDocument
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovedPartition
    from tierlake.pipelines.tables.snapshot import Commit, LiveFile, Snapshot

__all__ = [
    "Undoable",
    "bring_back",
    "can_be_undone",
    "expired_keys",
    "undo",
    "undo_expiry",
    "undo_removal",
    "undo_run",
    "undoable",
]


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
    """

    key: str
    operation: str
    removed_at: datetime
    undo_until: datetime
    reason: str
    files: int
    bytes: int
    run_key: str | None = None


def undoable(handle: Handle, operations: Sequence[str] = ("expire", "replace")) -> tuple[Undoable, ...]:
    """The newest removal of each partition that can still be undone, and until when, in key order.

    Args:
        handle: The dataset.
        operations: Only removals by these.
    """
    now = handle.clock.now()
    live = {str(file.key) for file in handle.table.snapshot().files}
    latest: dict[str, tuple[str, Undoable] | None] = {}
    for stored in handle.journal.records(RemovalRecord):
        if stored.operation not in operations:
            continue
        record = settled(handle, stored)
        if record is None:
            continue
        for gone in record.partitions:
            is_back = record.operation == "expire" and gone.key in live
            is_over = is_back or not record.can_be_undone or record.undo_until <= now
            latest.setdefault(gone.key, None if is_over else (record.id, _described(record, gone)))
    waiting = [one for _, one in sorted(latest.items()) if one is not None]
    oldest = min((removal for removal, _ in waiting), default="")
    over = handle.journal.undone(oldest) | handle.journal.ended(oldest) if waiting else frozenset()
    return tuple(one for removal, one in waiting if (removal, one.key) not in over)


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


def undo_expiry(
    handle: Handle, key: PartitionKey | str, *, dry_run: bool = False, run_id: str | None = None
) -> UndoResult:
    """Bring an expired partition back with all its rows; see `undo`.

    Raises:
        UnknownPartition: Nothing of this key was ever expired.
        PolicyRefused: As for `undo`.
        CommitConflict: Other writers kept changing the partition.
    """
    return _undo(handle, _name(key), ("expire",), run_id, dry_run=dry_run)


def undo(handle: Handle, key: PartitionKey | str, *, dry_run: bool = False, run_id: str | None = None) -> UndoResult:
    """Bring back what the newest expiry or replacement took out of a partition.

    A second call changes nothing. The next expiry leaves a partition that came back from one alone for another grace.

    Args:
        handle: The dataset.
        key: The partition.
        dry_run: Only make the checks, and report what would come back.
        run_id: Who did it, for the history.

    Raises:
        UnknownPartition: Nothing of this key was ever taken out.
        PolicyRefused: Its grace is over, undo was given up, its files are gone or hold rows that were erased, other
            data has taken its place, the table has other columns by now, or it was emptied after it had come back.
        CommitConflict: Other writers kept changing the partition.
    """
    return _undo(handle, _name(key), ("expire", "replace"), run_id, dry_run=dry_run)


def undo_run(
    handle: Handle, run_key: str, *, dry_run: bool = False, run_id: str | None = None
) -> tuple[UndoResult, ...]:
    """Bring back all that an ingest replaced; partitions that it filled first stay.

    Args:
        handle: The dataset.
        run_key: The run key of the ingest.
        dry_run: Only make the checks, and report what would come back.
        run_id: Who did it, for the history.

    Raises:
        UnknownPartition: No ingest of that run key replaced anything.
        PolicyRefused: As for `undo`; then nothing is changed.
        CommitConflict: Other writers kept changing the partitions.
    """
    handle.check_in_use()
    for attempt in attempts(handle.spec.uri, on=CommitConflict):
        with attempt:
            removals = _removals_of(handle, run_key)
            if not removals:
                message = f"no ingest with the run key {run_key!r} replaced anything in {handle.spec.uri}"
                raise UnknownPartition(message, hint="`tierlake history` shows the run keys and what can be undone")
            results = [
                _bring_back_checked(handle, record, partitions, run_id, dry_run=dry_run)
                for record, partitions in removals
            ]
            return tuple(itertools.chain.from_iterable(results))
    raise AssertionError  # the last attempt raises


def _removals_of(handle: Handle, run_key: str) -> list[tuple[RemovalRecord, Sequence[RemovedPartition]]]:
    """The newest removal of an ingest; of a plain table also what earlier attempts emptied, each object by itself."""
    removals: list[tuple[RemovalRecord, Sequence[RemovedPartition]]] = []
    known: set[str] = set()
    for stored in handle.journal.records(RemovalRecord):
        if stored.run_key != run_key or (removals and stored.committed_at is not None):
            continue
        record = settled(handle, stored)
        if record is None:
            continue
        partitions = [gone for gone in record.partitions if gone.key not in known and not (removals and gone.came)]
        if partitions:
            removals.append((record, partitions))
            known |= {gone.key for gone in partitions}
        if handle.table.is_atomic:
            break
    return removals


def undo_removal(
    handle: Handle, stored: RemovalRecord, *, key: str | None = None, dry_run: bool = False, run_id: str | None = None
) -> tuple[UndoResult, ...]:
    """Bring back all that one removal took out, as it was; the next expiry goes by the policy alone.

    Args:
        handle: The dataset.
        stored: The removal.
        key: Only this partition of it.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Raises:
        PolicyRefused: As for `undo`; then nothing is changed.
        CommitConflict: Other writers kept changing the partitions.
    """
    for attempt in attempts(handle.spec.uri, on=CommitConflict):
        with attempt:
            record = settled(handle, stored)
            if record is None:
                return ()
            partitions = [gone for gone in record.partitions if key in {None, gone.key}]
            return _bring_back_checked(handle, record, partitions, run_id, is_kept=False, dry_run=dry_run)
    raise AssertionError  # the last attempt raises


def _name(key: PartitionKey | str) -> str:
    return str(PartitionKey.parse(key) if isinstance(key, str) else key)


def _undo(
    handle: Handle, name: str, operations: Sequence[str], run_id: str | None, *, dry_run: bool = False
) -> UndoResult:
    handle.check_in_use()
    for attempt in attempts(f"{name} of {handle.spec.uri}", on=CommitConflict):
        with attempt:
            last = _last_removal(handle, name, operations)
            if last is None:
                return _nothing_to_do(handle.table.snapshot(), name).model_copy(update={"operation": None})
            record, gone = last
            return _bring_back_checked(handle, record, (gone,), run_id, dry_run=dry_run)[0]
    raise AssertionError  # the last attempt raises


def _last_removal(
    handle: Handle, name: str, operations: Sequence[str]
) -> tuple[RemovalRecord, RemovedPartition] | None:
    for stored in handle.journal.records(RemovalRecord):
        gone = stored.partition(name) if stored.operation in operations else None
        record = settled(handle, stored) if gone is not None else None
        if record is not None and gone is not None:
            return record, gone
    snapshot = handle.table.snapshot()
    if _live(snapshot, name):
        return None
    raise unknown(handle.spec, snapshot, PartitionKey.parse(name), ", and nothing was taken out of it")


def _bring_back_checked(
    handle: Handle,
    record: RemovalRecord,
    partitions: Sequence[RemovedPartition],
    run_id: str | None,
    *,
    is_kept: bool = True,
    dry_run: bool = False,
) -> tuple[UndoResult, ...]:
    """Make the checks on one snapshot, and commit on the same one."""
    snapshot = handle.table.snapshot()
    undone = handle.journal.undone(record.id)
    pending = [
        gone
        for gone in partitions
        # a folded partition has no files that could be live
        if not _is_back(handle, snapshot, record, gone, undone, may_have_more=not is_kept and gone.folded is None)
    ]
    kept: dict[str, datetime | None] = {}
    notes: list[str] = []
    if pending:
        check_grace(handle, record, pending)
        check_columns(record, snapshot)
        check_erased(handle, record, pending)
        check_others(handle, record, pending)
        check_files(handle, pending)
        if is_kept and record.operation == "expire" and not dry_run:
            kept = {gone.key: _keep(handle, gone.key) for gone in pending}
        if not dry_run:
            with noting() as notes:
                bring_back(handle, snapshot, record, pending, run_id=run_id)
    changed = {gone.key for gone in pending}
    return tuple(
        UndoResult(
            key=gone.key,
            changed=not dry_run,
            dry_run=dry_run,
            operation="expire" if record.operation == "expire" else "replace",
            files=len(gone.files),
            rows=gone.rows,
            bytes=gone.bytes,
            kept_until=kept.get(gone.key),
            undo_until=record.undo_until if dry_run else None,
            notes=tuple(notes),
        )
        if gone.key in changed
        else _nothing_to_do(snapshot, gone.key)
        for gone in partitions
    )


def bring_back(
    handle: Handle,
    snapshot: Snapshot,
    record: RemovalRecord,
    partitions: Sequence[RemovedPartition],
    *,
    run_id: str | None,
) -> None:
    """Commit the files of removed partitions again, in place of what replaced them, and write it down.

    Args:
        handle: The dataset.
        snapshot: The snapshot that the checks were made on.
        record: The removal that took them out.
        partitions: The removal's partitions to bring back.
        run_id: For the history.

    Raises:
        CommitConflict: Another writer changed these partitions after `snapshot`.
        PolicyRefused: A vacuum was faster.
    """
    at = handle.clock.now()
    written = [
        handle.journal.write(
            UndoRecord(
                id=handle.journal.new_id(at),
                at=at,
                run_id=run_id,
                state="begun",
                key=gone.key,
                removal=record.id,
                files=len(gone.files),
                bytes=gone.bytes,
            )
        )
        for gone in partitions
    ]
    try:
        # after our own records are there: a vacuum reads them once its own is
        check_not_ended(handle, record, partitions)
        commit = _commit_back(handle, snapshot, record, partitions, run_id)
    except CommitUnknown:  # the partition may be back: its record stays open, and no vacuum takes the files meanwhile
        raise
    except BaseException:
        for one in written:
            with suppress(LakeError):  # report the first failure; a vacuum ends an undo that nobody continues
                handle.journal.swap(one, one.model_copy(update={"state": "refused"}))
        raise
    is_late: list[str] = []
    for one in written:
        with after_commit(f"the journal could not be told that {one.key} is back (undo-{one.id})"):
            if not handle.journal.swap(one, one.model_copy(update={"state": "done", "version": commit.version})):
                is_late.append(one.key)
    if is_late and commit.version is None:  # without a log no fence of the vacuum refused the commit
        raise too_late(is_late[0])


def _commit_back(
    handle: Handle,
    snapshot: Snapshot,
    record: RemovalRecord,
    partitions: Sequence[RemovedPartition],
    run_id: str | None,
) -> Commit:
    keys = {gone.key for gone in partitions}
    leaving = tuple(file for file in snapshot.files if str(file.key) in keys) if record.operation == "replace" else ()
    # the commit names them too: a process that dies before confirming in the journal leaves only the log
    details: dict[str, object] = {"undo_of": record.id, "keys": "\n".join(sorted(keys))}
    if run_id is not None:
        details["run_id"] = run_id
    taken: RemovalRecord | None = None
    if leaving:
        leaving = handle.table.identified(leaving)
        why = f"undo of {record.id}"
        taken = begun(handle, "undo", removed_partitions(leaving, why), snapshot, run_id=run_id)
        details["removal"] = taken.id
    commit = handle.table.commit(
        Change(
            operation="undo",
            base=snapshot,
            adds=tuple(StagedFile(file) for gone in partitions for file in gone.live_files()),
            removes=leaving,
            fence=snapshot.fence,
            details=details,
        )
    )
    if taken is not None:
        completed(handle, taken, commit)
    return commit


def _described(record: RemovalRecord, gone: RemovedPartition) -> Undoable:
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


def _live(snapshot: Snapshot, name: str) -> tuple[LiveFile, ...]:
    key = PartitionKey.parse(name)
    return tuple(file for file in snapshot.files if file.key == key)


def _is_back(
    handle: Handle,
    snapshot: Snapshot,
    record: RemovalRecord,
    gone: RemovedPartition,
    undone: frozenset[tuple[str, str]],
    *,
    may_have_more: bool = False,
) -> bool:
    """Whether exactly the removed files are live; files in their place must be those that we know of.

    With `may_have_more`, an ingest of ours that had passed its checks may have committed after a drop. Its rows stay,
    beside those that come back. Rows that others wrote may be the same rows again.

    Raises:
        PolicyRefused: The partition has other data, or it came back before and has left since.
    """
    live = _live(snapshot, gone.key)
    identity = partial(_identity, handle)
    if live and identity(live) == identity(gone.live_files()):
        return True
    if may_have_more and live:
        if identity(gone.live_files()) <= identity(live):
            return True
        if all(handle.table.has_own_name(file.path) for file in live):
            return False
    if (record.id, gone.key) in undone:
        if live and record.operation == "replace":
            return True
        raise PolicyRefused(
            f"{gone.key} came back before, and its rows were erased or replaced since: there is nothing to undo",
            hint="`tierlake history` says what happened to it; nothing was changed",
        )
    came = PartitionKey.parse(gone.key)
    expected = tuple(file.live(came) for file in gone.came)
    if record.operation == "expire":
        # of a plain table an interrupted undo may have brought some back
        if live and not identity(live) <= identity(gone.live_files()):
            raise PolicyRefused(
                f"{gone.key} has been ingested again since it was expired: undo would double or replace its rows",
                hint="nothing was changed" + _read_older(record),
            )
    elif (
        gone.folded is None
        and identity(live) != identity(expected)
        and not (_descends(handle, record, live, expected) or _is_unconfirmed(handle, record, live, gone))
    ):
        raise PolicyRefused(
            f"{gone.key} has changed since the ingest that replaced it: undo would take that change back too",
            hint="`tierlake history` says what happened to it; nothing was changed",
        )
    return False


def _read_older(record: RemovalRecord) -> str:
    if record.version is None:
        return ""
    until = formatting.day(record.undo_until)
    return f"; until {until} Dataset.read(version={record.version - 1}, where=...) reads what was there before"


def _identity(handle: Handle, files: Sequence[LiveFile]) -> frozenset[tuple[str, str]]:
    return frozenset(map(handle.table.identity, files))


def _descends(handle: Handle, record: RemovalRecord, live: Sequence[LiveFile], came: Sequence[LiveFile]) -> bool:
    """Whether live files hold exactly the rows of the ingest, rewritten by a compaction."""
    if record.run_key is None or not live:
        return False
    rows = [file.rows for file in live]
    if None in rows or sum(row or 0 for row in rows) != sum(file.rows or 0 for file in came):
        return False
    return all(runs_of(handle.fs, handle.table.root, [file.path]) == {run_token(record.run_key)} for file in live)


def _is_unconfirmed(handle: Handle, record: RemovalRecord, live: Sequence[LiveFile], gone: RemovedPartition) -> bool:
    """Whether the objects of a plain table are those of the ingest, whose process died before it recorded them."""
    if record.run_key is None or record.committed_at is not None:
        return False
    token = run_token(record.run_key)
    below = [handle.table.below(file, lambda one: one.run == token)[0] for file in handle.table.identified(live)]
    versions = {file.version_id for file in gone.files}
    return bool(below) and all(file is not None and file.version_id in versions for file in below)


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


def _keep(handle: Handle, name: str) -> datetime | None:
    """Postpone the next expiry by one grace, so that a person can look; a longer retention stays."""
    if handle.document is None or handle.spec.retention.expire_after is None:
        return None
    until = handle.clock.now() + handle.spec.retention.grace

    def longer(document: DatasetDocument) -> DatasetDocument:
        kept = document.retains.get(name)
        if kept is not None and kept >= until:
            return document
        return document.model_copy(update={"retains": {**document.retains, name: until}})

    return handle.document.update(longer).retains[name]
