"""Single aspects of a bucket, set by one call; made of the same parts as a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsspec.asyn import sync

from tierlake.connector.bucket.lifecycle import RULE_PREFIX, rule_id, rules_part, tier_rules
from tierlake.connector.bucket.plan import apply_parts, site_of
from tierlake.connector.bucket.setup import BUCKET, default_encryption, existence, versioning
from tierlake.connector.bucket.spec import BucketSpec
from tierlake.connector.errors import BucketNotFound, UnsupportedByServer
from tierlake.connector.names import check_new_bucket
from tierlake.connector.policy.encryption import SseKms, Unencrypted, parse_encryption

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierlake.connector.client.store import Store
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.policy.encryption import Encryption

__all__ = ["BucketChange", "LifecycleChange", "ensure_bucket", "ensure_tier_rules"]


@dataclass(frozen=True)
class BucketChange:
    """What was done to a bucket.

    Args:
        bucket: The bucket's name.
        created: It did not exist before.
        changed: What was set: `versioning`, `default encryption`.
        lacking: What this server cannot do, one sentence each.
    """

    bucket: str
    created: bool = False
    changed: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was done."""
        return self.created or bool(self.changed)


@dataclass(frozen=True)
class LifecycleChange:
    """What was done to a bucket's lifecycle.

    Args:
        bucket: The bucket's name.
        added: Ids of rules that are new or different now.
        kept: Ids of the bucket's other rules, which were left as they are.
    """

    bucket: str
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def ensure_bucket(
    fs: LakeFileSystem,
    name: str,
    *,
    versioning: bool | None = None,
    encryption: str | Encryption | None = "sse-s3",
) -> BucketChange:
    """Create a bucket if it is missing, and set what differs; `plan_bucket` covers all other aspects.

    Args:
        fs: The filesystem.
        name: The bucket's name.
        versioning: Keep versions, or suspend versioning; None leaves it.
        encryption: Default encryption of writes that name none; None leaves it.

    Returns:
        What was done. What the server lacks is named in `lacking`.

    Raises:
        InvalidName: The name is not a valid bucket name.
        AlreadyExists: Somebody else owns a bucket of that name.
        InvalidSetting: The encryption cannot be a bucket's default.
    """
    check_new_bucket(name)
    default = None if encryption is None else parse_encryption(encryption)
    spec = BucketSpec(
        bucket=name,
        versioning=versioning,
        encryption=None if isinstance(default, Unencrypted) else default,
        bucket_key=isinstance(default, SseKms) and default.bucket_key,
    )
    change: BucketChange = sync(fs.loop, _ensure_bucket, fs.store, spec)
    return change


async def _ensure_bucket(store: Store, spec: BucketSpec) -> BucketChange:
    site = await site_of(store, spec.bucket)
    parts = [await look(site, spec) for look in (existence, versioning, default_encryption)]
    applied = await apply_parts(parts)
    lacking = [
        f"{site.profile.name} does not support {item.aspect}: {item.note}"
        for part in parts
        for item in part.items
        if item.action == "lacking"
    ]
    for error in applied.failures.values():
        if not isinstance(error, UnsupportedByServer):
            raise error
        lacking.append(str(error))
    changed = tuple(item.aspect for item in applied.done if item.aspect != BUCKET)
    return BucketChange(spec.bucket, not site.exists, changed, tuple(lacking))


def ensure_tier_rules(fs: LakeFileSystem, bucket: str, tiers: Iterable[str]) -> LifecycleChange:
    """Install the lifecycle rules that move tagged objects; rules of other tiers stay.

    Args:
        fs: The filesystem.
        bucket: The bucket's name.
        tiers: Tiers that the server's profile knows; `hot` needs no rule.

    Returns:
        What was done; nothing when the rules are there already.

    Raises:
        UnsupportedByServer: The server's lifecycle moves nothing; its tiers are reached by copies.
        InvalidSetting: The profile has no such tier.
        BucketNotFound: There is no such bucket.
    """
    change: LifecycleChange = sync(fs.loop, _ensure_tier_rules, fs.store, bucket, list(tiers))
    return change


async def _ensure_tier_rules(store: Store, bucket: str, tiers: list[str]) -> LifecycleChange:
    profile = await store.profile()
    if not profile.lifecycle_transitions:
        raise UnsupportedByServer(
            profile.name,
            "lifecycle rules that move objects",
            profile.alternative("lifecycle_transitions"),
            bucket=bucket,
        )
    site = await site_of(store, bucket)
    if not site.exists:
        raise BucketNotFound(
            f"There is no bucket {bucket!r}", hint=f"`tierlake bucket apply {bucket}` creates it", bucket=bucket
        )
    configuration = await site.read("get_bucket_lifecycle_configuration")
    rules = tier_rules(profile, tiers)
    part = rules_part(site, configuration, rules)
    added = tuple(name for name, item in zip(rules, part.items, strict=True) if item.is_todo)
    if added:
        await part.write()
    kept = tuple(name for rule in configuration.get("Rules", ()) if not (name := rule_id(rule)).startswith(RULE_PREFIX))
    return LifecycleChange(bucket, added, kept)
