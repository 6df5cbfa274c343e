"""CORS rules: ours are kept as the spec says, among those of others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tierlake.connector.bucket.items import Item, Part, merged

if TYPE_CHECKING:
    from tierlake.connector.bucket.items import Site
    from tierlake.connector.bucket.spec import BucketSpec, CorsRule

__all__ = ["cors"]

RULE_PREFIX = "tierlake-"
"""Prefix of the ids of our rules."""


async def cors(site: Site, spec: BucketSpec) -> Part:
    """The part of the CORS rules: ours that are not in the spec are removed, those of others stay."""
    if spec.cors is None:
        return Part()
    expected: dict[str, dict[str, Any] | None] = {rule["ID"]: rule for rule in map(_rule, spec.cors)}
    if not site.profile.bucket_cors:
        items = [site.lacking(_aspect(name), _text(rule), "bucket_cors") for name, rule in expected.items() if rule]
        return Part(tuple(items))
    present: list[dict[str, Any]] = (await site.read("get_bucket_cors")).get("CORSRules", [])
    gone = {_name(rule): None for rule in present if _name(rule).startswith(RULE_PREFIX)}
    expected = {**gone, **expected}
    result = merged(present, expected, name=_name, plain=_plain)
    texts = {_name(rule): _text(rule) for rule in present}
    items = [
        Item(_aspect(name), texts.get(name, ""), _text(expected[name]), action)
        for name, action in result.actions.items()
    ]
    return Part(tuple(items), partial(_write, site, result.entries))


async def _write(site: Site, rules: list[dict[str, Any]]) -> None:
    if rules:
        await site.send("put_bucket_cors", CORSConfiguration={"CORSRules": rules})
    else:
        await site.send("delete_bucket_cors")


def _rule(rule: CorsRule) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ID": f"{RULE_PREFIX}{rule.id}",
        "AllowedOrigins": list(rule.origins),
        "AllowedMethods": list(rule.methods),
        "AllowedHeaders": list(rule.headers),
        "ExposeHeaders": list(rule.expose),
    }
    if rule.max_age is not None:
        document["MaxAgeSeconds"] = int(rule.max_age.total_seconds())
    return {field: value for field, value in document.items() if value != []}


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("ID", ""))


def _aspect(name: str) -> str:
    return f"CORS rule {name.removeprefix(RULE_PREFIX)}"


def _plain(rule: dict[str, Any]) -> object:
    """A rule for comparison: without the age of 0 that servers fill in, and with each list sorted."""
    return {field: sorted(value) if isinstance(value, list) else value for field, value in rule.items() if value}


def _text(rule: dict[str, Any] | None) -> str:
    if rule is None:
        return ""
    parts = [f"{', '.join(sorted(rule['AllowedMethods']))} from {', '.join(sorted(rule['AllowedOrigins']))}"]
    for field, label in (("AllowedHeaders", "headers"), ("ExposeHeaders", "exposes")):
        parts += [f"{label} {', '.join(sorted(rule[field]))}"] if rule.get(field) else []
    parts += [f"for {rule['MaxAgeSeconds']} s"] if rule.get("MaxAgeSeconds") else []
    return "; ".join(parts)
