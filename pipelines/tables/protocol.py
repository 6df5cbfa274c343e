"""What a table format must do: say which files are live, and change that in one step.

Everything above (ingest, tiering, expiry, compaction, verify, Dagster) is written against this file and never asks
which format it has; what a format cannot do raises `UnsupportedByTable` by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tierlake.pipelines.tables.snapshot import (
    FENCE,
    ORPHAN_AGE,
    Change,
    Commit,
    Fate,
    LiveFile,
    Operation,
    RecentLog,
    RemovedFile,
    SameRows,
    SeenFile,
    Snapshot,
    StagedFile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    import pyarrow as pa

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.parquet.scan import LiveDataset
    from tierlake.pipelines.tables.states import RowChanges

__all__ = [
    "FENCE",
    "ORPHAN_AGE",
    "Change",
    "Commit",
    "Fate",
    "LiveFile",
    "Operation",
    "RecentLog",
    "RemovedFile",
    "SameRows",
    "SeenFile",
    "Snapshot",
    "StagedFile",
    "Table",
]


class Table(Protocol):
    """One table in one format, under one root."""

    @property
    def format(self) -> str:
        """`delta` or `parquet`."""

    @property
    def root(self) -> str:
        """`bucket/prefix`."""

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """The Hive columns, in order."""

    @property
    def is_atomic(self) -> bool:
        """Whether a commit is one step; else a partition changes by itself, and who dies at it leaves a part undone."""

    def one_look(self) -> AbstractContextManager[None]:
        """Inside, `state`, `snapshot` and `changes_since` are of one moment, in this thread; commits look afresh."""

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The live files, now or at an older version.

        Raises:
            TableNotFound: Nothing there, or no such version.
            UnsupportedByTable: Time travel on a plain table.
        """

    def look(self) -> Snapshot:
        """What the store shows, whatever a log beside it says: for whoever makes a table with a log of it."""

    def version_at(self, instant: datetime) -> int:
        """The version that was the newest at an instant, by the log's times.

        Raises:
            TableNotFound: Before the oldest version that the log remembers.
            UnsupportedByTable: A plain table has no versions.
        """

    def changes(
        self, snapshot: Snapshot, keys: Collection[PartitionKey], since: datetime
    ) -> Mapping[PartitionKey, datetime]:
        """When the rows of partitions last changed, by the server's clock: never earlier than they did.

        Compaction, tiering, restores and undo of nothing change no row.

        Args:
            snapshot: The table's present state.
            keys: Its partitions that are asked about.
            since: One that has not changed after this instant may be left out.
        """

    def state(self, version: int | None = None) -> str:
        """Names the table's present state, for `changes_since`.

        Args:
            version: Or the state after this version, where the table has versions.
        """

    def changes_since(self, states: Collection[str]) -> RowChanges:
        """Which partitions' rows have changed since earlier states; one look for all of them.

        Args:
            states: What `state` returned then.
        """

    def note_same_rows(self, rewritten: Sequence[SameRows]) -> None:
        """Remember that objects were written anew with the rows that they had, where the table would not know."""

    def path_key(self, path: str, columns: tuple[str, ...]) -> PartitionKey | None:
        """The partition of a file that the table does not name, by its path; None where that does not tell.

        Args:
            path: Below the root, also of what workers wrote.
            columns: Of the partitions.
        """

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:
        """Where a new file of this partition goes, below the root."""

    def file_size(self, target: int) -> float:
        """From how many bytes on a partition's rows go on in a new file; infinity where all must be in one.

        Args:
            target: What the dataset asks for.
        """

    def stage(self, fs: LakeFileSystem, staged: StagedFile, token: str) -> StagedFile:
        """Upload a file that waits on disk; where it would be live by that, it stays there until `commit`.

        Args:
            fs: Writes below the root, under the write policy of the file.
            staged: With `local`.
            token: Of the run.

        Returns:
            The file, without `local` where it is in the store.
        """

    def for_workers(self) -> Table:
        """The table as workers see it who write its files: nothing that they upload is live."""

    def to_join(self, staged: Iterable[StagedFile]) -> tuple[tuple[PartitionKey, tuple[StagedFile, ...]], ...]:
        """Partitions whose files must become one before they can be committed, in key order.

        Args:
            staged: What workers wrote.
        """

    def to_publish(self, staged: Sequence[StagedFile]) -> tuple[StagedFile, ...]:
        """Files that workers wrote, as a commit takes them.

        Args:
            staged: Written to `for_workers()`, a file a partition where `to_join` says so.
        """

    def has_own_name(self, path: str) -> bool:
        """Whether a path is named as this version names the files that it writes, and nobody else does."""

    def is_replaced_in_place(self, path: str) -> bool:
        """Whether the object under a path may be replaced by another: then its ETag or version tells which is meant.

        Args:
            path: Below the root.
        """

    def identity(self, file: SeenFile) -> tuple[str, str]:
        """What tells a file from others that were, or will be, under its path."""

    def is_as_seen(self, live: Iterable[SeenFile], seen: Iterable[SeenFile]) -> bool:
        """Whether a partition has the files that it had, or what an interrupted commit has left of them.

        Args:
            live: Its files.
            seen: Its files as they were seen before.
        """

    def lost(self, files: Sequence[LiveFile]) -> tuple[str, ...]:
        """The paths of files that cannot be committed, as the store does not have them any more.

        Args:
            files: That were written, or were live. What `commit` looks for itself is not among the answers.
        """

    def keeps(self, files: Iterable[LiveFile]) -> bool:
        """Whether the store keeps what these files hold when a commit takes them out.

        Args:
            files: Identified.
        """

    def keeps_replaced(self) -> bool:
        """Whether the store keeps the rows of files that are written anew, until a vacuum.

        Raises:
            AccessDenied: Where it depends on the bucket, and nobody may ask it.
        """

    def check_operation(self, operation: Operation, *, by_workers: bool = False) -> None:
        """Refuse what this format does not have.

        Args:
            operation: Of a change.
            by_workers: Whether others than this process are to write its files.

        Raises:
            UnsupportedByTable: Saying what to do instead.
        """

    def check_takes(self, change: Change) -> None:
        """Refuse what `commit` would of an ingest, whoever else writes; its files need not be there.

        Raises:
            UnsupportedByTable: The table cannot be written like this.
        """

    def check_can_remove(self, *, undo: bool) -> None:
        """Refuse to take anything out where an ingest that comes at the same time could go with it.

        Args:
            undo: Whether what leaves has to be able to come back.

        Raises:
            PolicyRefused: It could not.
            UnsupportedByTable: A plain table whose store has neither versions nor conditions.
        """

    def commit(self, change: Change) -> Commit:
        """Make the change visible.

        Raises:
            CommitConflict: Another writer changed the same partitions since `change.base`; `is_partial` where some of
                the change is made.
        """

    def is_committed(self, run_key: str) -> bool:
        """Whether a commit with this run key was made and its partitions have not expired since."""

    def left_of(self, run_key: str, snapshot: Snapshot) -> frozenset[PartitionKey]:
        """Where rows of a run are live still that was forgotten because another partition of it expired."""

    def outdated_runs(
        self, snapshot: Snapshot, stored: Collection[str], *, now: datetime, history: timedelta
    ) -> list[str]:
        """Records of runs that nothing needs: no run key, no undo, no history.

        Args:
            snapshot: What is live.
            stored: Paths of all files that the store has for the table, those that wait for a vacuum included.
            now: Of the server's clock.
            history: How far the table's history goes back.

        Returns:
            Their names, `bucket/key`.
        """

    def removed_files(self) -> Sequence[RemovedFile]:
        """Files that commits took out and the store may still hold."""

    def fence(self, now: datetime) -> None:
        """Keep out whoever rests on files that are about to be deleted.

        A commit that was prepared before looks again: an undo at the journal, everything else at the age of its files.

        Args:
            now: By which ages are counted, of the server's clock.
        """

    def recent(self, since: datetime) -> RecentLog:
        """What commits named since an instant; plain tables have no log, and so nothing to forget."""

    def made_at(self, version: int) -> datetime | None:
        """When a commit was made, by the store's own clock; None where its entry is gone, or there are none."""

    def fate_of(self, removal: str, base: int, run_key: str | None) -> Fate:
        """What became of a removal.

        Args:
            removal: Its id, which its commit carries.
            base: The version that it rests on.
            run_key: Of the ingest that replaced something.
        """

    def named_after(self, version: int) -> frozenset[str] | None:
        """The paths that commits after a version named; None where the log has forgotten some of those."""

    def identified(self, files: Sequence[LiveFile], *, must_know: bool = True) -> tuple[LiveFile, ...]:
        """Live files with what tells each object from one that replaces it under the same path.

        Args:
            files: As a snapshot has them.
            must_know: False takes what the objects themselves say where nobody may ask whether the bucket keeps
                versions, which is an operator's right.

        Raises:
            AccessDenied: Without that right.
            CommitConflict: One of them was replaced or deleted since it was listed.
        """

    def below(self, file: LiveFile, is_own: Callable[[LiveFile], bool]) -> tuple[LiveFile | None, tuple[LiveFile, ...]]:
        """What was in an object's place before some writings of it.

        Args:
            file: Identified.
            is_own: Whether a version is one of those.

        Returns:
            The newest version that is none of them, None where there was nothing; and those above it.
        """

    def history(self, limit: int | None = None) -> list[Commit]:
        """Commits, newest first."""

    def set_properties(self, properties: Mapping[str, str], details: Mapping[str, object]) -> int | None:
        """Set properties of the table where they are other.

        Args:
            properties: Name to value.
            details: JSON values for the commit's metadata.

        Returns:
            The table's version after it; None where nothing was to change, or the format has no properties.
        """

    def properties(self) -> Mapping[str, str]:
        """The table's properties; none where the format has no such."""

    def declare(self, schema: pa.Schema) -> None:
        """Add the columns of a schema that the table lacks, as nullable ones.

        Raises:
            SchemaMismatch: A column that it has in a type which does not meet the declared one.
            CommitConflict: Others kept changing the table.
        """

    def dataset(self, snapshot: Snapshot) -> LiveDataset:
        """The rows of a snapshot, lazily, with the partition columns among the columns."""
