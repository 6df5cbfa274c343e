"""Moving by a self-copy with another storage class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tierlake.pipelines.movers.protocol import Moved

if TYPE_CHECKING:
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

    def move(self, fs: LakeFileSystem, path: str, move: Move) -> Moved:
        """Copy it, if it is still the object that was meant; see `Mover.move`."""
        moved = fs.transition(path, storage_class=move.storage_class, if_match=move.etag, exclusive=move.exclusive)
        return Moved.of(moved)
