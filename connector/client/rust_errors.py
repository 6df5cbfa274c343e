"""Errors of Rust's object stores (deltalake, polars) for a failed request, translated to ours.

Their text is meant for a terminal: colours, arrows, the server's XML. It holds the server's code and status.
"""

from __future__ import annotations

import html
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from tierlake.connector.client.error_mapping import NO_S3_HINT, Target, hint_for, translated
from tierlake.connector.client.unreachable import unreachable
from tierlake.connector.errors import (
    AccessDenied,
    LakeError,
    LibraryError,
    ObjectNotFound,
    RequestRefused,
    ServerError,
)
from tierlake.connector.redact import one_line, undecorated

if TYPE_CHECKING:
    from collections.abc import Iterator

_METHOD = re.compile(r"Error performing (\w+) (\S+)")
_PATH = re.compile(r"for path (\S+)")
_STATUS = re.compile(r"status code:? ([345]\d\d) ([A-Z][a-z]+(?: [A-Z][a-z]+)*)")
_REQUEST = re.compile(r"Error performing|object store|Generic S3 error|Kernel error|for path ", re.IGNORECASE)
_WRAPPING = re.compile(
    r"Kernel error -> |Generic S3 error:? ?|Error performing \w+ \S+ in [\d.]+\S*s,? ?(?:after \d+ retries, )?"
    r"(?:max_retries:? ?\d+, retry_timeout:? ?[\d.]+\w+ ?)?(?:- )?"
)
"""What each layer puts before the cause."""
_ELEMENT = re.compile(r"<(\w+)>([^<>]*)</\1>")
_NO_ANSWER = ("error sending request", "timed out", "error decoding response body", "or response body", "list response")
_NO_S3 = ("Header missing from response", "Got invalid list response")
_NO_REGION = "incorrectly configured region"
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
    """The text in one line, without colours, arrows, the server's XML and the layers that the cause went through."""
    return _WRAPPING.sub("", one_line(text)).strip()


def from_rust(error: Exception, bucket: str) -> LakeError:
    """The error that a caller can act on.

    Args:
        error: The library's error.
        bucket: The bucket of the request.
    """
    text = undecorated(str(error))
    method, path = _METHOD.search(text), _PATH.search(text)
    key = path[1].rstrip(":") if path else None
    operation = f"{method[1] if method else 'a request'} by deltalake"
    endpoint = _endpoint_of(method[2]) if method else "the server"
    where: dict[str, Any] = {"bucket": bucket, "key": key}
    response = _response(text)
    if response is not None:
        mapped = translated(ClientError(response, operation), Target(operation, endpoint, "the server", **where))
        if isinstance(mapped, LakeError):
            return mapped
    return _without_response(error, text, operation, endpoint, where)


def _response(text: str) -> dict[str, Any] | None:
    """The response as botocore parses it; None where the text holds none."""
    status = _STATUS.search(text)
    if status is None:
        return None
    elements = {name: html.unescape(value) for name, value in _ELEMENT.findall(text)}
    code = elements.get("Code") or status[1]
    return {
        "Error": {"Code": code, "Message": elements.get("Message") or status[2], "Region": elements.get("Region")},
        "ResponseMetadata": {"HTTPStatusCode": int(status[1]), "RequestId": elements.get("RequestId")},
    }


def _without_response(error: Exception, text: str, operation: str, endpoint: str, where: dict[str, Any]) -> LakeError:
    plain = plain_text(str(error))
    if any(words in text for words in _NO_ANSWER):
        return unreachable(plain, endpoint, **where)
    message = f"{operation}: {plain}"
    if any(words in text for words in _NO_S3):
        return ServerError(f"{operation}: the answer from {endpoint} makes no sense: {plain}", hint=NO_S3_HINT, **where)
    if _NO_REGION in text:
        return RequestRefused(message, hint="Set the bucket's region: TIERLAKE_REGION=REGION", **where)
    for words, kind, like in _IN_WORDS:
        if words in text:
            return kind(message, hint=hint_for(kind, operation), server_code=like, **where)
    if isinstance(error, OSError) or _REQUEST.search(text):
        return ServerError(message, hint=hint_for(ServerError, operation), **where)
    return LibraryError.of(error, "deltalake", bucket=where["bucket"])


def _endpoint_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "the server"
