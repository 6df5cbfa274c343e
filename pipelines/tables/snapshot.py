"""A table at one version, a change to it, and the commit that made the change: the values of every format."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from tierlake.connector.errors import LakeError
from tierlake.pipelines.parquet.lazy_statistics import HasStatistics, LazyStatistics
from tierlake.pipelines.runtime.collector import collector_paused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    import pyarrow as pa

    from tierlake.pipelines.model.partition_key import PartitionKey

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
]

FENCE: Final = "vacuum"
"""The operation of a commit that changes nothing; the vacuum itself is in the journal."""
ORPHAN_AGE = timedelta(hours=24)
"""A file that no commit names may belong to a run that has not committed yet; it is kept this long."""

Operation = Literal["create", "ingest", "append", "compact", "erase", "expire", "undo", "adopt"]


@dataclass(frozen=True)
class LiveFile(HasStatistics):
    """A file that a commit names.

    Attributes:
        path: Store key below the table's root, as the store spells it.
        size: Bytes.
        key: Its partition.
        rows: Row count where the table knows it without opening the file.
        modified: When its rows came, by the server's clock, or by the writer's for others' commits in a Delta log. A
            file that was rewritten with the same rows (compacted, moved to another tier) keeps its time.
        stats: Delta statistics as JSON text (`numRecords`, `minValues`, ...), for the log; may be given as a function.
        logged: The path as the log spells it, where deltalake would spell it otherwise.
        etag: The object's ETag, without quotes; known in plain tables, whose objects are replaced.
        version_id: The object's version, where it was looked up.
        run: The token of the run that wrote the object, where it is known.
    """

    path: str
    size: int
    key: PartitionKey
    rows: int | None
    modified: datetime
    stats: LazyStatistics = LazyStatistics()
    logged: str | None = None
    etag: str | None = None
    version_id: str | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """A file that a commit removed from the table.

    Attributes:
        path: Below the root.
        removed_at: When, by its writer's clock.
        key: Its partition; None where it is unknown.
    """

    path: str
    removed_at: datetime
    key: PartitionKey | None = None


@dataclass(frozen=True, slots=True)
class RecentLog:
    """Files that commits named since an instant, by the store's own clock.

    Attributes:
        named: By path, the time of the newest of those commits that names it.
        reaches_back: False where the log forgot commits that may be younger than the instant.
    """

    named: Mapping[str, datetime]
    reaches_back: bool


@dataclass(frozen=True, slots=True)
class SameRows:
    """An object that was copied onto itself: its rows are the same, its ETag and time in listings are not.

    Attributes:
        path: Below the table's root.
        etag_before: The ETag of the source object, without quotes.
        modified_before: The time of the source object.
        etag: The ETag of the copy.
        modified: The time of the copy.
    """

    path: str
    etag_before: str
    modified_before: datetime
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file written but not committed.

    Attributes:
        file: What the commit will name.
        local: The spool file with its bytes, for formats where writing to the store is the commit.
        if_match: For those formats, the ETag that the replaced object must have.
        storage_class: For those formats, its storage class; None for the dataset's own.
        waiting: For those formats, instead of `local`: the path below the root where the object waits to be copied.
        footer: The file's footer (`tables.footers.footer_bytes`), for those who will read it; None where it is unknown.
    """

    file: LiveFile
    local: str | None = None
    if_match: str | None = None
    storage_class: str | None = None
    waiting: str | None = None
    footer: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Snapshot:
    """The table at one version.

    Attributes:
        version: Orders commits within one table; plain tables have none and count 0.
        files: The live files.
        schema_or_error: The schema; None where no row has settled it; or the error why it is unknown now.
        fence_count: `fence`, or a function that looks it up.
        has_log: Whether a log names the files; else the listing shows them.
        opened: The open table of this snapshot, for the table's own use; a copy in another process has none.
        stored: The store's listing by `bucket/key`, where the snapshot was made from one.
    """

    version: int
    files: tuple[LiveFile, ...]
    schema_or_error: pa.Schema | LakeError | None
    fence_count: int | Callable[[], int] = field(default=0, repr=False, compare=False)
    has_log: bool = True
    opened: object = field(default=None, repr=False, compare=False)
    stored: Mapping[str, Mapping[str, Any]] | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Snapshot], tuple[object, ...]]:
        """The state without the parts that cannot be sent to another process."""
        return Snapshot, (self.version, self.files, self.schema_or_error, self.fence, self.has_log)

    @property
    def fence(self) -> int:
        """The count of `Table.fence` at that version; 0 where no files were ever deleted."""
        return self.fence_count() if callable(self.fence_count) else self.fence_count

    @property
    def log_version(self) -> int | None:
        """The version of the log that names the files; None where the listing shows them."""
        return self.version if self.has_log else None

    @property
    def schema(self) -> pa.Schema | None:
        """The columns, partition columns included; None where no row has settled them.

        Raises:
            ArchivedError: Every file that could show them is archived.
        """
        if isinstance(self.schema_or_error, LakeError):
            raise self.schema_or_error
        return self.schema_or_error

    @property
    def known_schema(self) -> pa.Schema | None:
        """The columns; None where they are unsettled or unknown now."""
        return None if isinstance(self.schema_or_error, LakeError) else self.schema_or_error

    def by_partition(self, keys: Collection[PartitionKey] | None = None) -> dict[PartitionKey, tuple[LiveFile, ...]]:
        """Files by partition, in key order.

        Args:
            keys: Only these partitions, as far as the table has them; None means all.
        """
        if keys is None:
            return dict(self._partitions)
        if "_partitions" in self.__dict__:
            return {key: self._partitions[key] for key in _in_order(keys) if key in self._partitions}
        return _grouped(file for file in self.files if file.key in keys)

    @cached_property
    def _partitions(self) -> Mapping[PartitionKey, tuple[LiveFile, ...]]:
        return _grouped(self.files)


def _grouped(files: Iterable[LiveFile]) -> dict[PartitionKey, tuple[LiveFile, ...]]:
    grouped: dict[PartitionKey, list[LiveFile]] = {}
    with collector_paused():
        for file in files:
            grouped.setdefault(file.key, []).append(file)
        return {key: tuple(grouped[key]) for key in _in_order(grouped)}


def _in_order(keys: Iterable[PartitionKey]) -> list[PartitionKey]:
    return sorted(keys, key=attrgetter("items"))


@dataclass(frozen=True)
class Change:
    """A planned commit: files in, files out, and its details for the history.

    Attributes:
        operation: The kind of change.
        base: The snapshot that it was planned on.
        adds: Files that become live.
        removes: Files that stop being live; all must be live in `base`.
        covers: Partitions that it determines completely, even without a file: others' files there are a conflict.
        schema: The table's schema after the change, partition columns included; None leaves it.
        run_key: An identity: a second commit with it is recognised and not made.
        fence: The fence of the snapshot before the first of `adds` was written, or at the last check that they exist;
            None without a check.
        details: JSON values for the commit's metadata (rows, bytes, reason, run id).
    """

    operation: Operation
    base: Snapshot
    adds: tuple[StagedFile, ...] = ()
    removes: tuple[LiveFile, ...] = ()
    covers: frozenset[PartitionKey] = frozenset()
    schema: pa.Schema | None = None
    run_key: str | None = None
    fence: int | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def touched(self) -> frozenset[PartitionKey]:
        """The partitions that it changes, or would change if they had files."""
        added, removed = {staged.file.key for staged in self.adds}, {file.key for file in self.removes}
        return self.covers | added | removed


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of a table's history.

    Attributes:
        version: The table's version after it; None where it has no versions.
        at: The log's time.
        operation: `ingest`, `expire`, ... for ours; the writer's own word for others'.
        run_key: Identity of the run, where there is one.
        details: Its metadata.
        written: For a plain table just committed to, the new live files with their paths and ETags.
        taken: For such a table, the replaced files, where they may differ from the snapshot.
    """

    version: int | None
    at: datetime
    operation: str
    run_key: str | None
    details: Mapping[str, object]
    written: tuple[LiveFile, ...] = ()
    taken: tuple[LiveFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome of a removal whose process may have died.

    Attributes:
        is_made: Whether anything left the table.
        commit: The commit that removed it; None where none was made, or objects went one by one.
    """

    is_made: bool
    commit: Commit | None = None


class SeenFile(Protocol):
    """A file as it was seen."""

    @property
    def path(self) -> str:
        """Below the root."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def etag(self) -> str | None:
        """The object's ETag then, where the table or the store had it."""
