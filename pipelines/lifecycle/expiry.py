"""Expiry: plan which partitions are past their retention, and take them out of the table.

Applying works in this order, so that a crash anywhere leaves the table whole and a second try completes it:

    1. holds, retentions and the spec are read again: what they keep by now stays
    2. the journal gets a record with all files (undo needs it)
    3. one commit takes all partitions out; readers no longer see them
    4. the record is marked as committed: the grace begins
    5. holds are read once more: partitions held meanwhile come back

The files stay until the grace ends and `vacuum` runs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tierlake.connector.errors import LakeError
from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, StalePlan
from tierlake.pipelines.lifecycle.decision import planned_files, price_note
from tierlake.pipelines.lifecycle.outlook import expiry_outlook
from tierlake.pipelines.lifecycle.plan import Expiration, ExpiryPlan
from tierlake.pipelines.lifecycle.results import ApplyResult
from tierlake.pipelines.lifecycle.undo import bring_back, undo_expiry
from tierlake.pipelines.lifecycle.undoable import expired_keys
from tierlake.pipelines.metastore.records import RemovalRecord
from tierlake.pipelines.metastore.removal import begun, completed, removed_partitions
from tierlake.pipelines.model.age import is_past_retention, window_of_key, without_window
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.prices import price_list
from tierlake.pipelines.query.catalog import kept_because
from tierlake.pipelines.query.classes import Classes
from tierlake.pipelines.query.placement import placed
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.after_commit import after_commit, noting
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.tables.snapshot import Change, Commit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from tierlake.pipelines.lifecycle.outlook import Materialized
    from tierlake.pipelines.metastore.document import DatasetDocument
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import FileRecord, RemovedPartition
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.runtime.progress import Progress
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

__all__ = ["apply_expiry", "expired_keys", "plan_expiry", "undo_expiry"]


# -- planning -------------------------------------------------------------------------------------------------------


def plan_expiry(
    handle: Handle,
    as_of: datetime,
    materialized: Materialized | None = None,
    keys: Collection[PartitionKey] | None = None,
) -> ExpiryPlan:
    """Plan which partitions leave the table, and which are due but kept.

    Args:
        handle: The dataset.
        as_of: The instant that ages count to.
        materialized: What the assets of `retention.after` have read. Without it, partitions that depend on them wait.
        keys: Only these partitions; None means all.
    """
    spec, profile = handle.spec, handle.fs.profile
    after = formatting.age(spec.retention.expire_after)
    outlook = expiry_outlook(handle, as_of, materialized, keys=keys)
    prices = price_list(profile.price_list)
    classes = Classes(spec, profile, prices)
    partitions = placed(handle, outlook.snapshot, outlook.due, is_new=True)
    with collector_paused():
        steps = tuple(
            [
                Expiration.of(
                    key=str(key),
                    files=planned_files(part),
                    rows=part.rows,
                    age=outlook.due[key],
                    reason=f"{formatting.age(outlook.due[key])} old, kept for {after}",
                    monthly=classes.monthly(part),
                )
                for key, part in partitions.items()
            ]
        )
    plan = ExpiryPlan(
        uri=spec.uri,
        version=outlook.snapshot.version,
        as_of=as_of,
        steps=steps,
        refused=outlook.refused,
        untouched=len(outlook.live) - len(steps) - len(outlook.refused),
        note=price_note(prices),
        ageless=without_window(spec, outlook.live),
        grace=spec.retention.grace,
    )
    return plan.bind(partial(apply_expiry, handle))


# -- applying -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    """What has happened to each partition so far."""

    done: dict[str, RemovedPartition] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    failures: dict[str, Exception] = field(default_factory=dict)


def apply_expiry(
    handle: Handle,
    plan: ExpiryPlan,
    *,
    progress: Progress = False,
    undo: bool = True,
    keys: Iterable[str | PartitionKey] | None = None,
    dry_run: bool = False,
    run_id: str | None = None,
) -> ApplyResult:
    """Take the plan's partitions out of the table, as far as they are unchanged since the plan and still due.

    Args:
        handle: The dataset that the plan is for.
        plan: What to do.
        progress: Listens to each step.
        undo: False gives undo up.
        keys: Only these partitions.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Raises:
        SpecError: The plan is for another dataset.
        UnknownPartition: Keys that the plan has no step for.
        PolicyRefused: The bucket is not versioned, so that a plain table's partitions could not come back.
        UnsupportedByTable: The server has neither versions nor conditional deletes, so a concurrent ingest could be
            lost.
    """
    plan.check_is_for(handle.spec.uri)
    steps = plan.selected(keys)
    handle.table.check_can_remove(undo=undo)
    tally = _Tally()
    if dry_run:
        due = _still_due(handle, plan, steps, handle.table.snapshot(), tally) if steps else []
        return ApplyResult.of(
            "expiry",
            done=[step.key for step, _ in due],
            skipped=tally.skipped,
            failures=tally.failures,
            files=sum(len(files) for _, files in due),
            size=sum(file.size for _, files in due for file in files),
            dry_run=True,
        )
    with reporting(
        "expiry", total=len(steps), bytes_total=sum(step.bytes for step in steps), progress=progress
    ) as advance:
        with noting() as notes:
            _expire(handle, plan, steps, tally, undo=undo, run_id=run_id)
        for step in steps:
            advance(step.key, step.bytes)
    return ApplyResult.of(
        "expiry",
        done=tally.done,
        skipped=tally.skipped,
        failures=tally.failures,
        files=sum(len(gone.files) for gone in tally.done.values()),
        size=sum(gone.bytes for gone in tally.done.values()),
    ).with_notes(notes)


def _expire(
    handle: Handle,
    plan: ExpiryPlan,
    steps: Sequence[Expiration],
    tally: _Tally,
    *,
    undo: bool,
    run_id: str | None,
) -> None:
    due: list[tuple[Expiration, tuple[LiveFile, ...]]] = []
    record: RemovalRecord | None = None
    outcome: Commit | LakeError | None = None
    try:
        for attempt in attempts(handle.spec.uri, on=CommitConflict):
            with attempt:
                snapshot = handle.table.snapshot()
                due = _still_due(handle, plan, steps, snapshot, tally)
                if not due:
                    return
                due = _identified(handle, due)
                record = begun(
                    handle,
                    "expire",
                    _partitions(handle, due),
                    snapshot,
                    record_id=record.id if record is not None else None,
                    as_of=plan.as_of,
                    run_id=run_id,
                    undoable=undo,
                )
                outcome = _committed(handle, _change(snapshot, record, due))
                break
    except CommitConflict as conflict:
        for step, _ in due:
            tally.failures.setdefault(step.key, conflict)
        return
    if record is None or outcome is None:
        raise AssertionError
    if isinstance(outcome, LakeError):
        _sort_out(handle, record, outcome, tally)
    else:
        _confirm(handle, record, outcome, tally)


@tracing.span("expiry.commit")
def _committed(handle: Handle, change: Change) -> Commit | LakeError:
    """The commit, or the failure that may have left it half done.

    Raises:
        CommitConflict: Nothing was done; another look at the table helps.
    """
    try:
        return handle.table.commit(change)
    except LakeError as error:
        if isinstance(error, CommitConflict) and not error.is_partial:
            raise
        return error


def _identified(
    handle: Handle, due: Sequence[tuple[Expiration, tuple[LiveFile, ...]]]
) -> list[tuple[Expiration, tuple[LiveFile, ...]]]:
    files = iter(handle.table.identified([file for _, live in due for file in live]))
    return [(step, tuple(itertools.islice(files, len(live)))) for step, live in due]


@tracing.span("expiry.check")
def _still_due(
    handle: Handle, plan: ExpiryPlan, steps: Sequence[Expiration], snapshot: Snapshot, tally: _Tally
) -> list[tuple[Expiration, tuple[LiveFile, ...]]]:
    """The steps that may be carried out now; the others become skipped or failures."""
    document = handle.document.read() if handle.document else None
    spec = document.spec if document else handle.spec
    live = snapshot.by_partition()
    tally.skipped.clear()  # an earlier decision may have changed by now
    tally.failures.clear()
    due: list[tuple[Expiration, tuple[LiveFile, ...]]] = []
    for step in steps:
        files = live.get(PartitionKey.parse(step.key), ())
        if not files:
            tally.skipped.add(step.key)
            continue
        try:
            _check(handle, plan, step, files, spec, document)
        except (PolicyRefused, StalePlan) as error:
            tally.failures[step.key] = error
        else:
            due.append((step, files))
    return due


def _check(
    handle: Handle,
    plan: ExpiryPlan,
    step: Expiration,
    files: Sequence[LiveFile],
    spec: DatasetSpec,
    document: DatasetDocument | None,
) -> None:
    kept = kept_because(document, step.key, plan.as_of)
    if kept is not None:
        raise PolicyRefused(f"{step.key} is {kept}")
    window = window_of_key(spec, PartitionKey.parse(step.key))
    if window is None or not is_past_retention(spec, window.age(plan.as_of)):
        raise PolicyRefused(
            f"{step.key} is not past its retention as of {formatting.day(plan.as_of)}",
            hint="the policy or the plan was changed; plan again",
        )
    if not handle.table.is_as_seen(files, step.files):
        raise StalePlan(f"{step.key} has other files than when the plan was made", hint="plan again")


def _partitions(handle: Handle, due: Sequence[tuple[Expiration, tuple[LiveFile, ...]]]) -> tuple[RemovedPartition, ...]:
    """The partitions for the journal, with the files that an interrupted expiry has removed already."""
    keys = {step.key for step, _ in due}
    interrupted = {} if handle.table.is_atomic else _files_of_interrupted(handle, keys)
    reasons = {step.key: step.reason for step, _ in due}
    leaving = removed_partitions((file for _, files in due for file in files), reasons)
    return tuple(
        part.model_copy(
            update={"files": tuple((interrupted.get(part.key, {}) | {file.path: file for file in part.files}).values())}
        )
        for part in leaving
    )


def _files_of_interrupted(handle: Handle, keys: set[str]) -> dict[str, dict[str, FileRecord]]:
    files: dict[str, dict[str, FileRecord]] = {}
    settled: set[str] = set()
    for record in handle.journal.records(RemovalRecord):
        for gone in record.partitions:
            if gone.key not in keys - settled:
                continue
            if record.committed_at is not None or record.operation != "expire":
                settled.add(gone.key)
            else:
                older = files.setdefault(gone.key, {})
                files[gone.key] = {file.path: file for file in gone.files} | older
        if settled == keys:
            break
    return files


def _change(
    snapshot: Snapshot, record: RemovalRecord, due: Sequence[tuple[Expiration, tuple[LiveFile, ...]]]
) -> Change:
    removes = tuple(file for _, files in due for file in files)
    reasons = sorted({step.reason for step, _ in due})
    details: dict[str, object] = {
        "removal": record.id,
        "reason": reasons[0] if len(reasons) == 1 else f"past retention as of {record.as_of}",
        "partitions": len(due),
        "files": len(removes),
        "bytes": sum(file.size for file in removes),
    }
    if record.run_id is not None:
        details["run_id"] = record.run_id
    return Change(operation="expire", base=snapshot, removes=removes, details=details)


def _confirm(handle: Handle, record: RemovalRecord, commit: Commit, tally: _Tally) -> None:
    """Confirm the removal, so that the grace begins; bring back partitions that were held meanwhile."""
    done = completed(handle, record, commit)
    tally.done |= {gone.key: gone for gone in done.partitions}
    document = None
    with after_commit("whether somebody held a partition meanwhile is not known; `tierlake undo` brings one back"):
        document = handle.document.read() if handle.document else None
    if document is None or not document.holds.keys() & tally.done.keys():
        return
    back: list[RemovedPartition] = []
    with after_commit("a partition that somebody held meanwhile is not back; `tierlake undo` brings it back"):
        back = _brought_back(handle, done, document)
    for gone in back:
        del tally.done[gone.key]
        reason = document.holds[gone.key].reason
        tally.failures[gone.key] = PolicyRefused(
            f"{gone.key} was held while it was being expired ({reason}): it is back"
        )


def _brought_back(handle: Handle, record: RemovalRecord, document: DatasetDocument) -> list[RemovedPartition]:
    """Bring back held partitions. Where new rows were ingested already, the hold is on those."""
    for attempt in attempts(handle.spec.uri, on=CommitConflict):
        with attempt:
            snapshot = handle.table.snapshot()
            live = {str(file.key) for file in snapshot.files}
            held = [gone for gone in record.partitions if gone.key in document.holds and gone.key not in live]
            if held:
                bring_back(handle, snapshot, record, held, run_id=record.run_id)
            return held
    raise AssertionError  # the last attempt raises


def _sort_out(handle: Handle, record: RemovalRecord, error: LakeError, tally: _Tally) -> None:
    """After a commit that failed halfway, find the partitions that are gone, and report the others.

    Raises:
        LakeError: The table cannot be read; this is the error of the commit.
    """
    try:
        snapshot = handle.table.snapshot()
    except LakeError:
        raise error from None
    live = snapshot.by_partition()
    left: list[RemovedPartition] = []
    gone: list[RemovedPartition] = []
    for part in record.partitions:
        (left if live.get(PartitionKey.parse(part.key)) else gone).append(part)
    tally.failures |= {part.key: error for part in left}
    if not gone:
        return
    if left:
        # a record of their own, not committed: the next attempt reads in it which files are removed already
        with after_commit("what is left of it is not on record by itself; the next expiry looks at the table"):
            again = record.model_copy(update={"id": handle.journal.new_id(record.at), "partitions": tuple(left)})
            handle.journal.write(again)
    commit = Commit(snapshot.log_version, record.at, "expire", None, {})
    _confirm(handle, record.model_copy(update={"partitions": tuple(gone)}), commit, tally)
