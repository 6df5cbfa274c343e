"""Ingest: from any source into the table's partitions, as one commit.

Read, sort by partition, write files, commit. A crash before the commit leaves files that no reader sees; the same run
key again is one commit.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from tierlake.connector.observe import count, tracing
from tierlake.connector.urls import without_secrets
from tierlake.pipelines.errors import (
    CommitConflict,
    PolicyRefused,
    RejectedTooMany,
    SpecError,
)
from tierlake.pipelines.ingest.conversion import Intake
from tierlake.pipelines.ingest.distributed import stage_on_workers
from tierlake.pipelines.ingest.partitioner import Partitioner
from tierlake.pipelines.ingest.preparation import (
    file_columns,
    planned,
    prepared,
    unique_columns,
)
from tierlake.pipelines.ingest.rejects import check_tolerable, counted_reasons
from tierlake.pipelines.ingest.results import IngestResult, Rehearsal, Replaced, Written
from tierlake.pipelines.ingest.staging import Staging, open_writer, sorted_out, stage
from tierlake.pipelines.ingest.undetermined import note_untyped
from tierlake.pipelines.ingest.writer import WriterLimits
from tierlake.pipelines.metastore.deletion import Held, discard
from tierlake.pipelines.metastore.records import RemovalRecord
from tierlake.pipelines.metastore.removal import begun, completed, removed_partitions
from tierlake.pipelines.model.stored_types import declared_schema
from tierlake.pipelines.parquet.footers import read_footers
from tierlake.pipelines.runtime.after_commit import after_commit, noting
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.tables.requested_keys import check_possible
from tierlake.pipelines.tables.runs import run_token
from tierlake.pipelines.tables.snapshot import ORPHAN_AGE, Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from tierlake.pipelines.ingest.dask_workers import Workers
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.model.text_options import TextOptions
    from tierlake.pipelines.tables.snapshot import Commit, LiveFile, Snapshot, StagedFile

__all__ = ["IngestMode", "ingest", "rehearse", "rejected_rows"]

IngestMode = Literal["replace", "append"]


def ingest(  # noqa: PLR0913 - the user's own options
    handle: Handle,
    source: object,
    *,
    mode: IngestMode = "replace",
    run_key: str | None = None,
    keys: Sequence[PartitionKey] | None = None,
    details: Mapping[str, object] | None = None,
    limits: WriterLimits | None = None,
    storage_options: Mapping[str, object] | None = None,
    on_rows: Callable[[int], None] | None = None,
    unique_by: Sequence[str] = (),
    workers: Workers | None = None,
    text: TextOptions | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> IngestResult:
    """Write a source's rows and commit them.

    Every value is stored unchanged, or its row is rejected with file, line, column, value and reason.

    Args:
        handle: The dataset.
        source: See `tierlake.pipelines.sources`; or an open `RowStream`.
        mode: `replace` the partitions that the source touches, or `append` to them.
        run_key: Identity of the run; a second ingest with it does nothing. A fresh one by default. The table forgets it
            when one of its partitions expires: an append under it then adds what is missing, and nothing twice.
        keys: The partitions that the source covers: rows outside are refused, and a partition without rows is emptied.
        details: More JSON values for the commit's metadata.
        limits: Bounds on memory and concurrency.
        storage_options: For a source path, passed to its filesystem.
        on_rows: Called with the number of rows of each batch read.
        unique_by: Of the source's rows in one partition that are equal in these columns, keep the last.
        workers: A cluster that reads and writes instead of this process; the commit is made here.
        text: How text files are written; the spec's `text` where it is left out.
        clock: Elapsed seconds, for the age of files that wait for their commit.

    Raises:
        SchemaMismatch: The data does not fit the table.
        SourceError: The source cannot be read.
        RejectedTooMany: More bad rows than the spec allows; they are kept, nothing is committed.
        UnsupportedByTable: Append to a plain table.
        UnknownPartition: `keys` names one that the table cannot have: other columns, or another spelling.
        CommitConflict: Others kept changing the same partitions, or a vacuum deleted files that had waited for a day.
    """
    _check_mode(handle, mode)
    handle.check_in_use()
    key = run_key or uuid.uuid4().hex
    if run_key is not None and handle.table.is_committed(run_key):
        version = handle.table.snapshot().version
        return IngestResult(0, 0, None, (), 0, 0, version, key, committed=False)
    bounds = limits or WriterLimits()
    with tracing.span("ingest.prepare"):
        ready = prepared(handle, source, storage_options, bounds, text, workers)
    plan, snapshot = ready.plan, replace(ready.snapshot, fence_count=ready.snapshot.fence)  # before a file is written
    check_possible(handle.spec, plan.table, keys or (), snapshot.by_partition())
    staging = Staging(
        intake=ready.intake,
        columns=file_columns(handle, plan),
        token=run_token(key),
        source=without_secrets(ready.stream.name)[:200],
        keys=frozenset(keys) if keys is not None else None,
        without=handle.table.left_of(key, snapshot) if run_key and mode == "append" else frozenset(),
        unique_by=unique_columns(unique_by, plan, Partitioner(handle.spec.partition)),
        limits=bounds,
    )
    note_untyped(handle.fs, handle.table.root, staging.columns)
    check = partial(_check_tolerable, handle)
    started = clock()
    with ExitStack() as stack:
        if workers and ready.pieces:
            staged = stage_on_workers(workers, handle, staging, ready.pieces, ready.known, on_rows=on_rows, check=check)
        else:
            writer = stack.enter_context(open_writer(handle, staging))
            staged = stage(handle, staging, ready.stream.batches, writer, on_rows=on_rows, check=check)
        _look_again(handle, staged.files, age=timedelta(seconds=clock() - started))
        metadata = {
            "rows": staged.rows,
            "rejected": staged.bad_rows,
            "bytes": staged.bytes,
            "source": staging.source,
            **(details or {}),
        }
        notes = stack.enter_context(noting())
        commit, touched, replaced = _commit(handle, snapshot, staged.files, plan.table, mode, key, keys, metadata)
        with after_commit("files that waited for it could not be deleted; vacuum takes them"):
            discard(handle, staged.leftovers)
    count("row_count", staged.rows, outcome="accepted", dataset=handle.spec.uri)
    count("row_count", staged.bad_rows, outcome="rejected", dataset=handle.spec.uri)
    return IngestResult(
        rows=staged.rows,
        rejected=staged.bad_rows,
        rejects_path=staged.rejects_path,
        partitions=touched,
        files=len(staged.files),
        bytes=staged.bytes,
        version=commit.version or 0,
        run_key=key,
        committed=True,
        duplicates=staged.duplicates,
        replaced=replaced,
        added_columns=plan.added,
        lacking_columns=plan.lacking,
        untyped_columns=plan.untyped,
        notes=tuple(notes),
        written=_written(handle, touched, staged.files),
    )


def rehearse(
    handle: Handle,
    source: object,
    storage_options: Mapping[str, object] | None = None,
    *,
    mode: IngestMode = "replace",
    run_key: str | None = None,
    text: TextOptions | None = None,
) -> Rehearsal:
    """Read a source as `ingest` does, with all of its checks, but write nothing.

    Args:
        handle: The dataset.
        source: See `tierlake.pipelines.sources`.
        storage_options: For a source path, passed to its filesystem.
        mode: As for `ingest`.
        run_key: As for `ingest`.
        text: As for `ingest`.

    Raises:
        SchemaMismatch: The data does not fit the table.
        SourceError: The source cannot be read.
        RejectedTooMany: More bad rows than the spec allows.
        UnsupportedByTable: Append to a plain table.
    """
    _check_mode(handle, mode)
    handle.check_in_use()
    if run_key is not None and handle.table.is_committed(run_key):
        return Rehearsal({}, 0, committed=False)
    bounds = WriterLimits()
    ready = prepared(handle, source, storage_options, bounds, text, None)
    columns = file_columns(handle, ready.plan)
    staging = Staging(ready.intake, columns, token="", source=ready.stream.name, limits=bounds)
    rows: Counter[PartitionKey] = Counter()
    reasons: Counter[str] = Counter()
    partitioner = Partitioner(handle.spec.partition, handle.table.root)
    for part in sorted_out(ready.stream.batches, partitioner, staging):
        for run in part.runs:
            rows[run.key] += run.rows
        for table in part.bad:
            reasons.update(counted_reasons(table))
    check_tolerable(handle.spec.rejects, rows.total() + reasons.total(), reasons, None)
    live = {} if mode == "append" else ready.snapshot.by_partition()
    removes = tuple(file for key in sorted(rows) for file in live.get(key, ()))
    covers = frozenset() if mode == "append" else frozenset(rows)
    handle.table.check_takes(Change("ingest", ready.snapshot, removes=removes, covers=covers))
    return Rehearsal(
        partitions={str(key): count for key, count in rows.items()},
        rejected=reasons.total(),
        replaced=_replaced(handle, removes, rows),
        added_columns=ready.plan.added,
        lacking_columns=ready.plan.lacking,
        untyped_columns=ready.plan.untyped,
    )


def rejected_rows(spec: DatasetSpec, source: object) -> tuple[int, Counter[str]]:
    """How many rows a source has, and how many of them a new dataset would reject, by reason.

    Raises:
        SchemaMismatch: The data does not fit the description.
        SourceError: The source cannot be read.
    """
    declared = declared_schema(spec.columns) if spec.columns else None
    stream = open_source(source, declared, text=spec.text)
    plan, texts = planned(spec, stream, declared), stream.columns_of_text
    zone = spec.partition.time.timezone if spec.partition.time else None
    staging = Staging(Intake(plan, zone, texts, stream.is_text), plan.files, token="", source=stream.name)
    rows, reasons = 0, Counter[str]()
    for part in sorted_out(stream.batches, Partitioner(spec.partition, spec.root), staging):
        rows += sum(run.rows for run in part.runs)
        for table in part.bad:
            reasons.update(counted_reasons(table))
    return rows + reasons.total(), reasons


def _check_mode(handle: Handle, mode: IngestMode) -> None:
    if mode not in get_args(IngestMode):
        raise SpecError(f"there is no mode {mode!r}", hint="mode is 'replace' or 'append'")
    if mode == "append":
        handle.table.check_operation("append")


def _check_tolerable(handle: Handle, rows: int, reasons: Mapping[str, int], path: str | None) -> None:
    try:
        check_tolerable(handle.spec.rejects, rows, reasons, path)
    except RejectedTooMany:
        count("row_count", sum(reasons.values()), outcome="rejected", dataset=handle.spec.uri)
        raise


def _look_again(handle: Handle, staged: Sequence[StagedFile], age: timedelta) -> None:
    """Check that files still exist which have waited for half the age at which a vacuum deletes orphans."""
    gone = handle.table.lost([one.file for one in staged]) if age >= ORPHAN_AGE / 2 else ()
    if gone:
        message = f"lake://{handle.table.root}: {len(gone)} of the files written were deleted before their commit"
        raise CommitConflict(message, hint=f"the ingest took {age}; run it again, in smaller pieces")


def _written(
    handle: Handle, touched: Sequence[PartitionKey], staged: Sequence[StagedFile]
) -> dict[PartitionKey, Written]:
    written = dict.fromkeys(touched, Written())
    for one in staged:
        file, before = one.file, written[one.file.key]
        classes = {*filter(None, [before.storage_class]), one.storage_class or handle.spec.write.storage_class}
        written[file.key] = Written(
            before.rows + (file.rows or 0), before.files + 1, before.bytes + file.size, "+".join(sorted(classes))
        )
    return written


@tracing.span("ingest.commit")
def _commit(
    handle: Handle,
    snapshot: Snapshot,
    staged: tuple[StagedFile, ...],
    schema: pa.Schema,
    mode: IngestMode,
    run_key: str,
    keys: Sequence[PartitionKey] | None,
    details: Mapping[str, object],
) -> tuple[Commit, tuple[PartitionKey, ...], tuple[Replaced, ...]]:
    rows_in: Counter[PartitionKey] = Counter()
    for file in staged:
        rows_in[file.file.key] += file.file.rows or 0
    covered = {file.file.key for file in staged} | set(keys or ())
    fence = snapshot.fence
    record: RemovalRecord | None = None
    for attempt in attempts(f"lake://{handle.table.root}", on=CommitConflict):
        with attempt:
            if attempt.number:  # a replace takes what is there at the commit: look again
                snapshot = handle.table.snapshot()
            live = snapshot.by_partition()
            removes = () if mode == "append" else tuple(file for key in sorted(covered) for file in live.get(key, ()))
            removes = handle.table.identified(removes, must_know=False)
            left, _ = _before_run(handle, removes, run_key)
            if removes:
                _check_holds(handle, removes)
            replaced = _replaced(handle, removes, rows_in)
            # after the snapshot that the commit is based on: a drop's own commit conflicts with it
            if not left:
                handle.check_in_use()
            else:
                gone = removed_partitions(left, "replaced by an ingest", (one.file for one in staged))
                again = record.id if record is not None else None
                run_id = str(details["run_id"]) if "run_id" in details else None
                record = begun(
                    handle,
                    "replace",
                    gone,
                    snapshot,
                    record_id=again,
                    run_key=run_key,
                    run_id=run_id,
                    undoable=handle.table.keeps(left),
                    must_be_in_use=True,
                )
            change = Change(
                operation="append" if mode == "append" else "ingest",
                base=snapshot,
                adds=staged,
                removes=removes,
                covers=frozenset() if mode == "append" else frozenset(covered),
                schema=schema,
                run_key=run_key,
                fence=fence,
                details={
                    **details,
                    "partitions": len(covered),
                    **({"removal": record.id} if record and left else {}),
                },
            )
            commit = handle.table.commit(change)
            if record is not None or commit.taken:
                came = commit.written or [one.file for one in staged]
                with after_commit("not all that it replaced is on record, and no undo brings that back"):
                    _complete(handle, change, commit, record, commit.taken or removes, came)
            return commit, tuple(sorted(covered)), replaced
    raise AssertionError  # the last attempt raises


def _complete(
    handle: Handle,
    change: Change,
    commit: Commit,
    record: RemovalRecord | None,
    taken: Sequence[LiveFile],
    came: Sequence[LiveFile],
) -> None:
    """Record what was actually replaced."""
    left, own = _before_run(handle, taken, change.run_key or "")
    if left:
        gone = removed_partitions(left, "replaced by an ingest", came)
        if record is None:  # it came after the last snapshot
            run_id = str(change.details["run_id"]) if "run_id" in change.details else None
            record = begun(
                handle,
                "replace",
                gone,
                change.base,
                run_key=change.run_key,
                run_id=run_id,
                undoable=handle.table.keeps(left),
            )
        completed(handle, record.model_copy(update={"partitions": gone}), commit)
    if own:  # no undo may bring it back, and a vacuum deletes it
        why = "an interrupted attempt of the same run"
        completed(handle, begun(handle, "undo", removed_partitions(own, why), change.base), commit)


def _before_run(
    handle: Handle, files: Sequence[LiveFile], run_key: str
) -> tuple[tuple[LiveFile, ...], tuple[LiveFile, ...]]:
    """The files that a run replaces, and the files that an interrupted attempt of the same run left there.

    The objects of a plain table are replaced one by one, so a second attempt meets unacknowledged ones of the first.
    An undo brings back the files from before both.
    """
    token = run_token(run_key)
    if all(file.run != token for file in files):
        return tuple(files), ()
    # a file that another act removed was acknowledged by that act, which saw it
    known = {
        (file.path, file.etag)
        for record in handle.journal.records(RemovalRecord)
        if record.run_key != run_key
        for _, file in record.files()
    }

    def is_own(file: LiveFile) -> bool:
        return file.run == token and (file.path, file.etag) not in known

    pairs = [handle.table.below(file, is_own) for file in files]
    return tuple(left for left, _ in pairs if left is not None), tuple(file for _, own in pairs for file in own)


def _check_holds(handle: Handle, removes: Sequence[LiveFile]) -> None:
    """Refuse to overwrite held partitions where the store does not keep overwritten files.

    Raises:
        PolicyRefused: A partition to be replaced is held.
    """
    if handle.table.keeps(removes):
        return
    held = Held(handle, None)
    for file in removes:
        if held.keeps(file.key):
            message = f"{file.key} is held, and its bucket keeps no versions: to replace it would delete its rows"
            raise PolicyRefused(message, hint="turn versioning on, or `tierlake release` it")


def _replaced(handle: Handle, removes: Sequence[LiveFile], rows_in: Mapping[PartitionKey, int]) -> tuple[Replaced, ...]:
    """The rows that leave each partition; where the table does not know them, by the files' footers."""
    uncounted = {file.path: file.size for file in removes if file.rows is None}
    counted: dict[str, int | None] = dict.fromkeys(uncounted)
    for path, footer in read_footers(handle.fs, handle.table.root, uncounted) if uncounted else ():
        counted[path] = None if isinstance(footer, Exception) else footer.num_rows
    rows_out: dict[PartitionKey, int | None] = {}
    for file in removes:
        rows = counted[file.path] if file.rows is None else file.rows
        before = rows_out.get(file.key, 0)
        rows_out[file.key] = None if rows is None or before is None else before + rows
    return tuple(Replaced(key, rows, rows_in.get(key, 0)) for key, rows in sorted(rows_out.items()))
