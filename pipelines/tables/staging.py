"""Files on their way to a commit: from local disk into the store, and several of a partition that must become one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.snapshot import StagedFile

__all__ = ["several", "uploaded"]

_PART_BYTES, _PARTS_AT_ONCE, _MOST_PARTS = 8 << 20, 2, 9000  # of an upload: they are in memory, for each that runs


def uploaded(
    fs: LakeFileSystem, root: str, staged: StagedFile, metadata: Mapping[str, str] | None = None
) -> StagedFile:
    """Upload a file from local disk to its path.

    Args:
        fs: Writes below the root, under the write policy of the file.
        root: `bucket/prefix`.
        staged: A file with `local`.
        metadata: The object's metadata.

    Returns:
        The file, without `local`.
    """
    part_bytes = max(_PART_BYTES, staged.file.size // _MOST_PARTS)
    fs.put_file(
        staged.local,
        f"{root}/{staged.file.path}",
        chunksize=part_bytes,
        max_concurrency=_PARTS_AT_ONCE,
        **({"Metadata": dict(metadata)} if metadata else {}),
    )
    return replace(staged, local=None)


def several(staged: Iterable[StagedFile]) -> tuple[tuple[PartitionKey, tuple[StagedFile, ...]], ...]:
    """Partitions with more than one file, in key order."""
    by_partition: dict[PartitionKey, list[StagedFile]] = defaultdict(list)
    for one in staged:
        by_partition[one.file.key].append(one)
    return tuple((key, tuple(files)) for key, files in sorted(by_partition.items()) if len(files) > 1)
