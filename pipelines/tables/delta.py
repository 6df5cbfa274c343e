"""Delta tables: the log says which files are live; delta-rs (`deltalake`) reads and writes it.

Files are written by us under the write policy and committed with `create_write_transaction`. What delta-rs can and
cannot do, and the traps that shape this module, are in DESIGN section 6.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import create_table_with_add_actions

from tierlake.connector.client.rust_errors import in_our_words
from tierlake.connector.errors import AlreadyExists
from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import (
    CommitConflict,
    LogMissing,
    TableNotFound,
    UnsupportedByTable,
)
from tierlake.pipelines.model.partition_key import PartitionKey, path_columns
from tierlake.pipelines.runtime.fork_guard import refuse_after_fork, rust_is_in_use
from tierlake.pipelines.runtime.identity import user_and_host
from tierlake.pipelines.runtime.listing import listed
from tierlake.pipelines.tables import delta_log
from tierlake.pipelines.tables.delta_changes import LogTail, changes_after, latest_changes
from tierlake.pipelines.tables.delta_commit import (
    add_actions,
    commit_of_entry,
)
from tierlake.pipelines.tables.delta_features import READER_FEATURES, check_features, check_writable
from tierlake.pipelines.tables.delta_files import RustFiles, added_files, does_not_fit, snapshot_of
from tierlake.pipelines.tables.delta_look import DeltaLook
from tierlake.pipelines.tables.delta_transactions import adopted, has_run, is_counted
from tierlake.pipelines.tables.delta_url import delta_url, is_spelled
from tierlake.pipelines.tables.delta_writer import DeltaWriter
from tierlake.pipelines.tables.error_edge import edge
from tierlake.pipelines.tables.footers import FooterShelf
from tierlake.pipelines.tables.live_files import FileNames, arrow_filesystem
from tierlake.pipelines.tables.log_actions import instant_of
from tierlake.pipelines.tables.lost_log import has_log, lost_log
from tierlake.pipelines.tables.one_look import Looks
from tierlake.pipelines.tables.paths import data_path
from tierlake.pipelines.tables.runs import has_our_name, holders_of, may_hold_rows_of, outdated_rewrites, run_token
from tierlake.pipelines.tables.snapshot import (
    ORPHAN_AGE,
    Change,
    Commit,
    Fate,
    RecentLog,
    RemovedFile,
    Snapshot,
    StagedFile,
)
from tierlake.pipelines.tables.states import LoggedChanges, delta_state, delta_version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.parquet.scan import LiveDataset
    from tierlake.pipelines.tables.snapshot import LiveFile, Operation, SameRows, SeenFile

__all__ = ["LakeDeltaTable"]

_BEYOND_DELTA_RS = ("Unsupported", "empty schema")


@edge
class LakeDeltaTable:
    """One Delta table, ours or others'."""

    format = "delta"
    is_atomic = True

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Point at `root` (`bucket/prefix`); nothing is read yet."""
        self._fs = fs
        self.root = root
        self._kept = Looks[DeltaTable]()
        self._writer = DeltaWriter(fs, root, self._open)

    @classmethod
    def create(
        cls,
        fs: LakeFileSystem,
        root: str,
        schema: pa.Schema,
        partition_columns: tuple[str, ...],
        configuration: Mapping[str, str],
    ) -> LakeDeltaTable:
        """Write version 0 of a new table; an existing table is left as it is.

        deltalake writes the entry to a local folder: in the store it would also open the table three times.

        Args:
            fs: May write below the root.
            root: `bucket/prefix`, without a log.
            schema: With the partition columns.
            partition_columns: The Hive columns, in order.
            configuration: Delta table properties.
        """
        refuse_after_fork()
        rust_is_in_use()
        with in_our_words(root.partition("/")[0]), TemporaryDirectory() as folder:
            DeltaTable.create(
                folder,
                schema,
                partition_by=list(partition_columns),
                configuration=dict(configuration),
                commit_properties=CommitProperties(
                    custom_metadata={"lake.operation": "create", "lake.by": user_and_host()}
                ),
            )
            entry = (Path(folder) / "_delta_log" / f"{0:020}.json").read_bytes()
        with suppress(AlreadyExists):
            fs.put_if(f"{root}/_delta_log/{0:020}.json", entry, if_none_match=True)
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
        """Write version 0 of a table, naming files that exist already.

        Args:
            fs: May write below the root.
            root: `bucket/prefix`.
            schema: With the partition columns.
            partition_columns: The Hive columns, in order.
            files: The live files.
            configuration: Delta table properties.
            run_tokens: Runs that count as committed.

        Raises:
            CommitConflict: Another process made it a table meanwhile.
        """
        refuse_after_fork()
        rust_is_in_use()
        empty = Snapshot(-1, (), None)
        change = Change("adopt", empty, adds=tuple(StagedFile(file) for file in files))
        amount = {"rows": sum(file.rows or 0 for file in files), "bytes": sum(file.size for file in files)}
        details: dict[str, Any] = {"operation": "adopt", "by": user_and_host(), **amount}
        try:
            with in_our_words(root.partition("/")[0]), tracing.span("deltalake.create"):
                create_table_with_add_actions(
                    delta_url(root),
                    Schema.from_arrow(schema),
                    add_actions(change),
                    mode="error",
                    partition_by=list(partition_columns),
                    configuration=dict(configuration),
                    storage_options=fs.delta_options(),
                    commit_properties=CommitProperties(
                        custom_metadata={f"lake.{name}": value for name, value in details.items()},
                        app_transactions=adopted(run_tokens),
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
        url = delta_url(self.root)
        try:
            with in_our_words(self.root.partition("/")[0]), tracing.span("deltalake.open"):
                return DeltaTable(url, version=version, storage_options=self._fs.delta_options())
        except TableNotFoundError as error:
            raise (lost_log(self._fs, self.root) or self._not_found()) from error
        except DeltaError as error:
            if version is not None and "version" in str(error).lower():
                message = f"lake://{self.root} has no version {version}"
                raise TableNotFound(message, hint="`tierlake history` lists the versions") from error
            if "Json error" in (reason := str(error).partition("\n")[0]):  # statistics that do not fit their types
                raise does_not_fit(self.root, reason) from error
            if any(word in reason for word in _BEYOND_DELTA_RS):
                message = f"lake://{self.root} has a log that this version cannot read: {reason}"
                raise UnsupportedByTable(message, hint="use the engine that made it") from error
            raise

    def one_look(self) -> AbstractContextManager[None]:
        """The log is opened once; see `Table.one_look`."""
        return self._kept.once()

    def _looked(self) -> DeltaTable:
        return self._kept.at(self._open)

    def _not_found(self) -> TableNotFound:
        return TableNotFound(f"no Delta table at lake://{self.root}")

    def exists(self) -> bool:
        """Whether a log is there."""
        if not is_spelled(self.root) and not has_log(self._fs, self.root):
            return False
        try:
            self._open()
        except (TableNotFound, LogMissing):
            return False
        return True

    def is_just_created(self, schema: pa.Schema, partition_columns: tuple[str, ...]) -> bool:
        """Whether the log is exactly what `create` writes for this schema."""
        table = self._open()
        if table.version() != 0 or tuple(table.metadata().partition_columns) != partition_columns:
            return False
        is_ours = commit_of_entry(table.history(1)[0]).operation == "create"
        expected = pa.schema(Schema.from_arrow(schema).to_arrow())
        return is_ours and pa.schema(table.schema().to_arrow()).equals(expected)

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """The Hive columns, in order."""
        return tuple(self._open().metadata().partition_columns)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The live files, now or at an older version; see `Table.snapshot`."""
        return snapshot_of(self._looked() if version is None else self._open(version), self.root)

    def look(self) -> Snapshot:
        """What the log says: it has one already; see `Table.look`."""
        return self.snapshot()

    def live_sizes(self) -> tuple[int, dict[str, int]]:
        """The version, and the size of each live file by path: what a listing needs, without statistics.

        Raises:
            UnsupportedByTable: Deletion vectors or column mapping, which a listing cannot tell, or folders that readers
                of listings skip.
        """
        table = self._open()
        check_features(table, READER_FEATURES, "listed as Parquet files")
        if hidden := [name for name in table.metadata().partition_columns if name.startswith(("_", "."))]:
            message = f"lake://{self.root} is partitioned by {', '.join(hidden)}: readers of folders skip such names"
            raise UnsupportedByTable(message, hint="read it through its log: `deltalake`, or polars' scan_delta")
        adds = added_files(table)
        paths, sizes = adds.column("path").to_pylist(), adds.column("size_bytes").to_pylist()
        return table.version(), {data_path(self.root, path): size for path, size in zip(paths, sizes, strict=True)}

    def dataset(self, snapshot: Snapshot) -> LiveDataset:
        """The rows of a snapshot, lazily; see `LiveDataset`.

        Raises:
            UnsupportedByTable: Deletion vectors or column mapping, which a Parquet reader would read wrongly.
            SchemaMismatch: A partition value does not fit its column's type.
        """
        from tierlake.pipelines.tables.rows import live_dataset

        look = snapshot.opened
        table = look.table if isinstance(look, DeltaLook) else self._open(snapshot.version)
        check_features(table, READER_FEATURES, "read as Parquet files")
        keys = {f"{self.root}/{file.path}": file.key for file in snapshot.files}
        names = FileNames(self._fs, self.root, keys, snapshot.version)
        return live_dataset(
            self._filesystem(names, snapshot), names, snapshot, tuple(table.metadata().partition_columns)
        )

    def _filesystem(self, names: FileNames, snapshot: Snapshot) -> pafs.FileSystem:
        if self._fs.credentials_are_renewed:  # deltalake keeps its options, and a scan may outlive them
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
        table = self._looked()
        return delta_state(str(table.metadata().id), table.version() if version is None else version)

    def changes_since(self, states: Collection[str]) -> LoggedChanges:
        """By the commits that the log remembers; see `Table.changes_since`."""
        table = self._looked()
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
        """Nothing to record: the log has the times; see `Table.note_same_rows`."""

    def version_at(self, instant: datetime) -> int:
        """The version that was the newest at an instant; see `Table.version_at`.

        This uses the times in the commits; delta-rs searches by the store's times, which some servers keep in seconds.
        """
        oldest: datetime | None = None
        for entry in self._open().history():
            oldest = self._commit(entry).at
            if oldest <= instant:
                return int(entry["version"])
        known = f"; the oldest is of {oldest}" if oldest else ""
        raise TableNotFound(
            f"lake://{self.root} has no version of {instant}{known}", hint="`tierlake history` lists them"
        )

    def history(self, limit: int | None = None) -> list[Commit]:
        """Commits, newest first, as far back as the log goes."""
        with in_our_words(self.root.partition("/")[0]):
            return [self._commit(entry) for entry in self._open().history(limit)]

    def _commit(self, entry: Mapping[str, Any]) -> Commit:
        """The commit of an entry; without a time of its own it has that of its object."""
        commit = commit_of_entry(entry)
        if instant_of(entry.get("timestamp")) is None and (made := self.made_at(entry["version"])) is not None:
            return replace(commit, at=made)
        return commit

    def removed_files(self) -> Sequence[RemovedFile]:
        """Tombstones of the log."""
        return delta_log.removed_files(self._fs, self.root, self.partition_columns)

    def recent(self, since: datetime) -> RecentLog:
        """Files that commits named since an instant; see `Table.recent`."""
        return delta_log.recent(self._fs, self.root, since)

    def made_at(self, version: int) -> datetime | None:
        """When a commit was made; see `Table.made_at`."""
        try:
            made: datetime = self._fs.head_object(f"{self.root}/_delta_log/{version:020d}.json")["LastModified"]
        except FileNotFoundError:
            return None
        return made

    def fate_of(self, removal: str, base: int, run_key: str | None) -> Fate:  # noqa: ARG002 - the protocol's
        """By the commit that carries its id; see `Table.fate_of`."""
        for entry, info in delta_log.infos_since(self._fs, self.root, base):
            if info.get("lake.removal") == removal:
                return Fate(
                    is_made=True, commit=replace(commit_of_entry({**info, "version": entry.version}), at=entry.at)
                )
        return Fate(is_made=False)

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

    def path_key(self, path: str, columns: tuple[str, ...]) -> PartitionKey | None:
        """By the Hive folders that most writers use, though the log alone says it; see `Table.path_key`."""
        hive = path_columns(path)
        return PartitionKey.of_path(path, columns) if hive is not None and set(columns) <= set(hive) else None

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:
        """A new name for every attempt: a file that a commit names is never written again."""
        name = f"part-{token}-{uuid.uuid4().hex[:12]}-{number:05d}.{suffix}"
        return f"{key.prefix}/{name}" if key.items else name

    def file_size(self, target: int) -> float:
        """The dataset's target size; see `Table.file_size`."""
        return target

    def upload_metadata(self, token: str) -> Mapping[str, str] | None:  # noqa: ARG002 - the protocol's
        """None is needed: files are invisible until a commit names them; see `Table.upload_metadata`."""
        return {}

    def for_workers(self) -> Self:
        """Itself; see `Table.for_workers`."""
        return self

    def to_join(self, staged: Iterable[StagedFile]) -> tuple[tuple[PartitionKey, tuple[StagedFile, ...]], ...]:  # noqa: ARG002 - the protocol's
        """None, as a partition may have several files; see `Table.to_join`."""
        return ()

    def to_publish(self, staged: Sequence[StagedFile]) -> tuple[StagedFile, ...]:
        """As they are; see `Table.to_publish`."""
        return tuple(staged)

    def has_own_name(self, path: str) -> bool:
        """By its last segment; see `Table.has_own_name`."""
        return has_our_name(path)

    def is_replaced_in_place(self, path: str) -> bool:  # noqa: ARG002 - the protocol's
        """Never: a path names one object for good; see `Table.is_replaced_in_place`."""
        return False

    def identity(self, file: SeenFile) -> tuple[str, str]:
        """The path; see `Table.identity`."""
        return file.path, ""

    def is_as_seen(self, live: Iterable[SeenFile], seen: Iterable[SeenFile]) -> bool:
        """Exactly those files, as a commit removes all or none; see `Table.is_as_seen`."""
        return {(file.path, file.size) for file in live} == {(file.path, file.size) for file in seen}

    def lost(self, files: Sequence[LiveFile]) -> tuple[str, ...]:
        """By a fresh listing; see `Table.lost`."""
        stored = listed(self._fs, self.root, [file.path for file in files])
        sizes = {file.path: stored.get(f"{self.root}/{file.path}", {}).get("size", -1) for file in files}
        return tuple(file.path for file in files if int(sizes[file.path]) != file.size)

    def keeps(self, files: Iterable[LiveFile]) -> bool:  # noqa: ARG002 - the protocol's
        """Files that no commit names any more stay until a vacuum; see `Table.keeps`."""
        return True

    def keeps_replaced(self) -> bool:
        """Likewise; see `Table.keeps_replaced`."""
        return True

    def outdated_runs(
        self,
        snapshot: Snapshot,  # noqa: ARG002 - the protocol's
        stored: Collection[str],
        *,
        now: datetime,
        history: timedelta,  # noqa: ARG002 - the protocol's
    ) -> list[str]:
        """Records of rewrites whose files are gone, and folded footers; see `Table.outdated_runs`.

        Run keys and history are in the log.
        """
        before = now - ORPHAN_AGE
        return [
            *outdated_rewrites(self._fs, self.root, stored, before),
            *FooterShelf(self._fs, self.root).outdated(before),
        ]

    def is_committed(self, run_key: str) -> bool:
        """Whether this run key was committed and no expiry has forgotten it since."""
        return has_run(self._open(), run_key)

    def left_of(self, run_key: str, snapshot: Snapshot) -> frozenset[PartitionKey]:
        """Partitions where a forgotten run's rows are still live; see `Table.left_of`."""
        token = run_token(run_key)
        if not may_hold_rows_of(token, (file.path for file in snapshot.files)):
            return frozenset()
        if not is_counted(self._open(), run_key):
            return frozenset()
        paths = {key: [file.path for file in files] for key, files in snapshot.by_partition().items()}
        return holders_of(self._fs, self.root, token, paths)

    def check_takes(self, change: Change) -> None:
        """Refuse features that we would not honour; see `Table.check_takes`."""
        check_writable(self._open(), change)

    def check_can_remove(self, *, undo: bool) -> None:
        """A commit that came between is a conflict, and files stay until a vacuum; see `Table.check_can_remove`."""

    def check_operation(self, operation: Operation, *, by_workers: bool = False) -> None:
        """Every operation is supported; see `Table.check_operation`."""

    def commit(self, change: Change) -> Commit:
        """Write one log entry; see `Table.commit`."""
        return self._writer.commit(change)

    def fence(self, now: datetime) -> None:
        """Commit an entry without changes that raises the fence; see `Table.fence`."""
        self._writer.fence(now)

    def properties(self) -> Mapping[str, str]:
        """The properties in the table's metadata."""
        return dict(self._open().metadata().configuration)

    def set_properties(self, properties: Mapping[str, str], details: Mapping[str, object]) -> int | None:
        """Commit properties without changing files; see `Table.set_properties`."""
        return self._writer.set_properties(properties, details)

    def checkpointed_at(self) -> datetime | None:
        """By the object that names it; see `Table.checkpointed_at`."""
        return delta_log.checkpointed_at(self._fs, self.root)

    def declare(self, schema: pa.Schema) -> None:
        """Add columns to the log's metadata; see `Table.declare`."""
        self._writer.declare(schema)


def _columns_of(keys: Collection[PartitionKey]) -> tuple[str, ...]:
    return next((key.columns for key in keys), ())
