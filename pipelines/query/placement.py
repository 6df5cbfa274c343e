"""Where live files lie: a snapshot of the table joined with one listing of the store.

The table says which files are live; the listing has their storage classes and ETags. All other objects below the root
(the log, `_lake/`, orphans) are left out here, so that no caller can touch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierlake.connector.objects.metadata import unquoted
from tierlake.pipelines.model.spec import TIER_ORDER
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.runtime.listing import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tierlake.connector.profiles import Profile
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import DatasetSpec, Tier
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

__all__ = ["MISSING", "PlacedFile", "PlacedPartition", "class_of_tier", "placed", "tier_of_class"]

MISSING = "MISSING"
"""The storage class shown for a live file that the store does not have."""


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A live file and its object in the store.

    Attributes:
        live: As the table has it.
        etag: The object's ETag, without quotes; empty where it is missing.
        storage_class: As the listing reports it; `MISSING` where the object is not there.
        since: The object's time, which is when it came to its class, since a move rewrites it.
    """

    live: LiveFile
    etag: str
    storage_class: str
    since: datetime


@dataclass(frozen=True, slots=True)
class PlacedPartition:
    """A partition's live files."""

    key: PartitionKey
    files: tuple[PlacedFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.live.size for file in self.files)

    @property
    def rows(self) -> int | None:
        """All rows; None where the table does not know a file's."""
        if len(self.files) == 1:
            return self.files[0].live.rows
        counts = [file.live.rows for file in self.files]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The storage classes of its files, each once, sorted."""
        if len(self.files) == 1:
            return (self.files[0].storage_class,)
        return tuple(sorted({file.storage_class for file in self.files}))


def placed(
    handle: Handle, snapshot: Snapshot, keys: Iterable[PartitionKey] | None = None, *, is_new: bool = False
) -> dict[PartitionKey, PlacedPartition]:
    """Locate the files of a snapshot, by one LIST, or a few small ones for single partitions.

    Args:
        handle: The dataset.
        snapshot: The live files.
        keys: Only these partitions; None means all.
        is_new: The snapshot was made just now, so that the listing behind that of a plain table can be reused.
    """
    requested = None if keys is None else set(keys)
    partitions = snapshot.by_partition(requested)
    root = handle.table.root
    paths = None if requested is None else [file.path for files in partitions.values() for file in files]
    known = snapshot.stored if is_new else None
    stored = known if known is not None else listed(handle.fs, root, paths)
    with collector_paused():
        return {
            key: PlacedPartition(key, tuple([_placed(file, stored.get(f"{root}/{file.path}")) for file in files]))
            for key, files in partitions.items()
        }


def _placed(file: LiveFile, info: Mapping[str, Any] | None) -> PlacedFile:
    if info is None:
        return PlacedFile(file, "", MISSING, file.modified)
    return PlacedFile(
        live=file,
        etag=unquoted(info.get("ETag")),
        storage_class=str(info.get("StorageClass") or "STANDARD"),
        since=info.get("LastModified") or file.modified,
    )


def class_of_tier(spec: DatasetSpec, profile: Profile, tier: Tier) -> str | None:
    """The storage class of a tier on this server; hot is the class of new files. None where the server has none."""
    return spec.write.storage_class if tier == "hot" else profile.tier_classes.get(tier)


def tier_of_class(spec: DatasetSpec, profile: Profile, storage_class: str) -> Tier | None:
    """The hottest tier of a storage class on this server, or None."""
    return next((tier for tier in TIER_ORDER if class_of_tier(spec, profile, tier) == storage_class), None)
