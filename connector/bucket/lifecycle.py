"""Lifecycle rules that move what is tagged ``tier=<tier>``; rules that others made stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsspec.asyn import sync

from connector.errors import InvalidSetting, ObjectNotFound, UnsupportedByServer
from connector.transition import TIER_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connector.filesystem import LakeFileSystem

RULE_PREFIX = "tierlake-tier-"
"""The ids of our rules begin so."""


@dataclass(frozen=True)
class LifecycleChange:
    """What was done to a bucket's lifecycle.

    Args:
        bucket: The bucket's name.
        added: Ids of rules that are new or different now.
        kept: Ids of rules that were there and are not ours.
    """

    bucket: str
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def tier_rule(tier: str, storage_class: str) -> dict[str, Any]:
    """The rule that moves what is tagged with a tier, as soon as the server looks.

    Only the tag selects: a table's log is never tagged, and so never moved.

    Args:
        tier: The tier's name, the tag's value.
        storage_class: The storage class, or the remote tier's name.
    """
    return {
        "ID": f"{RULE_PREFIX}{tier}",
        "Status": "Enabled",
        "Filter": {"Tag": {"Key": TIER_TAG, "Value": tier}},
        "Transitions": [{"Days": 0, "StorageClass": storage_class}],
    }


def ensure_tier_rules(fs: LakeFileSystem, bucket: str, tiers: Iterable[str]) -> LifecycleChange:
    """Install the rules that move tagged objects.

    Args:
        fs: The filesystem.
        bucket: The bucket's name.
        tiers: Tiers that the server's profile knows; ``hot`` needs no rule.

    Returns:
        What was done; nothing when the rules are there already.

    Raises:
        UnsupportedByServer: The server's lifecycle moves nothing; its tiers are reached by copies.
        InvalidSetting: The profile has no such tier, or another rule has one of our ids.
    """
    change: LifecycleChange = sync(fs.loop, _ensure_tier_rules, fs, bucket, list(tiers))
    return change


async def _ensure_tier_rules(fs: LakeFileSystem, bucket: str, tiers: list[str]) -> LifecycleChange:
    profile = await fs.seam.profile()
    if not profile.lifecycle_transitions:
        raise UnsupportedByServer(
            profile.name, "lifecycle rules that move objects", f"the mover {profile.mover!r}", bucket=bucket
        )
    unknown = [tier for tier in tiers if tier not in profile.tier_classes]
    if unknown:
        raise InvalidSetting(f"{profile.name} has no tier {unknown[0]!r}; there are {', '.join(profile.tier_classes)}")
    wanted = {
        rule["ID"]: rule for rule in (tier_rule(tier, profile.tier_classes[tier]) for tier in tiers if tier != "hot")
    }
    present = {rule.get("ID", ""): rule for rule in await lifecycle_rules(fs, bucket)}
    others = tuple(name for name in present if not name.startswith(RULE_PREFIX))
    different = tuple(name for name, rule in wanted.items() if not _same(present.get(name), rule))
    if different:
        rules = [rule for name, rule in present.items() if name not in wanted] + list(wanted.values())
        await fs.seam.send("put_bucket_lifecycle_configuration", Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    return LifecycleChange(bucket, different, others)


async def lifecycle_rules(fs: LakeFileSystem, bucket: str) -> list[dict[str, Any]]:
    """A bucket's lifecycle rules; none where it has no lifecycle."""
    try:
        response = await fs.seam.send("get_bucket_lifecycle_configuration", Bucket=bucket)
    except ObjectNotFound:
        return []
    rules: list[dict[str, Any]] = response.get("Rules", [])
    return rules


def _same(present: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Compare what we set; servers add fields with defaults."""
    if present is None or present.get("Status") != wanted["Status"]:
        return False
    transition = (present.get("Transitions") or [{}])[0]
    return bool(
        present.get("Filter", {}).get("Tag") == wanted["Filter"]["Tag"]
        and transition.get("StorageClass") == wanted["Transitions"][0]["StorageClass"]
        and transition.get("Days", 0) == 0
    )
