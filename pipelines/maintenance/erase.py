"""Erasure: the rows that match a predicate leave every partition that holds them (requests to be forgotten).

Files that statistics cannot rule out (`file_skipping`) are read. Those that hold a match are rewritten without the
rows, in their storage class. A Delta table changes in one commit, a plain table object by object; a run that died is
finished by running it again. At the end, matches in all live files are counted, rewritten ones included. The report
names what is out of reach: held partitions, archived classes that need a restore first, and old files that stay
readable until their grace ends and `vacuum` deletes them.

The predicate's values are written nowhere: not in the log, not in the journal. Older entries of a Delta log keep the
smallest and largest value of the old files' columns until log clean-up, and so do copies of the footers of large files
until the vacuum after a day.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from tierlake.connector.errors import LakeError
from tierlake.pipelines.errors import CommitConflict, SchemaMismatch, SourceError, SpecError
from tierlake.pipelines.maintenance.erase_report import ErasedPartition, EraseReport
from tierlake.pipelines.maintenance.parallel_rewrite import Crew, Group
from tierlake.pipelines.maintenance.rewrite import commit_rewrites
from tierlake.pipelines.maintenance.unreferenced import Remnant, delete_remnants, matching_remnants
from tierlake.pipelines.metastore.deletion import forget_tails
from tierlake.pipelines.metastore.records import EraseRecord, UndoRecord
from tierlake.pipelines.parquet.file_skipping import FileFacts, columns_in, may_match
from tierlake.pipelines.query.filters import expression_of
from tierlake.pipelines.query.placement import MISSING, placed
from tierlake.pipelines.query.restore import unreadable
from tierlake.pipelines.runtime.conflicts import REWRITES, attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tierlake.pipelines.ingest.dask_workers import Workers
    from tierlake.pipelines.ingest.writer import WriterLimits
    from tierlake.pipelines.maintenance.rewrite import Rewrite, Rewriter
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.filters import Where
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

__all__ = ["EraseReport", "ErasedPartition", "erase"]


_Identity: TypeAlias = tuple[str, int, int]


def erase(
    handle: Handle,
    where: Where,
    *,
    dry_run: bool = False,
    unsafe_delete_old_files: bool = False,
    limits: WriterLimits | None = None,
    workers: Workers | None = None,
    run_id: str | None = None,
) -> EraseReport:
    """Delete the rows that match.

    Rows for which the predicate is null stay.

    Args:
        handle: The dataset.
        where: Which rows: a pyarrow expression or filters.
        dry_run: Only count them.
        unsafe_delete_old_files: Delete the old files that hold such rows at once, those of expired partitions too:
            their current readers fail, older versions of the table cannot be read any more, and expiries whose files
            are among them cannot be undone.
        limits: Bounds on memory and concurrency, of each process.
        workers: A cluster that reads and writes instead of this process; the commit is made here.
        run_id: For the history.

    Raises:
        SpecError: Filters that match every row.
        SchemaMismatch: An unknown column, or a value that does not fit its type.
        CommitConflict: Others kept changing the same files.
        UnsupportedByTable: Workers are given for a plain table, whose objects are swapped one by one.
        PolicyRefused: The dataset was dropped.
    """
    handle.check_in_use()
    handle.table.check_operation("erase", by_workers=workers is not None)
    snapshot = handle.table.snapshot()
    schema = snapshot.schema if snapshot.schema is not None else pa.schema([])
    matching = _predicate(where, schema, handle)
    # without the right to see versions nobody could tell whether the rows are gone: refuse before erasing any
    keeps_old_files = handle.fs.has_versions(handle.spec.bucket) or handle.table.keeps_replaced()
    details = {"reason": "rows erased on request"} | ({"run_id": run_id} if run_id else {})
    erasing = _Erasing(handle, matching, partial(_crew, handle, limits, workers), details)
    record = None if dry_run else _begun(handle, run_id)
    try:
        left, remaining, remnants = _worked(handle, erasing, matching, snapshot, record)
        if not dry_run:
            forget_tails(handle, {file.path for file in left.files})
        handle.check_in_use()  # after a drop meanwhile, all files would be spoiled, and none could come back
    except LakeError:
        if record is not None:
            _stopped(handle, record, erasing)
        raise
    deleted: tuple[Remnant, ...] = ()
    if unsafe_delete_old_files and not dry_run:
        holding = tuple(one for one in remnants if one.rows and one.is_ours)
        deleted = delete_remnants(handle, holding, reason="rows erased on request", run_id=run_id)
        left_over = set(remnants) - set(deleted)
        remnants = tuple(one for one in remnants if one in left_over)
    partitions = tuple(ErasedPartition(key, rows, files) for key, (rows, files) in sorted(erasing.erased.items()))
    if record is not None:
        _remember(handle, record, left, partitions, remnants)
    return EraseReport(
        partitions=partitions,
        held=erasing.held,
        archived=erasing.archived,
        remnants=remnants,
        deleted=deleted,
        rejects=_rejects(handle, matching, schema),
        remaining=remaining,
        keeps_old_files=keeps_old_files,
        dry_run=dry_run,
    )


def _begun(handle: Handle, run_id: str | None) -> EraseRecord:
    """Record the start: earlier removals cannot be undone until it is known which files hold matches."""
    at = handle.clock.now()
    return handle.journal.write(EraseRecord(id=handle.journal.new_id(at), at=at, run_id=run_id, state="begun"))


def _worked(
    handle: Handle, erasing: _Erasing, matching: pc.Expression, snapshot: Snapshot, record: EraseRecord | None
) -> tuple[Snapshot, int, tuple[Remnant, ...]]:
    """Erase, or only count where there is no record; return what is left, and the old files that hold matches."""
    if record is None:
        erasing.look(snapshot)
        return snapshot, erasing.matches, matching_remnants(handle, matching, snapshot)
    erasing.work(snapshot)
    left = handle.table.snapshot()
    remaining, remnants = erasing.rows_left(left), matching_remnants(handle, matching, left)
    if list(handle.journal.records(UndoRecord, record.id)):
        # a file that an undo brought back meanwhile is no remnant any more
        erasing.work(handle.table.snapshot())
        left = handle.table.snapshot()
        remaining, remnants = erasing.rows_left(left), matching_remnants(handle, matching, left)
    return left, remaining, remnants


def _stopped(handle: Handle, record: EraseRecord, erasing: _Erasing) -> None:
    """Record the failure: earlier removals can be undone again, and the next run erases their rows."""
    keys = tuple(map(str, sorted(erasing.erased)))
    rows = sum(rows for rows, _ in erasing.erased.values())
    handle.journal.write(record.model_copy(update={"state": "refused", "keys": keys, "rows": rows}))


def _remember(
    handle: Handle,
    record: EraseRecord,
    left: Snapshot,
    partitions: Sequence[ErasedPartition],
    remnants: Sequence[Remnant],
) -> None:
    """Record which old files no undo may bring back."""
    spoiled = {
        one.path if one.version_id is None else f"{one.path}?{one.version_id}" for one in remnants if one.was_live
    }
    update = {
        "state": "done",
        "keys": tuple(str(part.key) for part in partitions),
        "rows": sum(part.rows for part in partitions),
        "version": left.log_version,
        "spoiled": tuple(sorted(spoiled)),
    }
    handle.journal.write(record.model_copy(update=update))


def _predicate(where: Where, schema: pa.Schema, handle: Handle) -> pc.Expression:
    try:
        matching = None if isinstance(where, list) and not (where and all(where)) else expression_of(where, schema)
    except SchemaMismatch as error:
        message = f"cannot find rows of lake://{handle.table.root} that way: {error.message}"
        raise SchemaMismatch(message, hint=error.hint) from error
    if matching is None or _is_always_true(matching, schema):
        raise SpecError("no condition, so every row would match", hint="to empty a dataset, expire its partitions")
    return matching


def _is_always_true(matching: pc.Expression, schema: pa.Schema) -> bool:
    """Whether every row matches: `not in` an empty list, alone or as one of several alternatives."""
    anything = FileFacts(None, pads.scalar(value=True), None)
    return may_match(matching, schema, (), [anything]) != may_match(~matching, schema, (), [anything]) == [False]


def _holds(handle: Handle) -> Mapping[str, str]:
    if handle.document is None:
        return {}
    return {key: hold.reason for key, hold in handle.document.read().holds.items()}


def _identity(file: LiveFile) -> _Identity:
    """Distinguishes a file from another that took its path (plain tables replace objects)."""
    return file.path, file.size, int(file.modified.timestamp() * 1000)  # the log keeps milliseconds


def _crew(handle: Handle, limits: WriterLimits | None, workers: Workers | None, snapshot: Snapshot) -> Crew:
    return Crew(handle, snapshot, handle.spec.write, limits, workers)


class _Erasing:
    """One erasure: its counts and results so far."""

    def __init__(
        self,
        handle: Handle,
        matching: pc.Expression,
        crew_of: Callable[[Snapshot], Crew],
        details: Mapping[str, object],
    ) -> None:
        self._handle = handle
        self._matching = matching
        self._crew_of = crew_of
        self._details = details
        self.erased: dict[PartitionKey, tuple[int, int]] = {}
        self.held: dict[str, str] = {}
        self.archived: dict[str, str] = {}
        self.matches = 0

    def look(self, snapshot: Snapshot) -> None:
        """Count the rows that would go."""
        for file, rows, _ in self._affected(self._crew_of(snapshot), snapshot, known=frozenset()):
            self._add(file.key, rows, 1)

    def work(self, first: Snapshot) -> None:
        """Erase until no live file holds a match, including files that others add meanwhile."""
        snapshot, known = first, frozenset[_Identity]()
        what = f"lake://{self._handle.table.root}"
        for attempt in attempts(what, done="rows that match are left", budget=REWRITES):
            with attempt:
                if all(_identity(file) in known for file in snapshot.files):
                    return
                crew = self._crew_of(snapshot)
                affected = self._affected(crew, snapshot, known)
                if not affected:
                    return
                known = frozenset(map(_identity, snapshot.files))
                if not self._handle.table.is_atomic:
                    known -= self._swap_objects(crew.rewriter, snapshot, affected)
                    snapshot = self._handle.table.snapshot()
                else:
                    done, late = self._commit(crew, affected)
                    known -= {_identity(file) for rewrite in late for file in rewrite.sources}
                    written = {new.file.path for rewrite in done for new in rewrite.staged}
                    snapshot = self._handle.table.snapshot()
                    known |= {_identity(file) for file in snapshot.files if file.path in written}
        raise AssertionError  # the last attempt raises

    def rows_left(self, snapshot: Snapshot) -> int:
        """Matches in the files of a snapshot, by reading them."""
        crew = self._crew_of(snapshot)
        readable, _ = self._readable(crew, snapshot, known=frozenset())
        return sum(rows for _, rows in self._counted(crew, readable))

    def _readable(
        self, crew: Crew, snapshot: Snapshot, known: frozenset[_Identity]
    ) -> tuple[list[LiveFile], dict[str, str]]:
        """Live files that may hold a match and can be read, and the storage class of each; others are noted."""
        files = [
            file
            for file in snapshot.files
            if _identity(file) not in known and crew.rewriter.may_hold(file.path, self._matching)
        ]
        parts = placed(self._handle, snapshot, {file.key for file in files}) if files else {}
        classes = {file.live.path: file.storage_class for part in parts.values() for file in part.files}
        paths = {file.path for file in files}
        in_question = [file for part in parts.values() for file in part.files if file.live.path in paths]
        archived = {file.live.path for file in unreadable(self._handle, in_question)}
        readable: list[LiveFile] = []
        for file in files:
            if file.path in archived:
                self.archived[str(file.key)] = f"in {classes[file.path]}: restore it, then erase again"
            elif classes[file.path] == MISSING:
                self._note_missing(file)
            else:
                readable.append(file)
        return readable, classes

    def _note_missing(self, file: LiveFile) -> None:
        self.archived[str(file.key)] = "a committed file is not in the store: `tierlake verify`"

    def _counted(self, crew: Crew, files: Sequence[LiveFile]) -> list[tuple[LiveFile, int]]:
        """How many rows of each file match; files that have gone meanwhile are noted."""
        try:
            return list(zip(files, crew.count(files, self._matching), strict=True))
        except FileNotFoundError:
            counted = []
            for file in files:
                try:
                    counted.append((file, crew.count([file], self._matching)[0]))
                except FileNotFoundError:
                    self._note_missing(file)
            return counted

    def _affected(self, crew: Crew, snapshot: Snapshot, known: frozenset[_Identity]) -> list[tuple[LiveFile, int, str]]:
        """Live files with matches that can be rewritten, each with the number of matches and its storage class."""
        holds = _holds(self._handle)
        readable, classes = self._readable(crew, snapshot, known)
        affected = []
        for file, rows in self._counted(crew, readable):
            self.matches += rows
            if rows and str(file.key) in holds:
                self.held[str(file.key)] = f"held: {holds[str(file.key)]}"
            elif rows:
                affected.append((file, rows, classes[file.path]))
        return affected

    def _commit(
        self, crew: Crew, affected: Sequence[tuple[LiveFile, int, str]]
    ) -> tuple[list[Rewrite], tuple[Rewrite, ...]]:
        """Rewrite all files in one commit; return those swapped, and those that others had changed meanwhile."""
        groups = [Group(file.key, (file,), storage_class) for file, _, storage_class in affected]
        written = crew.rewrite(groups, without=self._matching)
        holds = _holds(self._handle)  # writing takes time: somebody may have placed a hold meanwhile
        rewrites = [rewrite for rewrite in written if str(rewrite.key) not in holds]
        self.held |= {key: f"held: {holds[key]}" for rewrite in written if (key := str(rewrite.key)) in holds}
        _, late = commit_rewrites(self._handle, "erase", rewrites, self._details)
        behind = {rewrite.sources for rewrite in late}
        done = [rewrite for rewrite in rewrites if rewrite.sources not in behind]
        for rewrite in done:
            self._add(rewrite.key, rewrite.dropped, 1)
        return done, late

    def _swap_objects(
        self, rewriter: Rewriter, snapshot: Snapshot, affected: Sequence[tuple[LiveFile, int, str]]
    ) -> set[_Identity]:
        """Rewrite objects of a plain table one by one, if unchanged since they were read; return the others."""
        late: set[_Identity] = set()
        for file, rows, storage_class in affected:
            try:
                rewriter.swap(file, storage_class, self._matching, snapshot, self._details)
            except CommitConflict:
                late.add(_identity(file))
            else:
                self._add(file.key, rows, 1)
        return late

    def _add(self, key: PartitionKey, rows: int, files: int) -> None:
        before = self.erased.get(key, (0, 0))
        self.erased[key] = (before[0] + rows, before[1] + files)


def _rejects(handle: Handle, matching: pc.Expression, schema: pa.Schema) -> tuple[str, ...]:
    """Files of rejected rows that hold a match, or that cannot be read."""
    from tierlake.pipelines.ingest.rejects import read_rejects, reject_paths

    columns = columns_in(matching, schema)
    keys = frozenset(handle.table.partition_columns)
    named = []
    for path in reject_paths(handle.fs, handle.table.root):
        try:
            rejected = read_rejects(handle.fs, path)
            typed = _typed(rejected, schema, schema.names if columns is None else columns)
            # the row has no key yet: where the predicate needs it, the match is unknown
            lacks_key = not keys.isdisjoint(set(typed.column_names) - set(rejected.column_names))
            scanner = pads.Scanner.from_batches(typed.to_batches(), schema=typed.schema, columns={"is": matching})
            has_match = bool(pc.any(pc.fill_null(scanner.to_table()["is"], lacks_key)).as_py())
        except (pa.ArrowException, SourceError):
            has_match = True
        if has_match:
            named.append(path)
    return tuple(named)


def _typed(rejected: pa.Table, schema: pa.Schema, names: Collection[str]) -> pa.Table:
    """The columns of a predicate in the table's types: rejected rows may be text, and lack columns.

    Raises:
        pyarrow.ArrowInvalid: A value does not fit the type, so that the match of its row is unknown.
    """
    fields = [field for field in schema if field.name in names]
    columns = [
        rejected.column(field.name).cast(field.type)
        if field.name in rejected.column_names
        else pa.chunked_array([pa.nulls(rejected.num_rows, field.type)])
        for field in fields
    ]
    return pa.table(columns, schema=pa.schema(fields))
