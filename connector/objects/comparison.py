"""Whether an object is what it was copied from: compared by what a HEAD says of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import ServerError
from tierlake.connector.policy.rules import STANDARD

if TYPE_CHECKING:
    from tierlake.connector.objects.copy import Source


def class_of(head: dict[str, Any]) -> str:
    """The storage class that a HEAD reports; servers leave STANDARD out."""
    return str(head.get("StorageClass") or STANDARD)


def facts(head: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same in both.

    Args:
        head: The response of `head_object`.
    """
    names = (
        "ContentLength",
        "ContentType",
        "ServerSideEncryption",
        "SSECustomerAlgorithm",
        "ObjectLockLegalHoldStatus",
    )
    return {name: head.get(name) for name in names} | {
        "StorageClass": class_of(head),
        "Metadata": dict(head.get("Metadata") or {}),
    }


def differences(source: Source, head: dict[str, Any], storage_class: str) -> list[str]:
    """In what an object is not the source in another class."""
    expected, actual = facts(dict(source.head)) | {"StorageClass": storage_class}, facts(head)
    return [name for name, value in expected.items() if actual[name] != value]


def refuse_differences(source: Source, names: list[str]) -> None:
    """Refuse to go on where a copy differs from its source.

    Raises:
        ServerError: In something; nothing was deleted.
    """
    if names:
        raise ServerError(
            f"After the copy the object differs in {', '.join(names)}",
            hint="Look at it before you go on: nothing was deleted",
            bucket=source.bucket,
            key=source.key,
        )
