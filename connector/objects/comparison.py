"""Whether an object equals its copy's source, compared by a HEAD of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import ServerError
from tierlake.connector.policy.rules import STANDARD

if TYPE_CHECKING:
    from tierlake.connector.objects.copy import Source


def class_of(head: dict[str, Any]) -> str:
    """The storage class that a HEAD reports; servers omit STANDARD."""
    return str(head.get("StorageClass") or STANDARD)


def facts(head: dict[str, Any]) -> dict[str, Any]:
    """The properties that have to be equal in both.

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
    """The properties in which an object differs from its source, apart from the new class."""
    expected, actual = facts(dict(source.head)) | {"StorageClass": storage_class}, facts(head)
    return [name for name, value in expected.items() if actual[name] != value]


def refuse_differences(source: Source, names: list[str]) -> None:
    """Refuse a copy that differs from its source.

    Raises:
        ServerError: The copy differs; nothing was deleted.
    """
    if names:
        raise ServerError(
            f"After the copy the object differs in {', '.join(names)}",
            hint="Look at it before you go on: nothing was deleted",
            bucket=source.bucket,
            key=source.key,
        )
