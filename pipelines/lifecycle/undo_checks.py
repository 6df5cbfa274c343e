"""Reasons why a removal cannot be undone: its grace, columns, erasures, other writers, missing files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from tierlake.pipelines.errors import PolicyRefused
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.tables.runs import run_token, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovalRecord, RemovedPartition
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot


__all__ = ["check_not_ended", "is_back", "live_files", "refusals", "too_late"]


def refusals(
    handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition], snapshot: Snapshot
) -> Iterator[tuple[str, PolicyRefused]]:
    """The partitions of a removal that cannot come back, each with the reason, and maybe with several.

    Args:
        handle: The dataset.
        record: The removal that took them out.
        partitions: Those to bring back.
        snapshot: The table now.
    """
    yield from _after_grace(handle, record, partitions)
    yield from _with_other_columns(record, partitions, snapshot)
    yield from _erased(handle, record, partitions)
    yield from _removed_by_others(handle, record, partitions)
    yield from _without_files(handle, partitions)


def check_not_ended(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> None:
    """Refuse a removal whose files a vacuum or an erasure is taking, or has taken."""
    for _, error in _ended(handle, record, partitions):
        raise error


def too_late(name: str) -> PolicyRefused:
    """The error for files that are deleted for good, or are about to be."""
    return PolicyRefused(
        f"the old files of {name} are being deleted for good, or were: its grace is over, or an erasure took them",
        hint="ingest it again from its source",
    )


def _refused(gone: RemovedPartition, message: str, *, hint: str) -> tuple[str, PolicyRefused]:
    return gone.key, PolicyRefused(message, hint=hint)


_Refusals: TypeAlias = "Iterator[tuple[str, PolicyRefused]]"


def _after_grace(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> _Refusals:
    """Undo was given up, or the grace is over."""
    is_over = handle.clock.now() >= record.undo_until
    for gone in partitions:
        if not record.undoable and record.operation == "replace":
            yield _refused(
                gone,
                f"{gone.key} was replaced in a bucket that keeps no versions: what was there before is gone",
                hint="ingest it again from its source; versions, or `format: delta`, would keep it",
            )
        elif not record.undoable:
            yield _refused(
                gone, f"{gone.key} was expired without undo (undo=False)", hint="ingest it again from its source"
            )
        elif is_over or gone.folded is not None:
            left = "expired" if record.operation == "expire" else "replaced"
            yield _refused(
                gone,
                f"the grace of {gone.key} ended on {formatting.day(record.undo_until)}: it was {left} on "
                f"{formatting.day(record.committed_at or record.at)} "
                f"and could be undone for {formatting.age(record.grace)}",
                hint="ingest it again from its source",
            )
    yield from _ended(handle, record, partitions)


def _ended(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> _Refusals:
    ended = handle.journal.ended(record.id)
    yield from ((gone.key, too_late(gone.key)) for gone in partitions if (record.id, gone.key) in ended)


def _with_other_columns(record: RemovalRecord, partitions: Sequence[RemovedPartition], snapshot: Snapshot) -> _Refusals:
    """Old files under another schema would be read wrongly, or not at all."""
    now = {field.name: str(field.type) for field in snapshot.known_schema or ()}
    other = [f"{name} was {kind}" for name, kind in record.columns.items() if now.get(name) != kind]
    if not (other and now):
        return
    error = PolicyRefused(
        f"the table has other columns by now ({', '.join(other)}): what was taken out no longer fits",
        hint="read an older version, or ingest the partition again from its source",
    )
    yield from ((gone.key, error) for gone in partitions)


def _erased(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> _Refusals:
    """The files hold rows that were erased since."""
    spoiled = handle.journal.spoiled(record.id)
    for gone in partitions:
        if spoiled is None:
            yield _refused(
                gone,
                f"an erasure is at work, or stopped on its way: the old files of {gone.key} may hold rows of it",
                hint="wait for it; where it stopped, ingest the partition again from its source",
            )
        elif any(file.path in spoiled or f"{file.path}?{file.version_id}" in spoiled for file in gone.files):
            yield _refused(
                gone,
                f"the old files of {gone.key} hold rows that were erased since: they must not come back",
                hint="ingest it again from its source, without those rows",
            )


def _removed_by_others(handle: Handle, record: RemovalRecord, partitions: Sequence[RemovedPartition]) -> _Refusals:
    """Another writer brought these files back and removed them again: that decision stands."""
    if record.version is None:
        return
    touched = handle.table.named_after(record.version)
    for gone in partitions:
        if touched is None:
            yield _refused(
                gone,
                f"the log of {handle.spec.uri} has forgotten commits since {gone.key} left: nobody can say "
                "whether its rows were deleted by another writer meanwhile",
                hint="ingest it again from its source",
            )
        elif any(file.path in touched for file in gone.files):
            yield _refused(
                gone,
                f"another writer brought {gone.key} back since, and took its rows out again: they must not come back",
                hint="`tierlake history` says who; nothing was changed",
            )


def _without_files(handle: Handle, partitions: Sequence[RemovedPartition]) -> _Refusals:
    """The store does not have the files."""
    lost = frozenset(handle.table.lost([file for gone in partitions for file in gone.live_files()]))
    for gone in partitions if lost else ():
        missing = [file.path for file in gone.files if file.path in lost]
        if missing:
            yield _refused(
                gone,
                f"{len(missing)} of the {len(gone.files)} files of {gone.key} are not in the store any more: "
                f"{missing[0]}",
                hint="vacuum deletes files after the grace; ingest the partition again from its source",
            )


def live_files(snapshot: Snapshot, name: str) -> tuple[LiveFile, ...]:
    """The files of a partition."""
    key = PartitionKey.parse(name)
    return snapshot.by_partition((key,)).get(key, ())


def is_back(
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
    live = live_files(snapshot, gone.key)
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
