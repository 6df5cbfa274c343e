"""Delta tables behind `lake://`: which files are live, for the connector's listings (group `tierlake.views`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierlake.pipelines.tables.nested import DESCRIPTION, LOG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.listing.views import LiveTable

__all__ = ["DeltaLive", "DeltaProvider", "provider"]


_LISTED = 1000  # the most keys of one LIST


@dataclass(frozen=True, slots=True)
class DeltaLive:
    """The live files of a table at one version.

    Attributes:
        root: `bucket/prefix`.
        version: The log's version.
        sizes: Bytes by path below the root.
    """

    root: str
    version: int
    sizes: Mapping[str, int]

    def files(self) -> Mapping[str, int]:
        """The sizes of committed files, by path below the root."""
        return self.sizes


class DeltaProvider:
    """Finds Delta tables by their log."""

    marker = LOG
    description = DESCRIPTION
    proofs = (f"{LOG}_last_checkpoint", f"{LOG}{0:020}.json")
    hidden = frozenset({"_delta_log", "_lake"})

    def describes(self, description: bytes) -> bool:
        """Whether it is the description of a Delta table: a plain one needs no log."""
        from tierlake.pipelines.tables.lost_log import is_of_delta

        return is_of_delta(description)

    def open(self, fs: LakeFileSystem, root: str) -> LiveTable:
        """Read the log.

        Raises:
            FileNotFoundError: The folder of the log exists, but no table.
            UnsupportedByTable: Its files alone do not determine its rows (deletion vectors, column mapping).
            LogMissing: By the description there was a log.
        """
        # deltalake and pyarrow load when the first table is met, not with the filesystem
        from tierlake.pipelines.tables.delta import LakeDeltaTable

        version, sizes = LakeDeltaTable(fs, root).live_sizes()
        return DeltaLive(root, version, sizes)

    def is_current(self, fs: LakeFileSystem, root: str, version: object) -> bool:
        """Whether a version is the newest, by one LIST of its entry of the log and its neighbours."""
        if not isinstance(version, int):
            return False
        shared, following = f"{version:020}", f"{version + 1:020}"
        while not following.startswith(shared):
            shared = shared[:-1]
        names = fs.first_keys(f"{root}/{LOG}{shared}", limit=_LISTED)
        newest = max((path for path in names if path.endswith(".json")), default="")
        return len(names) < _LISTED and newest == f"{root}/{LOG}{version:020}.json"

    def tail(self, fs: LakeFileSystem, root: str, path: str, size: int) -> bytes | None:
        """The last bytes of a committed file that is archived, kept beside the table when a plan moved it."""
        from tierlake.pipelines.tables.tails import TailShelf

        return TailShelf(fs, root).tail(path, size)


provider = DeltaProvider()
