"""How an object is encrypted at rest: frozen values that render themselves as request parameters.

>>> parse_encryption("sse-kms:alias/lake").headers()
{'ServerSideEncryption': 'aws:kms', 'SSEKMSKeyId': 'alias/lake', 'BucketKeyEnabled': True}
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.nearest import did_you_mean
from tierlake.connector.observe.edges import reporting

SSE_C_KEY_BYTES = 32
ENCRYPTION_PARAMETERS = frozenset(
    {
        "BucketKeyEnabled",
        "SSECustomerAlgorithm",
        "SSECustomerKey",
        "SSECustomerKeyMD5",
        "SSEKMSEncryptionContext",
        "SSEKMSKeyId",
        "ServerSideEncryption",
    }
)
"""The parameters of a write by which a caller chooses encryption."""


@dataclass(frozen=True)
class SseS3:
    """Keys managed by the server (`AES256`)."""

    mode: ClassVar[str] = "sse-s3"

    def headers(self) -> dict[str, Any]:
        """Parameters for `put_object`, `create_multipart_upload` and `copy_object`."""
        return {"ServerSideEncryption": "AES256"}


@dataclass(frozen=True)
class SseKms:
    """A key of a key management service.

    Args:
        key_id: The key's id, ARN or alias; None takes the bucket's or the account's default key.
        bucket_key: Use an S3 bucket key, which saves KMS requests; not sent to servers without it.
        context: Encryption context, bound to the ciphertext.
        dsse: Two layers of encryption (DSSE-KMS); bucket keys do not go with it.
    """

    key_id: str | None = None
    bucket_key: bool = True
    context: Mapping[str, str] | tuple[tuple[str, str], ...] | None = None
    dsse: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.context, Mapping):
            object.__setattr__(self, "context", tuple(sorted(self.context.items())))

    @property
    def mode(self) -> str:
        """`sse-kms` or `dsse-kms`."""
        return "dsse-kms" if self.dsse else "sse-kms"

    def headers(self) -> dict[str, Any]:
        """Parameters for `put_object`, `create_multipart_upload` and `copy_object`."""
        headers: dict[str, Any] = {"ServerSideEncryption": "aws:kms:dsse" if self.dsse else "aws:kms"}
        if self.key_id:
            headers["SSEKMSKeyId"] = self.key_id
        if self.bucket_key and not self.dsse:
            headers["BucketKeyEnabled"] = True
        if self.context:
            document = json.dumps(dict(self.context), separators=(",", ":")).encode()
            headers["SSEKMSEncryptionContext"] = base64.b64encode(document).decode()
        return headers


@dataclass(frozen=True)
class SseC:
    """A key of 32 bytes that the caller keeps and that every read needs.

    The repr shows a fingerprint, never the key.
    """

    mode: ClassVar[str] = "sse-c"
    key: bytes = field(repr=False)

    @reporting
    def __post_init__(self) -> None:
        if len(self.key) != SSE_C_KEY_BYTES:
            raise InvalidSetting(f"An SSE-C key is bytes of length {SSE_C_KEY_BYTES}")

    @property
    def fingerprint(self) -> str:
        """A digest that differs between keys and does not reveal them; fsspec's instance cache sees it in the repr."""
        return hashlib.sha256(b"tierlake sse-c" + self.key).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"SseC(fingerprint={self.fingerprint})"

    def headers(self) -> dict[str, Any]:
        """Parameters for writes, reads, heads and parts."""
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.key}

    def source_headers(self) -> dict[str, Any]:
        """Parameters that let a copy read its source."""
        return {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": self.key}


@dataclass(frozen=True)
class Unencrypted:
    """No requested encryption, only by explicit choice; the bucket's default may still apply."""

    mode: ClassVar[str] = "none"

    def headers(self) -> dict[str, Any]:
        """No parameters."""
        return {}


Encryption: TypeAlias = SseS3 | SseKms | SseC | Unencrypted

_NAMES = ("sse-s3", "sse-kms", "dsse-kms", "none")


def parse_encryption(value: str | Encryption) -> Encryption:
    """Parse an encryption.

    Args:
        value: `sse-s3`, `sse-kms`, `sse-kms:KEY`, `dsse-kms`, `dsse-kms:KEY`, `sse-c:BASE64`,
            `none`, or one of this module's values.

    Returns:
        The value.

    Raises:
        InvalidSetting: The text names none of them; the nearest name is in the hint.
    """
    if isinstance(value, SseS3 | SseKms | SseC | Unencrypted):
        return value
    name, _, key_id = str(value).partition(":")
    mode = name.strip().lower().replace("_", "-")
    if mode in {"sse-kms", "dsse-kms"}:
        return SseKms(key_id=key_id or None, dsse=mode == "dsse-kms")
    if mode == "sse-c":
        return SseC(_customer_key(key_id))
    if key_id:
        raise InvalidSetting(
            f"A KMS key needs a KMS mode, and {name!r} is none",
            hint=f"Write sse-kms:{key_id}",
        )
    if mode == "sse-s3":
        return SseS3()
    if mode == "none":
        return Unencrypted()
    raise InvalidSetting(
        f"{value!r} is no encryption; there are {', '.join(_NAMES)}",
        hint=did_you_mean(mode, _NAMES, likeness=0.4),
    )


def _customer_key(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidSetting("The key after sse-c: is not base64") from None


def encryption_text(encryption: Encryption) -> str:
    """The text that `parse_encryption` reads; for SSE-C the mode alone."""
    if isinstance(encryption, SseKms) and encryption.key_id:
        return f"{encryption.mode}:{encryption.key_id}"
    return encryption.mode


def encryption_of(head: Mapping[str, Any]) -> Encryption | None:
    """The encryption that a HEAD response reports.

    Args:
        head: The response of `head_object` or `get_object`.

    Returns:
        The value; None for SSE-C, whose key no server reveals; `Unencrypted` if the response names none.
    """
    if head.get("SSECustomerAlgorithm"):
        return None
    algorithm = head.get("ServerSideEncryption")
    if algorithm in {"aws:kms", "aws:kms:dsse"}:
        return SseKms(
            key_id=head.get("SSEKMSKeyId"),
            bucket_key=bool(head.get("BucketKeyEnabled", False)),
            dsse=algorithm == "aws:kms:dsse",
        )
    return SseS3() if algorithm else Unencrypted()
