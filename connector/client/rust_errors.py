"""Errors of Rust's object stores (deltalake, polars) for a failed request, translated to ours.

Their text is meant for a terminal: colours, arrows, the server's XML. It holds the server's code and status.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tierlake.connector.client.error_mapping import Target, hint_for, translated
from tierlake.connector.errors import (
    AccessDenied,
    EndpointUnreachable,
    LakeError,
    LibraryError,
    ObjectNotFound,
    ServerError,
)
from tierlake.connector.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_BODY = re.compile(r"(: )?<(\?xml|Error).*", re.DOTALL)
_METHOD = re.compile(r"Error performing (\w+) (\S+)")
_PATH = re.compile(r"for path (\S+)")
_STATUS = re.compile(r"\b([345]\d\d) [A-Z][a-z]")
_REQUEST = re.compile(r"Error performing|object store|Generic S3 error|Kernel error|for path ", re.IGNORECASE)
_NO_ANSWER = ("error sending request", "timed out", "error decoding response body", "or response body", "list response")
_IN_WORDS: tuple[tuple[str, type[LakeError], str], ...] = (
    ("lacked the necessary privileges", AccessDenied, "AccessDenied"),
    ("valid authentication credentials", AccessDenied, "AccessDenied"),
    ("Object at location", ObjectNotFound, "NoSuchKey"),
)
"""Failures for which the library keeps neither code nor status, by words of its text."""


@contextmanager
def in_our_words(bucket: str) -> Iterator[None]:
    """Raise our errors in place of those of Rust's object stores.

    Args:
        bucket: The bucket of the requests.

    Raises:
        LakeError: A request failed.
    """
    try:
        yield
    except LakeError:
        raise
    except OSError as error:
        raise from_rust(error, bucket) from error


def plain_text(text: str) -> str:
    """The text in one line, without colours, arrows and the server's XML."""
    return " ".join(_BODY.sub("", _COLOURS.sub("", redact(text))).replace("↳", "").split())


def from_rust(error: Exception, bucket: str) -> LakeError:
    """The error that a caller can act on.

    Args:
        error: The library's error.
        bucket: The bucket of the request.
    """
    text = _COLOURS.sub("", str(error))
    method, url = _METHOD.search(text), _PATH.search(text)
    key = url[1].rstrip(":") if url else None
    operation = f"{method[1] if method else 'a request'} by deltalake"
    code, status = _of_body(text, "Code"), _STATUS.search(text)
    if code is not None and status is not None:
        response = {
            "Error": {"Code": code, "Message": _of_body(text, "Message") or code},
            "ResponseMetadata": {"HTTPStatusCode": int(status[1]), "RequestId": _of_body(text, "RequestId")},
        }
        target = Target(operation, method[2] if method else "", "the server", bucket=bucket, key=key)
        mapped = translated(ClientError(response, operation), target)
        if isinstance(mapped, LakeError):
            return mapped
    message = f"{operation}: {plain_text(text)}"
    if any(words in " ".join(text.split()) for words in _NO_ANSWER):
        hint = "Check the endpoint, and whether the server runs"
        return EndpointUnreachable(message, hint=hint, bucket=bucket, key=key)
    for words, kind, like in _IN_WORDS:
        if words in text:
            return kind(message, hint=hint_for(kind, operation), server_code=like, bucket=bucket, key=key)
    if isinstance(error, OSError) or _REQUEST.search(text):
        return ServerError(message, hint=hint_for(ServerError, operation), bucket=bucket, key=key)
    return LibraryError.of(error, "deltalake", bucket=bucket)


def _of_body(text: str, name: str) -> str | None:
    match = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return match[1] if match else None
