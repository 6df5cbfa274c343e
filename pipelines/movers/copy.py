"""Moving by a self-copy with another storage class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tierlake.connector.objects.bulk import Transition
from tierlake.pipelines.movers.protocol import Moved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.movers.protocol import Move

__all__ = ["CopyMover"]


class CopyMover:
    """Copies an object onto itself; the connector keeps what a plain copy would drop."""

    priced_as: Literal["copy", "tag"] = "copy"

    def obstacle(self, fs: LakeFileSystem, root: str, tier: Tier, storage_class: str) -> str | None:  # noqa: ARG002 - the protocol's
        """Why this tier cannot be reached: only a class that the server does not take."""
        if storage_class in fs.profile.storage_classes:
            return None
        return f"{fs.profile.name} does not take objects in {storage_class}, the class of tier {tier}"

    def move_many(self, fs: LakeFileSystem, moves: Mapping[str, Move]) -> Iterator[tuple[str, Moved | Failure]]:
        """Copy those that are still the objects that were meant; see `Mover.move_many`."""
        requested = (Transition(path, move.storage_class, move.etag, move.exclusive) for path, move in moves.items())
        for transition, outcome in fs.transition_many(requested):
            yield transition.path, outcome if isinstance(outcome, Exception) else Moved.of(outcome)
