"""What a bucket's policy denies to everybody: our statements among those of others."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tierlake.connector.bucket.items import Item, Part, merged
from tierlake.connector.bucket.statements import (
    ABOUT_ENCRYPTION,
    ASPECTS,
    CANARY,
    INSECURE,
    WRONG_ENCRYPTION,
    WRONG_KEY,
    canary,
    deny_insecure,
    deny_wrong,
    plain,
    refuses,
    sid_of,
    statements_in,
    text,
)
from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.connector.errors import AccessDenied, ObjectNotFound, ServerError, UnsupportedByServer
from tierlake.connector.settings import is_aws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.bucket.items import Merged, Site
    from tierlake.connector.bucket.spec import BucketSpec
    from tierlake.connector.bucket.statements import Statement

__all__ = ["denied_encryption", "denied_transport", "read_policy"]

_VERSION = "2012-10-17"
_HTTP = (
    "the endpoint is plain HTTP: the statement would lock everybody out, on some servers the administrator too; "
    "use an https endpoint"
)
_BEHIND_PROXY = (
    "an endpoint at which the server itself speaks TLS, or deny_insecure_transport: null. It takes this https "
    "connection for plain HTTP, as TLS ends before it: the statement would lock everybody out"
)
_NO_ARN = "the policy compares the key's ARN: write encryption: sse-kms:arn:..."
_ANONYMOUS = (
    "binds requests without credentials alone on this server: for users, put the statement into their policies too"
)

_Expected = dict[str, "Statement | None"]


async def denied_encryption(site: Site, spec: BucketSpec) -> Part:
    """The part that denies writes with weaker encryption than the bucket's, or with another key."""
    encryption = spec.default_encryption
    is_denied = None if spec.policy is None else spec.policy.deny_wrong_encryption
    if is_denied is None or (is_denied and encryption is None):
        return Part()
    expected: _Expected = dict.fromkeys(ABOUT_ENCRYPTION)
    refused: dict[str, str] = {}
    if is_denied:
        expected |= deny_wrong(site.bucket, encryption, site.profile.encryptions)
        if encryption.mode not in site.profile.encryptions:
            other = site.profile.encryption_alternatives.get(encryption.mode, "sse-s3")
            refused = {sid: f"instead: {other}" for sid in ABOUT_ENCRYPTION if expected[sid]}
        elif expected[WRONG_KEY] and not encryption.key_id.startswith("arn:"):
            refused = {WRONG_KEY: _NO_ARN}
    notes = {}
    own_mode = site.store.policy.for_key(site.bucket, "object").encryption.mode
    algorithms = expected[WRONG_ENCRYPTION]
    if algorithms is not None and refuses(algorithms, own_mode):
        notes[WRONG_ENCRYPTION] = f"our own writes ask for {own_mode} and would be denied: set TIERLAKE_ENCRYPTION"
    return await _part(site, expected, refused, notes)


async def denied_transport(site: Site, spec: BucketSpec) -> Part:
    """The part that denies requests over plain HTTP."""
    is_denied = None if spec.policy is None else spec.policy.deny_insecure_transport
    if is_denied is None:
        return Part()
    expected: _Expected = {INSECURE: deny_insecure(site.bucket) if is_denied else None, CANARY: None}
    refused = {INSECURE: _HTTP} if is_denied and urlsplit(site.endpoint).scheme == "http" else {}
    return await _part(site, expected, refused, {})


async def read_policy(site: Site) -> dict[str, Any]:
    """The bucket's policy; empty if it has none."""
    response = await site.read("get_bucket_policy")
    try:
        return json_object(response["Policy"]) if response else {}
    except UnreadableDocument as error:
        message = f"the bucket's policy, as the server has it, is no document: {error}"
        raise ServerError(message, bucket=site.bucket) from error


async def _part(site: Site, expected: _Expected, refusals: dict[str, str], notes: dict[str, str]) -> Part:
    """The part that puts statements into the policy; a statement that is in it already is never refused."""
    if not site.profile.bucket_policy:
        lacking = [site.lacking(ASPECTS[sid], "denied", "bucket_policy") for sid, ours in expected.items() if ours]
        return Part(tuple(lacking))
    present = statements_in(await read_policy(site))
    whole = _merged(present, expected)
    refused = {sid: note for sid, note in refusals.items() if whole.actions[sid] != "none"}
    doable = {sid: ours for sid, ours in expected.items() if sid not in refused}
    now = {sid_of(statement): text(statement) for statement in reversed(present)}
    anonymous = _ANONYMOUS if site.profile.policy_binds == "anonymous" else ""
    items = [
        Item(
            ASPECTS[sid],
            now.get(sid, ""),
            text(ours),
            "lacking" if sid in refused else whole.actions[sid],
            refused.get(sid) or notes.get(sid) or (anonymous if ours else ""),
        )
        for sid, ours in expected.items()
        if ours is not None or whole.actions[sid] != "none"
    ]
    return Part(tuple(items), partial(_write, replace(site, exists=True), doable))


def _merged(present: list[Statement], expected: Mapping[str, Statement | None]) -> Merged[Statement]:
    return merged(present, expected, name=sid_of, plain=plain)


async def _write(site: Site, expected: _Expected) -> None:
    """Put the statements into the policy as it is now."""
    document = await read_policy(site)
    present = statements_in(document)
    result = _merged(present, expected)
    # AWS has no proxy that ends TLS before the server, and denials that do not bind users cannot lock us out.
    may_lock_out = site.profile.policy_binds == "everybody" and not is_aws(site.endpoint)
    if may_lock_out and result.actions.get(INSECURE) in {"create", "change"}:
        await _try_on_one_key(site, document)
    await _put(site, document, result.entries)


async def _put(site: Site, document: dict[str, Any], entries: list[Statement]) -> None:
    if entries:
        policy = {"Version": _VERSION, **document, "Statement": entries}
        await site.send("put_bucket_policy", Policy=json.dumps(policy))
    else:
        await site.send("delete_bucket_policy")


async def _try_on_one_key(site: Site, document: dict[str, Any]) -> None:
    """Deny plain HTTP for one key that does not exist, and try it: a lock-out could not be undone.

    Raises:
        UnsupportedByServer: The server takes our HTTPS requests for HTTP. The policy is as it was.
    """
    key = f"tierlake-canary-{uuid.uuid4().hex}"
    present = statements_in(document)
    await _put(site, document, [*present, canary(site.bucket, key)])
    try:
        await site.store.send("head_object", Bucket=site.bucket, Key=key)
    except ObjectNotFound:
        return
    except AccessDenied as error:
        await _put(site, document, present)
        raise UnsupportedByServer(
            site.profile.name, "denying plain HTTP behind a proxy", _BEHIND_PROXY, bucket=site.bucket
        ) from error
