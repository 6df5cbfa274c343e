"""Moving by a tag that a lifecycle rule of the bucket acts on: MinIO's remote tiers.

The rule (`connector.bucket`) moves what carries the tag `tier=<tier>`. Setting the tag leaves readers of the object
alone; the server's scanner moves it within about a minute, and from then on the object reports the tier's class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from connector.transition import TIER_TAG

if TYPE_CHECKING:
    from connector.filesystem import LakeFileSystem
    from pipelines.movers.protocol import Outcome
    from pipelines.spec import Tier

__all__ = ["TagMover"]


class TagMover:
    """Tags an object; the server does the rest."""

    priced_as: Literal["copy", "tag"] = "tag"

    def obstacle(self, fs: LakeFileSystem, root: str, tier: Tier, storage_class: str) -> str | None:
        """Why this tier cannot be reached: the bucket has no rule that acts on the tag."""
        return None

    def move(self, fs: LakeFileSystem, path: str, *, tier: Tier, storage_class: str, etag: str) -> Outcome:  # noqa: ARG002 - the protocol's
        """Tag it, unless the tag is there already and the server has not come by yet; see `Mover.move`."""
        if tier != "hot" and fs.get_tags(path).get(TIER_TAG) == tier:
            return "unchanged"
        result = fs.tag_tier(path, tier, if_match=etag)
        if result.pending:
            return "pending"
        return "moved" if result.changed else "unchanged"
