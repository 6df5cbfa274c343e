"""Dropping a whole dataset, with a grace in which it can be taken back.

In this order, so that a crash anywhere leaves a dataset that can be dropped again or taken back:

    1. the journal gets a record
    2. the description is marked, unless anything is held: from here on nobody writes to the dataset
    3. one recorded removal takes all partitions out, as an expiry does; readers see an empty table
    4. the record is completed

After the grace `vacuum` deletes the files, and then the log, the journal and the description: the prefix is empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tierlake.connector.errors import AccessDenied, UnsupportedByServer
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, UnsupportedByTable
from tierlake.pipelines.lifecycle.undo import undo_removal
from tierlake.pipelines.metastore.document import Dropped
from tierlake.pipelines.metastore.records import PolicyRecord, RemovalRecord
from tierlake.pipelines.metastore.removal import begun, completed, removed_partitions
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.tables.snapshot import Change

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tierlake.pipelines.lifecycle.results import UndoResult
    from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["DropResult", "UndropResult", "drop", "undrop"]

_WHY = "the dataset was dropped"
_SHOWN = 5


@dataclass(frozen=True, slots=True, repr=False)
class DropResult(Shown):
    """What a drop took away.

    Attributes:
        uri: The dataset.
        changed: False where it was dropped already and is empty, and for a dry run.
        partitions: How many left.
        files: How many.
        bytes: Their size.
        undo_until: Until when `undrop` brings them back; None where undo was given up.
        dry_run: True where nothing was changed.
        was_dropped: Whether it was dropped before; then rows that were written since are removed too.
    """

    uri: str
    changed: bool
    partitions: int
    files: int
    bytes: int
    undo_until: datetime | None
    dry_run: bool = False
    was_dropped: bool = False

    @property
    def is_done_already(self) -> bool:
        """Whether there was nothing to remove."""
        return self.was_dropped and not self.files

    def __str__(self) -> str:
        if self.is_done_already:
            return f"{self.uri} is dropped already: nothing changed"
        amount = (
            f"{formatting.partitions(self.partitions)}, {formatting.files(self.files)}, {formatting.size(self.bytes)}"
        )
        back = "it cannot be taken back"
        if self.undo_until is not None:
            back = f"`tierlake undrop {self.uri}` takes it back until {self.undo_until:%Y-%m-%d %H:%M}"
        return f"{'would drop' if self.dry_run else 'dropped'} {self.uri}: {amount}; {back}"


@dataclass(frozen=True, slots=True, repr=False)
class UndropResult(Shown):
    """What came back.

    Attributes:
        uri: The dataset.
        changed: False where it was in use already, and for a dry run.
        partitions: How many came back.
        dry_run: True where nothing was changed.
        refused: Partitions of it that cannot come back, each with the reason: others wrote to them since.
    """

    uri: str
    changed: bool
    partitions: int
    dry_run: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        amount = formatting.partitions(self.partitions)
        without = f"; {formatting.partitions(len(self.refused))} cannot come back" if self.refused else ""
        if self.dry_run:
            return f"would take {self.uri} back, with {amount}{without}"
        if not self.changed:
            return f"{self.uri} is in use: nothing changed"
        return f"{self.uri} is back, with {amount}{without}"


def drop(
    handle: Handle, *, reason: str = "", undo: bool = True, dry_run: bool = False, run_id: str | None = None
) -> DropResult:
    """Drop a dataset; it can be taken back until its grace ends.

    Args:
        handle: The dataset.
        reason: Why, for the history.
        undo: False gives undo up; plain tables in unversioned buckets can only be dropped so.
        dry_run: Only make the checks, and report what would go.
        run_id: Who did it, for the history.

    Raises:
        PolicyRefused: A partition is held or retained, or undo is requested and impossible here.
        UnsupportedByTable: The table has no description: it belongs to its writers, who may delete it.
        CommitConflict: Others kept writing.
    """
    store = _document(handle)
    handle.table.check_can_remove(undo=undo)
    now = handle.clock.now()
    document = store.read()
    _check_free(handle, document, now)
    if dry_run:
        snapshot = handle.table.snapshot()
        until = now + document.spec.retention.grace if undo else None
        if document.dropped is not None:
            until = _until(document.dropped)
        return _result(handle, snapshot, until, changed=False, dry_run=True, was_dropped=document.dropped is not None)
    if document.dropped is not None:
        taken = _take_out(handle, reason, undo=document.dropped.undoable, run_id=run_id)
        return _result(handle, taken, _until(document.dropped), changed=bool(taken.files), was_dropped=True)
    record = _begun(handle, "drop", now, reason, run_id)
    mark = Dropped(at=now, record=record.id, grace=document.spec.retention.grace, undoable=undo)
    try:
        store.update(lambda current: _marked(handle, current, mark))
        taken = _take_out(handle, reason, undo=undo, run_id=run_id)
    except (AccessDenied, PolicyRefused, UnsupportedByServer, UnsupportedByTable):
        # it cannot be taken out here, so it stays in use
        store.update(
            lambda current: current.model_copy(update={"dropped": None}) if current.dropped == mark else current
        )
        handle.journal.swap(record, record.model_copy(update={"state": "refused"}))
        raise
    handle.journal.swap(record, record.model_copy(update={"state": "done"}))
    return _result(handle, taken, _until(mark), changed=True)


def _until(dropped: Dropped) -> datetime | None:
    return dropped.until if dropped.undoable else None


def undrop(handle: Handle, *, reason: str = "", dry_run: bool = False, run_id: str | None = None) -> UndropResult:
    """Take a dropped dataset back, with all partitions that it had; a second call changes nothing.

    Rows that others wrote meanwhile, unaware of the drop, stay. Where they wrote to a partition that was dropped, that
    partition does not come back, and the result names it.

    Args:
        handle: The dataset.
        reason: Why, for the history.
        dry_run: Only make the checks, and report what would come back.
        run_id: Who did it, for the history.

    Raises:
        PolicyRefused: Its grace is over, undo was given up, or its files are gone; nothing is changed then.
        CommitConflict: Others kept writing.
    """
    store = _document(handle)
    dropped = store.read().dropped
    if dropped is None:
        return UndropResult(handle.spec.uri, changed=False, partitions=0)
    _check_not_ending(handle, dropped)
    if dry_run:
        back, refused = _brought_back(handle, dropped, dry_run=True, run_id=run_id)
        return UndropResult(handle.spec.uri, changed=False, partitions=back, dry_run=True, refused=refused)
    record = _begun(handle, "undrop", handle.clock.now(), reason, run_id)
    try:
        back, refused = _brought_back(handle, dropped, dry_run=False, run_id=run_id)
        store.update(lambda document: _unmarked(handle, document))
    except (CommitConflict, PolicyRefused):
        handle.journal.swap(record, record.model_copy(update={"state": "refused"}))
        raise
    handle.journal.swap(record, record.model_copy(update={"state": "done"}))
    return UndropResult(handle.spec.uri, changed=True, partitions=back, refused=refused)


def _brought_back(handle: Handle, dropped: Dropped, *, dry_run: bool, run_id: str | None) -> tuple[int, dict[str, str]]:
    """Undo the drop's removal; return how many partitions came back, and those that cannot, with the reason.

    Raises:
        PolicyRefused: No partition can come back, and the table has no other rows.
    """
    results: list[UndoResult] = []
    refused: dict[str, PolicyRefused] = {}
    undoing = partial(undo_removal, handle, dry_run=dry_run, run_id=run_id)
    for removal in handle.journal.records(RemovalRecord, dropped.record):
        if removal.operation != "expire" or not all(gone.reason.startswith(_WHY) for gone in removal.partitions):
            continue
        try:
            results += undoing(removal)
        except PolicyRefused as error:
            if len(removal.partitions) == 1:
                refused.setdefault(removal.partitions[0].key, error)
                continue
            for gone in removal.partitions:  # a partition that others wrote to does not keep the rest from coming back
                try:
                    results += undoing(removal, key=gone.key)
                except PolicyRefused as each:
                    refused.setdefault(gone.key, each)
    back = sum(result.changed or result.dry_run for result in results)
    if refused and not back and not handle.table.snapshot().files:
        raise next(iter(refused.values()))
    return back, {key: str(error) for key, error in sorted(refused.items())}


def _document(handle: Handle) -> DocumentStore:
    if handle.document is None:
        raise UnsupportedByTable(
            f"{handle.spec.uri} has no description of ours: what others made is theirs to delete",
            hint="`tierlake adopt URI` makes it a dataset of ours first",
        )
    return handle.document


def _begun(handle: Handle, operation: str, at: datetime, reason: str, run_id: str | None) -> PolicyRecord:
    fields = {"id": handle.journal.new_id(at), "at": at, "run_id": run_id, "reason": reason.strip()}
    return handle.journal.write(PolicyRecord.model_validate({**fields, "operation": operation, "state": "begun"}))


def _check_free(handle: Handle, document: DatasetDocument, now: datetime) -> None:
    """Refuse while any partition is held, or retained beyond this instant."""
    live = {str(file.key) for file in handle.table.snapshot().files} if document.retains else set()
    kept = [f"{key} (held: {one.reason})" for key, one in sorted(document.holds.items())]
    kept += [
        f"{key} (retained until {formatting.day(until)})"
        for key, until in sorted(document.retains.items())
        if until > now and key in live
    ]
    if kept:
        more = f" and {len(kept) - _SHOWN:,} more" if len(kept) > _SHOWN else ""
        raise PolicyRefused(
            f"{handle.spec.uri} has partitions that must stay: {', '.join(kept[:_SHOWN])}{more}",
            hint="`tierlake release` ends a hold, `tierlake retain --until DAY --shorten` a retention, as an undone "
            "expiry has for a grace; nothing was changed",
        )


def _marked(handle: Handle, document: DatasetDocument, mark: Dropped) -> DatasetDocument:
    if document.dropped is not None:
        return document
    _check_free(handle, document, mark.at)
    return document.model_copy(update={"dropped": mark})


def _unmarked(handle: Handle, document: DatasetDocument) -> DatasetDocument:
    if document.dropped is not None:
        _check_not_ending(handle, document.dropped)
    return document.model_copy(update={"dropped": None})


def _check_not_ending(handle: Handle, dropped: Dropped) -> None:
    if dropped.is_ending:
        raise PolicyRefused(
            f"{handle.spec.uri} is being deleted for good: its grace ended on {formatting.day(dropped.until)}",
            hint="`tierlake vacuum` completes that; then it can be created anew",
        )


def _take_out(handle: Handle, reason: str, *, undo: bool, run_id: str | None) -> Snapshot:
    """Commit the removal of all that was live, and return it."""
    taken: Snapshot | None = None
    pending: RemovalRecord | None = None
    why = f"{_WHY}: {reason.strip()}" if reason.strip() else _WHY
    for attempt in attempts(handle.spec.uri, on=CommitConflict, done="what was taken out comes back with an undrop"):
        with attempt:
            snapshot = handle.table.snapshot()
            taken = taken or snapshot
            if not snapshot.files:
                return taken
            files = handle.table.identified(snapshot.files)
            pending = begun(
                handle,
                "expire",
                removed_partitions(files, why),
                snapshot,
                record_id=pending.id if pending is not None else None,
                run_id=run_id,
                undoable=undo,
            )
            details: dict[str, object] = {"removal": pending.id, "reason": why, "files": len(files)}
            details |= {"partitions": len(pending.partitions), "bytes": sum(file.size for file in files)}
            if run_id is not None:
                details["run_id"] = run_id
            try:
                commit = handle.table.commit(Change("expire", base=snapshot, removes=files, details=details))
            except CommitConflict as error:
                if error.is_partial:
                    _keep_to_what_went(handle, pending)
                    pending = None
                raise
            completed(handle, pending, commit)
            pending = None
    raise AssertionError  # the last attempt raises


def _keep_to_what_went(handle: Handle, record: RemovalRecord) -> None:
    """Objects of a plain table go one by one: of a removal that stopped, only those count that are gone."""
    live = {file.path for file in handle.table.snapshot().files}
    gone = (
        part.model_copy(update={"files": tuple(file for file in part.files if file.path not in live)})
        for part in record.partitions
    )
    handle.journal.write(record.model_copy(update={"partitions": tuple(part for part in gone if part.files)}))


def _result(
    handle: Handle,
    snapshot: Snapshot,
    until: datetime | None,
    *,
    changed: bool,
    dry_run: bool = False,
    was_dropped: bool = False,
) -> DropResult:
    return DropResult(
        uri=handle.spec.uri,
        changed=changed,
        partitions=len(snapshot.by_partition()),
        files=len(snapshot.files),
        bytes=sum(file.size for file in snapshot.files),
        undo_until=until,
        dry_run=dry_run,
        was_dropped=was_dropped,
    )
