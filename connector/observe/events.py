"""What happened, as frozen values: every sink takes the same ones.

::

    Event
    ├── RequestEvent    one request over the wire: each attempt is one
    ├── ErrorEvent      an error that no request had: a refused name, a conflict, a description that differs
    ├── SpanEvent       a verb, or a phase of one, that has ended
    ├── Count           something that is counted
    └── Gauge           a figure as it is now

They are named tuples, as each request has some: a frozen dataclass takes four times as long to be made.

An event holds names, sizes and times. It never holds data of rows, headers, signatures or credentials; texts of servers
are redacted before they come here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ANSWERS",
    "Count",
    "ErrorEvent",
    "Event",
    "Gauge",
    "Kind",
    "RequestEvent",
    "SpanContext",
    "SpanEvent",
    "kind_of",
    "status_class",
]

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})

Kind: TypeAlias = Literal["answer", "failure"]
"""An answer says that something is not there, or is there already: callers ask for it on purpose."""

ANSWERS: Final = frozenset(
    {
        *("already_exists", "bucket_not_found", "cancelled", "not_modified", "object_not_found"),
        *("precondition_failed", "table_exists", "table_not_found"),
    }
)
"""Codes of errors that are answers."""


def kind_of(code: str) -> Kind:
    """Whether an error is an answer or a failure, by its code."""
    return "answer" if code in ANSWERS else "failure"


def status_class(status: int | None) -> str:
    """`2xx`, `3xx`, `4xx` or `5xx`; `none` where there was no response."""
    return f"{status // 100}xx" if status else "none"


class SpanContext(NamedTuple):
    """The identity of a span, as W3C's Trace Context has it.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits; zeros stand for no span.
        is_sampled: Whether traces keep it.
    """

    trace_id: str
    span_id: str
    is_sampled: bool = True


class RequestEvent(NamedTuple):
    """One request that went over the wire; a retry is another one.

    Attributes:
        operation: Botocore's name: `get_object`.
        server: The profile's name; `unknown` before the server has answered.
        engine: `aiobotocore` or `obstore`.
        bucket: The bucket; None for requests that concern none.
        key: The object's key, likewise.
        status: HTTP's; None without a response.
        code: The code of the `LakeError` that this response is; None for a success.
        kind: Of the error.
        server_code: The server's own code, such as `SlowDown`.
        request_id: Under which the server logged the request; None where it, or the library, does not tell.
        host_id: The server's host, likewise.
        attempt: 1 is the first.
        is_retried: The request is made again.
        is_body: The response's body broke off, after the event of the request itself.
        bytes_sent: Of the request's body.
        bytes_received: The length of the response's body, where it is an object's.
        started: Seconds since 1970.
        seconds: From the request to the head of its response.
        span: The request's span.
        parent_id: The span of the verb; None for the first of a trace.
        fields: What the caller said of itself: `dataset`, `run_id`.
    """

    operation: str
    server: str
    engine: str
    bucket: str | None
    key: str | None
    status: int | None
    code: str | None
    server_code: str | None
    request_id: str | None
    host_id: str | None
    attempt: int
    is_retried: bool
    is_body: bool
    bytes_sent: int
    bytes_received: int
    started: float
    seconds: float
    span: SpanContext
    parent_id: str | None
    fields: Mapping[str, str]

    @property
    def kind(self) -> Kind | None:
        """Whether its error is an answer or a failure; None for a success."""
        return None if self.code is None else kind_of(self.code)


class ErrorEvent(NamedTuple):
    """An error that left a verb, and that is not the response to a request.

    Attributes:
        verb: The verb: `dataset.ingest`.
        code: The error's code.
        message: The error's text; empty where it may repeat values of rows.
        request_id: Of the request that led to it, where one did.
        bucket: The bucket concerned.
        key: The key concerned.
        occurred: Seconds since 1970.
        span: The verb's span.
        fields: What the caller said of itself.
        server_code: The server's own code, where a request led to it.
    """

    verb: str
    code: str
    message: str
    request_id: str | None
    bucket: str | None
    key: str | None
    occurred: float
    span: SpanContext
    fields: Mapping[str, str]
    server_code: str | None = None

    @property
    def kind(self) -> Kind:
        """Whether it is an answer or a failure."""
        return kind_of(self.code)


class SpanEvent(NamedTuple):
    """A verb, or a phase of one, that has ended.

    Attributes:
        name: `dataset.ingest`, `fs.cat_file`.
        started: Seconds since 1970.
        seconds: Its duration.
        span: Its identity.
        parent_id: The span around it; None for the first of a trace.
        code: The code of the error with which it ended; None without one.
        attributes: What is known of it: `dataset`, `partition`, `run_id`, `path`.
    """

    name: str
    started: float
    seconds: float
    span: SpanContext
    parent_id: str | None
    code: str | None
    attributes: Mapping[str, str]


class Count(NamedTuple):
    """Something happened so many times.

    Attributes:
        name: The metric, without the prefix `tierlake_`.
        amount: How many; not negative.
        labels: Of the metric; few values each.
    """

    name: str
    amount: float = 1
    labels: Mapping[str, str] = _NO_LABELS


class Gauge(NamedTuple):
    """A figure as it is now.

    Attributes:
        name: The metric, without the prefix `tierlake_`.
        value: The figure.
        labels: Of the metric; few values each.
    """

    name: str
    value: float
    labels: Mapping[str, str] = _NO_LABELS


Event: TypeAlias = RequestEvent | ErrorEvent | SpanEvent | Count | Gauge
