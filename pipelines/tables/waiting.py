"""Where the files of a plain table wait while workers write them: hidden from readers, until a copy publishes each."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from tierlake.pipelines.tables.plain import PlainParquetTable

if TYPE_CHECKING:
    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["WAITING", "WaitingRoom"]

WAITING = "_lake/waiting/"
"""Below the root. What a run that died left here, `vacuum` deletes."""


class WaitingRoom(PlainParquetTable):
    """A plain table to which writing publishes nothing."""

    is_published_by_writing = False

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:
        """A new name for every attempt."""
        name = f"part-{token}-{uuid.uuid4().hex[:12]}-{number:05d}.{suffix}"
        return f"{WAITING}{key.prefix}/{name}" if key.items else f"{WAITING}{name}"
