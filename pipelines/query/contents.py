"""The partitions and row counts of a table, by its own metadata, and what removed partitions that it has lost.

Nothing here lists the store of a table with a log: the catalog does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierlake.pipelines.metastore.records import RemovalRecord
from tierlake.pipelines.metastore.removal import settled
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["Contents", "had_rows", "read_contents", "why_gone"]

_WORDS = {
    "expire": "expired",
    "replace": "lost its rows after an ingest replaced it",
    "erase": "lost all of its rows to an erasure",
    "undo": "was taken out by an undo",
}


@dataclass(frozen=True, slots=True, repr=False)
class Contents(Shown):
    """A table at one version.

    Attributes:
        version: The table's; 0 for plain Parquet.
        schema: Its columns; None where no row has settled them, or where only archived files could show them.
        rows: Rows by partition, in key order; None where the table does not know.
        bytes: Size of all files.
    """

    version: int
    schema: pa.Schema | None
    rows: Mapping[PartitionKey, int | None]
    bytes: int

    @property
    def total_rows(self) -> int | None:
        """Rows of all partitions; None where one is not known."""
        known = [count for count in self.rows.values() if count is not None]
        return sum(known) if len(known) == len(self.rows) else None

    def __str__(self) -> str:
        """The totals in a line."""
        rows = "" if self.total_rows is None else f", {self.total_rows:,} rows"
        return f"version {self.version:,}: {formatting.partitions(len(self.rows))}{rows}, {formatting.size(self.bytes)}"


def read_contents(handle: Handle) -> Contents:
    """Read the table's metadata."""
    snapshot = handle.table.snapshot()
    rows: dict[PartitionKey, int | None] = {}
    for key, files in snapshot.by_partition().items():
        counts = [file.rows for file in files if file.rows is not None]
        rows[key] = sum(counts) if len(counts) == len(files) else None
    return Contents(snapshot.version, snapshot.known_schema, rows, sum(file.size for file in snapshot.files))


def why_gone(handle: Handle, keys: Iterable[PartitionKey]) -> dict[PartitionKey, str]:
    """What removed each of some absent partitions, in words. Partitions without a removal are left out.

    Args:
        handle: The dataset.
        keys: Partitions that the table does not have.

    Raises:
        SpecError: A record of the journal that cannot be read.
    """
    return {
        key: f"{_WORDS[record.operation]} on {formatting.day(record.committed_at or record.at)}"
        for key, record in _removals(handle, keys).items()
    }


def had_rows(handle: Handle, keys: Iterable[PartitionKey]) -> frozenset[PartitionKey]:
    """Which of some absent partitions had rows once, as far as the journal and the table's tombstones remember.

    Args:
        handle: The dataset.
        keys: Partitions that the table does not have.

    Raises:
        SpecError: A record of the journal that cannot be read.
    """
    absent = set(keys)
    known = _removals(handle, absent).keys()
    left = absent - known
    removed = {file.key for file in handle.table.removed_files()} if left else set()
    return frozenset(known | (left & removed))


def _removals(handle: Handle, keys: Iterable[PartitionKey]) -> dict[PartitionKey, RemovalRecord]:
    """The newest committed removal of each partition."""
    left = {str(key): key for key in keys}
    newest: dict[PartitionKey, RemovalRecord] = {}
    for stored in handle.journal.records(RemovalRecord) if left else ():
        named = [gone.key for gone in stored.partitions if gone.key in left] if stored.operation in _WORDS else []
        record = settled(handle, stored) if named else None
        if record is not None:
            newest |= {left.pop(name): record for name in named}
        if not left:
            break
    return newest
