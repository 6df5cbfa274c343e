"""Spans that have ended, as traces show them: of verbs and their phases, and of the requests inside.

The attributes of requests are those of OpenTelemetry's semantic conventions for AWS' SDKs; what these have no name for
begins with `tierlake.`.

Source: https://opentelemetry.io/docs/specs/semconv/object-stores/s3/
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from tierlake.connector.observe.events import RequestEvent, kind_of
from tierlake.connector.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.observe.events import SpanContext, SpanEvent

__all__ = ["SCOPE", "SERVICE", "FinishedSpan", "Scalar", "finished_span"]

Scalar: TypeAlias = str | int | float | bool

SERVICE: Final = "tierlake"
"""The service's name, where OpenTelemetry's variables give none."""
SCOPE: Final = "tierlake"
"""The instrumentation scope of all spans."""


_NANOSECONDS: Final = 1_000_000_000
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """A span that has ended.

    Attributes:
        name: A verb (`dataset.ingest`), a phase of one (`ingest.commit`), or a request's operation (`put_object`).
        started_ns: Nanoseconds since 1970.
        ended_ns: Likewise.
        context: Its identity.
        parent_id: The span around it; None for the first of a trace.
        is_request: It is a request to a server.
        code: The code of the error with which it ended.
        is_failed: That error is a failure, and not an answer such as "not found".
        attributes: What is known of it.
    """

    name: str
    started_ns: int
    ended_ns: int
    context: SpanContext
    parent_id: str | None
    is_request: bool
    code: str | None
    is_failed: bool
    attributes: Mapping[str, Scalar]


_WHOLE: Final = ("dagster.", "tierlake ")
"""Before the names of steps and commands, which fail by any error that they end with."""


def finished_span(event: RequestEvent | SpanEvent) -> FinishedSpan:
    """The span that an event tells of."""
    if isinstance(event, RequestEvent):
        name = f"{event.operation}.body" if event.is_body else event.operation
        attributes = _of_request(event)
    else:
        name, attributes = event.name, _own(event.attributes)
    started_ns = round(event.started * _MICROSECONDS) * (_NANOSECONDS // _MICROSECONDS)  # as far as a float goes
    if event.code is not None:
        attributes["error.type"] = event.code
    return FinishedSpan(
        name=name,
        started_ns=started_ns,
        ended_ns=started_ns + max(round(event.seconds * _NANOSECONDS), 0),
        context=event.span,
        parent_id=event.parent_id,
        is_request=isinstance(event, RequestEvent),
        code=event.code,
        is_failed=event.code is not None and (kind_of(event.code) == "failure" or name.startswith(_WHOLE)),
        attributes=attributes,
    )


def _own(fields: Mapping[str, str]) -> dict[str, Scalar]:
    return {f"tierlake.{name}": redact(text) for name, text in fields.items()}


def _of_request(event: RequestEvent) -> dict[str, Scalar]:
    known: dict[str, Scalar] = {
        "rpc.system": "aws-api",
        "rpc.service": "S3",
        "rpc.method": _method(event.operation),
        "tierlake.attempt": event.attempt,
        "tierlake.server": event.server,
        "tierlake.engine": event.engine,
    }
    if event.fields:
        known.update(_own(event.fields))
    more = (
        ("aws.s3.bucket", event.bucket),
        ("aws.s3.key", redact(event.key) if event.key else None),
        ("aws.request_id", event.request_id),
        ("aws.extended_request_id", event.host_id),
        ("http.response.status_code", event.status),
        ("http.request.body.size", event.bytes_sent),
        ("http.response.body.size", event.bytes_received),
        ("http.request.resend_count", event.attempt - 1),
        ("tierlake.server_code", event.server_code),
        ("tierlake.is_retried", event.is_retried),
    )
    known.update({name: value for name, value in more if value})
    return known


@functools.lru_cache(maxsize=256)
def _method(operation: str) -> str:
    """`PutObject`, as AWS has it."""
    return "".join(part.capitalize() for part in operation.split("_"))
