"""Results of an ingest and of a rehearsed one, in numbers and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import emphasised, listed
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["IngestResult", "Rehearsal", "Replaced", "Written"]

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a replace did to one partition that had rows.

    Attributes:
        key: The partition.
        rows_out: Rows that left; None where that is unknown, as files are archived or not Parquet.
        rows_in: Rows in their place.
    """

    key: PartitionKey
    rows_out: int | None
    rows_in: int

    def __str__(self) -> str:
        """For people."""
        out = "rows out unknown" if self.rows_out is None else f"{formatting.rows(self.rows_out)} out"
        return f"replaced {str(self.key) or 'the table'}: {out}, {self.rows_in:,} in"


@dataclass(frozen=True, slots=True)
class Written:
    """What an ingest wrote to one partition; zeros for one that it emptied.

    Attributes:
        rows: How many rows were written.
        files: How many files hold them.
        bytes: Size of the files.
        storage_class: Where they were written; None where there are none.
    """

    rows: int = 0
    files: int = 0
    bytes: int = 0
    storage_class: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class IngestResult(Shown):
    """What an ingest did.

    Attributes:
        rows: Rows committed.
        rejected: Rows kept in `_lake/rejects/`.
        rejects_path: Their file; None where there are none.
        partitions: Keys that were written or emptied.
        files: Files committed.
        bytes: Their size.
        version: The table's version after the commit.
        run_key: The run's identity.
        committed: False where this run key had been committed before; then the counts are 0.
        duplicates: Rows left out because a later row of the source had their key.
        replaced: The partitions that had rows before, each with the rows that left and those that came.
        added_columns: Columns that are new in the table, nested ones by their path (`v.z`).
        lacking_columns: Columns of the table that the source lacks: null in its rows.
        untyped_columns: Columns of nothing but nulls, left out of the table until a value settles their type.
        notes: What the store refused after the commit, with the consequences.
        written: What was written to each of `partitions`.
    """

    rows: int
    rejected: int
    rejects_path: str | None
    partitions: tuple[PartitionKey, ...]
    files: int
    bytes: int
    version: int
    run_key: str
    committed: bool
    duplicates: int = 0
    replaced: tuple[Replaced, ...] = ()
    added_columns: tuple[str, ...] = ()
    lacking_columns: tuple[str, ...] = ()
    untyped_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    written: Mapping[PartitionKey, Written] = field(default_factory=dict)

    def __str__(self) -> str:
        """For people."""
        if not self.committed:
            return f"run {self.run_key} had been committed before: nothing changed"
        written = f"{formatting.rows(self.rows)} in {formatting.partitions(len(self.partitions))}"
        amount = f"{formatting.files(self.files)}, {formatting.size(self.bytes)}"
        lines = [emphasised(f"{written} ({amount}), version {self.version}")]
        lines += _notes(self.replaced, self.added_columns, self.lacking_columns, self.untyped_columns)
        if self.duplicates:
            lines.append(f"{formatting.counted(self.duplicates, 'duplicate')} left out")
        if self.rejected:
            lines.append(f"{formatting.rows(self.rejected)} rejected, kept in lake://{self.rejects_path}")
        lines += self.notes
        return "\n".join(lines)


def _notes(
    replaced: Sequence[Replaced], added: Sequence[str], lacking: Sequence[str], untyped: Sequence[str]
) -> list[str]:
    lines = listed([str(one) for one in replaced], _SHOWN)
    if added:
        lines.append(f"new columns: {', '.join(added)}")
    if lacking:
        lines.append(f"columns that the source lacks, null in its rows: {', '.join(lacking)}")
    if untyped:
        lines.append(f"columns of nulls alone, without a type yet: {', '.join(untyped)}")
    return lines


@dataclass(frozen=True, slots=True, repr=False)
class Rehearsal(Shown):
    """What an ingest would do.

    Attributes:
        partitions: Rows by partition, as `ls` prints its key.
        rejected: Rows that it would reject.
        replaced: The partitions that have rows, each with the rows that would leave and those that would come.
        added_columns: Columns that would be new.
        lacking_columns: Columns that the source lacks.
        untyped_columns: Columns of nothing but nulls.
        committed: False where this run key is committed already: nothing would change.
    """

    partitions: Mapping[str, int]
    rejected: int
    replaced: tuple[Replaced, ...] = ()
    added_columns: tuple[str, ...] = ()
    lacking_columns: tuple[str, ...] = ()
    untyped_columns: tuple[str, ...] = ()
    committed: bool = True

    def __str__(self) -> str:
        """For people."""
        if not self.committed:
            return self._summary()
        return "\n".join([emphasised(self._summary()), self._table().text(), *self._notes()])

    def _summary(self) -> str:
        if not self.committed:
            return "this run key is committed already: nothing would change"
        written = f"{formatting.rows(sum(self.partitions.values()))} in {formatting.partitions(len(self.partitions))}"
        return f"{written} would be written; {formatting.rows(self.rejected)} would be rejected"

    def _parts(self) -> tuple[Table[tuple[str, int]] | str, ...]:
        return (self._table(), "\n".join(self._notes())) if self.committed else ()

    def _notes(self) -> list[str]:
        return _notes(self.replaced, self.added_columns, self.lacking_columns, self.untyped_columns)

    def _table(self) -> Table[tuple[str, int]]:
        total = formatting.partitions(len(self.partitions)), formatting.count(sum(self.partitions.values()))
        return Table(["key", ">rows"], sorted(self.partitions.items()), _rehearsed, total)


def _rehearsed(partition: tuple[str, int]) -> tuple[str, str]:
    key, rows = partition
    return key, formatting.count(rows)
