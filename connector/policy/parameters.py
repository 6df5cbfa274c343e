"""Pure functions over the parameters of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.policy.encryption import ENCRYPTION_PARAMETERS, Unencrypted, parse_encryption
from tierlake.connector.policy.rules import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.policy.rules import ObjectPolicy

_MODES = {
    "AES256": "sse-s3",
    "aws:kms": "sse-kms",
    "aws:kms:dsse": "dsse-kms",
    "aws:fsx": "sse-s3",
}


def copy_source(params: Mapping[str, Any]) -> tuple[str, str] | None:
    """Bucket and key of a copy's source, in any of its forms."""
    source = params.get("CopySource")
    if source is None:
        return None
    if isinstance(source, str):
        bucket, _, key = source.lstrip("/").partition("/")
        return bucket, key.partition("?versionId=")[0]
    return source["Bucket"], source["Key"]


def is_self_copy(params: Mapping[str, Any]) -> bool:
    """Whether a copy changes an object in place: its class, tags or metadata, never its bytes."""
    source = copy_source(params)
    return source is not None and source == (params.get("Bucket"), params.get("Key"))


def empty_candidates(keys: Iterable[str]) -> list[str]:
    """The folders above keys, as keys of their own, the deepest first."""
    folders = {
        "/".join(parts[:depth]) + "/"
        for parts in (key.rstrip("/").split("/") for key in keys)
        for depth in range(1, len(parts))
    }
    return sorted(folders, key=lambda folder: (-folder.count("/"), folder))


def mode_of(request: Mapping[str, Any]) -> str:
    """The encryption mode that a write requests.

    Raises:
        InvalidSetting: Its parameters contradict each other.
    """
    algorithm = request.get("ServerSideEncryption")
    for_kms = [name for name in ("SSEKMSKeyId", "SSEKMSEncryptionContext") if name in request]
    where = {"bucket": request.get("Bucket"), "key": request.get("Key")}
    if "SSECustomerKey" in request:
        if algorithm is not None or for_kms:
            raise InvalidSetting(f"A customer's key does not go with {algorithm or for_kms[0]}: choose one", **where)
        return "sse-c"
    if algorithm is None:
        if for_kms:
            raise InvalidSetting(f"{for_kms[0]} needs ServerSideEncryption='aws:kms'", **where)
        return Unencrypted.mode
    mode = _MODES.get(algorithm)
    if mode is None:
        parse_encryption(algorithm)  # raises with the nearest name
        raise InvalidSetting(f"ServerSideEncryption={algorithm!r} is no algorithm; there are {', '.join(_MODES)}")
    if mode == "sse-s3" and for_kms:
        raise InvalidSetting(f"{for_kms[0]} does not go with ServerSideEncryption={algorithm!r}", **where)
    return mode


def applied(operation: str, asked: Mapping[str, Any], policy: ObjectPolicy) -> dict[str, Any]:
    """The parameters of a write, completed by the policy; the caller's stay.

    Args:
        operation: `put_object`, `create_multipart_upload` or `copy_object`.
        asked: The request's parameters.
        policy: The policy for the key.
    """
    added: dict[str, Any] = {}
    request = dict(asked)
    if "SSECustomerKey" not in request:  # an append repeats the HEAD's headers, which never include the key
        request.pop("SSECustomerAlgorithm", None)
    if not ENCRYPTION_PARAMETERS & request.keys():
        added.update(policy.encryption.headers())
    if operation == "copy_object" or policy.storage_class != STANDARD:
        # A copy names STANDARD too: some servers keep the source's class.
        added["StorageClass"] = policy.storage_class
    tagging = policy.tagging()
    if tagging and "Tagging" not in request and "TaggingDirective" not in request:
        added["Tagging"] = tagging
        if operation == "copy_object":
            added["TaggingDirective"] = "REPLACE"
    if policy.content_type and operation != "copy_object":
        added["ContentType"] = policy.content_type
    return {**added, **request}
