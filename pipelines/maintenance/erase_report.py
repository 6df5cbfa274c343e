"""What an erasure did: rows and files of each partition, and where the rows may still be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import emphasised, listed

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
        lines = [emphasised(self._summary())]
        kept = {**self.held, **self.archived}
        lines += listed([f"{key}: not erased: {why}" for key, why in kept.items()], len(kept))
        if not self.dry_run:
            count = formatting.are(self.remaining, "such row")
            lines.append(f"{count} in the table now, counted after the last commit")
        lines += listed([_remnant_text(remnant) for remnant in self.remnants], _SHOWN)
        lines += [
            f"{path}: rejected rows that match, or may: fix and ingest them, or delete the file"
            for path in self.rejects
        ]
        if self.deleted:
            lines.append(f"{formatting.files(len(self.deleted))} with such rows deleted for good")
        return "\n".join(lines)

    def _summary(self) -> str:
        """What was erased, and until when such rows can still be read."""
        did = "would erase" if self.dry_run else "erased"
        where = f"{formatting.partitions(len(self.partitions))} ({formatting.files(self.files)} that held them)"
        erased = f"{did} {formatting.rows(self.rows)} of {where}"
        if self.dry_run and self.rows and self.keeps_old_files:
            erased += "; their files stay readable until the grace ends and `vacuum` deletes them"
        if self.remnants:
            return f"{erased}; {self._left_behind()}"
        return f"{erased}; no such row is left" if self.is_complete and not self.dry_run else erased

    def _left_behind(self) -> str:
        """How many old files hold rows, until when, and who deletes them."""
        number = len(self.remnants)
        still = f"{number:,} old {'file still holds' if number == 1 else 'files still hold'} such rows"
        still += ", or may" if any(remnant.rows is None for remnant in self.remnants) else ""
        ends = [remnant.until for remnant in self.remnants if remnant.until is not None]
        parts = [f"until {formatting.day(max(ends))}: from then on `tierlake vacuum` deletes them"] if ends else []
        if len(ends) < number:
            parts.append(f"{number - len(ends):,} of them until you delete it" if ends else "until you delete them")
        return f"{still} {'; '.join(parts)}"


def _remnant_text(remnant: Remnant) -> str:
    amount = "may hold such rows, and" if remnant.rows is None else formatting.rows(remnant.rows)
    then = "until you delete it"
    if remnant.until is not None:
        then = f"until {formatting.day(remnant.until)}, when vacuum may delete it"
    return f"{remnant.path}: {amount} can still be read ({remnant.why}), {then}"
