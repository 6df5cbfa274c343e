"""An audit of stored objects: does every object have the encryption of the write policy?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.client.concurrency import in_order
from tierlake.connector.objects.metadata import head, object_path
from tierlake.connector.policy.encryption import Encryption, SseC, SseKms, encryption_of, encryption_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.client.store import Store

_CONCURRENCY = 32


async def encryption_faults(store: Store, paths: Iterable[str]) -> dict[str, str]:
    """Objects whose encryption differs from the write policy.

    Args:
        store: The store; it gets one HEAD for each object.
        paths: The objects.

    Returns:
        The fault by path, such as `none instead of sse-s3`; empty if there is none.

    Raises:
        ObjectNotFound: One of them does not exist.
    """

    async def fault(path: str) -> tuple[str, str | None]:
        bucket, key = object_path(store, path)
        return path, encryption_fault(await head(store, path), store.policy.for_key(bucket, key).encryption)

    faults = await in_order(fault, paths, at_once=_CONCURRENCY)
    return {path: detail for path, detail in faults if detail is not None}


def encryption_fault(head: Mapping[str, Any], wanted: Encryption) -> str | None:
    """The fault of an object's encryption, such as `none instead of sse-s3`; None if there is none.

    Args:
        head: The response of `head_object`.
        wanted: The encryption of the write policy.
    """
    actual = encryption_of(head)
    return None if _satisfies(actual, wanted) else f"{_named(actual)} instead of {encryption_text(wanted)}"


def _named(encryption: Encryption | None) -> str:
    return "sse-c" if encryption is None else encryption_text(encryption)


def _satisfies(actual: Encryption | None, expected: Encryption) -> bool:
    if isinstance(expected, SseC) or actual is None:
        return isinstance(expected, SseC) and actual is None
    if isinstance(actual, SseKms) and isinstance(expected, SseKms):
        # a server reports the full ARN of a key that was requested by its alias or id
        same_key = not expected.key_id or (actual.key_id or "").endswith(expected.key_id.removeprefix("alias/"))
        return actual.mode == expected.mode and same_key
    # a bucket's default may encrypt an object that the policy leaves in clear
    return expected.mode in {actual.mode, "none"}
