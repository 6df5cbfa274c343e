"""What a bucket's policy denies to everybody: statements of ours among those of others.

A write that asks for less than the bucket's encryption is denied, and one that says nothing is not: the bucket's
default encrypts it. Denying what says nothing would end multipart uploads: their parts and their completion are
PutObject too, and name no encryption (seen: SeaweedFS refuses the completion, MinIO the parts).
``StringNotEqualsIfExists``, by which one condition would say it, is refused by SeaweedFS and MinIO (seen); ``Null``
together with ``StringNotEquals`` is not.
"""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connector.bucket.items import Item, Part, merged
from connector.encryption import SseKms
from connector.errors import AccessDenied, ObjectNotFound, UnsupportedByServer
from connector.settings import is_aws

if TYPE_CHECKING:
    from connector.bucket.items import Site
    from connector.bucket.spec import BucketSpec
    from connector.encryption import Encryption

__all__ = ["policy", "public_statements", "read_policy", "statements"]

SID_PREFIX = "Tierlake"
"""The Sids of our statements begin so: letters and digits alone, as AWS wants them
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html)."""
INSECURE = f"{SID_PREFIX}DenyInsecureTransport"
WRONG_ENCRYPTION = f"{SID_PREFIX}DenyWrongEncryption"
WRONG_KEY = f"{SID_PREFIX}DenyWrongKey"
CUSTOMER_KEY = f"{SID_PREFIX}DenyCustomerKey"
_CANARY = f"{SID_PREFIX}Canary"
_ASPECTS = {
    INSECURE: "deny plain HTTP",
    WRONG_ENCRYPTION: "deny other encryption",
    WRONG_KEY: "deny another KMS key",
    CUSTOMER_KEY: "deny customers' keys",
    _CANARY: "trial of a denial",
}
_VERSION = "2012-10-17"
_ALGORITHM = "s3:x-amz-server-side-encryption"
_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
_CUSTOMER = "s3:x-amz-server-side-encryption-customer-algorithm"
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html, condition keys
_ALGORITHMS = {"sse-s3": "AES256", "sse-kms": "aws:kms", "dsse-kms": "aws:kms:dsse"}
"""From the least to the most."""
_HTTP = (
    "the endpoint is plain HTTP: the statement would lock everybody out, on some servers the administrator too; "
    "use an https endpoint"
)
_BEHIND_PROXY = (
    "the server takes this https connection for plain HTTP, so that the statement would lock everybody out: TLS ends "
    "before it; let the server itself speak TLS, or say deny_insecure_transport: null"
)
_NO_ARN = "the policy compares the key's ARN: write encryption: sse-kms:arn:..."
_ANONYMOUS = (
    "binds requests without credentials alone on this server: for users, put the statement into their policies too"
)

Statement = dict[str, Any]


def statements(bucket: str, encryption: Encryption | None, modes: tuple[str, ...]) -> dict[str, Statement]:
    """Our statements, by Sid.

    Args:
        bucket: The bucket's name.
        encryption: The bucket's default; None leaves out what is about encryption.
        modes: Encryption modes that the server has.
    """
    everything = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    objects = everything[1:]
    found = {INSECURE: _deny(INSECURE, "s3:*", everything, {"Bool": {"aws:SecureTransport": "false"}})}
    if encryption is None:
        return found
    as_good = list(_ALGORITHMS)[list(_ALGORITHMS).index(encryption.mode) :]
    allowed = [_ALGORITHMS[mode] for mode in as_good if mode in modes]
    found[WRONG_ENCRYPTION] = _deny(WRONG_ENCRYPTION, "s3:PutObject", objects, _said_but_not(_ALGORITHM, *allowed))
    if isinstance(encryption, SseKms) and encryption.key_id:
        found[WRONG_KEY] = _deny(WRONG_KEY, "s3:PutObject", objects, _said_but_not(_KEY, encryption.key_id))
        found[CUSTOMER_KEY] = _deny(CUSTOMER_KEY, "s3:PutObject", objects, {"Null": {_CUSTOMER: "false"}})
    return found


def _said_but_not(key: str, *values: str) -> dict[str, Any]:
    return {"Null": {key: "false"}, "StringNotEquals": {key: list(values)}}


def _deny(sid: str, action: str, resources: list[str], condition: dict[str, Any]) -> Statement:
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resources,
        "Condition": condition,
    }


async def read_policy(site: Site) -> dict[str, Any]:
    """The bucket's policy; an empty one where it has none."""
    response = await site.read("get_bucket_policy")
    document: dict[str, Any] = json.loads(response["Policy"]) if response else {}
    return document


def _statements_in(document: dict[str, Any]) -> list[Statement]:
    found = document.get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def public_statements(document: dict[str, Any]) -> list[str]:
    """The statements of a policy that allow something to everybody, whatever their conditions say."""
    return [
        str(statement.get("Sid", number))
        for number, statement in enumerate(_statements_in(document), 1)
        if statement.get("Effect") == "Allow" and "*" in _flat(statement.get("Principal"))
    ]


async def policy(site: Site, spec: BucketSpec) -> Part:
    """What is denied to everybody."""
    if spec.policy is None:
        return Part()
    encryption = spec.default_encryption
    ours = statements(site.bucket, encryption, site.profile.encryptions)
    wanted: dict[str, Statement | None] = {_CANARY: None}
    if spec.policy.deny_insecure_transport is not None:
        wanted[INSECURE] = ours[INSECURE] if spec.policy.deny_insecure_transport else None
    about_encryption = (WRONG_ENCRYPTION, WRONG_KEY, CUSTOMER_KEY)
    if spec.policy.deny_wrong_encryption is False:
        wanted |= dict.fromkeys(about_encryption)
    elif spec.policy.deny_wrong_encryption and encryption is not None:
        wanted |= {sid: ours.get(sid) for sid in about_encryption}
    if not site.profile.bucket_policy:
        lacking = [site.lacking(_ASPECTS[sid], "denied", "bucket_policy") for sid, it in wanted.items() if it]
        return Part(tuple(lacking))
    document = await read_policy(site)
    present = _statements_in(document)
    refused = {sid: note for sid in wanted if (note := _refusal(site, spec, sid, wanted[sid], present))}
    result = merged(present, {sid: it for sid, it in wanted.items() if sid not in refused}, name=_sid, plain=_plain)
    items = [
        Item(
            _ASPECTS[sid],
            _text(sid, present),
            "denied" if sid in refused else _text(sid, result.entries),
            "lacking" if sid in refused else result.actions[sid],
            refused.get(sid) or _note(site, statement),
        )
        for sid, statement in wanted.items()
        if statement is not None or result.actions[sid] != "none"
    ]
    whole = {"Version": _VERSION, **document, "Statement": result.entries}
    is_tried = result.actions.get(INSECURE) in {"create", "change"} and _may_lock_out(site)
    return Part(tuple(items), partial(_write, site, whole, present if is_tried else None))


def _refusal(site: Site, spec: BucketSpec, sid: str, wanted: Statement | None, present: list[Statement]) -> str | None:
    """Why a statement cannot be put there, unless it is there already."""
    if wanted is None or any(_plain(statement) == _plain(wanted) for statement in present):
        return None
    if sid == INSECURE and urlsplit(site.endpoint).scheme == "http":
        return _HTTP
    encryption = spec.default_encryption
    if sid == WRONG_KEY and not str(encryption.key_id).startswith("arn:"):
        return _NO_ARN
    if sid == WRONG_ENCRYPTION and encryption.mode not in site.profile.encryptions:
        return f"instead: {site.profile.encryption_alternatives.get(encryption.mode, 'sse-s3')}"
    return None


def _note(site: Site, wanted: Statement | None) -> str:
    if wanted is None:
        return ""
    if site.profile.policy_binds == "anonymous":
        return _ANONYMOUS
    mine = site.fs.policy.for_key(site.bucket, "object").encryption
    spared = _flat(wanted["Condition"].get("StringNotEquals", {}).get(_ALGORITHM))
    if spared and _ALGORITHMS.get(mine.mode, spared[0]) not in spared:
        return f"this configuration's own writes ask for {mine.mode}, and would be denied: set TIERLAKE_ENCRYPTION"
    return ""


def _may_lock_out(site: Site) -> bool:
    """A proxy that ends TLS before the server is none of AWS's, and root is exempt where others are bound alone."""
    return site.profile.policy_binds == "everybody" and not is_aws(site.endpoint)


async def _write(site: Site, document: dict[str, Any], tried_on: list[Statement] | None) -> None:
    if not document["Statement"]:
        await site.send("delete_bucket_policy")
        return
    if tried_on is not None:
        await _try_on_one_key(site, document, tried_on)
    await site.send("put_bucket_policy", Policy=json.dumps(document))


async def _try_on_one_key(site: Site, document: dict[str, Any], present: list[Statement]) -> None:
    """Deny plain HTTP for one key that does not exist, and look: whoever locks himself out is out for good.

    Raises:
        UnsupportedByServer: The server takes our https for HTTP. The policy is as it was.
    """
    key = f"tierlake-canary-{uuid.uuid4().hex}"
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    canary = _deny(_CANARY, "s3:GetObject", [f"arn:aws:s3:::{site.bucket}/{key}"], condition)
    await site.send("put_bucket_policy", Policy=json.dumps({**document, "Statement": [*present, canary]}))
    try:
        await site.fs.seam.send("head_object", Bucket=site.bucket, Key=key)
    except ObjectNotFound:
        return
    except AccessDenied as error:
        if present:
            await site.send("put_bucket_policy", Policy=json.dumps({**document, "Statement": present}))
        else:
            await site.send("delete_bucket_policy")
        raise UnsupportedByServer(
            site.profile.name, "denying plain HTTP here", _BEHIND_PROXY, bucket=site.bucket
        ) from error


def _sid(statement: Statement) -> str:
    return str(statement.get("Sid", ""))


def _text(sid: str, among: list[Statement]) -> str:
    """A statement in a few words: what it lets through, where that can differ."""
    found = next((statement for statement in among if _sid(statement) == sid), None)
    if found is None:
        return ""
    spared = [
        value for values in found.get("Condition", {}).get("StringNotEquals", {}).values() for value in _flat(values)
    ]
    return f"all but {', '.join(spared)}" if spared else "denied"


def _flat(value: Any) -> list[str]:
    """A value, a list of values or the principals of a statement, as servers turn one into the other."""
    if isinstance(value, dict):
        return sorted(text for values in value.values() for text in _flat(values))
    if isinstance(value, list):
        return sorted(text for one in value for text in _flat(one))
    return [] if value is None else [str(value).lower() if isinstance(value, bool) else str(value)]


def _plain(statement: Statement) -> object:
    conditions = {
        (operator, key): _flat(values)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    }
    return [
        statement.get("Effect"),
        *(_flat(statement.get(f)) for f in ("Principal", "Action", "Resource")),
        conditions,
    ]
