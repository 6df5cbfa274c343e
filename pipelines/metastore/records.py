"""What the journal keeps: one record per event, as stored, and as a line of history.

Records are read back from a bucket that others may write to: a path that leaves the dataset, or points into its log, is
refused before anybody acts on it. Fields that a newer version wrote are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

from pydantic import Field

from tierlake.pipelines.metastore.file_records import FileRecord, FileTotals, RecordValue, RemovedPartition
from tierlake.pipelines.model.instant import Instant, instant_after
from tierlake.pipelines.model.spec import Duration
from tierlake.pipelines.model.spec_diff import FieldChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

__all__ = [
    "KINDS",
    "EraseRecord",
    "FileRecord",
    "FileTotals",
    "JournalEntry",
    "KeepingRecord",
    "PolicyRecord",
    "Record",
    "RemovalRecord",
    "RemovedPartition",
    "TieringRecord",
    "UndoRecord",
    "VacuumRecord",
]

_UNDOABLE = frozenset({"expire", "replace"})


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of a dataset's history.

    Attributes:
        id: The record's id.
        at: By the server's clock.
        operation: `expire`, `replace`, `undo`, `erase`, `tier`, `vacuum`, `hold`, `release`, `retain`,
            `adopt`, `apply`, `drop` or `undrop`.
        keys: The partitions concerned.
        reason: Why.
        bytes: Size of the files concerned.
        files: How many.
        run_id: The run that did it.
        by: Who did it.
        version: Its commit, where the record has it.
        run_key: The run key of its ingest.
        undone: Id of the removal that it undid.
        committed: False for an act that was begun and may not have been done.
        is_open: Whether a removal was begun and has no recorded outcome yet.
        undo_until: Until when it can be undone; None where it cannot.
    """

    id: str
    at: datetime
    operation: str
    keys: tuple[str, ...] = ()
    reason: str = ""
    bytes: int = 0
    files: int = 0
    run_id: str | None = None
    by: str | None = None
    version: int | None = None
    run_key: str | None = None
    undone: str | None = None
    committed: bool = True
    is_open: bool = False
    undo_until: datetime | None = None


class Record(RecordValue):
    """Fields of all records.

    Attributes:
        id: Names the record; ids sort by time.
        at: When it was written, by the server's clock.
        by: Who did it: user and host.
        run_id: The run that did it.
    """

    id: str
    at: Instant
    by: str | None = None
    run_id: str | None = None

    kind: ClassVar[str]

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        raise NotImplementedError

    def named_files(self) -> Iterator[tuple[str, str | None]]:
        """The files whose names are needed for as long as the store has them: paths, each with a version."""
        return iter(())

    def folded(self) -> Self:
        """The record without the names of these files, once the store has none of them."""
        return self


class RemovalRecord(Record):
    """Files that one commit took out of the table, by partition.

    Attributes:
        operation: What took them out; expiries and replacements can be undone. The commit carries the record's id as
            the detail `removal`.
        base: The table's version that it was planned on.
        committed_at: When the commit was made, by the server's clock; None where it was not, or where the process died
            right after it.
        version: The table's version after it, where tables have any.
        as_of: The instant at which the policy was evaluated.
        run_key: The run key of the ingest.
        grace: How long undo stays possible.
        undoable: False where the user gave undo up.
        columns: The table's columns at that time, each with its type in words.
        partitions: What left.
    """

    operation: Literal["expire", "replace", "undo", "compact", "erase"]
    base: int = 0
    committed_at: Instant | None = None
    version: int | None = None
    as_of: Instant | None = None
    run_key: str | None = None
    grace: Duration
    undoable: bool = True
    columns: dict[str, str] = Field(default_factory=dict)
    partitions: tuple[RemovedPartition, ...]

    kind: ClassVar[str] = "removal"

    @property
    def can_be_undone(self) -> bool:
        """Whether its kind can be undone, and the user did not give undo up."""
        return self.undoable and self.operation in _UNDOABLE

    @property
    def undo_until(self) -> datetime:
        """When the grace ends, by the server's clock."""
        return instant_after(self.committed_at or self.at, self.grace)

    def partition(self, key: str) -> RemovedPartition | None:
        """One partition of it."""
        return next((gone for gone in self.partitions if gone.key == key), None)

    def files(self) -> Iterator[tuple[RemovedPartition, FileRecord]]:
        """All that left."""
        return ((gone, file) for gone in self.partitions for file in gone.files)

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        reasons = sorted({gone.reason for gone in self.partitions})
        return JournalEntry(
            id=self.id,
            at=self.committed_at or self.at,
            operation=self.operation,
            keys=tuple(gone.key for gone in self.partitions),
            reason=reasons[0] if len(reasons) == 1 else f"past retention as of {self.as_of}",
            bytes=sum(gone.bytes for gone in self.partitions),
            files=sum(gone.totals.files for gone in self.partitions),
            run_id=self.run_id,
            by=self.by,
            version=self.version,
            run_key=self.run_key,
            # a rewrite and an undo are in the history by their commit and their own record
            committed=self.committed_at is not None and self.operation in _UNDOABLE,
            is_open=self.committed_at is None,
            undo_until=self.undo_until if self.can_be_undone else None,
        )

    def named_files(self) -> Iterator[tuple[str, str | None]]:
        """What left."""
        return ((file.path, file.version_id) for _, file in self.files())

    def folded(self) -> Self:
        """The same removal, in numbers."""
        gone = tuple(
            part.model_copy(update={"files": (), "came": (), "folded": part.totals}) for part in self.partitions
        )
        return self.model_copy(update={"columns": {}, "partitions": gone})


class UndoRecord(Record):
    """Partitions that came back, by one commit.

    Attributes:
        state: `begun` before anything is changed, `done` afterwards; `refused` where a vacuum was faster.
        key: The partition, or the first of them.
        more_keys: The others.
        removal: Id of what was undone.
        files: How many came back.
        bytes: Their size.
        version: The table's version that brought it back; None where tables have none.
    """

    state: Literal["begun", "done", "refused"] = "done"
    key: str
    more_keys: tuple[str, ...] = ()
    removal: str
    files: int
    bytes: int
    version: int | None = None

    kind: ClassVar[str] = "undo"

    @property
    def keys(self) -> tuple[str, ...]:
        """All that came back."""
        return (self.key, *self.more_keys)

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        return JournalEntry(
            id=self.id,
            at=self.at,
            operation="undo",
            keys=self.keys,
            reason=f"undo of {self.removal}",
            undone=self.removal,
            bytes=self.bytes,
            files=self.files,
            run_id=self.run_id,
            by=self.by,
            version=self.version,
            committed=self.state == "done",
        )


class EraseRecord(Record):
    """Rows that were erased: what must not come back by an undo.

    Attributes:
        state: `begun` before anything is looked at, `done` at the end; `refused` where it failed and said so.
        keys: The partitions that held any.
        rows: How many.
        version: The table's version after it, where tables have any.
        spoiled: Files below the root that still hold some of them and have left the table.
        folded_files: How many more there were; the store has none of them, and the journal forgot their names.
    """

    state: Literal["begun", "done", "refused"] = "done"
    keys: tuple[str, ...] = ()
    rows: int = 0
    version: int | None = None
    spoiled: tuple[str, ...] = ()
    folded_files: int = 0

    kind: ClassVar[str] = "erase"

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        return JournalEntry(
            id=self.id,
            at=self.at,
            operation="erase",
            keys=self.keys,
            reason="rows erased on request" if self.state == "done" else "an erasure that did not come to its end",
            files=len(self.spoiled) + self.folded_files,
            run_id=self.run_id,
            by=self.by,
            version=self.version,
            committed=self.state == "begun" or (self.rows > 0 and self.version is None),  # else its commit tells
        )

    def named_files(self) -> Iterator[tuple[str, str | None]]:
        """The spoiled files, each with its version where it has one."""
        for path in self.spoiled:
            yield path, None
            name, mark, version = path.rpartition("?")
            if mark:
                yield name, version

    def folded(self) -> Self:
        """The same erasure, in numbers."""
        return self.model_copy(update={"spoiled": (), "folded_files": self.entry().files})


class TieringRecord(Record):
    """Files that an applied tiering plan moved.

    Attributes:
        as_of: The instant that the policy was asked about.
        keys: The partitions, each with the storage class that its files were given.
        files: How many were moved.
        bytes: Their size.
    """

    as_of: Instant
    keys: dict[str, str]
    files: int
    bytes: int

    kind: ClassVar[str] = "tiering"

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        classes = ", ".join(sorted(set(self.keys.values())))
        return JournalEntry(
            id=self.id,
            at=self.at,
            operation="tier",
            keys=tuple(self.keys),
            reason=f"moved to {classes} as of {self.as_of:%Y-%m-%d}",
            bytes=self.bytes,
            files=self.files,
            run_id=self.run_id,
            by=self.by,
        )


class VacuumRecord(Record):
    """Files that were deleted for good, or are about to be.

    Attributes:
        state: `begun` before the first deletion, `done` after the last.
        keys: Partitions whose files they were, where known.
        reason: Why they could go.
        files: How many objects.
        bytes: Their size, all versions.
        ended: Removals whose grace is over, with the partitions: from this record on nobody may undo them.
    """

    state: Literal["begun", "done"] = "done"
    keys: tuple[str, ...] = ()
    reason: str
    files: int
    bytes: int
    ended: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    kind: ClassVar[str] = "vacuum"

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        return JournalEntry(
            id=self.id,
            at=self.at,
            operation="vacuum",
            keys=self.keys,
            reason=self.reason if self.state == "done" else f"{self.reason}; it did not come to its end",
            bytes=self.bytes,
            files=self.files,
            run_id=self.run_id,
            by=self.by,
            committed=self.state == "begun" or self.files > 0,
        )


class KeepingRecord(Record):
    """A hold of partitions, its release, or a longer retention.

    Attributes:
        operation: Which of them.
        key: The partition, or the first of them.
        more_keys: The others.
        reason: Why.
        until: The end of a retention.
    """

    operation: Literal["hold", "release", "retain"]
    key: str
    more_keys: tuple[str, ...] = ()
    reason: str = ""
    until: Instant | None = None

    kind: ClassVar[str] = "keeping"

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        until = f"until {self.until.isoformat()}" if self.until else ""
        return JournalEntry(
            id=self.id,
            at=self.at,
            operation=self.operation,
            keys=(self.key, *self.more_keys),
            reason=": ".join(part for part in (until, self.reason) if part),
            run_id=self.run_id,
            by=self.by,
        )


class PolicyRecord(Record):
    """A change of the dataset's description, its first one on adoption, its drop, or the undo of a drop.

    Attributes:
        state: `begun` before anything is changed, `done` afterwards; `refused` where somebody else was faster.
        operation: Which of them.
        reason: Why.
        changes: The fields that changed, each with its value before and after.
        version: The table's version with the new properties, where they changed.
    """

    state: Literal["begun", "done", "refused"] = "done"
    operation: Literal["adopt", "apply", "drop", "undrop"]
    reason: str = ""
    changes: tuple[FieldChange, ...] = ()
    version: int | None = None

    kind: ClassVar[str] = "policy"

    def entry(self) -> JournalEntry:
        """The record as a line of history."""
        parts = [self.reason, "; ".join(map(str, self.changes))]
        if self.state == "begun":
            parts.append("it did not come to its end")
        return JournalEntry(
            id=self.id,
            at=self.at,
            operation=self.operation,
            reason=": ".join(part for part in parts if part),
            run_id=self.run_id,
            by=self.by,
            version=self.version,
            committed=self.state != "refused",
        )


KINDS: Final[Mapping[str, type[Record]]] = {
    model.kind: model
    for model in (
        RemovalRecord,
        UndoRecord,
        EraseRecord,
        TieringRecord,
        VacuumRecord,
        KeepingRecord,
        PolicyRecord,
    )
}
"""The model of each kind of record."""
