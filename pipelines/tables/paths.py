"""Which paths a table's log may name: files below its root, outside its own folders, and nothing else.

A log is read from a bucket that others may write to. A path that leaves the root would make us read, copy or delete
foreign objects, so it is refused before any use.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tierlake.pipelines.errors import PolicyRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WAITING", "data_path", "is_data", "is_hidden"]

WAITING = "_lake/waiting/"
"""The folder below a plain table's root where files of workers wait for their commit. `vacuum` deletes those of a run
that died."""

_FOLDERS = frozenset({"_lake", "_delta_log"})
_CONTROL = re.compile(r"[\x00-\x1f]")


def data_path(root: str, logged: str) -> str:
    """A path of the log as the store spells it, below the root.

    Args:
        root: The table's, `bucket/prefix`.
        logged: As the log spells it: URL-encoded once more than the key in the store.

    Raises:
        PolicyRefused: An absolute path, another bucket, `..`, or the table's own log.
    """
    path = unquote(logged)
    segments = path.split("/")
    leaves = "" in segments or {".", ".."} & set(segments) or segments[0].endswith(":")
    if leaves or segments[0] in _FOLDERS or _CONTROL.search(path):
        message = f"the log of lake://{root} names {logged!r}, which is no data file below its root"
        raise PolicyRefused(message, hint="nothing of the table was touched; find out who wrote that commit")
    return path


def is_hidden(path: str) -> bool:
    """Whether readers skip a path: one of its segments begins with `_` or `.`."""
    return any(segment.startswith(("_", ".")) for segment in path.split("/"))


def is_data(path: str, info: Mapping[str, Any]) -> bool:
    """A Parquet file that readers would read: not hidden by its name, not empty, not a "directory" object."""
    is_file = info["type"] == "file" and bool(info["size"])
    return is_file and path.endswith((".parquet", ".pq")) and not is_hidden(path)
