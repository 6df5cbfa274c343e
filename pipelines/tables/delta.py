"""Delta tables: the log says which files are live; delta-rs (`deltalake`) reads and writes it.

Files are written by us under the write policy and committed with `create_write_transaction`. What delta-rs can and
cannot do, and the traps that shape this module, are in DESIGN section 6.
"""

from __future__ import annotations

import math
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable, Schema, TableFeatures, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import create_table_with_add_actions

from tierlake.connector.client.rust_errors import in_our_words
from tierlake.connector.errors import AlreadyExists, LakeError
from tierlake.pipelines.errors import (
    CommitConflict,
    CommitUnknown,
    LogMissing,
    StagedTooLong,
    TableNotFound,
    UnsupportedByTable,
)
from tierlake.pipelines.model.partition_key import PartitionKey, path_columns
from tierlake.pipelines.model.schema import evolved_schema
from tierlake.pipelines.runtime.clock import time_of_change
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.runtime.fork_guard import refuse_after_fork, rust_is_in_use
from tierlake.pipelines.runtime.identity import user_and_host
from tierlake.pipelines.runtime.listing import listed
from tierlake.pipelines.tables import delta_log
from tierlake.pipelines.tables.delta_changes import LogTail, changes_after, latest_changes
from tierlake.pipelines.tables.delta_commit import (
    add_actions,
    changes_rows,
    is_spelled_otherwise,
    remove_actions,
    write_entry,
    write_fence,
    write_nothing,
)
from tierlake.pipelines.tables.delta_files import RustFiles, does_not_fit, live_files
from tierlake.pipelines.tables.error_edge import edge, told_by
from tierlake.pipelines.tables.live_files import FileNames, arrow_filesystem
from tierlake.pipelines.tables.lost_log import lost_log
from tierlake.pipelines.tables.paths import data_path
from tierlake.pipelines.tables.protocol import (
    FENCE,
    ORPHAN_AGE,
    Change,
    Commit,
    RecentLog,
    RemovedFile,
    Snapshot,
    StagedFile,
)
from tierlake.pipelines.tables.rows import live_dataset
from tierlake.pipelines.tables.runs import may_hold_rows_of, run_token, runs_of
from tierlake.pipelines.tables.states import LoggedChanges, delta_state, delta_version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.parquet.scan import LiveDataset
    from tierlake.pipelines.tables.protocol import LiveFile, SameRows

__all__ = ["LakeDeltaTable"]

_READER_FEATURES = frozenset({"timestampNtz"})
_WRITER_FEATURES = _READER_FEATURES | {"appendOnly", "invariants"}
_PLAIN_READER, _PLAIN_WRITER, _FEATURES_READER, _FEATURES_WRITER = 1, 2, 3, 7
_CHECKPOINT_INTERVAL = 100  # deltalake's own
_BEYOND_DELTA_RS = ("Unsupported", "empty schema")
_NAMED_COMMITS = 3
"""How many of the newest commits a conflict names."""
_APP_PREFIX = "lake-"
_FENCE = "lake-vacuum"
_NO_ENTRY = "Invalid table version"


@edge
class LakeDeltaTable:
    """One Delta table, ours or anybody's."""

    format = "delta"
    can_append = True
    is_published_by_writing = False

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Point at `root` (`bucket/prefix`); nothing is read yet."""
        self._fs = fs
        self.root = root
        self._uri = f"s3://{root}"

    @classmethod
    def create(
        cls,
        fs: LakeFileSystem,
        root: str,
        schema: pa.Schema,
        partition_columns: tuple[str, ...],
        configuration: Mapping[str, str],
    ) -> LakeDeltaTable:
        """Write version 0 of a new table; an existing one is left as it is.

        Args:
            fs: may write below the root.
            root: `bucket/prefix`.
            schema: with the partition columns.
            partition_columns: the Hive columns, in order.
            configuration: Delta table properties.
        """
        refuse_after_fork()
        rust_is_in_use()
        with in_our_words(root.partition("/")[0]):
            DeltaTable.create(
                f"s3://{root}",
                schema,
                mode="ignore",
                partition_by=list(partition_columns),
                configuration=dict(configuration),
                storage_options=fs.delta_options(),
                commit_properties=CommitProperties(
                    custom_metadata={"lake.operation": "create", "lake.by": user_and_host()}
                ),
            )
        return cls(fs, root)

    @classmethod
    def adopt(
        cls,
        fs: LakeFileSystem,
        root: str,
        schema: pa.Schema,
        partition_columns: tuple[str, ...],
        files: Sequence[LiveFile],
        configuration: Mapping[str, str],
        run_tokens: Sequence[str] = (),
    ) -> LakeDeltaTable:
        """Write version 0 of a table that names files which are there already.

        Args:
            fs: may write below the root.
            root: `bucket/prefix`.
            schema: with the partition columns.
            partition_columns: the Hive columns, in order.
            files: what is live.
            configuration: Delta table properties.
            run_tokens: runs that count as committed.

        Raises:
            CommitConflict: somebody else made it a table meanwhile.
        """
        refuse_after_fork()
        rust_is_in_use()
        empty = Snapshot(-1, (), None)
        change = Change("adopt", empty, adds=tuple(StagedFile(file) for file in files))
        amount = {"rows": sum(file.rows or 0 for file in files), "bytes": sum(file.size for file in files)}
        details: dict[str, Any] = {"operation": "adopt", "by": user_and_host(), **amount}
        try:
            with in_our_words(root.partition("/")[0]):
                create_table_with_add_actions(
                    f"s3://{root}",
                    Schema.from_arrow(schema),
                    add_actions(change),
                    mode="error",
                    partition_by=list(partition_columns),
                    configuration=dict(configuration),
                    storage_options=fs.delta_options(),
                    commit_properties=CommitProperties(
                        custom_metadata={f"lake.{name}": value for name, value in details.items()},
                        app_transactions=[Transaction(_app_id(token), 1) for token in run_tokens],
                    ),
                )
        except (CommitFailedError, DeltaError) as error:
            if not cls(fs, root).exists():
                raise
            message = f"lake://{root} became a Delta table meanwhile"
            raise CommitConflict(
                message, hint="look at it, then adopt it again: it needs the description alone"
            ) from error
        return cls(fs, root)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _open(self, version: int | None = None) -> DeltaTable:
        refuse_after_fork()
        rust_is_in_use()
        try:
            with in_our_words(self.root.partition("/")[0]):
                return DeltaTable(self._uri, version=version, storage_options=self._fs.delta_options())
        except TableNotFoundError as error:
            raise (lost_log(self._fs, self.root) or self._not_found()) from error
        except DeltaError as error:
            if version is not None and "version" in str(error).lower():
                message = f"lake://{self.root} has no version {version}"
                raise TableNotFound(message, hint="`tierlake history` lists the versions") from error
            if "Json error" in (reason := str(error).partition("\n")[0]):  # statistics that are none of their types
                raise does_not_fit(self.root, reason) from error
            if any(word in reason for word in _BEYOND_DELTA_RS):
                message = f"lake://{self.root} has a log that this version cannot read: {reason}"
                raise UnsupportedByTable(message, hint="use the engine that made it") from error
            raise

    def _not_found(self) -> TableNotFound:
        return TableNotFound(f"no Delta table at lake://{self.root}")

    def exists(self) -> bool:
        """Whether a log is there."""
        try:
            self._open()
        except (TableNotFound, LogMissing):
            return False
        return True

    def is_just_created(self, schema: pa.Schema, partition_columns: tuple[str, ...]) -> bool:
        """Whether the log is what `create` writes for this schema, and nothing after it."""
        table = self._open()
        if table.version() != 0 or tuple(table.metadata().partition_columns) != partition_columns:
            return False
        is_ours = _commit_of(table.history(1)[0]).operation == "create"
        expected = pa.schema(Schema.from_arrow(schema).to_arrow())
        return is_ours and pa.schema(table.schema().to_arrow()).equals(expected)

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """The Hive columns, in order."""
        return tuple(self._open().metadata().partition_columns)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The live files, now or at an older version; see `Table.snapshot`."""
        return _snapshot(self._open(version), self.root)

    def live_sizes(self) -> tuple[int, dict[str, int]]:
        """The version, and path to size of the live files: what a listing needs, without statistics.

        Raises:
            UnsupportedByTable: deletion vectors or column mapping, which a listing cannot tell, or folders that readers
                of listings skip.
        """
        table = self._open()
        _check_features(table, _READER_FEATURES, "listed as Parquet files")
        if hidden := [name for name in table.metadata().partition_columns if name.startswith(("_", "."))]:
            message = f"lake://{self.root} is partitioned by {', '.join(hidden)}: readers of folders skip such names"
            raise UnsupportedByTable(message, hint="read it through its log: `deltalake`, or polars' scan_delta")
        adds = pa.table(table.get_add_actions())
        paths, sizes = adds.column("path").to_pylist(), adds.column("size_bytes").to_pylist()
        return table.version(), {data_path(self.root, path): size for path, size in zip(paths, sizes, strict=True)}

    def dataset(self, snapshot: Snapshot) -> LiveDataset:
        """The rows of a snapshot, lazily; see `LiveDataset`.

        Raises:
            UnsupportedByTable: deletion vectors or column mapping, which a Parquet reader would read wrongly.
            SchemaMismatch: a partition value that is none of its column's type.
        """
        table = self._open(snapshot.version)
        _check_features(table, _READER_FEATURES, "read as Parquet files")
        return live_dataset(self._filesystem(snapshot), self.root, snapshot, tuple(table.metadata().partition_columns))

    def _filesystem(self, snapshot: Snapshot) -> pafs.FileSystem:
        keys = {f"{self.root}/{file.path}": file.key for file in snapshot.files}
        names = FileNames(self._fs, self.root, keys, snapshot.version)
        if self._fs.credentials_are_renewed:  # deltalake keeps those it was given, and a scan may outlive them
            return arrow_filesystem(self._fs, names)
        sizes = {file.path: file.size for file in snapshot.files}
        return pafs.PyFileSystem(RustFiles(names, self._fs.delta_options(), sizes))

    def changes(
        self, snapshot: Snapshot, keys: Collection[PartitionKey], since: datetime
    ) -> Mapping[PartitionKey, datetime]:
        """By the commits that the log remembers, then by the files' own times; see `Table.changes`."""
        commits, is_complete = changes_after(self._fs, self.root, _columns_of(keys), snapshot.schema, since)
        return latest_changes(commits, is_complete=is_complete, now=snapshot, keys=keys, snapshot_of=self.snapshot)

    def state(self, version: int | None = None) -> str:
        """The table's id and version; see `Table.state`."""
        table = self._open()
        return delta_state(str(table.metadata().id), table.version() if version is None else version)

    def changes_since(self, states: Collection[str]) -> LoggedChanges:
        """By the commits that the log remembers; see `Table.changes_since`."""
        table = self._open()
        identity, columns = str(table.metadata().id), tuple(table.metadata().partition_columns)
        schema = pa.schema(table.schema().to_arrow())
        versions = [version for state in states if (version := delta_version(identity, state)) is not None]
        log = LogTail.look(self._fs, self.root, table.version())
        oldest = log.oldest_of(versions)
        commits = log.read(self._fs, columns, schema, after=oldest)
        last = {key: commit.version for commit in commits for key in commit.changed or ()}
        unclear = [commit.version for commit in commits if commit.changed is None or commit.adopts]
        return LoggedChanges(identity, log.newest, oldest, last, max(unclear, default=-1))

    def note_same_rows(self, rewritten: Sequence[SameRows]) -> None:
        """The log knows: it is not written when an object is; see `Table.note_same_rows`."""

    def version_at(self, instant: datetime) -> int:
        """The version that was the newest at an instant; see `Table.version_at`.

        Commits carry their time; delta-rs's own search goes by the store's times, which some servers keep in seconds.
        """
        oldest = None
        for entry in map(_commit_of, self._open().history()):
            if entry.at <= instant:
                return entry.version
            oldest = entry
        known = f"; the oldest is of {oldest.at}" if oldest else ""
        raise TableNotFound(
            f"lake://{self.root} has no version of {instant}{known}", hint="`tierlake history` lists them"
        )

    def history(self, limit: int | None = None) -> list[Commit]:
        """Commits, newest first, as far back as the log goes."""
        with in_our_words(self.root.partition("/")[0]):
            return [_commit_of(entry) for entry in self._open().history(limit)]

    def removed_files(self) -> Sequence[RemovedFile]:
        """Tombstones of the log."""
        return delta_log.removed_files(self._fs, self.root, self.partition_columns)

    def recent(self, since: datetime) -> RecentLog:
        """What commits named since an instant; see `Table.recent`."""
        return delta_log.recent(self._fs, self.root, since)

    def made_at(self, version: int) -> datetime | None:
        """When a commit was made; see `Table.made_at`."""
        try:
            made: datetime = self._fs.head_object(f"{self.root}/_delta_log/{version:020d}.json")["LastModified"]
        except FileNotFoundError:
            return None
        return made

    def commit_of(self, removal: str, base: int) -> Commit | None:
        """The commit that carries a removal's id; see `Table.commit_of`."""
        for entry, info in delta_log.infos_since(self._fs, self.root, base):
            if info.get("lake.removal") == removal:
                return replace(_commit_of({**info, "version": entry.version}), at=entry.at)
        return None

    def named_after(self, version: int) -> frozenset[str] | None:
        """The paths that later commits named; see `Table.named_after`."""
        return delta_log.named_after(self._fs, self.root, version)

    def identified(self, files: Sequence[LiveFile], *, must_know: bool = True) -> tuple[LiveFile, ...]:  # noqa: ARG002 - the protocol's
        """A path names one object for good; see `Table.identified`."""
        return tuple(files)

    def below(
        self,
        file: LiveFile,
        is_own: Callable[[LiveFile], bool],  # noqa: ARG002 - the protocol's
    ) -> tuple[LiveFile | None, tuple[LiveFile, ...]]:
        """A path names one object for good; see `Table.below`."""
        return file, ()

    # -- writing ------------------------------------------------------------------------------------------------------

    def told_key(self, path: str, columns: tuple[str, ...]) -> PartitionKey | None:
        """By the Hive folders that most writers use, though the log alone says it; see `Table.told_key`."""
        told = path_columns(path)
        return PartitionKey.of_path(path, columns) if told is not None and set(columns) <= set(told) else None

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:
        """A new name for every attempt: a file that a commit names is never written again."""
        name = f"part-{token}-{uuid.uuid4().hex[:12]}-{number:05d}.{suffix}"
        return f"{key.prefix}/{name}" if key.items else name

    def is_committed(self, run_key: str) -> bool:
        """Whether this run key was committed and not forgotten since by an expiry."""
        return _is_odd(self._open().transaction_version(_app_id(run_token(run_key))))

    def left_of(self, run_key: str, snapshot: Snapshot) -> frozenset[PartitionKey]:
        """Where a forgotten run's rows are live still; see `Table.left_of`."""
        token = run_token(run_key)
        if not may_hold_rows_of(token, (file.path for file in snapshot.files)):
            return frozenset()
        if self._open().transaction_version(_app_id(token)) is None:
            return frozenset()
        by_partition = snapshot.by_partition().items()
        return frozenset(
            key for key, files in by_partition if token in runs_of(self._fs, self.root, (file.path for file in files))
        )

    def check_takes(self, change: Change) -> None:
        """Refuse features that we would not honour; see `Table.check_takes`."""
        _check_writable(self._open(), change)

    def check_can_remove(self) -> None:
        """A commit that came between is a conflict; see `Table.check_can_remove`."""

    def commit(self, change: Change) -> Commit:
        """Write one log entry; see `Table.commit`.

        delta-rs would rebase a stale change by itself and so double rows, leave a late append behind, or name files
        that a vacuum took meanwhile. So all is retried here, after a look at what the newer commits did.
        """
        run_key = change.run_key or uuid.uuid4().hex
        app_id = _app_id(run_token(run_key))
        is_blind = not change.removes and change.operation in {"append", "create"}
        for attempt in attempts(f"lake://{self.root}"):
            with attempt:
                table = self._open()
                _check_writable(table, change)
                seen = table.transaction_version(app_id)
                if _is_odd(seen):
                    return self._find(table, run_key)
                if not is_blind and table.version() != change.base.version:
                    self._check_untouched(change, table)
                self._check_fence(change, table)
                is_first = _settles_keys(table, change.schema)
                schema = self._first_schema(table, change.schema) if is_first else self._evolved(table, change.schema)
                if schema is None:
                    continue
                metadata = _commit_metadata(change, run_key)
                beside = self._beside(change, table)
                is_timed = changes_rows(change) and bool(change.adds or beside)
                at = time_of_change(self._fs, self.root.partition("/")[0]) if is_timed else None
                transactions = [
                    Transaction(app_id, 1 if seen is None else seen + 1),
                    *self._run_key_transactions(table, change),
                ]
                try:
                    if is_spelled_otherwise(change):
                        write_entry(
                            self._fs, self.root, table.version() + 1, change, metadata, transactions, at, beside
                        )
                        self._checkpoint_where_due(table)
                    else:
                        table.create_write_transaction(
                            [*add_actions(change, at, beside), *remove_actions(change)],
                            "overwrite" if is_first else "append",  # the one of its modes that gives a column a type
                            schema,
                            list(table.metadata().partition_columns),
                            commit_properties=CommitProperties(
                                custom_metadata=metadata,
                                max_commit_retries=0,
                                app_transactions=transactions,
                            ),
                        )
                except (CommitFailedError, AlreadyExists):
                    continue  # somebody was faster, or the reply was lost: the next look at the log tells
                except (DeltaError, OSError, LakeError) as error:
                    if _NO_ENTRY in str(error) and isinstance(error, DeltaError):
                        self._mend_log(table, error)
                        continue
                    # what broke may have been the reply, or what deltalake does after its commit: it may be there
                    return self._arrived(change, app_id, run_key, error)
                self._fs.invalidate_view(self.root)
                # without delta-rs's own retries the commit is the next version, or none
                return Commit(table.version() + 1, datetime.now(UTC), change.operation, run_key, dict(change.details))
        raise AssertionError  # the last attempt raises

    def fence(self, now: datetime) -> None:
        """An entry that changes nothing, and counts; see `Table.fence`."""
        seconds = math.ceil(now.timestamp())
        for attempt in attempts(f"lake://{self.root}", done="nothing was deleted"):
            with attempt:
                table = self._open()
                _check_features(table, _WRITER_FEATURES, "written")
                # time that goes on also where a clock does not
                transaction = Transaction(_FENCE, max(_fence(table) + 1, seconds))
                try:
                    metadata = {"lake.operation": FENCE, "lake.run_key": uuid.uuid4().hex, "lake.by": user_and_host()}
                    write_fence(self._fs, self.root, table.version() + 1, metadata, transaction)
                except AlreadyExists:
                    continue
                self._checkpoint_where_due(table)
                return
        raise AssertionError  # the last attempt raises

    def properties(self) -> Mapping[str, str]:
        """Of the table's metadata."""
        return dict(self._open().metadata().configuration)

    def set_properties(self, properties: Mapping[str, str], details: Mapping[str, object]) -> int | None:
        """One commit that changes no file; see `Table.set_properties`."""
        metadata = {
            "lake.operation": "apply",
            "lake.by": user_and_host(),
            **{f"lake.{name}": value for name, value in details.items()},
        }
        for attempt in attempts(f"lake://{self.root}", done="its properties are as they were"):
            with attempt:
                table = self._open()
                current = table.metadata().configuration
                if all(current.get(name) == value for name, value in properties.items()):
                    return None
                _check_features(table, _WRITER_FEATURES, "written")
                try:
                    table.alter.set_table_properties(
                        dict(properties),
                        commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=0),
                    )
                except CommitFailedError:
                    continue
                return table.version()
        raise AssertionError  # the last attempt raises

    def declare(self, schema: pa.Schema) -> None:
        """Columns in the log's metadata; see `Table.declare`."""
        for attempt in attempts(f"lake://{self.root}", done="no column was added"):
            with attempt:
                if self._evolved(self._open(), schema) is not None:
                    return
        raise AssertionError  # the last attempt raises

    def _check_fence(self, change: Change, table: DeltaTable) -> None:
        """Refuse files that a vacuum may have taken since they were written, or looked at.

        Raises:
            CommitConflict: look again.
            StagedTooLong: they are so old that a vacuum took them for orphans.
        """
        fence = _fence(table)
        if not change.adds or fence in {0, change.fence}:
            return
        if change.operation == "undo":
            raise CommitConflict(f"lake://{self.root}: a vacuum began meanwhile", hint="run it again")
        paths = [staged.file.path for staged in change.adds]
        stored = listed(self._fs, self.root, paths)
        taken_before = datetime.fromtimestamp(fence, UTC) - ORPHAN_AGE
        for path in paths:
            info = stored.get(f"{self.root}/{path}")
            if info is None or info["LastModified"] <= taken_before:
                message = f"lake://{self.root}/{path} waited for its commit for a day, and a vacuum has begun since"
                raise StagedTooLong(message, hint="nothing was committed: run it again, which writes it anew")

    def _beside(self, change: Change, table: DeltaTable) -> tuple[LiveFile, ...]:
        """A file of each partition that only loses files: its time tells of that when the log has forgotten it."""
        losing = {file.key for file in change.removes} - {staged.file.key for staged in change.adds}
        if change.operation != "erase" or not losing:
            return ()
        gone = {file.path for file in change.removes}
        left = [file for file in live_files(table, self.root) if file.path not in gone and file.logged is None]
        return tuple({file.key: file for file in left if file.key in losing}.values())

    def _checkpoint_where_due(self, before: DeltaTable) -> None:
        """After a commit that deltalake, which would see to it, did not make; by its rule."""
        made = before.version() + 1
        every = int(before.metadata().configuration.get("delta.checkpointInterval", _CHECKPOINT_INTERVAL))
        if (made + 1) % every == 0:
            with suppress(DeltaError, OSError, LakeError):  # the commit is made; the next one due makes up for it
                self._open().create_checkpoint()

    def _run_key_transactions(self, table: DeltaTable, change: Change) -> Iterable[Transaction]:
        """An expired partition forgets the runs that wrote it, and undo remembers them again."""
        if change.operation not in {"expire", "undo"}:
            return
        back = runs_of(self._fs, self.root, (staged.file.path for staged in change.adds))
        gone = runs_of(self._fs, self.root, (file.path for file in change.removes)) - back
        for token in sorted(back | gone):
            seen = table.transaction_version(_app_id(token))
            if seen is not None and _is_odd(seen) == (token in gone):
                yield Transaction(_app_id(token), seen + 1)

    def _arrived(self, change: Change, app_id: str, run_key: str, error: Exception) -> Commit:
        """The commit whose reply was an error, where the log has it all the same.

        Raises:
            CommitUnknown: the log cannot be read either.
            LakeError: the commit was not made, and why.
        """
        failure = told_by(error, self.root)
        try:
            after = self._open()
            is_made = _is_odd(after.transaction_version(app_id))
        except (DeltaError, OSError, LakeError) as blind:
            raise CommitUnknown.of(self.root, failure, change.run_key) from blind
        if not is_made:
            raise failure from error
        self._fs.invalidate_view(self.root)
        return self._find(after, run_key)

    def _find(self, table: DeltaTable, run_key: str) -> Commit:
        with suppress(DeltaError, OSError):  # the commit is made: what it says besides is no reason to fail
            for entry in table.history(50):
                if entry.get("lake.run_key") == run_key:
                    return _commit_of(entry)
        return Commit(table.version(), datetime.now(UTC), "unknown", run_key, {})

    def _check_untouched(self, change: Change, table: DeltaTable) -> None:
        now = _snapshot(table, self.root)
        before, after = change.base.by_partition(), now.by_partition()
        if change.operation in {"compact", "erase"}:
            # files that others added meanwhile stay beside ours: only our own sources have to be there still
            live = {file.path for file in now.files}
            before, after = {file.key: (file,) for file in change.removes if file.path not in live}, {}
        for key in sorted(change.touched()):
            if {file.path for file in before.get(key, ())} != {file.path for file in after.get(key, ())}:
                newer = map(_commit_of, table.history(min(table.version() - change.base.version, _NAMED_COMMITS)))
                who = ", ".join(f"version {c.version} ({c.operation}, run {c.run_key})" for c in newer)
                message = (
                    f"lake://{self.root}: partition {key} was changed by {who or 'another writer'} since it was read"
                )
                raise CommitConflict(message, hint="look at `tierlake history`, then plan or ingest again")

    def _first_schema(self, table: DeltaTable, wanted: pa.Schema | None) -> pa.Schema | None:
        """The schema that the first rows settle; None where another writer changed the table meanwhile."""
        has_wall_clock = any("timestamp[us]" in str(field.type) for field in wanted or ())
        features = table.protocol().reader_features or ()
        if has_wall_clock and "timestampNtz" not in features:
            with suppress(CommitFailedError):
                table.alter.add_feature(
                    TableFeatures.TimestampWithoutTimezone,
                    allow_protocol_versions_increase=True,
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
            return None  # the next look at the log has it
        return wanted

    def _evolved(self, table: DeltaTable, wanted: pa.Schema | None) -> pa.Schema | None:
        """The table's schema with new nullable columns added; None where another writer changed it meanwhile."""
        current = pa.schema(table.schema().to_arrow())
        if wanted is None:
            return current
        merged = evolved_schema(current, wanted)
        types = {field.name: field.type for field in current}
        new = [field for field in merged if types.get(field.name) != field.type]
        if new:
            try:
                told = {"lake.operation": "add columns", "lake.reason": ", ".join(field.name for field in new)}
                table.alter.add_columns(
                    list(Schema.from_arrow(pa.schema(new)).fields),
                    commit_properties=CommitProperties(
                        custom_metadata={**told, "lake.by": user_and_host()}, max_commit_retries=0
                    ),
                )
            except CommitFailedError:
                return None
            except DeltaError as error:
                self._mend_log(table, error)
                return None
        return merged

    def _mend_log(self, table: DeltaTable, error: DeltaError) -> None:
        """Give deltalake an entry to write after, where a lifecycle rule took even the newest, with its checkpoint.

        Raises:
            DeltaError: the error, where it says something else.
        """
        if _NO_ENTRY not in str(error):
            raise error
        metadata = {"lake.operation": "mend", "lake.run_key": uuid.uuid4().hex}
        with suppress(AlreadyExists):
            write_nothing(self._fs, self.root, table.version() + 1, metadata)


def _settles_keys(table: DeltaTable, wanted: pa.Schema | None) -> bool:
    """Whether the first rows give the partition columns their types: nobody had declared any column."""
    metadata = table.metadata()
    current = pa.schema(table.schema().to_arrow())
    if wanted is None or set(current.names) - set(metadata.partition_columns):
        return False
    is_typed = all(wanted.field(field.name).type == field.type for field in current)
    return not is_typed and not pa.table(table.get_add_actions()).num_rows


def _columns_of(keys: Collection[PartitionKey]) -> tuple[str, ...]:
    return next((key.columns for key in keys), ())


def _app_id(token: str) -> str:
    return f"{_APP_PREFIX}{token}"


def _is_odd(version: int | None) -> bool:
    """A run key's transaction counts up: odd means committed, even means forgotten by an expiry."""
    return version is not None and version % 2 == 1


def _commit_metadata(change: Change, run_key: str) -> dict[str, Any]:
    return {
        "lake.operation": change.operation,
        "lake.run_key": run_key,
        "lake.by": user_and_host(),
        **{f"lake.{name}": value for name, value in change.details.items()},
    }


def _snapshot(table: DeltaTable, root: str) -> Snapshot:
    return Snapshot(table.version(), live_files(table, root), pa.schema(table.schema().to_arrow()), _fence(table))


def _fence(table: DeltaTable) -> int:
    """Up to which second of the store's clock vacuums have begun."""
    return table.transaction_version(_FENCE) or 0


def _commit_of(entry: dict[str, Any]) -> Commit:
    return Commit(
        version=entry["version"],
        at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
        operation=entry.get("lake.operation") or str(entry.get("operation", "unknown")),
        run_key=entry.get("lake.run_key"),
        details={
            name.removeprefix("lake."): value
            for name, value in entry.items()
            if name.startswith("lake.") and name not in {"lake.operation", "lake.run_key"}
        },
    )


def _check_writable(table: DeltaTable, change: Change) -> None:
    _check_features(table, _WRITER_FEATURES, "written")
    properties = table.metadata().configuration
    if change.removes and properties.get("delta.appendOnly") == "true":
        message = f"{table.table_uri} is append-only (delta.appendOnly); it cannot be replaced, expired or compacted"
        raise UnsupportedByTable(message)
    named = [
        name
        for name, value in properties.items()
        if name.startswith("delta.constraints.")
        or (name == "delta.columnMapping.mode" and value != "none")
        or (name in {"delta.enableDeletionVectors", "delta.enableChangeDataFeed"} and value == "true")
    ]
    if named:
        message = f"{table.table_uri} uses {', '.join(named)}, which we would not honour: it is not written"
        raise UnsupportedByTable(message, hint="write it with the engine that made it; reading is fine")


def _check_features(table: DeltaTable, allowed: frozenset[str], what: str) -> None:
    protocol = table.protocol()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or () if what == "written" else ())}
    unknown = features - allowed
    is_older = protocol.min_reader_version in {_PLAIN_READER, _FEATURES_READER} and (
        what != "written" or protocol.min_writer_version in {1, _PLAIN_WRITER, _FEATURES_WRITER}
    )
    if unknown or not is_older:
        names = ", ".join(sorted(unknown)) or (
            f"reader version {protocol.min_reader_version}, writer version {protocol.min_writer_version}"
        )
        message = f"{table.table_uri} needs the Delta features {names}; it cannot be {what} by this version"
        raise UnsupportedByTable(message, hint="use the engine that made it")
