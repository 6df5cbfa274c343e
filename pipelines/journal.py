"""`_lake/journal/`: what our plans did to a dataset, one small JSON object an event.

    expiry-<id>.json    written before the commit that takes partitions out; undo reads it
    undo-<id>.json      a partition came back
    tiering-<id>.json   files changed their storage class
    vacuum-<id>.json    files were deleted

Ids begin with the server's time, so that names sort by age and a question is answered by one LIST and the few GETs it
needs. An expiry record is written twice: before its commit (a crash in between harms nothing, the partitions are still
live) and again with `committed_at`, from where the grace counts.

Records are read back from a bucket that others may write to: a path that leaves the dataset, or points into its log, is
refused before anybody acts on it. Fields that a newer version wrote are ignored.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pipelines.errors import PolicyRefused, SpecError
from pipelines.layout import PartitionKey
from pipelines.spec import Duration
from pipelines.tables.protocol import LiveFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from connector.filesystem import LakeFileSystem

__all__ = [
    "ExpiredPartition",
    "ExpiryRecord",
    "FileRecord",
    "Journal",
    "JournalEntry",
    "TieringRecord",
    "UndoRecord",
    "VacuumRecord",
    "new_record_id",
]

Kind = Literal["expiry", "undo", "tiering", "vacuum"]

_LOG_FOLDERS = frozenset({"_lake", "_delta_log"})
_BATCH = 16  # records fetched at once while looking for one


def new_record_id(at: datetime) -> str:
    """A name that sorts by time.

    Args:
        at: the server's time. It counts whole seconds: our own clock orders records within one.
    """
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileRecord(_Record):
    """A data file as it was live: enough to make it live again.

    Attributes:
        path: store key below the table's root.
        size: bytes.
        rows: row count where the table knew it.
        modified: when it was written.
        stats: Delta statistics as JSON text.
    """

    path: str
    size: int
    rows: int | None = None
    modified: datetime
    stats: str | None = None

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        segments = value.split("/")
        if segments[0] in {"", *_LOG_FOLDERS} or {".", ".."} & set(segments):
            raise ValueError(f"{value!r} is no data file of this dataset")
        return value

    @classmethod
    def of(cls, file: LiveFile) -> FileRecord:
        """What to remember of a live file."""
        return cls(path=file.path, size=file.size, rows=file.rows, modified=file.modified, stats=file.stats)

    def live(self, key: PartitionKey) -> LiveFile:
        """The file as a commit names it."""
        return LiveFile(self.path, self.size, key, self.rows, self.modified, self.stats)


class ExpiredPartition(_Record):
    """A partition that left, with all its files and why."""

    key: str
    reason: str
    files: tuple[FileRecord, ...]

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(file.size for file in self.files)

    @property
    def rows(self) -> int | None:
        """Its rows; None where a file's count is not known."""
        counts = [file.rows for file in self.files]
        return None if None in counts else sum(count for count in counts if count is not None)

    def live_files(self) -> tuple[LiveFile, ...]:
        """The files as a commit names them."""
        key = PartitionKey.parse(self.key)
        return tuple(file.live(key) for file in self.files)


class ExpiryRecord(_Record):
    """Partitions that an expiry took out of the table in one commit.

    Attributes:
        id: names the record; the commit carries it as the detail `expiry`.
        at: when it was written, by the server's clock.
        committed_at: when the commit was made; None where it was not, or where the process died right after it.
        as_of: the instant that the policy was asked about.
        run_id: the run that did it.
        grace: how long undo stays possible.
        undoable: False where the user gave undo up.
        partitions: what left.
    """

    id: str
    at: datetime
    committed_at: datetime | None = None
    as_of: datetime
    run_id: str | None = None
    grace: Duration
    undoable: bool = True
    partitions: tuple[ExpiredPartition, ...]

    @property
    def undo_until(self) -> datetime:
        """When the grace ends, by the server's clock."""
        return (self.committed_at or self.at) + self.grace

    def partition(self, key: str) -> ExpiredPartition | None:
        """One partition of it."""
        return next((gone for gone in self.partitions if gone.key == key), None)


class UndoRecord(_Record):
    """A partition that came back.

    Attributes:
        version: the table's version that brought it back; None where tables have none, or an older release wrote this.
    """

    id: str
    at: datetime
    key: str
    expiry: str
    files: int
    bytes: int
    version: int | None = None
    run_id: str | None = None


class TieringRecord(_Record):
    """Files that an applied tiering plan moved.

    Attributes:
        keys: the partitions, each with the storage class that its files were given.
        files: how many were moved.
    """

    id: str
    at: datetime
    as_of: datetime
    run_id: str | None = None
    keys: dict[str, str]
    files: int
    bytes: int


class VacuumRecord(_Record):
    """Files that were deleted for good.

    Attributes:
        keys: partitions whose files they were, where known.
        reason: why they could go.
        files: how many objects.
        bytes: their size, all versions.
    """

    id: str
    at: datetime
    run_id: str | None = None
    keys: tuple[str, ...] = ()
    reason: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of a dataset's history.

    Attributes:
        id: the record's id.
        at: by the server's clock.
        operation: `expire`, `undo`, `tier` or `vacuum`.
        keys: the partitions concerned.
        reason: why.
        bytes: size of the files concerned.
        files: how many.
        run_id: the run that did it.
        version: the commit that it tells of, where its record knows it.
        committed: False for an expiry whose commit is not known to have been made.
    """

    id: str
    at: datetime
    operation: str
    keys: tuple[str, ...]
    reason: str
    bytes: int
    files: int
    run_id: str | None
    version: int | None = None
    committed: bool = True


RecordT = TypeVar("RecordT", bound=_Record)


class Journal:
    """Reads and writes the records of one dataset."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`) through a filesystem that may write there."""
        self._fs = fs
        self._folder = f"{root}/_lake/journal"

    # -- writing ----------------------------------------------------------------------------------

    def write_expiry(self, record: ExpiryRecord) -> None:
        """Write an expiry, or write it again with what is known by now."""
        self._write("expiry", record.id, record)

    def write_undo(self, record: UndoRecord) -> None:
        """Write that a partition came back."""
        self._write("undo", record.id, record)

    def write_tiering(self, record: TieringRecord) -> None:
        """Write that files were moved."""
        self._write("tiering", record.id, record)

    def write_vacuum(self, record: VacuumRecord) -> None:
        """Write that files were deleted."""
        self._write("vacuum", record.id, record)

    def _write(self, kind: Kind, record_id: str, record: BaseModel) -> None:
        self._fs.pipe_file(f"{self._folder}/{kind}-{record_id}.json", record.model_dump_json(indent=1).encode())

    # -- reading ----------------------------------------------------------------------------------

    def expiries(self) -> list[ExpiryRecord]:
        """Every expiry, newest first.

        Raises:
            SpecError: a record that cannot be read.
            PolicyRefused: a record that names files outside the dataset.
        """
        return list(self.iter_expiries())

    def iter_expiries(self) -> Iterator[ExpiryRecord]:
        """Expiries, newest first, read as they are asked for; raises as `expiries` does."""
        return self._read("expiry", self._names("expiry"), ExpiryRecord)

    def latest_expiry(self, key: str) -> ExpiryRecord | None:
        """The newest expiry of a partition.

        Args:
            key: as `ls` prints it.

        Raises:
            SpecError: a record that cannot be read.
            PolicyRefused: a record that names files outside the dataset.
        """
        records = self.iter_expiries()
        return next((record for record in records if record.partition(key) is not None), None)

    def undone(self, since: str) -> frozenset[tuple[str, str]]:
        """Which partitions came back from which expiries: pairs of the expiry's id and the key.

        Args:
            since: id of the oldest expiry that matters.

        Raises:
            SpecError: a record that cannot be read.
        """
        names = [name for name in self._names("undo") if _record_id(name) > since]
        return frozenset((record.expiry, record.key) for record in self._read("undo", names, UndoRecord))

    def entries(self) -> list[JournalEntry]:
        """The whole journal, newest first.

        Raises:
            SpecError: a record that cannot be read.
            PolicyRefused: a record that names files outside the dataset.
        """
        names = self._names()

        def of(kind: Kind) -> list[str]:
            return [name for name in names if _kind(name) == kind]

        entries = [
            *map(_expiry_entry, self._read("expiry", of("expiry"), ExpiryRecord)),
            *map(_undo_entry, self._read("undo", of("undo"), UndoRecord)),
            *map(_tiering_entry, self._read("tiering", of("tiering"), TieringRecord)),
            *map(_vacuum_entry, self._read("vacuum", of("vacuum"), VacuumRecord)),
        ]
        return sorted(entries, key=lambda entry: entry.id, reverse=True)

    def _names(self, kind: Kind | None = None) -> list[str]:
        """Paths of our records, newest first; one LIST."""
        self._fs.invalidate_cache(self._folder)
        found = [path for path in self._fs.find(self._folder) if _kind(path) is not None]
        return sorted(
            (path for path in found if kind is None or _kind(path) == kind),
            key=_record_id,
            reverse=True,
        )

    def _read(self, kind: Kind, paths: Sequence[str], model: type[RecordT]) -> Iterator[RecordT]:
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            texts: dict[str, bytes] = self._fs.cat(list(batch))
            for path in batch:
                yield _parsed(texts[path], path, kind, model)


def _kind(path: str) -> Kind | None:
    name = path.rpartition("/")[2]
    kinds: tuple[Kind, ...] = ("expiry", "undo", "tiering", "vacuum")
    if not name.endswith(".json"):
        return None
    return next((kind for kind in kinds if name.startswith(f"{kind}-")), None)


def _record_id(path: str) -> str:
    return path.rpartition("/")[2].partition("-")[2].removesuffix(".json")


def _parsed(data: bytes, path: str, kind: Kind, model: type[RecordT]) -> RecordT:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        outside = next((fault for fault in faults if fault["loc"][-1:] == ("path",)), None)
        if outside is not None and outside["type"] == "value_error":
            raise PolicyRefused(
                f"lake://{path}: {outside['msg'].removeprefix('Value error, ')}",
                hint="somebody else wrote this record; delete it when you know that nobody needs it",
            ) from error
        raise SpecError(
            f"lake://{path} is not a record of an {kind}: {faults[0]['msg']}",
            hint="was it edited by hand?",
        ) from error


def _expiry_entry(record: ExpiryRecord) -> JournalEntry:
    reasons = sorted({gone.reason for gone in record.partitions})
    return JournalEntry(
        id=record.id,
        at=record.committed_at or record.at,
        operation="expire",
        keys=tuple(gone.key for gone in record.partitions),
        reason=reasons[0] if len(reasons) == 1 else f"past retention as of {record.as_of}",
        bytes=sum(gone.bytes for gone in record.partitions),
        files=sum(len(gone.files) for gone in record.partitions),
        run_id=record.run_id,
        committed=record.committed_at is not None,
    )


def _undo_entry(record: UndoRecord) -> JournalEntry:
    return JournalEntry(
        id=record.id,
        at=record.at,
        operation="undo",
        keys=(record.key,),
        reason=f"undo of expiry {record.expiry}",
        bytes=record.bytes,
        files=record.files,
        run_id=record.run_id,
        version=record.version,
    )


def _tiering_entry(record: TieringRecord) -> JournalEntry:
    classes = ", ".join(sorted(set(record.keys.values())))
    return JournalEntry(
        id=record.id,
        at=record.at,
        operation="tier",
        keys=tuple(record.keys),
        reason=f"moved to {classes} as of {record.as_of:%Y-%m-%d}",
        bytes=record.bytes,
        files=record.files,
        run_id=record.run_id,
    )


def _vacuum_entry(record: VacuumRecord) -> JournalEntry:
    return JournalEntry(
        id=record.id,
        at=record.at,
        operation="vacuum",
        keys=record.keys,
        reason=record.reason,
        bytes=record.bytes,
        files=record.files,
        run_id=record.run_id,
    )
