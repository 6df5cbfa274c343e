"""Moving by a tag that a lifecycle rule of the bucket acts on: MinIO's remote tiers.

The rule (`connector.bucket.lifecycle`) moves what carries the tag `tier=<tier>`. Setting the tag leaves readers of the
object alone; the server's scanner moves it within about a minute, and from then on the object reports the tier's class.
What is in a remote tier already is not looked at by the scanner again (seen): it goes to the next tier by a copy onto
itself that carries the new tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fsspec.asyn import sync

from tierlake.connector.bucket.lifecycle import lifecycle_rules
from tierlake.connector.errors import AccessDenied
from tierlake.connector.objects.bulk import TierTag
from tierlake.connector.objects.transition import TIER_TAG
from tierlake.connector.policy.rules import STANDARD
from tierlake.pipelines.movers.protocol import Moved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tierlake.connector.client.concurrency import Failure
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.spec import Tier
    from tierlake.pipelines.movers.protocol import Move

__all__ = ["TagMover"]


class TagMover:
    """Tags an object; the server does the rest."""

    priced_as: Literal["copy", "tag"] = "tag"

    def obstacle(self, fs: LakeFileSystem, root: str, tier: Tier, storage_class: str) -> str | None:
        """Why this tier cannot be reached: the bucket has no rule that acts on the tag."""
        bucket = root.partition("/")[0]
        if tier == "hot":
            return None
        try:
            rules: list[dict[str, Any]] = sync(fs.loop, lifecycle_rules, fs.store, bucket)
        except AccessDenied:
            return None  # who may not look at the rules may still set tags
        if any(_moves(rule, tier, storage_class) for rule in rules):
            return None
        return (
            f"bucket {bucket} has no lifecycle rule that moves tier {tier} to {storage_class} on {fs.profile.name}; "
            "`tierlake bucket apply` sets it up (lifecycle.tiers in its spec)"
        )

    def move_many(self, fs: LakeFileSystem, moves: Mapping[str, Move]) -> Iterator[tuple[str, Moved | Failure]]:
        """Tag those whose tag the server has not been told yet; see `Mover.move_many`."""
        requested = (
            TierTag(path, move.tier, at_once=move.from_class != STANDARD, if_match=move.etag)
            for path, move in moves.items()
        )
        for tag, outcome in fs.tag_tier_many(requested):
            if isinstance(outcome, Exception):
                yield tag.path, outcome
            elif not tag.at_once and outcome.pending and not outcome.tagged:  # the server has not come by yet
                yield tag.path, Moved("unchanged")
            else:
                yield tag.path, Moved.of(outcome)


def _moves(rule: dict[str, Any], tier: str, storage_class: str) -> bool:
    """Whether a lifecycle rule moves what is tagged with the tier, and nothing else selects."""
    return (
        rule.get("Status") == "Enabled"
        and rule.get("Filter", {}).get("Tag") == {"Key": TIER_TAG, "Value": tier}
        and any(transition.get("StorageClass") == storage_class for transition in rule.get("Transitions") or ())
    )
