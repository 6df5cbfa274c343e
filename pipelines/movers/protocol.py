"""What a mover must do: one file to one tier, safely, any number of times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from connector.filesystem import LakeFileSystem
    from pipelines.spec import Tier

__all__ = ["Move", "Mover", "Outcome"]

Outcome = Literal["moved", "pending", "unchanged"]
"""`pending`: what we can do is done, and the server will move the file by itself."""


@dataclass(frozen=True, slots=True)
class Move:
    """One file's move.

    Attributes:
        tier: where it goes.
        storage_class: the class that stands for the tier on this server.
        from_class: where it is.
        etag: of the object that is meant.
    """

    tier: Tier
    storage_class: str
    from_class: str
    etag: str


class Mover(Protocol):
    """Moves files between tiers; keys never change, so readers notice nothing."""

    @property
    def priced_as(self) -> Literal["copy", "tag"]:
        """Which requests a move is charged for."""

    def obstacle(self, fs: LakeFileSystem, root: str, tier: Tier, storage_class: str) -> str | None:
        """Why this tier cannot be reached here, in words; None where it can.

        Args:
            fs: the connector.
            root: the table's `bucket/prefix`.
            tier: where files should go.
            storage_class: the class that stands for it on this server.
        """

    def move(self, fs: LakeFileSystem, path: str, move: Move) -> Outcome:
        """Move one file, unless it is on its way already.

        Metadata, content type, tags and encryption stay.

        Args:
            fs: may write below the table's root.
            path: `bucket/key`.
            move: from where to where.

        Returns:
            What was done; `unchanged` where nothing had to be.

        Raises:
            PreconditionFailed: the object is another one by now.
        """
