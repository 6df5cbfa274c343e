"""The committed files of one table, by folder: pure values, and listing entries in s3fs's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.listing.views import LiveTable


def file_info(name: str, size: int) -> dict[str, Any]:
    """A listing entry of a committed file.

    It has no ETag: a table's files never change their bytes, but a transition may change the ETag during
    a read. `info(path, refresh=True)` asks the store for the rest.
    """
    return {"Key": name, "name": name, "Size": size, "size": size, "type": "file"}


def folder_info(name: str) -> dict[str, Any]:
    """A listing entry of a folder, in s3fs's form."""
    return {
        "Key": name,
        "name": name,
        "Size": 0,
        "size": 0,
        "StorageClass": "DIRECTORY",
        "type": "directory",
    }


class Listing:
    """The committed files of one table, by folder.

    Args:
        root: The table's root as `bucket/prefix`.
        table: The table as its provider opened it.
    """

    def __init__(self, root: str, table: LiveTable) -> None:
        self.root = root
        self.version = table.version
        self._sizes: Mapping[str, int] = table.files()
        self._folders: dict[str, set[str]] = {"": set()}
        for path in self._sizes:
            self._add(path)

    def _add(self, path: str) -> None:
        """Put a path into its folder, and each folder into its parent, up to a known one."""
        child, folder = path, path.rpartition("/")[0]
        while folder not in self._folders:
            self._folders[folder] = {child}
            child, folder = folder, folder.rpartition("/")[0]
        self._folders[folder].add(child)

    @property
    def count(self) -> int:
        """The number of committed files."""
        return len(self._sizes)

    def has(self, path: str) -> bool:
        """Whether a full path is a committed file."""
        return path.startswith(f"{self.root}/") and self.is_file(path)

    def relative(self, path: str) -> str:
        """A path below the root, without slashes at its ends."""
        return path[len(self.root) :].strip("/")

    def is_file(self, path: str) -> bool:
        """Whether the path is a committed file."""
        return self.relative(path) in self._sizes

    def is_folder(self, path: str) -> bool:
        """Whether the path is the root, or a folder that holds a committed file."""
        return self.relative(path) in self._folders

    def info(self, path: str) -> dict[str, Any] | None:
        """The entry of a file or folder; None if it is not committed."""
        relative = self.relative(path)
        name = f"{self.root}/{relative}" if relative else self.root
        if relative in self._sizes:
            return file_info(name, self._sizes[relative])
        return folder_info(name) if relative in self._folders else None

    def children(self, path: str, prefix: str = "") -> list[dict[str, Any]]:
        """The entries directly below a folder whose names begin with a prefix, sorted by name."""
        relative = self.relative(path)
        start = f"{relative}/{prefix}" if relative else prefix
        below = sorted(child for child in self._folders.get(relative, ()) if child.startswith(start))
        return [entry for child in below if (entry := self.info(f"{self.root}/{child}")) is not None]

    def find(self, path: str, *, maxdepth: int | None, withdirs: bool, prefix: str) -> list[dict[str, Any]]:
        """All entries below a path, sorted by name; the path itself if it is a file.

        Args:
            path: Where to begin.
            maxdepth: How many levels to descend; None is all.
            withdirs: Include folders, and the path itself if it is one.
            prefix: Only entries directly below the path whose names begin with it, and what is below them.
        """
        relative = self.relative(path)
        if relative in self._sizes:
            return [file_info(f"{self.root}/{relative}", self._sizes[relative])] if not prefix else []
        start = f"{relative}/{prefix}" if relative else prefix
        matches = [relative] if withdirs and relative in self._folders and not prefix else []
        below = [child for child in self._folders.get(relative, ()) if child.startswith(start)]
        depth = 1
        while below:
            matches += below if withdirs else [child for child in below if child in self._sizes]
            if depth == maxdepth:
                break
            below = [child for folder in below for child in self._folders.get(folder, ())]
            depth += 1
        entries = (self.info(f"{self.root}/{one}" if one else self.root) for one in matches)
        return sorted((entry for entry in entries if entry is not None), key=lambda entry: entry["name"])
