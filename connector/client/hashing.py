"""Digests of large bodies, computed in a thread: botocore computes them on the event loop.

A request over plain HTTP carries a checksum of its body in a header, and the body's SHA-256 in its signature. For
64 MiB they take 50 ms, which would delay all other requests of the process. Over TLS the signature leaves the body to
the checksum. There botocore computes it while it sends the body, in chunks that it copies three times on the event
loop; a large body that is in memory gets a header there too.

Others' own parts that are named in this module: botocore's `AUTH_TYPE_MAPS`, `S3SigV4Auth.payload`,
`set_operation_specific_signer` and `apply_request_checksum`, and `context["checksum"]` of a request.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.handlers import set_operation_specific_signer
from botocore.httpchecksum import apply_request_checksum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiobotocore.session import AioSession

__all__ = ["bytes_of", "hash_in_threads"]

_LARGE_BYTES: Final = 1 << 20
_WITH_BODIES: Final = ("PutObject", "UploadPart")
_SIGNATURE: Final = "tierlake-s3v4"
_DIGEST: Final = "tierlake_body_sha256"


class _Signature(S3SigV4Auth):  # type: ignore[misc]  # botocore ships no types
    """Signature version 4, with a digest of the body that was computed before."""

    def payload(self, request: Any) -> str:
        """The body's part of the signed text."""
        digest: str = request.context.get(_DIGEST) or super().payload(request)
        return digest


AUTH_TYPE_MAPS[_SIGNATURE] = _Signature


def hash_in_threads(session: AioSession) -> None:
    """Make the clients of a session compute the digests of large bodies in threads.

    Args:
        session: A session that has made no client yet.
    """
    for operation in _WITH_BODIES:
        session.register(f"before-call.s3.{operation}", _checksum)
        session.register(f"choose-signer.s3.{operation}", _signature_version)
        session.register(f"before-sign.s3.{operation}", _digest)


async def _checksum(params: dict[str, Any], **_: Any) -> None:
    algorithm = params["context"].get("checksum", {}).get("request_algorithm")
    if isinstance(algorithm, dict) and _is_large(params["body"]):
        algorithm["in"] = "header"
        await asyncio.to_thread(apply_request_checksum, params)


def _signature_version(
    signature_version: object, signing_name: str, context: Mapping[str, Any], **_: Any
) -> str | None:
    if not isinstance(signature_version, str) or signature_version.endswith(("-query", "-presign-post")):
        return None
    chosen = set_operation_specific_signer(context=context, signing_name=signing_name) or signature_version
    return _SIGNATURE if chosen == "s3v4" else None


async def _digest(request: Any, signature_version: object, **_: Any) -> None:
    request.context.pop(_DIGEST, None)
    body = request.body
    if signature_version == _SIGNATURE and request.url.startswith("http:") and _is_large(body):
        request.context[_DIGEST] = await asyncio.to_thread(_sha256, body)


def _is_large(body: Any) -> bool:
    return (bytes_of(body) or memoryview(b"")).nbytes > _LARGE_BYTES


def bytes_of(body: Any) -> memoryview | None:
    """The bytes of a body that is in memory, without a copy; None for other bodies.

    botocore makes a BytesIO of `bytes`, which share their memory as long as nobody takes its `getbuffer`.
    """
    if isinstance(body, bytes | bytearray | memoryview):
        return memoryview(body)
    return memoryview(body.getvalue())[body.tell() :] if type(body) is BytesIO else None


def _sha256(body: Any) -> str:
    return sha256(bytes_of(body) or b"").hexdigest()
