"""What a mover must do: one file to one tier, safely, any number of times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.objects.transition import TransitionResult, Written
    from tierlake.pipelines.model.spec import Tier

__all__ = ["Move", "Moved", "Mover", "Outcome"]

Outcome = Literal["moved", "pending", "unchanged"]
"""`pending`: what we can do is done, and the server will move the file by itself."""


@dataclass(frozen=True, slots=True)
class Move:
    """One file's move.

    Attributes:
        tier: Where it goes.
        storage_class: The class that stands for the tier on this server.
        from_class: Where it is.
        etag: Of the object that is meant.
        exclusive: Whether others may replace the object at any moment: plain tables' are.
    """

    tier: Tier
    storage_class: str
    from_class: str
    etag: str
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did.

    Attributes:
        outcome: Whether anything had to be done.
        written: The object that it wrote anew, as listings show it; None where it wrote none, or cannot tell. Plain
            tables know by it that no row has changed.
    """

    outcome: Outcome
    written: Written | None = None

    @classmethod
    def of(cls, result: TransitionResult) -> Moved:
        """What the connector says of it."""
        outcome: Outcome = "pending" if result.pending else "moved" if result.changed else "unchanged"
        return cls(outcome, result.written)


class Mover(Protocol):
    """Moves files between tiers; keys never change, so readers notice nothing."""

    @property
    def priced_as(self) -> Literal["copy", "tag"]:
        """Which requests a move is charged for."""

    def obstacle(self, fs: LakeFileSystem, root: str, tier: Tier, storage_class: str) -> str | None:
        """Why this tier cannot be reached here, in words; None where it can.

        Args:
            fs: The connector.
            root: The table's `bucket/prefix`.
            tier: Where files should go.
            storage_class: The class that stands for it on this server.
        """

    def move_many(self, fs: LakeFileSystem, moves: Mapping[str, Move]) -> Iterator[tuple[str, Moved | Failure]]:
        """Move many files, those that are not on their way already; a failure keeps no other file from moving.

        Metadata, content type, tags and encryption stay.

        Args:
            fs: May write below the table's root.
            moves: From where to where, by `bucket/key`.

        Yields:
            Each path, as it is done, with what was done (`unchanged` where nothing had to be), or with the error in its
            place: `PreconditionFailed` where the object is another one by now.
        """
