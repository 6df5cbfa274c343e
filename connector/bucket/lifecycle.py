"""Our lifecycle rules among those of others: abort uploads, expire old versions, move tagged objects.

Days count from the start of an upload, from the replacement of a version, and from the creation of an object.
"""

from __future__ import annotations

import asyncio
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tierlake.connector.bucket.items import Item, Part, merged
from tierlake.connector.bucket.minio_tier import known_tiers
from tierlake.connector.errors import AccessDenied, InvalidSetting, ObjectNotFound
from tierlake.connector.nearest import did_you_mean
from tierlake.connector.objects.transition import TIER_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.bucket.items import Site
    from tierlake.connector.bucket.spec import BucketSpec
    from tierlake.connector.client.store import Store
    from tierlake.connector.profiles import Profile

__all__ = ["RULE_PREFIX", "lifecycle", "lifecycle_rules", "rule_id", "rules_part", "tier_rule", "tier_rules"]

RULE_PREFIX = "tierlake-tier-"
"""Prefix of the ids of our rules that move objects."""
ABORT = "tierlake-abort-uploads"
NONCURRENT = "tierlake-expire-noncurrent"
_MINIMUM_DAYS = {"STANDARD_IA": 30, "ONEZONE_IA": 30}
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html"""
_SMALLEST = "TransitionDefaultMinimumObjectSize"
"""A setting of the whole configuration; a PUT that does not repeat it resets it:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html"""
_SMALLEST_DEFAULT = "all_storage_classes_128K"

Rule = dict[str, Any]


def tier_rule(tier: str, storage_class: str) -> Rule:
    """The rule that moves objects with a tier's tag, at the server's next pass and as early as the class allows.

    The tag is the only filter: a table's log is never tagged, so it is never moved.

    Args:
        tier: The tier's name, the tag's value.
        storage_class: The storage class, or the remote tier's name.
    """
    return {
        "ID": f"{RULE_PREFIX}{tier}",
        "Status": "Enabled",
        "Filter": {"Tag": {"Key": TIER_TAG, "Value": tier}},
        "Transitions": [{"Days": _MINIMUM_DAYS.get(storage_class, 0), "StorageClass": storage_class}],
    }


def tier_rules(profile: Profile, tiers: Iterable[str]) -> dict[str, Rule]:
    """The rules that move objects to a profile's tiers, by id; `hot` needs none.

    Raises:
        InvalidSetting: The profile has no such tier; the nearest name is in the hint.
    """
    rules = {}
    for tier in tiers:
        if tier not in profile.tier_classes:
            raise InvalidSetting(
                f"{profile.name} has no tier {tier!r}; there are {', '.join(profile.tier_classes)}",
                hint=did_you_mean(tier, profile.tier_classes, likeness=0.5),
            )
        if tier != "hot":
            rule = tier_rule(tier, profile.tier_classes[tier])
            rules[rule["ID"]] = rule
    return rules


async def lifecycle_rules(store: Store, bucket: str) -> list[Rule]:
    """A bucket's lifecycle rules; none where it has no lifecycle."""
    try:
        response = await store.send("get_bucket_lifecycle_configuration", Bucket=bucket)
    except ObjectNotFound:
        return []
    rules: list[Rule] = response.get("Rules", [])
    return rules


async def lifecycle(site: Site, spec: BucketSpec) -> Part:
    """The part of the lifecycle rules."""
    requested = spec.lifecycle
    if requested is None:
        return Part()
    configuration = await site.read("get_bucket_lifecycle_configuration")
    expected: dict[str, Rule | None] = {}
    for name, age in ((ABORT, requested.abort_uploads_after), (NONCURRENT, requested.expire_noncurrent_after)):
        if age is not None:
            expected[name] = _timed_rule(name, age.days) if age else None
    if requested.tiers is not None:
        present = map(rule_id, configuration.get("Rules", ()))
        expected |= dict.fromkeys(name for name in present if name.startswith(RULE_PREFIX))
        expected |= tier_rules(site.profile, requested.tiers)
    return rules_part(site, configuration, expected, await _refusals(site, spec, expected))


def rules_part(
    site: Site,
    configuration: dict[str, Any],
    expected: Mapping[str, Rule | None],
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Part:
    """The part that puts our rules into a bucket's lifecycle.

    Args:
        site: The bucket.
        configuration: Its lifecycle as it is.
        expected: Our rules by id; None removes a rule.
        refused: The rules that the server does not accept, with what it offers instead.
    """
    present: list[Rule] = configuration.get("Rules", [])
    doable = {name: rule for name, rule in expected.items() if name not in refused}
    result = merged(present, doable, name=rule_id, plain=_plain)
    now = {rule_id(rule): _text(rule) for rule in present}
    items = [
        Item(
            _aspect(name),
            now.get(name, ""),
            _text(rule),
            "lacking" if name in refused else result.actions[name],
            refused.get(name, ""),
        )
        for name, rule in expected.items()
        if rule is not None or result.actions[name] != "none"
    ]
    kept = configuration.get(_SMALLEST, _SMALLEST_DEFAULT)
    smallest = {} if kept == _SMALLEST_DEFAULT else {_SMALLEST: kept}
    return Part(tuple(items), partial(_write, site, result.entries, smallest))


async def _write(site: Site, rules: list[Rule], smallest: dict[str, str]) -> None:
    if rules:
        await site.send("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules}, **smallest)
    else:  # no server accepts a lifecycle without rules
        await site.send("delete_bucket_lifecycle")


async def _refusals(site: Site, spec: BucketSpec, expected: Mapping[str, Rule | None]) -> dict[str, str]:
    """The rules that this server does not accept, with what it offers instead."""
    profile = site.profile
    rules = {name: rule for name, rule in expected.items() if rule is not None}
    fields = {ABORT: "abort_uploads_rule", NONCURRENT: "versions"}
    missing = {name: fields.get(name, "lifecycle_transitions") for name in rules}
    refused = {
        name: f"instead: {profile.alternative(field)}" for name, field in missing.items() if not getattr(profile, field)
    }
    moving = {name: rule["Transitions"][0]["StorageClass"] for name, rule in rules.items() if "Transitions" in rule}
    if moving and profile.remote_tiers:
        known = await _known_tiers(site, spec)
        for name, tier in moving.items():
            if known is not None and tier not in known:
                refused[name] = f"the server has no remote tier {tier}: say in `remote_tiers` where it is"
    return refused


async def _known_tiers(site: Site, spec: BucketSpec) -> set[str] | None:
    """The remote tiers that exist or that the spec adds; None if only an administrator may list them."""
    try:
        present = await asyncio.to_thread(known_tiers, site.store)
    except AccessDenied:
        return None
    return present.keys() | {tier.name for tier in spec.remote_tiers}


def _timed_rule(name: str, days: int) -> Rule:
    action = {
        ABORT: {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}},
        NONCURRENT: {"NoncurrentVersionExpiration": {"NoncurrentDays": days}},
    }[name]
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": ""}, **action}


def rule_id(rule: Rule) -> str:
    """A rule's id; empty where it has none."""
    return str(rule.get("ID", ""))


def _aspect(name: str) -> str:
    timed = {ABORT: "abort incomplete uploads", NONCURRENT: "expire old versions"}
    return timed.get(name) or f"move to tier {name.removeprefix(RULE_PREFIX)}"


def _plain(rule: Rule) -> object:
    """A rule for comparison: servers fill in 0 days, and spell a filter for all objects in two ways."""
    plain = {field: value for field, value in rule.items() if value and field != "ID"}
    plain["Filter"] = {field: value for field, value in (rule.get("Filter") or {}).items() if value}
    if "Transitions" in plain:
        plain["Transitions"] = [{"Days": 0, **transition} for transition in rule["Transitions"]]
    return plain


def _text(rule: Rule | None) -> str:
    """One of our rules in words, with changes that somebody else made to it."""
    if rule is None:
        return ""
    parts = []
    if "AbortIncompleteMultipartUpload" in rule:
        parts.append(f"after {rule['AbortIncompleteMultipartUpload']['DaysAfterInitiation']} d")
    if "NoncurrentVersionExpiration" in rule:
        parts.append(f"after {rule['NoncurrentVersionExpiration'].get('NoncurrentDays', 0)} d")
    for transition in rule.get("Transitions", ()):
        days = transition.get("Days", 0)
        parts.append(f"{transition['StorageClass']}{f' from {days} d on' if days else ''}")
    where = {field: value for field, value in (rule.get("Filter") or {}).items() if value and field != "Tag"}
    parts += [f"only {where}"] if where else []
    parts += ["disabled"] if rule.get("Status") != "Enabled" else []
    return ", ".join(parts) or "something else"
