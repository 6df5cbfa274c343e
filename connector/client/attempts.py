"""From an attempt at a request to its event.

An attempt that fails has no event before it is known whether it is made again, and which of our errors the caller
sees: until then the exception carries the attempt.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientPayloadError
from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from tierlake.connector.client.aws_chain import FAILURES
from tierlake.connector.client.native import NotUnderstoodError
from tierlake.connector.client.native_lifetime import UnusableError
from tierlake.connector.observe import depth, hooks, tracing
from tierlake.connector.observe.events import RequestEvent
from tierlake.connector.profiles.detect import known_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RETRIED", "Attempt", "carried", "was_sent"]

RETRIED: Final = (boto.BotoCoreError, ClientError, OSError, ClientPayloadError, ResponseParserError)
"""What a request raises, and the transport translates."""
_UNSENT: Final = (*FAILURES, boto.ParamValidationError)
_UNSENT_NATIVE: Final = (boto.SSLError, UnusableError, TypeError, ValueError, type(None))

_CARRIED: Final = "_tierlake_attempt"
_HOST_ID: Final = "x-amz-id-2"
_REQUEST_ID: Final = "x-amz-request-id"
_UNKNOWN: Final = "unknown"


class Attempt:
    """One request over the wire.

    Args:
        operation: Botocore's name of the operation.
        request: Its parameters.
        number: 1 is the first.
        profile_name: The server's profile, as the settings name it.
        endpoint: The endpoint's URL.
        engine: What makes the request.
    """

    __slots__ = (
        *("_begin", "_endpoint", "_engine", "_fields", "_parent_id", "_profile_name", "_seconds", "_span", "_started"),
        *("number", "operation", "request"),
    )

    def __init__(
        self,
        operation: str,
        request: Mapping[str, Any],
        *,
        number: int,
        profile_name: str | None,
        endpoint: str,
        engine: str,
    ) -> None:
        self.operation, self.request, self.number = operation, request, number
        self._profile_name, self._endpoint = profile_name, endpoint
        self._engine, self._seconds = engine, -1.0
        around = tracing.scope()
        self._fields = around.fields
        self._span, self._parent_id = tracing.child(around)
        depth.add("running", 1)
        self._started, self._begin = time.time(), time.perf_counter()

    def answered(self, response: Any) -> None:
        """The request has succeeded."""
        self._end()
        length = response.get("ContentLength", 0) if self.operation == "get_object" else 0
        self._emit(response.get("ResponseMetadata", {}), received=length)

    def stopped(self, error: BaseException) -> None:
        """The request has failed; what becomes of it is known later, unless it was cancelled or a library broke."""
        self._end()
        if isinstance(error, NotUnderstoodError):
            if not isinstance(error.__cause__, _UNSENT_NATIVE):
                self.refused(error.__cause__, None, is_retried=True)
        elif isinstance(error, _UNSENT):
            return
        elif isinstance(error, RETRIED):
            error.__dict__[_CARRIED] = self
        else:
            self._emit({}, code="cancelled" if not isinstance(error, Exception) else type(error).__name__)

    def refused(
        self,
        error: BaseException | None,
        code: str | None,
        *,
        is_retried: bool,
        is_body: bool = False,
        request_id: str | None = None,
    ) -> None:
        """The request has failed for good, or is made again.

        Args:
            error: The library's error.
            code: That of our error.
            is_retried: The request is made again.
            is_body: The body of its response broke off.
            request_id: Which our error names; None takes the response's.
        """
        self._end()
        response = error.response if isinstance(error, ClientError) else {}
        meta, reason = response.get("ResponseMetadata", {}), response.get("Error", {})
        if request_id:
            meta = {**meta, "RequestId": request_id}
        self._emit(meta, code=code, server_code=reason.get("Code"), is_retried=is_retried, is_body=is_body)

    def _end(self) -> None:
        if self._seconds < 0:
            self._seconds = time.perf_counter() - self._begin
            depth.add("running", -1)

    def _emit(
        self,
        meta: Mapping[str, Any],
        *,
        code: str | None = None,
        server_code: str | None = None,
        is_retried: bool = False,
        is_body: bool = False,
        received: int = 0,
    ) -> None:
        headers = meta.get("HTTPHeaders", {})
        known = known_profile(self._profile_name, self._endpoint)
        hooks.emit(
            RequestEvent(
                operation=self.operation,
                server=known.name if known else _UNKNOWN,
                bucket=self.request.get("Bucket"),
                key=self.request.get("Key"),
                status=meta.get("HTTPStatusCode"),
                code=code,
                server_code=server_code,
                request_id=meta.get("RequestId") or headers.get(_REQUEST_ID),
                host_id=meta.get("HostId") or headers.get(_HOST_ID),
                attempt=self.number,
                is_retried=is_retried,
                is_body=is_body,
                bytes_sent=_size(self.request.get("Body")),
                bytes_received=received,
                engine=self._engine,
                started=self._started,
                seconds=self._seconds,
                span=self._span,
                parent_id=self._parent_id,
                fields=self._fields,
            )
        )


def carried(error: Exception) -> Attempt | None:
    """Take the attempt from an error; None where nothing went over the wire, or a body broke off."""
    attempt: Attempt | None = error.__dict__.pop(_CARRIED, None)
    return attempt


def was_sent(error: Exception) -> bool:
    """Whether the request of an error went over the wire."""
    return not isinstance(error, _UNSENT)


def _size(body: Any) -> int:
    """The bytes of a request's body; 0 where they are not known before they are sent."""
    if body is None:
        return 0
    if isinstance(body, bytes | bytearray):
        return len(body)
    if isinstance(body, memoryview):
        return body.nbytes
    if isinstance(body, str):
        return len(body.encode())
    size = getattr(body, "size", None)
    if isinstance(size, int):
        return size
    try:
        return os.fstat(body.fileno()).st_size
    except (AttributeError, OSError, ValueError):
        return 0
