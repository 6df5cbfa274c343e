"""Our transactions in a Delta log: one for each run key, and one for the fences of vacuums.

A run key's transaction counts up: odd means committed, even means forgotten by an expiry. `app_transactions` of the
Delta protocol; deltalake does not refuse an existing one, so a commit checks first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake import Transaction

from tierlake.pipelines.tables.runs import run_token, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deltalake import DeltaTable

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.snapshot import Change

__all__ = ["adopted", "fence_of", "has_run", "is_committed", "is_counted", "next_fence", "run_count", "transactions"]

_APP_PREFIX = "lake-"
_FENCE = "lake-vacuum"


def run_count(table: DeltaTable, run_key: str) -> int | None:
    """How often a run was committed or forgotten; None where the log does not count it. It replays the log."""
    count: int | None = table.transaction_version(_app_id(run_token(run_key)))
    return count


def is_committed(count: int | None) -> bool:
    """Whether a run of this count was committed, and not forgotten since by an expiry."""
    return count is not None and count % 2 == 1


def has_run(table: DeltaTable, run_key: str) -> bool:
    """Whether a run was committed, and not forgotten since by an expiry."""
    return is_committed(run_count(table, run_key))


def is_counted(table: DeltaTable, run_key: str) -> bool:
    """Whether the log counts a run at all, committed or not."""
    return run_count(table, run_key) is not None


def adopted(tokens: Iterable[str]) -> list[Transaction]:
    """Transactions of runs that count as committed from the first."""
    return [Transaction(_app_id(token), 1) for token in tokens]


def transactions(
    fs: LakeFileSystem, root: str, table: DeltaTable, change: Change, run_key: str, count: int | None
) -> list[Transaction]:
    """The transactions of a commit.

    Args:
        fs: Reads below the root.
        root: `bucket/prefix`.
        table: The table before the commit.
        change: Files in, files out.
        run_key: Of the commit.
        count: Of the run so far; see `run_count`.
    """
    return [Transaction(_app_id(run_token(run_key)), (count or 0) + 1), *_of_partitions(fs, root, table, change)]


def fence_of(table: DeltaTable) -> int:
    """The second of the store's clock at which the latest vacuum began."""
    return table.transaction_version(_FENCE) or 0


def next_fence(table: DeltaTable, second: int) -> Transaction:
    """The fence of a vacuum: a time that always increases, even where the clock does not."""
    return Transaction(_FENCE, max(fence_of(table) + 1, second))


def _of_partitions(fs: LakeFileSystem, root: str, table: DeltaTable, change: Change) -> Iterator[Transaction]:
    """An expired partition forgets the runs that wrote it, and undo remembers them again."""
    if change.operation not in {"expire", "undo"}:
        return
    back = runs_of(fs, root, (staged.file.path for staged in change.adds))
    gone = runs_of(fs, root, (file.path for file in change.removes)) - back
    for token in sorted(back | gone):
        seen = table.transaction_version(_app_id(token))
        if seen is not None and is_committed(seen) == (token in gone):
            yield Transaction(_app_id(token), seen + 1)


def _app_id(token: str) -> str:
    return f"{_APP_PREFIX}{token}"
