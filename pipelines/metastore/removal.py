"""Taking files out of a table, with a record that is written before the commit and completed after it.

Expiries and replacements can be undone until their grace ends. `vacuum` knows when every file left, by the store's
clock, even where the table's own log has forgotten it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tierlake.pipelines.metastore.records import FileRecord, RemovalRecord, RemovedPartition
from tierlake.pipelines.runtime.after_commit import after_commit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.snapshot import Commit, LiveFile, Snapshot

__all__ = ["begun", "completed", "outcome", "removed_partitions", "settle", "settled"]


def removed_partitions(
    files: Iterable[LiveFile], reasons: Mapping[str, str] | str, came: Iterable[LiveFile] = ()
) -> tuple[RemovedPartition, ...]:
    """What a commit takes out, by partition.

    Args:
        files: What leaves.
        reasons: Why, for each key or for all.
        came: What takes its place.
    """
    gone: dict[PartitionKey, list[FileRecord]] = {}
    new: dict[PartitionKey, list[FileRecord]] = {}
    for file in files:
        gone.setdefault(file.key, []).append(FileRecord.of(file))
    for file in came:
        new.setdefault(file.key, []).append(FileRecord.of(file))
    return tuple(
        RemovedPartition(
            key=str(key),
            reason=reasons if isinstance(reasons, str) else reasons[str(key)],
            files=tuple(gone[key]),
            came=tuple(new.get(key, ())),
        )
        for key in sorted(gone)
    )


def begun(  # noqa: PLR0913 - what a record has
    handle: Handle,
    operation: Literal["expire", "replace", "undo", "compact", "erase"],
    partitions: tuple[RemovedPartition, ...],
    snapshot: Snapshot,
    *,
    record_id: str | None = None,
    as_of: datetime | None = None,
    run_key: str | None = None,
    run_id: str | None = None,
    undoable: bool = True,
    must_be_in_use: bool = False,
) -> RemovalRecord:
    """Write down what a commit is about to take out.

    Args:
        handle: The dataset.
        operation: What takes it out.
        partitions: What leaves.
        snapshot: The look that the commit rests on.
        record_id: Id of an earlier attempt's record, which this one replaces.
        as_of: The instant that the policy was asked about.
        run_key: The run key of an ingest.
        run_id: Who did it, for the history.
        undoable: False where the user gave undo up.
        must_be_in_use: Refuse a dataset that was dropped.

    Raises:
        PolicyRefused: It was dropped.
    """
    at = handle.clock.now()
    new_id = record_id or handle.journal.new_id(at)
    document = handle.document.read() if handle.document is not None else None
    if document is not None and must_be_in_use:
        document.check_in_use(handle.spec.uri)
    spec = document.spec if document is not None else handle.spec
    return handle.journal.write(
        RemovalRecord(
            id=new_id,
            at=at,
            run_id=run_id,
            operation=operation,
            base=snapshot.version,
            as_of=as_of,
            run_key=run_key,
            grace=spec.retention.grace,
            undoable=undoable,
            columns={field.name: str(field.type) for field in snapshot.known_schema or ()},
            partitions=partitions,
        )
    )


def completed(handle: Handle, record: RemovalRecord, commit: Commit) -> RemovalRecord:
    """Write down that the commit was made: the grace begins.

    The store may refuse that: the record without it is settled by what the table says (`settled`).

    Args:
        handle: The dataset.
        record: As it was written before the commit.
        commit: What the table says.
    """
    done = record.model_copy(update={"committed_at": record.at, "version": commit.version})
    with after_commit(f"the journal could not be told of it, and goes by the table (removal-{record.id})"):
        made = handle.table.made_at(commit.version) if commit.version is not None else None
        at = handle.clock.of_store(made) if made is not None else handle.clock.now()
        # elapsed time, which goes on even where the clock does not
        handle.journal.write(done := done.model_copy(update={"committed_at": max(at, record.at)}))
    return done


def settled(handle: Handle, record: RemovalRecord) -> RemovalRecord | None:
    """A removal with its outcome, also where its writer died before recording it; None where it was never made.

    Objects of a plain table go one by one: an expiry that stopped halfway counts as far as it got, an ingest once its
    run is recorded.
    """
    if record.committed_at is not None:
        return record
    fate = handle.table.fate_of(record.id, record.base, record.run_key)
    commit = fate.commit
    if commit is None:
        return record if fate.is_made else None
    at: datetime = handle.clock.of_store(commit.at)
    return record.model_copy(update={"committed_at": max(at, record.at), "version": commit.version})


def settle(handle: Handle) -> tuple[str, ...]:
    """Record the outcome of removals whose writer died between the commit and its confirmation.

    The table's log shows it for as long as it remembers the commit; afterwards neither undo nor the history would know
    of it. A plain table has no log: objects of an expiry that are gone by now count as taken by it.

    Returns:
        The partitions of the removals that were confirmed.
    """
    confirmed: list[str] = []
    for stored in handle.journal.records(RemovalRecord):
        record = outcome(handle, stored) if stored.committed_at is None else None
        # its writer may be alive and confirm it at the same moment: then that confirmation stays
        if record is not None and handle.journal.swap(stored, record):
            confirmed += [gone.key for gone in record.partitions]
    return tuple(confirmed)


def outcome(handle: Handle, stored: RemovalRecord) -> RemovalRecord | None:
    """A removal whose writer died, with the time from which its grace counts; None where no such time is known.

    Args:
        handle: The dataset.
        stored: The removal as the journal has it.
    """
    record = settled(handle, stored)
    if record is None or record.committed_at is not None:
        return record
    if record.operation != "expire":  # an ingest's own record says when it was made
        return None
    live = handle.table.snapshot().by_partition()
    gone = tuple(one for one in record.partitions if one.partition_key not in live)
    standing = [one for one in record.partitions if one.partition_key in live]
    left = {file.path for one in standing for file in live[one.partition_key]}
    if any(file.path not in left for one in standing for file in one.files):
        return None  # half of a partition is gone: the next expiry needs the record as it is
    update = {"partitions": gone, "committed_at": max(handle.clock.now(), record.at)}
    return record.model_copy(update=update) if gone else None
