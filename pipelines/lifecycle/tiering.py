"""Tiering: plan which partitions move to another tier and what that saves, and move them.

Moves that the policy requires and that are not made are in the plan with the reason: the server has no such tier, the
move costs more than it saves, or the class could not be read any more.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed
from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import StalePlan
from tierlake.pipelines.lifecycle.decision import decider, price_note
from tierlake.pipelines.lifecycle.plan import Refusal, TieringPlan, TierMove
from tierlake.pipelines.lifecycle.results import ApplyResult
from tierlake.pipelines.metastore.records import TieringRecord
from tierlake.pipelines.model.age import tier_at, window_of_key, without_window
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.movers import Move, get_mover
from tierlake.pipelines.query.placement import class_of_tier, placed
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.after_commit import after_commit, noting
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.tables.snapshot import SameRows
from tierlake.pipelines.tables.tails import TailShelf, tail_to_keep

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Sequence
    from datetime import datetime

    from tierlake.connector.client.concurrency import Failure
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.movers import Moved
    from tierlake.pipelines.query.placement import PlacedFile, PlacedPartition
    from tierlake.pipelines.runtime.progress import Progress

__all__ = ["apply_tiering", "plan_tiering"]

_NOTED_AT_ONCE = 500
"""Moves between two records of unchanged rows: a process that dies loses at most these."""


def plan_tiering(handle: Handle, as_of: datetime, keys: Collection[PartitionKey] | None = None) -> TieringPlan:
    """Plan which partitions move, at what price, and which should but will not.

    Args:
        handle: The dataset.
        as_of: The instant that ages count to.
        keys: Only these partitions; None means all.
    """
    deciding = decider(handle, as_of)
    snapshot = handle.table.snapshot()
    partitions = placed(handle, snapshot, keys, is_new=True)
    with collector_paused():
        decisions = [deciding.decide(part) for part in partitions.values()]
    plan = TieringPlan(
        uri=handle.spec.uri,
        version=snapshot.version,
        as_of=as_of,
        steps=tuple(made for made in decisions if isinstance(made, TierMove)),
        refused=tuple(made for made in decisions if isinstance(made, Refusal)),
        untouched=sum(made is None for made in decisions),
        note=price_note(deciding.prices),
        ageless=without_window(handle.spec, partitions),
    )
    return plan.bind(partial(apply_tiering, handle))


@dataclass(slots=True)
class _Tally:
    """What has happened so far."""

    moved: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    pending: int = 0
    same_rows: list[SameRows] = field(default_factory=list)


def apply_tiering(
    handle: Handle,
    plan: TieringPlan,
    *,
    progress: Progress = False,
    keys: Iterable[str | PartitionKey] | None = None,
    dry_run: bool = False,
    run_id: str | None = None,
) -> ApplyResult:
    """Move the plan's files that are not in their class yet.

    Each file moves independently: after a crash, a second call goes on where the first stopped. One failure does not
    stop the others.

    Args:
        handle: The dataset that the plan is for.
        plan: What to do.
        progress: Listens to each step.
        keys: Only these partitions.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Raises:
        SpecError: The plan is for another dataset.
        UnknownPartition: Keys that the plan has no step for.
    """
    plan.check_is_for(handle.spec.uri)
    steps = plan.selected(keys)
    tally = _Tally()
    work = _work(handle, plan, steps, tally)
    files = [(step, file) for step, pending in work for file in pending]
    total = sum(file.live.size for _, file in files)
    if dry_run:
        moving = {step.key for step, _ in files}
        return ApplyResult.of(
            "tiering",
            done=moving,
            skipped={step.key for step in steps} - moving - tally.failures.keys(),
            failures=tally.failures,
            files=len(files),
            size=total,
            dry_run=True,
        )
    with noting() as notes:
        try:
            with (
                tracing.span("tiering.move"),
                reporting("tiering", total=len(files), bytes_total=total, progress=progress) as advance,
                closing(_moved(handle, files)) as outcomes,
            ):
                for step, file, outcome in outcomes:
                    _count(tally, step, file, outcome)
                    advance(f"{step.key}/{file.live.path.rpartition('/')[2]}", file.live.size)
                    if len(tally.same_rows) >= _NOTED_AT_ONCE:
                        _note_same_rows(handle, tally)
        finally:
            _note_same_rows(handle, tally)
            if tally.moved:
                with after_commit("the journal could not be told of the files that moved"):
                    _remember(handle, plan, tally, run_id)
    return ApplyResult.of(
        "tiering",
        done=tally.moved.keys() - tally.failures.keys(),
        skipped={step.key for step in steps} - tally.moved.keys() - tally.failures.keys(),
        failures=tally.failures,
        files=tally.files,
        size=tally.bytes,
        pending=tally.pending,
    ).with_notes(notes)


@tracing.span("tiering.plan")
def _work(
    handle: Handle, plan: TieringPlan, steps: Sequence[TierMove], tally: _Tally
) -> list[tuple[TierMove, list[PlacedFile]]]:
    """The files still to be moved; partitions that changed since the plan become failures."""
    keys = {step.key: PartitionKey.parse(step.key) for step in steps}
    spec = handle.stored_spec()
    now = placed(handle, handle.table.snapshot(), keys.values(), is_new=True) if steps else {}
    work: list[tuple[TierMove, list[PlacedFile]]] = []
    for step in steps:
        try:
            pending = _pending(handle, spec, plan.as_of, step, now.get(keys[step.key]))
        except StalePlan as stale:
            tally.failures[step.key] = stale
        else:
            work.append((step, pending))
    return work


def _pending(
    handle: Handle, spec: DatasetSpec, as_of: datetime, step: TierMove, now: PlacedPartition | None
) -> list[PlacedFile]:
    if now is None:
        raise StalePlan(f"{step.key} is not in the table any more", hint="plan again")
    if class_of_tier(spec, handle.fs.profile, step.tier) != step.storage_class:
        raise StalePlan(
            f"{step.storage_class} is not the class of tier {step.tier} here",
            hint="the plan was made for another server or under another spec; plan again",
        )
    window = window_of_key(spec, now.key)
    if window is None or tier_at(spec, window.age(as_of)) != step.tier:
        raise StalePlan(
            f"{step.key} does not belong in tier {step.tier} as of {formatting.day(as_of)}",
            hint="the policy or the plan was changed; plan again",
        )
    current = {file.live.path: file for file in now.files}
    if current.keys() != {file.path for file in step.files}:
        raise StalePlan(f"{step.key} has other files than when the plan was made", hint="plan again")
    planned = {file.path: file.etag for file in step.files}
    moving = [current[path] for path in planned if current[path].storage_class != step.storage_class]
    if any(file.etag != planned[file.live.path] for file in moving):
        raise StalePlan(f"{step.key} was written anew since the plan was made", hint="plan again")
    return moving


def _moved(
    handle: Handle, files: Sequence[tuple[TierMove, PlacedFile]]
) -> Generator[tuple[TierMove, PlacedFile, Moved | Failure]]:
    """Move files; yield each with its outcome as it is known."""
    by_path = {f"{handle.table.root}/{file.live.path}": (step, file) for step, file in files}
    moves = {
        path: Move(
            tier=step.tier,
            storage_class=step.storage_class,
            from_class=file.storage_class,
            etag=file.etag,
            exclusive=handle.table.is_replaced_in_place(file.live.path),
        )
        for path, (step, file) in by_path.items()
    }
    mover = get_mover(handle.fs.profile.mover)
    with_tail = _tails_to_keep(handle, [step for step, _ in files])
    paths = list(moves)
    batch = _NOTED_AT_ONCE if with_tail else max(len(paths), 1)
    for start in range(0, len(paths), batch):
        some = {path: moves[path] for path in paths[start : start + batch]}
        if own := {by_path[path][1].live.path: by_path[path][1].live.size for path in some if path in with_tail}:
            TailShelf(handle.fs, handle.table.root).keep(own)
        for path, outcome in mover.move_many(handle.fs, some):
            yield *by_path[path], outcome


def _tails_to_keep(handle: Handle, steps: Iterable[TierMove]) -> frozenset[str]:
    """The files, `bucket/key`, whose tails are kept before they move."""
    archived, table = handle.fs.profile.archived_classes, handle.table
    kept = {
        tail_to_keep(table, {file.path: file.storage_class for file in step.files}, step.storage_class, archived)
        for step in steps
    }
    return frozenset(f"{table.root}/{path}" for path in kept if path is not None)


def _count(tally: _Tally, step: TierMove, file: PlacedFile, moved: Moved | Failure) -> None:
    if isinstance(moved, PreconditionFailed | ObjectNotFound):
        message = f"{file.live.path} was replaced or deleted while it was to be moved"
        moved = StalePlan(message, hint="plan again")
    if isinstance(moved, Exception):
        tally.failures.setdefault(step.key, moved)
        return
    if moved.outcome != "unchanged":
        tally.moved[step.key] = step.storage_class
        tally.pending += moved.outcome == "pending"
        tally.files += 1
        tally.bytes += file.live.size
    if moved.written is not None:
        was, now = file, moved.written
        tally.same_rows.append(SameRows(was.live.path, was.etag, was.since, now.etag, now.modified))


def _note_same_rows(handle: Handle, tally: _Tally) -> None:
    """Record that the moved objects have new times and unchanged rows."""
    with after_commit("the rows of some objects that were written anew count as changed by that"):
        handle.table.note_same_rows(tuple(tally.same_rows))
    tally.same_rows.clear()


def _remember(handle: Handle, plan: TieringPlan, tally: _Tally, run_id: str | None) -> None:
    at = handle.clock.now()
    handle.journal.write(
        TieringRecord(
            id=handle.journal.new_id(at),
            at=at,
            as_of=plan.as_of,
            run_id=run_id,
            keys=dict(sorted(tally.moved.items())),
            files=tally.files,
            bytes=tally.bytes,
        )
    )
