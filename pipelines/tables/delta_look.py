"""A Delta table as it was opened for a snapshot, so that later work on the snapshot does not open it again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from tierlake.pipelines.tables.snapshot import Change

__all__ = ["DeltaLook", "is_of_base"]

_LOOK_SECONDS = 60.0
"""How long a commit may reuse its base's open table: a log that was replaced meanwhile would go unnoticed."""


class DeltaLook:
    """The open table, for one commit and for any number of reads."""

    def __init__(self, table: DeltaTable) -> None:
        """Keep a table that was opened just now."""
        self.table = table
        self._at = time.monotonic()
        self._claim = threading.Lock()

    def claimed(self) -> DeltaTable | None:
        """The table, for one commit soon after; None for every other."""
        is_recent = time.monotonic() - self._at < _LOOK_SECONDS
        return self.table if is_recent and self._claim.acquire(blocking=False) else None


def is_of_base(change: Change, table: DeltaTable) -> bool:
    """Whether a table is the one from which the base of a change was read, on a first attempt."""
    look = change.base.opened
    return isinstance(look, DeltaLook) and look.table is table
