"""The objects below a table's root that could be data: one listing, with the versions where there are any."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tierlake.connector.errors import AccessDenied
from tierlake.connector.objects.metadata import unquoted
from tierlake.pipelines.tables.nested import is_nested, nested_roots
from tierlake.pipelines.tables.paths import WAITING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tierlake.connector.objects.metadata import ObjectVersion
    from tierlake.pipelines.metastore.handle import Handle

__all__ = ["StoredObject", "stored_objects"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One key.

    Attributes:
        path: Below the root.
        size: Bytes, all versions.
        modified: When the newest of them was written.
        etag: The ETag that a reader sees; None where a delete marker hides the object.
        storage_class: Likewise.
        versions: All ids, markers included, the newest first; empty where the bucket keeps none.
        sizes: The bytes of each version.
        shown: The version that a reader sees; None where there is none, or the bucket keeps none.
        is_nested: Whether it belongs to another table below the root.
    """

    path: str
    size: int
    modified: datetime
    etag: str | None
    storage_class: str
    versions: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    shown: str | None = None
    is_nested: bool = False

    @property
    def is_shown(self) -> bool:
        """Whether readers see it."""
        return self.etag is not None


def stored_objects(handle: Handle, *, must_know_versions: bool = True) -> list[StoredObject]:
    """Data objects below the root, without the log and "directory" objects; in `_lake/`, files that wait for a commit.

    Args:
        handle: The dataset.
        must_know_versions: False where the caller only reads: without the right to list versions, the current objects
            are enough.

    Raises:
        AccessDenied: The caller may not list versions.
    """
    root = handle.table.root
    if _has_versions(handle, must_know=must_know_versions):
        by_path: dict[str, list[ObjectVersion]] = {}
        for version in handle.fs.object_versions(f"{root}/"):
            by_path.setdefault(version.path.removeprefix(f"{root}/"), []).append(version)
        objects = [_of_versions(path, versions) for path, versions in by_path.items()]
    else:
        infos = handle.fs.list_fresh(root)
        objects = [
            StoredObject(
                path=name.removeprefix(f"{root}/"),
                size=int(info["size"]),
                modified=info["LastModified"],
                etag=unquoted(info.get("ETag")),
                storage_class=str(info.get("StorageClass") or "STANDARD"),
            )
            for name, info in infos.items()
            if info["type"] == "file"
        ]
    nested = nested_roots(one.path for one in objects)
    data = (replace(one, is_nested=is_nested(one.path, nested)) for one in objects if _is_data(one.path))
    return sorted(data, key=lambda one: one.path)


def _has_versions(handle: Handle, *, must_know: bool) -> bool:
    try:
        return bool(handle.fs.has_versions(handle.table.root.partition("/")[0]))
    except AccessDenied:
        if must_know:
            raise
        return False


def _is_data(path: str) -> bool:
    is_ours = path.startswith(("_delta_log/", "_lake/")) and not path.startswith(WAITING)
    return bool(path) and not path.endswith("/") and not is_ours


def _of_versions(path: str, versions: list[ObjectVersion]) -> StoredObject:
    latest = next((version for version in versions if version.is_latest), versions[0])
    is_shown = not latest.is_delete_marker
    return StoredObject(
        path=path,
        size=sum(version.size for version in versions),
        modified=max(version.modified for version in versions),
        etag=latest.etag if is_shown else None,
        storage_class=latest.storage_class,
        versions=tuple(version.version_id for version in versions),
        sizes={version.version_id: version.size for version in versions},
        shown=latest.version_id if is_shown else None,
    )
