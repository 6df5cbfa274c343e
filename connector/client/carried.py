"""An object's properties, as parameters of a request that rewrites the object.

A self-copy drops the encryption, and with `REPLACE` also metadata and content headers, so the request has to send
all of them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.policy.encryption import SseC, encryption_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.policy.encryption import Encryption
    from tierlake.connector.profiles import Profile

CONTENT_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "WebsiteRedirectLocation",
)


def kept_content(head: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters for metadata and content headers.

    Args:
        head: The response of `head_object`.
    """
    kept = {name: head[name] for name in CONTENT_HEADERS if head.get(name)}
    if head.get("ExpiresString"):
        kept["Expires"] = head["ExpiresString"]
    kept["Metadata"] = dict(head.get("Metadata") or {})
    return kept


def kept_encryption(head: Mapping[str, Any], held: Encryption) -> dict[str, Any]:
    """The parameters for the encryption.

    Args:
        head: The response of `head_object`.
        held: The write policy's encryption for the key; only the policy knows an SSE-C key.

    Raises:
        InvalidSetting: The object has a customer's key, and the policy has none.
    """
    encryption = encryption_of(head)
    if encryption is not None:
        return encryption.headers()
    if not isinstance(held, SseC):
        raise InvalidSetting("The object is encrypted with a customer's key (SSE-C), and no rule has one for it")
    return held.headers()


def kept_parameters(head: Mapping[str, Any], profile: Profile, held: Encryption) -> dict[str, Any]:
    """The parameters for all but the tags: metadata, content headers, encryption, storage class, legal hold.

    Args:
        head: The response of `head_object`.
        profile: The server's profile; a class that cannot be written (a remote tier) is left out.
        held: The write policy's encryption for the key.

    Raises:
        InvalidSetting: The object has a customer's key, and the policy has none.
    """
    kept = {**kept_content(head), **kept_encryption(head, held), **_kept_legal_hold(head)}
    if head.get("StorageClass") in profile.storage_classes:
        kept["StorageClass"] = head["StorageClass"]
    return kept


def is_held(head: Mapping[str, Any]) -> bool:
    """Whether a HEAD reports a legal hold."""
    return bool(head.get("ObjectLockLegalHoldStatus") == "ON")


def _kept_legal_hold(head: Mapping[str, Any]) -> dict[str, Any]:
    return {"ObjectLockLegalHoldStatus": "ON"} if is_held(head) else {}
