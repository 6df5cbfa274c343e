"""What a table format must do: say which files are live, and change that in one step.

Everything above (ingest, tiering, expiry, compaction, verify, Dagster) is written against this file and never asks
which format it has; what a format cannot do raises `UnsupportedByTable` by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    import pyarrow as pa

    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.parquet.scan import LiveDataset
    from tierlake.pipelines.tables.snapshot import (
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
    from tierlake.pipelines.tables.states import RowChanges

__all__ = ["Table"]


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
        """Whether a commit is one step; otherwise each partition changes by itself, and a crash can leave a part."""

    def one_look(self) -> AbstractContextManager[None]:
        """Within it, this thread's `state`, `snapshot` and `changes_since` are of one moment; commits read afresh."""

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The live files, now or at an older version.

        Raises:
            TableNotFound: Nothing there, or no such version.
            UnsupportedByTable: Time travel on a plain table.
        """

    def look(self) -> Snapshot:
        """The objects in the store, regardless of a log, for the adoption of a plain table."""

    def version_at(self, instant: datetime) -> int:
        """The version that was the newest at an instant, by the log's times.

        Raises:
            TableNotFound: Before the oldest version that the log remembers.
            UnsupportedByTable: A plain table has no versions.
        """

    def changes(
        self, snapshot: Snapshot, keys: Collection[PartitionKey], since: datetime
    ) -> Mapping[PartitionKey, datetime]:
        """When the rows of partitions last changed, by the server's clock, and never too early.

        Compaction, tiering, restores and undo of nothing change no row.

        Args:
            snapshot: The table's present state.
            keys: The partitions in question.
            since: Partitions without a change after this instant may be left out.
        """

    def state(self, version: int | None = None) -> str:
        """Names the table's present state, for `changes_since`.

        Args:
            version: Name the state after this version instead, where the table has versions.
        """

    def changes_since(self, states: Collection[str]) -> RowChanges:
        """Which partitions' rows have changed since earlier states; one look for all of them.

        Args:
            states: What `state` returned then.
        """

    def note_same_rows(self, rewritten: Sequence[SameRows]) -> None:
        """Record that objects were rewritten with the same rows, where the table would not know."""

    def path_key(self, path: str, columns: tuple[str, ...]) -> PartitionKey | None:
        """The partition of a file that the table does not name, by its path; None where the path does not show it.

        Args:
            path: Below the root; may be that of a worker's file.
            columns: The partition columns.
        """

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:
        """Where a new file of this partition goes, below the root."""

    def file_size(self, target: int) -> float:
        """The size at which a partition's rows continue in a new file; infinity where all must be in one.

        Args:
            target: The dataset's target size.
        """

    def upload_metadata(self, token: str) -> Mapping[str, str] | None:
        """Metadata of the objects that a run's new files become at once.

        Args:
            token: The run's token.

        Returns:
            None where an upload would make a file live: it stays on disk until `commit`.
        """

    def for_workers(self) -> Table:
        """The table for workers that write its files: none of their uploads is live."""

    def to_join(self, staged: Iterable[StagedFile]) -> tuple[tuple[PartitionKey, tuple[StagedFile, ...]], ...]:
        """Partitions whose files must become one before they can be committed, in key order.

        Args:
            staged: The files of workers.
        """

    def to_publish(self, staged: Sequence[StagedFile]) -> tuple[StagedFile, ...]:
        """Files that workers wrote, as a commit takes them.

        Args:
            staged: Written to `for_workers()`; one file per partition in `to_join`.
        """

    def has_own_name(self, path: str) -> bool:
        """Whether a path is named as this version names the files that it writes, and nobody else does."""

    def is_replaced_in_place(self, path: str) -> bool:
        """Whether the object under a path may be replaced; then an ETag or version identifies it.

        Args:
            path: Below the root.
        """

    def identity(self, file: SeenFile) -> tuple[str, str]:
        """The identity of a file among others that were, or will be, under its path."""

    def is_as_seen(self, live: Iterable[SeenFile], seen: Iterable[SeenFile]) -> bool:
        """Whether a partition has the same files as before, or those that an interrupted commit left.

        Args:
            live: Its files.
            seen: Its earlier files.
        """

    def lost(self, files: Sequence[LiveFile]) -> tuple[str, ...]:
        """The paths of files that cannot be committed, since the store has lost them.

        Args:
            files: Files that were written, or were live. Those that `commit` checks itself are left out.
        """

    def keeps(self, files: Iterable[LiveFile]) -> bool:
        """Whether the store keeps the content of these files when a commit removes them.

        Args:
            files: Files with their identity.
        """

    def keeps_replaced(self) -> bool:
        """Whether the store keeps the rows of rewritten files until a vacuum.

        Raises:
            AccessDenied: It depends on the bucket's versioning, which the caller may not read.
        """

    def check_operation(self, operation: Operation, *, by_workers: bool = False) -> None:
        """Refuse an operation that this format does not support.

        Args:
            operation: The operation of a change.
            by_workers: Whether workers are to write its files.

        Raises:
            UnsupportedByTable: It names the alternative.
        """

    def check_takes(self, change: Change) -> None:
        """Refuse an ingest that `commit` would refuse regardless of other writers; its files need not exist.

        Raises:
            UnsupportedByTable: The table cannot be written like this.
        """

    def check_can_remove(self, *, undo: bool) -> None:
        """Refuse a removal that could also remove a concurrent ingest.

        Args:
            undo: Whether the removal must be possible to undo.

        Raises:
            PolicyRefused: It could not be undone.
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
        """Partitions with live rows of a run that was forgotten when another of its partitions expired."""

    def outdated_runs(
        self, snapshot: Snapshot, stored: Collection[str], *, now: datetime, history: timedelta
    ) -> list[str]:
        """Records of runs that no run key, undo or history needs, and what else is kept for the table and outdated.

        Args:
            snapshot: The live files.
            stored: Paths of all files that the store has for the table, those that wait for a vacuum included.
            now: The server's time.
            history: How far the table's history goes back.

        Returns:
            Their names, `bucket/key`.
        """

    def removed_files(self) -> Sequence[RemovedFile]:
        """Files that commits removed and the store may still have."""

    def fence(self, now: datetime) -> None:
        """Make commits conflict that need files about to be deleted.

        A commit prepared before checks again: an undo reads the journal, all others check the age of their files.

        Args:
            now: The server's time to which ages count.
        """

    def recent(self, since: datetime) -> RecentLog:
        """Files that commits named since an instant; none for plain tables, which have no log."""

    def made_at(self, version: int) -> datetime | None:
        """When a commit was made, by the store's own clock; None where its entry is gone, or there are none."""

    def fate_of(self, removal: str, base: int, run_key: str | None) -> Fate:
        """The outcome of a removal.

        Args:
            removal: Its id, which its commit carries.
            base: The version that it is based on.
            run_key: The run key of a replacing ingest.
        """

    def named_after(self, version: int) -> frozenset[str] | None:
        """The paths that commits after a version named; None where the log has forgotten some of those."""

    def identified(self, files: Sequence[LiveFile], *, must_know: bool = True) -> tuple[LiveFile, ...]:
        """Live files with the identity of each object among its replacements under the same path.

        Args:
            files: As a snapshot has them.
            must_know: False uses the objects' own metadata where the caller may not ask whether the bucket keeps
                versions, which is an operator's right.

        Raises:
            AccessDenied: The caller lacks that right.
            CommitConflict: One of them was replaced or deleted since it was listed.
        """

    def below(self, file: LiveFile, is_own: Callable[[LiveFile], bool]) -> tuple[LiveFile | None, tuple[LiveFile, ...]]:
        """The version of an object before a run's own writes.

        Args:
            file: The object, with its identity.
            is_own: Whether a version is one of the run's own.

        Returns:
            The newest version that is not the run's own, None where there is none; and the newer ones.
        """

    def history(self, limit: int | None = None) -> list[Commit]:
        """Commits, newest first."""

    def set_properties(self, properties: Mapping[str, str], details: Mapping[str, object]) -> int | None:
        """Set properties of the table where they differ.

        Args:
            properties: Values by name.
            details: JSON values for the commit's metadata.

        Returns:
            The new version of the table; None where nothing changed, or the format has no properties.
        """

    def properties(self) -> Mapping[str, str]:
        """The table's properties; none where the format has no properties."""

    def checkpointed_at(self) -> datetime | None:
        """When the log's last checkpoint was written; None without one, or without a log. Takes one request."""

    def declare(self, schema: pa.Schema) -> None:
        """Add the columns of a schema that the table lacks, as nullable ones.

        Raises:
            SchemaMismatch: The type of an existing column does not merge with the declared one.
            CommitConflict: Others kept changing the table.
        """

    def dataset(self, snapshot: Snapshot) -> LiveDataset:
        """The rows of a snapshot, lazily, with the partition columns among the columns."""
