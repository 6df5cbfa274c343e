"""Counts of commits to tables, and of those that lost against another writer's."""

from __future__ import annotations

from tierlake.connector.observe import count

__all__ = ["committed", "conflicted"]


def committed(table_format: str, root: str) -> None:
    """Count a commit.

    Args:
        table_format: `delta` or `parquet`.
        root: The table, `bucket/prefix`.
    """
    count("commit_count", format=table_format, dataset=f"lake://{root}")


def conflicted(table_format: str, root: str) -> None:
    """Count a commit that another writer was faster than, or whose base has changed; see `committed`."""
    count("conflict_count", format=table_format, dataset=f"lake://{root}")
