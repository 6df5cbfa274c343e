"""Files in a record of the journal: as they were live, and partitions of them that left the table."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

from tierlake.pipelines.model.instant import Instant
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.tables.snapshot import LiveFile

__all__ = ["FileRecord", "FileTotals", "RecordValue", "RemovedPartition"]


_LOG_FOLDERS = frozenset({"_lake", "_delta_log"})


class RecordValue(BaseModel):
    """A part of a record. One that a later version wrote, with fields that are unknown here, loads all the same."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FileRecord(RecordValue):
    """A data file as it was live: enough to make it live again.

    Attributes:
        path: Store key below the table's root.
        size: Bytes.
        rows: Row count where the table knew it.
        modified: When it was written.
        stats: Delta statistics as JSON text.
        etag: Of the object; plain tables know it.
        version_id: Likewise, where the bucket keeps versions.
    """

    path: str
    size: int
    rows: int | None = None
    modified: Instant
    stats: str | None = None
    etag: str | None = None
    version_id: str | None = None

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
        return cls(
            path=file.path,
            size=file.size,
            rows=file.rows,
            modified=file.modified,
            stats=file.stats,
            etag=file.etag,
            version_id=file.version_id,
        )

    def live(self, key: PartitionKey) -> LiveFile:
        """The file as a commit names it."""
        return LiveFile(
            self.path,
            self.size,
            key,
            self.rows,
            self.modified,
            self.stats,
            etag=self.etag,
            version_id=self.version_id,
        )


class FileTotals(RecordValue):
    """Totals of some files.

    Attributes:
        files: How many.
        bytes: Their size.
        rows: Their rows; None where a file's count is not known.
    """

    files: int
    bytes: int
    rows: int | None = None


class RemovedPartition(RecordValue):
    """A partition's files that left, and why.

    Attributes:
        key: The partition.
        reason: Why.
        files: What left.
        came: The files that an ingest put in their place.
        folded: The totals of `files`, where the journal has forgotten their names: the store has none of them, and
            nothing can bring them back.
    """

    key: str
    reason: str
    files: tuple[FileRecord, ...]
    came: tuple[FileRecord, ...] = ()
    folded: FileTotals | None = None

    @property
    def partition_key(self) -> PartitionKey:
        """The partition."""
        return PartitionKey.parse(self.key)

    @property
    def totals(self) -> FileTotals:
        """What left, in numbers."""
        if self.folded is not None:
            return self.folded
        counts = [file.rows for file in self.files]
        rows = None if None in counts else sum(count for count in counts if count is not None)
        return FileTotals(files=len(self.files), bytes=sum(file.size for file in self.files), rows=rows)

    @property
    def bytes(self) -> int:
        """Size of what left."""
        return self.totals.bytes

    @property
    def rows(self) -> int | None:
        """Its rows; None where a file's count is not known."""
        return self.totals.rows

    def live_files(self) -> tuple[LiveFile, ...]:
        """The files as a commit names them."""
        return tuple(file.live(self.partition_key) for file in self.files)
