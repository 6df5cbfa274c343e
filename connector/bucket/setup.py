"""The bucket itself: its existence, its versioning and its default encryption."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tierlake.connector.bucket.items import Item, Part, compared
from tierlake.connector.errors import AlreadyExists, UnsupportedByServer
from tierlake.connector.names import check_new_bucket
from tierlake.connector.policy.encryption import SseKms, encryption_text

if TYPE_CHECKING:
    from tierlake.connector.bucket.items import Site
    from tierlake.connector.bucket.spec import BucketSpec
    from tierlake.connector.policy.encryption import Encryption

__all__ = ["BUCKET", "default_encryption", "existence", "versioning"]

BUCKET = "bucket"
ENCRYPTION = "default encryption"


async def existence(site: Site, _spec: BucketSpec) -> Part:
    """The part that creates the bucket."""
    if not site.exists:
        check_new_bucket(site.bucket)
    return Part((compared(BUCKET, "there" if site.exists else "", "there"),), partial(_create, site))


async def _create(site: Site) -> None:
    try:
        await site.store.call("create_bucket", Bucket=site.bucket)
    except AlreadyExists as error:
        if error.server_code != "BucketAlreadyOwnedByYou":
            raise
    finally:
        site.store.cache.clear()


async def versioning(site: Site, spec: BucketSpec) -> Part:
    """The part that enables or suspends versioning."""
    if spec.versioning is None:
        return Part()
    expected = "enabled" if spec.versioning else "suspended"
    if not site.profile.versions:
        return Part((site.lacking("versioning", expected, "versions"),) if spec.versioning else ())
    current = (await site.read("get_bucket_versioning")).get("Status", "").lower()
    if not current and not spec.versioning:
        return Part((compared("versioning", "never", "never"),))
    target = {"Status": expected.capitalize()}
    return Part(
        (compared("versioning", current, expected),),
        partial(site.send, "put_bucket_versioning", VersioningConfiguration=target),
    )


async def default_encryption(site: Site, spec: BucketSpec) -> Part:
    """The part that sets the encryption of writes that name none."""
    expected: Encryption | None = spec.default_encryption
    if expected is None:
        return Part()
    text = encryption_text(expected)
    if not site.profile.default_encryption:
        return Part((site.lacking(ENCRYPTION, text, "default_encryption"),))
    current = await _current(site)
    try:
        site.profile.check_encryption(expected.mode)
    except UnsupportedByServer as error:
        return Part((Item(ENCRYPTION, _text(current), text, "lacking", f"instead: {error.alternative}"),))
    rule = _rule(expected)
    extra: tuple[Item, ...] = ()
    if rule.get("BucketKeyEnabled") and not site.profile.kms_bucket_key:
        del rule["BucketKeyEnabled"]
        extra = (site.lacking("bucket key", "enabled", "kms_bucket_key"),)
    return Part(
        (compared(ENCRYPTION, _text(current), _text(rule)), *extra),
        partial(site.send, "put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]}),
    )


def _rule(encryption: Encryption) -> dict[str, Any]:
    default = {"SSEAlgorithm": encryption.headers()["ServerSideEncryption"]}
    rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": default}
    if isinstance(encryption, SseKms):
        if encryption.key_id:
            default["KMSMasterKeyID"] = encryption.key_id
        if encryption.bucket_key and not encryption.dsse:
            rule["BucketKeyEnabled"] = True
    return rule


async def _current(site: Site) -> dict[str, Any]:
    response = await site.read("get_bucket_encryption")
    rules = response.get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}]
    rule: dict[str, Any] = rules[0]
    return rule


def _text(rule: dict[str, Any]) -> str:
    """A rule in words; servers fill in fields that were not set."""
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    algorithm, key = default.get("SSEAlgorithm"), default.get("KMSMasterKeyID")
    modes = {"AES256": "sse-s3", "aws:kms": "sse-kms", "aws:kms:dsse": "dsse-kms"}
    mode = modes.get(algorithm, algorithm or "")
    return f"{mode}{f':{key}' if key else ''}{', bucket key' if rule.get('BucketKeyEnabled') else ''}"
