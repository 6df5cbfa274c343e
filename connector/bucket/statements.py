"""Our statements in a bucket's policy, as pure functions.

A write that requests weaker encryption than the bucket's is denied. A write that requests none is not: the bucket's
default encrypts it. Denying it would break multipart uploads: their parts and their completion are PutObject too, and
name no encryption (seen: SeaweedFS refuses the completion, MinIO the parts).
SeaweedFS and MinIO refuse `StringNotEqualsIfExists` (seen), which would need one condition only. They accept `Null`
together with `StringNotEquals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.policy.encryption import SseKms

if TYPE_CHECKING:
    from tierlake.connector.policy.encryption import Encryption

__all__ = [
    "ABOUT_ENCRYPTION",
    "ASPECTS",
    "CANARY",
    "CUSTOMER_KEY",
    "INSECURE",
    "WRONG_ENCRYPTION",
    "WRONG_KEY",
    "Statement",
    "canary",
    "deny_insecure",
    "deny_wrong",
    "lets_everybody_in",
    "plain",
    "refuses",
    "sid_of",
    "statements_in",
    "text",
]

SID_PREFIX = "Tierlake"
"""Prefix of our statements' Sids: letters and digits only, as AWS demands
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html)."""
INSECURE = f"{SID_PREFIX}DenyInsecureTransport"
WRONG_ENCRYPTION = f"{SID_PREFIX}DenyWrongEncryption"
WRONG_KEY = f"{SID_PREFIX}DenyWrongKey"
CUSTOMER_KEY = f"{SID_PREFIX}DenyCustomerKey"
CANARY = f"{SID_PREFIX}Canary"
ABOUT_ENCRYPTION = (WRONG_ENCRYPTION, WRONG_KEY, CUSTOMER_KEY)
ASPECTS = {
    INSECURE: "deny plain HTTP",
    WRONG_ENCRYPTION: "deny other encryption",
    WRONG_KEY: "deny another KMS key",
    CUSTOMER_KEY: "deny customers' keys",
    CANARY: "trial of a denial",
}
"""The names of our statements in plans."""

# Condition keys: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ALGORITHM = "s3:x-amz-server-side-encryption"
_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
_CUSTOMER = "s3:x-amz-server-side-encryption-customer-algorithm"
_ALGORITHMS = {"sse-s3": "AES256", "sse-kms": "aws:kms", "dsse-kms": "aws:kms:dsse"}
"""From the weakest mode to the strongest."""
_PLAIN_HTTP = {"Bool": {"aws:SecureTransport": "false"}}

Statement = dict[str, Any]


def deny_insecure(bucket: str) -> Statement:
    """The statement that denies everything over plain HTTP."""
    return _deny(INSECURE, "s3:*", ["", "/*"], bucket, _PLAIN_HTTP)


def canary(bucket: str, key: str) -> Statement:
    """The statement that denies reading one key over plain HTTP."""
    return _deny(CANARY, "s3:GetObject", [f"/{key}"], bucket, _PLAIN_HTTP)


def deny_wrong(bucket: str, encryption: Encryption, modes: tuple[str, ...]) -> dict[str, Statement]:
    """The statements that deny writes with weaker encryption than the bucket's or with another key, by Sid.

    Args:
        bucket: The bucket's name.
        encryption: The bucket's default.
        modes: Encryption modes that the server has.
    """
    as_good = list(_ALGORITHMS)[list(_ALGORITHMS).index(encryption.mode) :]
    allowed = [_ALGORITHMS[mode] for mode in as_good if mode in modes]
    conditions = {WRONG_ENCRYPTION: _present_but_not(_ALGORITHM, *allowed)}
    if isinstance(encryption, SseKms) and encryption.key_id:
        conditions[WRONG_KEY] = _present_but_not(_KEY, encryption.key_id)
        conditions[CUSTOMER_KEY] = {"Null": {_CUSTOMER: "false"}}
    return {sid: _deny(sid, "s3:PutObject", ["/*"], bucket, condition) for sid, condition in conditions.items()}


def refuses(statement: Statement, mode: str) -> bool:
    """Whether one of our statements denies writes that request an encryption mode."""
    spared = _flat(statement["Condition"].get("StringNotEquals", {}).get(_ALGORITHM))
    return bool(spared) and mode in _ALGORITHMS and _ALGORITHMS[mode] not in spared


def _present_but_not(key: str, *values: str) -> dict[str, Any]:
    return {"Null": {key: "false"}, "StringNotEquals": {key: list(values)}}


def _deny(sid: str, action: str, places: list[str], bucket: str, condition: dict[str, Any]) -> Statement:
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": [f"arn:aws:s3:::{bucket}{place}" for place in places],
        "Condition": condition,
    }


def statements_in(document: dict[str, Any]) -> list[Statement]:
    """A policy's statements; a single one may stand without a list."""
    statements = document.get("Statement", [])
    return [statements] if isinstance(statements, dict) else list(statements)


def lets_everybody_in(document: dict[str, Any]) -> list[str]:
    """The statements of a policy that allow something to everybody, whatever their conditions say."""
    return [
        str(statement.get("Sid") or number)
        for number, statement in enumerate(statements_in(document), 1)
        if statement.get("Effect") == "Allow" and "*" in _flat(statement.get("Principal"))
    ]


def sid_of(statement: Statement) -> str:
    """A statement's Sid; empty where it has none."""
    return str(statement.get("Sid", ""))


def text(statement: Statement | None) -> str:
    """One of our statements in a few words: what it allows, where that can differ."""
    if statement is None:
        return ""
    spared = _flat(list(statement.get("Condition", {}).get("StringNotEquals", {}).values()))
    return f"all but {', '.join(spared)}" if spared else "denied"


def plain(statement: Statement) -> object:
    """A statement for comparison: MinIO makes lists of values, `{"AWS": ["*"]}` of `*`, and booleans of text."""
    conditions = {
        (operator, key): _flat(values)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    }
    fields = ("Effect", "Principal", "Action", "Resource")
    return [*(_flat(statement.get(field)) for field in fields), conditions]


def _flat(value: Any) -> list[str]:
    if isinstance(value, dict):
        return sorted(text for values in value.values() for text in _flat(values))
    if isinstance(value, list):
        return sorted(text for one in value for text in _flat(one))
    return [] if value is None else [str(value).lower() if isinstance(value, bool) else str(value)]
