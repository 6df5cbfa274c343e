"""Vacuum: delete files that no commit names: removed files after the grace, never committed ones after a day.

Ages go by the store's clock alone: the time of the commit's own object, of the object itself, of the journal's record.
What others deleted by hand, nested tables and others' objects stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tierlake.connector.observe import tracing
from tierlake.pipelines.maintenance.stored_files import stored_objects
from tierlake.pipelines.metastore.deletion import Doomed, Held, delete_dataset, delete_for_good, forget_tails, take_back
from tierlake.pipelines.metastore.fold import fold
from tierlake.pipelines.metastore.opening import history_kept
from tierlake.pipelines.metastore.records import RemovalRecord, UndoRecord
from tierlake.pipelines.model.instant import instant_after
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.after_commit import after_commit
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.tables.snapshot import ORPHAN_AGE, RecentLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from tierlake.pipelines.maintenance.stored_files import StoredObject
    from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore, Dropped
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["VacuumResult", "vacuum"]


@dataclass(frozen=True, slots=True, repr=False)
class VacuumResult(Shown):
    """What a vacuum deleted.

    Attributes:
        expired: Files that commits had taken out and whose grace has ended, below the root.
        orphans: Files that were never committed.
        bytes: Size of both, as listed.
        kept: Files whose grace or age is not over yet.
        dry_run: True where nothing was deleted.
        ends_dataset: True where the dataset was dropped, its grace is over, and nothing of it is left.
    """

    expired: tuple[str, ...]
    orphans: tuple[str, ...]
    bytes: int
    kept: int
    dry_run: bool
    ends_dataset: bool = False

    @property
    def deleted(self) -> int:
        """Number of files."""
        return len(self.expired) + len(self.orphans)

    def __str__(self) -> str:
        """The amount, and then the files."""
        did = "would delete" if self.dry_run else "deleted"
        waiting = f"; {formatting.count(self.kept)} wait for their grace or their age" if self.kept else ""
        end = "; the dataset itself goes with them" if self.ends_dataset else ""
        head = f"{did} {formatting.files(self.deleted)}, {formatting.size(self.bytes)}{waiting}{end}"
        files = [f"{path}: its grace is over" for path in self.expired]
        return "\n".join([head, *files, *(f"{path}: never committed" for path in self.orphans)])


@dataclass(frozen=True, slots=True)
class _Gone:
    """A file that left the table, by the journal.

    Attributes:
        key: Its partition.
        until: Until when it stays.
        removal: Id of the removal's record; None where it was undone since.
        versions: The versions of its object that left; none where it is the object itself.
        is_certain: Whether the record was completed, so that `until` counts from the commit.
    """

    key: PartitionKey
    until: datetime
    removal: str | None
    versions: frozenset[str]
    is_certain: bool


def vacuum(handle: Handle, *, dry_run: bool = False, run_id: str | None = None) -> VacuumResult:
    """Delete files that no commit names: expired or replaced ones after the grace, orphans after 24 hours.

    Ages count by the server's clock. On a versioned bucket all versions and delete markers are deleted. Files of a held
    partition stay. Old events of the journal are folded (`metastore.fold`).

    Args:
        handle: The dataset.
        dry_run: Only report what would go.
        run_id: For the history.
    """
    now = handle.clock.now()
    dropped = _dropped(handle)
    if dropped is not None and dropped.is_ending:  # an earlier vacuum stopped halfway: part of the log may be gone
        if not dry_run:
            delete_dataset(handle)
        return VacuumResult((), (), 0, 0, dry_run, ends_dataset=True)
    snapshot = handle.table.snapshot()
    gone = _known_to_have_left(handle)
    doomed: list[Doomed] = []
    kept = 0
    held = Held(handle, snapshot.known_schema)
    with tracing.span("vacuum.list"):
        stored = stored_objects(handle)
    for one, until in _unneeded(handle, stored, snapshot, gone, now):
        if held.keeps(one.key) or now < until:
            kept += 1
        else:
            doomed.append(one)
    if not dry_run:
        expired = sum(one.is_expired for one in doomed)
        reason = f"{expired} past the grace, {len(doomed) - expired} never committed"
        with tracing.span("vacuum.delete"):
            deleted = delete_for_good(handle, doomed, now=now, reason=reason, run_id=run_id)
        forget_tails(handle, {one.path for one in stored} - {one.path for one in deleted})
        kept += len(doomed) - len(deleted)
        doomed = list(deleted)
        if dropped is None:
            with after_commit("the journal keeps an object for each of its old events: the next vacuum folds them"):
                _fold_journal(handle, snapshot, stored, now)
        _forget_runs(handle, stored, snapshot, now)
    is_over = dropped is not None and now >= dropped.until and not kept and not snapshot.files
    return VacuumResult(
        expired=tuple(one.path for one in doomed if one.is_expired),
        orphans=tuple(one.path for one in doomed if not one.is_expired),
        bytes=sum(one.size for one in doomed),
        kept=kept,
        dry_run=dry_run,
        ends_dataset=is_over and (dry_run or _ended(handle)),
    )


@tracing.span("vacuum.fold")
def _fold_journal(handle: Handle, snapshot: Snapshot, stored: Sequence[StoredObject], now: datetime) -> None:
    """Fold old events, as the store was before anything was deleted."""
    by_path = {one.path: one for one in stored if not one.is_nested}

    def is_stored(path: str, version_id: str | None) -> bool:
        one = by_path.get(path)
        if one is None or not handle.table.is_replaced_in_place(path):
            return one is not None
        return version_id in one.versions  # the name alone is not enough: a later object may have it too

    live = frozenset(file.path for file in snapshot.files if not handle.table.is_replaced_in_place(file.path))
    fold(handle, now=now, is_stored=is_stored, live=live)


def _unneeded(
    handle: Handle,
    stored: Sequence[StoredObject],
    snapshot: Snapshot,
    gone: Mapping[str, list[_Gone]],
    now: datetime,
) -> Iterator[tuple[Doomed, datetime]]:
    """Files that are no longer read, each with the instant until which it stays."""
    in_place: list[StoredObject] = []
    others: list[StoredObject] = []
    for one in stored:
        (in_place if handle.table.is_replaced_in_place(one.path) else others).append(one)
    yield from _hidden_versions(in_place, gone)
    if others:
        yield from _unnamed_files(handle, others, snapshot, gone, now)


def _forget_runs(handle: Handle, stored: Sequence[StoredObject], snapshot: Snapshot, now: datetime) -> None:
    """Delete the records of runs that are no longer needed."""
    paths = {one.path for one in stored}
    with after_commit("records of runs that nothing needs are left; the next vacuum takes them"):
        take_back(handle.fs, handle.table.outdated_runs(snapshot, paths, now=now, history=history_kept(handle.spec)))


def _dropped(handle: Handle) -> Dropped | None:
    return handle.document.read().dropped if handle.document is not None else None


def _ended(handle: Handle) -> bool:
    """Delete a dropped dataset, unless it was undropped, held or written to meanwhile; return whether it went."""
    store = handle.document
    if store is None or not _mark(store, is_ending=True):
        return False
    if handle.table.snapshot().files:
        _mark(store, is_ending=False)
        return False
    delete_dataset(handle)
    return True


def _mark(store: DocumentStore, *, is_ending: bool) -> bool:
    """Mark the dataset as ending, or not; an ending one can no longer be taken back."""

    def change(document: DatasetDocument) -> DatasetDocument:
        if document.dropped is None or document.holds:
            return document
        return document.model_copy(update={"dropped": document.dropped.model_copy(update={"is_ending": is_ending})})

    dropped = store.update(change).dropped
    return dropped is not None and dropped.is_ending == is_ending


def _known_to_have_left(handle: Handle) -> dict[str, list[_Gone]]:
    """The files that left, by path; a removal that was undone does not count.

    Plain tables are an exception: a replaced object came back as a copy, so the version itself is no longer needed.
    """
    gone: dict[str, list[_Gone]] = {}
    undone = {
        (undo.removal, key): undo
        for undo in handle.journal.records(UndoRecord)
        if undo.state == "done"
        for key in undo.keys
    }
    for removal in handle.journal.records(RemovalRecord):
        is_replaced = removal.operation == "replace"
        for part in removal.partitions:
            undo = undone.get((removal.id, part.key))
            for file in part.files:
                if undo is not None and not (is_replaced and handle.table.is_replaced_in_place(file.path)):
                    continue
                known = _Gone(
                    key=part.partition_key,
                    until=_second(removal.undo_until if undo is None else instant_after(undo.at, removal.grace)),
                    removal=removal.id if undo is None else None,
                    versions=frozenset() if file.version_id is None else frozenset({file.version_id}),
                    is_certain=removal.committed_at is not None,
                )
                gone.setdefault(file.path, []).append(known)
    return gone


def _unnamed_files(
    handle: Handle, stored: Sequence[StoredObject], snapshot: Snapshot, gone: Mapping[str, list[_Gone]], now: datetime
) -> Iterator[tuple[Doomed, datetime]]:
    """Those of the objects that the table does not name, each with the instant until which it stays."""
    live = {file.path for file in snapshot.files}
    columns = handle.table.partition_columns
    removed = {file.path: file for file in handle.table.removed_files()}
    document = handle.document.read() if handle.document is not None else None
    is_adopted = document is None or document.adopted_at is not None
    grace = (handle.spec if document is None else document.spec).retention.grace
    unnamed = [one for one in stored if one.path not in live and not one.is_nested]
    # the journal has all of our removals; the log has those by others, also of the same files
    is_kept = all(any(record.is_certain and now < record.until for record in gone.get(one.path, ())) for one in unnamed)
    recent = RecentLog({}, reaches_back=True) if is_kept else handle.table.recent(now - grace)
    for one in unnamed:
        known = gone.get(one.path, [])
        is_expired = bool(known) or one.path in removed
        if not is_expired and is_adopted and not handle.table.has_own_name(one.path):
            continue  # another owner's file, no orphan of ours
        if known:
            until = max(record.until for record in known)
            key: PartitionKey | None = known[0].key
        else:
            until = _second(one.modified) + (timedelta(0) if is_expired else ORPHAN_AGE)
            recorded = removed[one.path].key if one.path in removed else None
            key = recorded if recorded is not None else handle.table.path_key(one.path, columns)
        if one.path in recent.named:
            until = max(until, _second(recent.named[one.path]) + grace)
        elif is_expired and not recent.reaches_back and not any(record.is_certain for record in known):
            until = max(until, now + grace)  # the log forgot the time: the end of the grace is unknown
        removal = max((record.removal for record in known if record.removal is not None), default=None)
        yield Doomed(one.path, one.size, key, one.versions, one.etag, removal, is_expired), until


def _hidden_versions(
    stored: Iterable[StoredObject], gone: Mapping[str, list[_Gone]]
) -> Iterator[tuple[Doomed, datetime]]:
    """Versions that our acts hid, of objects that are replaced in place."""
    for one in stored:
        if one.is_nested:
            continue
        is_emptied = not one.is_shown and not any(one.sizes.values())  # a vacuum stopped before the markers
        known = gone.get(one.path, [])
        if is_emptied and known:
            until = max(record.until for record in known)
            yield Doomed(one.path, 0, known[0].key, one.versions, None, known[0].removal, is_expired=True), until
            continue
        for version in one.versions:
            # several records may name it, such as that of an act that died before it began: the last one counts
            naming = [record for record in known if version in record.versions and version != one.shown]
            if naming:
                removal = max((record.removal for record in naming if record.removal is not None), default=None)
                doomed = Doomed(one.path, one.sizes[version], naming[0].key, (version,), None, removal, is_expired=True)
                yield doomed, max(record.until for record in naming)


def _second(instant: datetime) -> datetime:
    """Round down to whole seconds, the precision of the server's clock."""
    return instant.replace(microsecond=0)
