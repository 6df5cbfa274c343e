"""What an erasure did: rows and files of each partition, and where the rows may still be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.pipelines.maintenance.unreferenced import Remnant
    from tierlake.pipelines.model.partition_key import PartitionKey


__all__ = ["EraseReport", "ErasedPartition"]


_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ErasedPartition:
    """The rows that left one partition.

    Attributes:
        key: The partition.
        rows: How many matched.
        files: Files that held them.
    """

    key: PartitionKey
    rows: int
    files: int


@dataclass(frozen=True, slots=True, repr=False)
class EraseReport(Shown):
    """The rows that were erased, or would be, and where matching rows still are.

    Attributes:
        partitions: The rows that left, by partition.
        held: Partitions with matching rows that a hold keeps, each with the reason and the number of rows.
        archived: Partitions that may hold matching rows, but cannot be read: they need a restore, or a file is missing.
        remnants: Old files that can still be read, and hold matching rows or may hold some.
        deleted: Remnants that were deleted at once, on request.
        rejects: Files of rejected rows that hold matching rows, or may hold some.
        remaining: Matching rows in live files, counted at the end: those of held partitions are included, those of
            `archived` partitions are not.
        keeps_old_files: Whether files that held erased rows stay readable where they are not deleted at once.
        dry_run: True where nothing was written.
    """

    partitions: tuple[ErasedPartition, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    archived: Mapping[str, str] = field(default_factory=dict)
    remnants: tuple[Remnant, ...] = ()
    deleted: tuple[Remnant, ...] = ()
    rejects: tuple[str, ...] = ()
    remaining: int = 0
    keeps_old_files: bool = True
    dry_run: bool = False

    @property
    def rows(self) -> int:
        """Rows that left the table, or would."""
        return sum(part.rows for part in self.partitions)

    @property
    def files(self) -> int:
        """Files that were rewritten or removed, or would be."""
        return sum(part.files for part in self.partitions)

    @property
    def is_complete(self) -> bool:
        """Whether no matching row can be read any more anywhere below the root; live files were counted."""
        return not (self.remaining or self.held or self.archived or self.remnants or self.rejects)

    def foresees_completion(self, *, deletes_old_files: bool) -> bool:
        """For a dry run, whether the erasure would be complete at once.

        Args:
            deletes_old_files: Whether the erasure would delete the old files that hold such rows.
        """
        if deletes_old_files:
            leaves_files = any(not (remnant.rows and remnant.is_ours) for remnant in self.remnants)
        else:
            leaves_files = bool(self.remnants) or (self.keeps_old_files and bool(self.rows))
        return not (self.held or self.archived or self.rejects or leaves_files)

    def __str__(self) -> str:
        """For people."""
        did = "would erase" if self.dry_run else "erased"
        where = f"{formatting.count(len(self.partitions))} partitions ({formatting.files(self.files)} that held them)"
        lines = [f"{did} {formatting.count(self.rows)} rows of {where}"]
        lines += [f"{key}: not erased: {why}" for key, why in {**self.held, **self.archived}.items()]
        if not self.dry_run:
            lines.append(
                f"{formatting.count(self.remaining)} such rows are in the table now, counted after the last commit"
            )
        for remnant in self.remnants[:_SHOWN]:
            amount = "may hold such rows, and" if remnant.rows is None else f"{formatting.count(remnant.rows)} rows"
            then = (
                f"until {formatting.day(remnant.until)}, when vacuum may delete it"
                if remnant.until
                else "until you delete it"
            )
            lines.append(f"{remnant.path}: {amount} can still be read ({remnant.why}), {then}")
        if len(self.remnants) > _SHOWN:
            lines.append(f"{len(self.remnants) - _SHOWN} more old files")
        lines += [
            f"{path}: rejected rows that match, or may: fix and ingest them, or delete the file"
            for path in self.rejects
        ]
        if self.deleted:
            lines.append(f"{formatting.files(len(self.deleted))} with such rows deleted for good")
        return "\n".join(lines)
