"""A Delta table whose log is gone: its files are there, but which of them are live is unknown.

The description beside the table shows that there was a log. Without this check a reader would take every file for live,
replaced and expired ones too, and a new log would hide them all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.pipelines.errors import LogMissing, TableNotFound
from tierlake.pipelines.tables.nested import DESCRIPTION, LOG, first_objects

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["check_log", "has_begun", "has_log", "is_of_delta", "lost_log"]

_BEGINS: Final = re.compile(r"/(0{20}\.json|\d{20}\.checkpoint\..*parquet)$")


def check_log(fs: LakeFileSystem, root: str) -> None:
    """Check that a table described as Delta has its log; one LIST.

    Raises:
        LogMissing: It has files, but no log.
        TableNotFound: It has neither: its creation was interrupted.
    """
    if not has_log(fs, root) and (error := lost_log(fs, root)):
        raise error


def lost_log(fs: LakeFileSystem, root: str) -> LogMissing | TableNotFound | None:
    """The error for a root without a log; None where no description requires one.

    Args:
        fs: The connector.
        root: `bucket/prefix`.
    """
    if not _is_described_as_delta(fs, root):
        return None
    own = f"{root}/{DESCRIPTION}"
    is_alone = {own}.issuperset(first_objects(fs, root))
    if has_log(fs, root):  # read last: another process may be creating it just now
        return None
    if is_alone:
        message = f"lake://{root} is described, but has no Delta log yet: its creation was interrupted"
        return TableNotFound(message, hint="create it again with the same spec: that completes it")
    message = f"lake://{root} is a Delta table whose log is gone: nothing tells which of its files are live"
    hint = (
        f"bring the objects below {root}/{LOG} back, where the bucket keeps versions or there is a copy; or take all "
        f"files that are there for live ones: `tierlake adopt lake://{root}`"
    )
    return LogMissing(message, hint=hint)


def has_log(fs: LakeFileSystem, root: str) -> bool:
    """Whether there is a readable start of a log: its first commit, or a checkpoint."""
    return any(map(has_begun, fs.first_keys(f"{root}/{LOG}")))


def has_begun(path: str) -> bool:
    """Whether a log can be read from this object on: its first commit, or a checkpoint."""
    return _BEGINS.search(path) is not None


def _is_described_as_delta(fs: LakeFileSystem, root: str) -> bool:
    try:
        return is_of_delta(fs.read_with_etag(f"{root}/{DESCRIPTION}")[0])
    except FileNotFoundError:
        return False


def is_of_delta(description: bytes) -> bool:
    """Whether a stored description is that of a Delta table."""
    try:
        spec = json_object(description).get("spec")
    except UnreadableDocument:
        return False
    return isinstance(spec, dict) and spec.get("format") == "delta"
