"""Errors of obstore as those that botocore raises for the same failure: what retries and maps them sees one kind only.

The text of an obstore error holds the server's response and Rust's description of the cause. That is the only place
where they are.
"""

from __future__ import annotations

import html
import re
from http.client import responses
from typing import Any

from aiohttp import ClientPayloadError, ServerDisconnectedError
from botocore import exceptions as boto

_RESPONSE = re.compile(r"status code: (\d{3})[^:\n]*: ?(.*?)\n\nDebug source:\n", re.DOTALL)
_ELEMENT = re.compile(r"<(\w+)>([^<>]*)</\1>")
_KIND = re.compile(r"\bkind: (\w+),")
_OF_THE_RESPONSE = frozenset({"HostId", "RequestId"})
_SILENT = ("TimedOut", "deadline has elapsed", "timed out")
_REDIRECT = 301
_BODY_BROKE = frozenset({"Body", "Decode", "Interrupted"})


def botocore_error(error: BaseException, operation: str, endpoint: str) -> Any:
    """Botocore's error for the same failure.

    Args:
        error: An error that obstore raised.
        operation: Botocore's name of the operation.
        endpoint: The endpoint's URL.

    Returns:
        The error, or None if the text has neither a response nor a failure of the connection: obstore does not
        understand the response, or cannot make the request.
    """
    text = str(error)
    response = _RESPONSE.search(text)
    if response is not None:
        return boto.ClientError(_response(int(response[1]), response[2]), operation)
    _, _, source = text.partition("\n\nDebug source:\n")
    if "BareRedirect" in source:
        return boto.ClientError(_response(_REDIRECT, ""), operation)
    return _of_the_connection(source, endpoint)


def _response(status: int, body: str) -> dict[str, Any]:
    """The response as botocore parses it."""
    elements = {name: html.unescape(text) for name, text in _ELEMENT.findall(body)} if "<Error" in body else {}
    reason = {name: text for name, text in elements.items() if name not in _OF_THE_RESPONSE}
    if not reason.get("Code"):
        reason = {"Code": str(status), "Message": responses.get(status, "")}
    meta: dict[str, Any] = {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0}
    meta |= {name: elements[name] for name in _OF_THE_RESPONSE & elements.keys()}
    return {"Error": reason, "ResponseMetadata": meta}


def _of_the_connection(source: str, endpoint: str) -> Any:
    kinds = _KIND.findall(source)
    if not kinds:
        return None
    cause = " ".join(source.split())
    if "Connect" in kinds:
        if any(words in source for words in _SILENT):
            return boto.ConnectTimeoutError(endpoint_url=endpoint)
        if "InvalidData" in kinds:  # TLS: what came is no valid certificate, or no message at all
            return boto.SSLError(endpoint_url=endpoint, error=_short(cause))
        return boto.EndpointConnectionError(endpoint_url=endpoint, error=_short(cause))
    if "Timeout" in kinds or any(words in source for words in _SILENT):
        return boto.ReadTimeoutError(endpoint_url=endpoint)
    if _BODY_BROKE & set(kinds):
        return ClientPayloadError("The connection was closed before the end of the body")
    return boto.EndpointConnectionError(endpoint_url=endpoint, error=ServerDisconnectedError())


def _short(cause: str) -> str:
    """The innermost words of the cause: Rust quotes them."""
    quoted = re.findall(r'"([^"]{3,200})"', cause)
    return quoted[-1] if quoted else "the connection failed"
