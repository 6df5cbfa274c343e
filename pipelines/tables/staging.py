"""Files on their way to a commit: from local disk into the store, and several of a partition that must become one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from tierlake.connector.transfer.part_sizes import PARTS_BESIDE_OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.snapshot import StagedFile

__all__ = ["several", "uploaded"]


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
    fs.put_file(
        staged.local,
        f"{root}/{staged.file.path}",
        max_concurrency=PARTS_BESIDE_OTHERS,
        **({"Metadata": dict(metadata)} if metadata else {}),
    )
    return replace(staged, local=None)


def several(staged: Iterable[StagedFile]) -> tuple[tuple[PartitionKey, tuple[StagedFile, ...]], ...]:
    """Partitions with more than one file, in key order."""
    by_partition: dict[PartitionKey, list[StagedFile]] = defaultdict(list)
    for one in staged:
        by_partition[one.file.key].append(one)
    return tuple((key, tuple(files)) for key, files in sorted(by_partition.items()) if len(files) > 1)
