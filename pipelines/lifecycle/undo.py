"""Undo of expiries and replacements: the journal knows the files, the table takes them back, until the grace ends.

Undo and vacuum cannot both win. A vacuum records what ends and puts a fence into the log before it deletes anything; an
undo commits on a snapshot that includes both, or starts again. What came back from an expiry is kept for another grace:
otherwise the next tick of a schedule would expire it before anybody could hold it. The grace counts by the server's
clock.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from tierlake.connector.errors import LakeError
from tierlake.pipelines.errors import CommitConflict, CommitUnknown, PolicyRefused, UnknownPartition
from tierlake.pipelines.lifecycle.results import UndoResult
from tierlake.pipelines.lifecycle.undo_checks import check_not_ended, is_back, live_files, refusals, too_late
from tierlake.pipelines.metastore.records import RemovalRecord, UndoRecord
from tierlake.pipelines.metastore.removal import begun, completed, removed_partitions, settled
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime.after_commit import after_commit, noting
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.tables.requested_keys import unknown
from tierlake.pipelines.tables.snapshot import Change, StagedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierlake.pipelines.metastore.document import DatasetDocument
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovedPartition
    from tierlake.pipelines.tables.snapshot import Commit, Snapshot

__all__ = [
    "bring_back",
    "bring_back_checked",
    "nothing_to_do",
    "record_back",
    "undo",
    "undo_expiry",
    "undo_removal",
    "undo_run",
    "with_what_came",
]


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
    for number, attempt in enumerate(attempts(handle.spec.uri, on=CommitConflict)):
        with attempt:
            removals = _removals_of(handle, run_key)
            if not removals:
                message = f"no ingest with the run key {run_key!r} replaced anything in {handle.spec.uri}"
                raise UnknownPartition(message, hint="`tierlake history` shows the run keys and what can be undone")
            results = [
                with_what_came(
                    handle,
                    record,
                    partitions,
                    bring_back_checked(handle, record, partitions, run_id, dry_run=dry_run),
                    run_id,
                    is_again=number > 0,
                )
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
    for number, attempt in enumerate(attempts(handle.spec.uri, on=CommitConflict)):
        with attempt:
            record = settled(handle, stored)
            if record is None:
                return ()
            partitions = [gone for gone in record.partitions if key in {None, gone.key}]
            results = bring_back_checked(handle, record, partitions, run_id, is_kept=False, dry_run=dry_run)
            return with_what_came(handle, record, partitions, results, run_id, is_again=number > 0)
    raise AssertionError  # the last attempt raises


def _name(key: PartitionKey | str) -> str:
    return str(PartitionKey.parse(key) if isinstance(key, str) else key)


def _undo(
    handle: Handle, name: str, operations: Sequence[str], run_id: str | None, *, dry_run: bool = False
) -> UndoResult:
    handle.check_in_use()
    for number, attempt in enumerate(attempts(f"{name} of {handle.spec.uri}", on=CommitConflict)):
        with attempt:
            last = _last_removal(handle, name, operations)
            if last is None:
                return nothing_to_do(handle.table.snapshot(), name).model_copy(update={"operation": None})
            record, gone = last
            results = bring_back_checked(handle, record, (gone,), run_id, dry_run=dry_run)
            return with_what_came(handle, record, (gone,), results, run_id, is_again=number > 0)[0]
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
    if live_files(snapshot, name):
        return None
    raise unknown(handle.spec, snapshot, PartitionKey.parse(name), ", and nothing was taken out of it")


def bring_back_checked(
    handle: Handle,
    record: RemovalRecord,
    partitions: Sequence[RemovedPartition],
    run_id: str | None,
    *,
    is_kept: bool = True,
    dry_run: bool = False,
    refused: dict[str, PolicyRefused] | None = None,
) -> tuple[UndoResult, ...]:
    """Make the checks on one snapshot, and commit on the same one.

    Args:
        handle: The dataset.
        record: The removal that took the partitions out.
        partitions: Those to bring back.
        run_id: Who did it, for the history.
        is_kept: Whether the next expiry leaves them alone for another grace.
        dry_run: Only make the checks.
        refused: Takes the partitions that cannot come back, each with the reason, and the others come back. None:
            all of them come back, or none does.

    Returns:
        The outcome of each partition that is not refused.

    Raises:
        PolicyRefused: One of them cannot come back, and there is no `refused`.
        CommitConflict: Another writer changed these partitions meanwhile.
    """
    snapshot = handle.table.snapshot()
    if len(partitions) > 1:
        snapshot.by_partition()  # once, instead of a look at all files for each partition
    undone = handle.journal.undone(record.id)
    refusing: dict[str, PolicyRefused] = {} if refused is None else refused
    pending: list[RemovedPartition] = []
    for gone in partitions:
        # a folded partition has no files that could be live
        may_have_more = not is_kept and gone.folded is None
        try:
            if not is_back(handle, snapshot, record, gone, undone, may_have_more=may_have_more):
                pending.append(gone)
        except PolicyRefused as error:
            if refused is None:
                raise
            refusing[gone.key] = error
    for key, reason in refusals(handle, record, pending, snapshot) if pending else ():
        if refused is None:
            raise reason
        refusing.setdefault(key, reason)
    pending = [gone for gone in pending if gone.key not in refusing]
    kept: dict[str, datetime] = {}
    notes: list[str] = []
    if pending and not dry_run:
        if is_kept and record.operation == "expire":
            kept = _kept(handle, [gone.key for gone in pending])
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
        else nothing_to_do(snapshot, gone.key)
        for gone in partitions
        if gone.key not in refusing
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
    first, *others = (gone.key for gone in partitions)
    written = handle.journal.write(_record_of(handle, record, partitions, run_id, "begun"))
    try:
        # after our own record is there: a vacuum reads it once its own is
        check_not_ended(handle, record, partitions)
        commit = _commit_back(handle, snapshot, record, partitions, run_id)
    except CommitUnknown:  # they may be back: the record stays open, and no vacuum takes the files meanwhile
        raise
    except BaseException:
        with suppress(LakeError):  # report the first failure; a vacuum ends an undo that nobody continues
            handle.journal.swap(written, written.model_copy(update={"state": "refused"}))
        raise
    is_late = False
    with after_commit(f"the journal could not be told that {_named(first, others)} back (undo-{written.id})"):
        done = written.model_copy(update={"state": "done", "version": commit.version})
        is_late = not handle.journal.swap(written, done)
    if is_late and commit.version is None:  # without a log no fence of the vacuum refused the commit
        raise too_late(first)


def record_back(
    handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition], run_id: str | None
) -> frozenset[str]:
    """Write down that partitions came back by an undo that failed on its way, as objects of a plain table may.

    Returns:
        Those that no record had yet.
    """
    undone = handle.journal.undone(record.id)
    new = [gone for gone in partitions if (record.id, gone.key) not in undone]
    if new:
        with after_commit(f"the journal could not be told that {_named(new[0].key, new[1:])} back"):
            handle.journal.write(_record_of(handle, record, new, run_id, "done"))
    return frozenset(gone.key for gone in new)


def with_what_came(
    handle: Handle,
    record: RemovalRecord,
    partitions: Sequence[RemovedPartition],
    results: Sequence[UndoResult],
    run_id: str | None,
    *,
    is_again: bool,
) -> tuple[UndoResult, ...]:
    """Results, and the records, with what an attempt that failed brought back: objects of a plain table go one by one.

    Args:
        handle: The dataset.
        record: The removal.
        partitions: Its partitions that were to come back.
        results: What the last attempt or look found.
        run_id: For the history.
        is_again: Whether an attempt of the same undo failed before.
    """
    back = {one.key for one in results if not one.changed and not one.dry_run}
    if not is_again or handle.table.is_atomic or not back:
        return tuple(results)
    new = record_back(handle, record, [gone for gone in partitions if gone.key in back], run_id)
    came = {"changed": True, "operation": "expire" if record.operation == "expire" else "replace"}
    return tuple(one.model_copy(update=came) if one.key in new else one for one in results)


def _record_of(
    handle: Handle,
    record: RemovalRecord,
    partitions: Sequence[RemovedPartition],
    run_id: str | None,
    state: Literal["begun", "done"],
) -> UndoRecord:
    at = handle.clock.now()
    first, *others = (gone.key for gone in partitions)
    return UndoRecord(
        id=handle.journal.new_id(at),
        at=at,
        run_id=run_id,
        state=state,
        key=first,
        more_keys=tuple(others),
        removal=record.id,
        files=sum(len(gone.files) for gone in partitions),
        bytes=sum(gone.bytes for gone in partitions),
    )


def _named(first: str, others: Sequence[object]) -> str:
    return f"{first} and {len(others):,} more are" if others else f"{first} is"


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


def nothing_to_do(snapshot: Snapshot, name: str) -> UndoResult:
    """The result for a partition that is as it would be."""
    live = live_files(snapshot, name)
    counts = [file.rows for file in live]
    return UndoResult(
        key=name,
        changed=False,
        files=len(live),
        rows=None if None in counts else sum(count for count in counts if count is not None),
        bytes=sum(file.size for file in live),
    )


def _kept(handle: Handle, names: Sequence[str]) -> dict[str, datetime]:
    """Postpone the next expiry by one grace, so that a person can look; a longer retention stays."""
    if handle.document is None or handle.spec.retention.expire_after is None:
        return {}
    until = handle.clock.now() + handle.spec.retention.grace

    def longer(document: DatasetDocument) -> DatasetDocument:
        kept = {name: max(until, document.retains.get(name, until)) for name in names}
        return document.model_copy(update={"retains": {**document.retains, **kept}})

    retains = handle.document.update(longer).retains
    return {name: retains[name] for name in names}
