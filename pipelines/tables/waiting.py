"""Where the files of a plain table wait while workers write them: hidden from readers, until a copy publishes each."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tierlake.pipelines.tables.paths import WAITING
from tierlake.pipelines.tables.plain import PlainParquetTable
from tierlake.pipelines.tables.runs import RUN_METADATA
from tierlake.pipelines.tables.staging import uploaded

if TYPE_CHECKING:
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.tables.protocol import StagedFile

__all__ = ["WaitingRoom"]


class WaitingRoom(PlainParquetTable):
    """A plain table to which writing publishes nothing."""

    def stage(self, fs: LakeFileSystem, staged: StagedFile, token: str) -> StagedFile:
        """Nobody sees it where it waits; the copy that publishes it keeps the run's token."""
        return uploaded(fs, self.root, staged, {RUN_METADATA: token})

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:
        """A new name for every attempt."""
        name = f"part-{token}-{uuid.uuid4().hex[:12]}-{number:05d}.{suffix}"
        return f"{WAITING}{key.prefix}/{name}" if key.items else f"{WAITING}{name}"
