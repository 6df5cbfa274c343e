"""The last bytes of archived files, kept beside a table, so that readers can still learn its schema.

    _lake/tails/<path of the file>.<size of the file>

pandas and pyarrow open the first file of a folder for the schema, also where a filter leaves that file out. They read
its last 64 KiB at once. Before a plan moves a partition to a class that needs a restore, the last 64 KiB of the first
of its files are kept in the hot class.

A tail is a copy, and losing it is never an error. It is believed only of the file with its path and size, and a
committed path names one content for good. It holds rows: it goes when its file is deleted, and an erasure deletes
the tails of all files that are not live any more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import LakeError
from tierlake.pipelines.runtime.parallel import in_threads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.tables.protocol import Table

__all__ = ["TailShelf", "tail_to_keep"]

_TAIL_BYTES: Final = 64 << 10
"""What Arrow reads of a file's end; of a smaller file, all."""
_AT_ONCE: Final = 16


def tail_to_keep(table: Table, classes: Mapping[str, str], target: str, archived: Collection[str]) -> str | None:
    """The file whose tail is kept when a partition moves: the first, if it can be read before and not afterwards.

    Args:
        table: The table; the readers of a plain one go by the objects alone.
        classes: The storage classes of the partition's files by path.
        target: The class that it moves to.
        archived: The classes that need a restore.
    """
    if target not in archived or not table.is_atomic:
        return None
    first = min(classes)
    return None if classes[first] in archived else first


class TailShelf:
    """The tails beside one table."""

    def __init__(self, fs: LakeFileSystem, root: str) -> None:
        """Work below `root` (`bucket/prefix`)."""
        self._fs = fs
        self._root = root
        self._folder = f"{root}/_lake/tails/"

    def keep(self, sizes: Mapping[str, int]) -> None:
        """Keep the tails of files, those that can be read and written.

        Args:
            sizes: The size of each file by its path below the root.
        """
        in_threads(partial(self._keep, sizes), sizes, at_once=_AT_ONCE, name="tails")

    def _keep(self, sizes: Mapping[str, int], path: str) -> None:
        size = sizes[path]
        try:
            data = self._fs.cat_file(f"{self._root}/{path}", start=max(0, size - _TAIL_BYTES), end=size)
            if data and len(data) == min(size, _TAIL_BYTES):
                self._fs.pipe_file(self._name(path, size), bytes(data))
        except (LakeError, OSError):  # readers then need the schema, as the error says
            return

    def tail(self, path: str, size: int) -> bytes | None:
        """The last bytes of a file; None if they are not known.

        Args:
            path: The file, below the root.
            size: Its size.
        """
        try:
            data = bytes(self._fs.cat_file(self._name(path, size)))
        except (LakeError, OSError):
            return None
        return data if data and len(data) == min(size, _TAIL_BYTES) else None

    def others(self, kept: Collection[str]) -> list[str]:
        """The tails of all files but these, `bucket/key`; one LIST.

        Args:
            kept: Paths below the root.
        """
        stored = self._fs.list_fresh(self._folder.rstrip("/"))
        names = [name for name, info in stored.items() if info["type"] == "file"]
        return [name for name in names if name.removeprefix(self._folder).rpartition(".")[0] not in kept]

    def _name(self, path: str, size: int) -> str:
        return f"{self._folder}{path}.{size}"
