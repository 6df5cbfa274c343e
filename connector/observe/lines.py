"""Events as lines for an operator: their level, a short sentence, and fields.

Each error has one line with its `code`: that of its request, or that of the verb which it left. So the end of a verb
that failed names no code.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tierlake.connector.names import hive_folders
from tierlake.connector.observe.events import ErrorEvent, RequestEvent, SpanEvent
from tierlake.connector.redact import is_harmless, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.observe.events import Event, SpanContext

__all__ = ["LEVELS", "Line", "LogRecordEvent", "is_success", "level_of", "line_of"]

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""The names of levels, from the lowest on."""

_NO_SPAN: Final = "0" * 16
_FILESYSTEM: Final = "fs."
"""Before the names of the filesystem's verbs: their requests say it all, and their ends are for debugging."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is logged of an event.

    Attributes:
        level: As `logging` numbers them.
        message: A short sentence, the same for all events of a kind.
        occurred: Seconds since 1970.
        fields: What is known, by name; without secrets.
    """

    level: int
    message: str
    occurred: float
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogRecordEvent:
    """A record of one of our loggers.

    Attributes:
        level: As `logging` numbers them.
        message: The record's text.
        logger: The logger's name.
        exception: The stack of an exception; None without one.
        occurred: Seconds since 1970.
        span: The innermost span where it was logged.
        fields: What was said of the spans around.
    """

    level: int
    message: str
    logger: str
    exception: str | None
    occurred: float
    span: SpanContext
    fields: Mapping[str, str]


def is_success(event: Event) -> bool:
    """Whether it is a request that succeeded: of these a share may be logged."""
    return isinstance(event, RequestEvent) and event.code is None and not event.is_retried


def level_of(event: Event | LogRecordEvent) -> int | None:
    """The level of an event's line; None for an event that has none."""
    if isinstance(event, RequestEvent):
        if event.code is None or event.kind == "answer":
            return logging.INFO
        return logging.WARNING if event.is_retried else logging.ERROR
    if isinstance(event, SpanEvent):
        return logging.DEBUG if event.name.startswith(_FILESYSTEM) else logging.INFO
    if isinstance(event, ErrorEvent):
        return logging.INFO if event.kind == "answer" else logging.ERROR
    return event.level if isinstance(event, LogRecordEvent) else None


def line_of(event: Event | LogRecordEvent) -> Line | None:
    """The line of an event; None for a count or a figure.

    Args:
        event: The event.

    Returns:
        The line, whose fields that are unknown are left out.
    """
    level = level_of(event)
    if level is None:
        return None
    if isinstance(event, RequestEvent):
        message, occurred, facts = _request(event), event.started + event.seconds, _request_facts(event)
    elif isinstance(event, SpanEvent):
        message = "Verb ended with an error" if event.code else "Verb ended"
        occurred, facts = event.started + event.seconds, _span_facts(event)
    elif isinstance(event, ErrorEvent):
        message, occurred, facts = "Error raised", event.occurred, _error_facts(event)
    elif isinstance(event, LogRecordEvent):
        message, occurred, facts = redact(event.message), event.occurred, _record_facts(event)
    else:
        return None
    known = {name: fact for name, fact in facts.items() if fact is not None}
    if not is_harmless(" ".join([fact for fact in known.values() if isinstance(fact, str)])):
        known = {name: redact(fact) if isinstance(fact, str) else fact for name, fact in known.items()}
    return Line(level, message, occurred, known)


def _request(event: RequestEvent) -> str:
    if event.is_body:
        return "Response broke off"
    if event.is_retried:  # without a code, another library tries it
        return "Request failed and is tried again"
    if event.code is None:
        return "Request succeeded"
    return "Request failed" if event.kind == "failure" else "Request was answered with no"


def _request_facts(event: RequestEvent) -> dict[str, Any]:
    return {
        "request_id": event.request_id,
        "host_id": event.host_id,
        **_trace(event.span),
        "operation": event.operation,
        "engine": event.engine,
        "server": event.server,
        "bucket": event.bucket,
        "key": event.key,
        "status": event.status,
        "attempt": event.attempt,
        "bytes": event.bytes_sent + event.bytes_received or None,
        "duration_ms": _milliseconds(event.seconds),
        "code": event.code,
        "server_code": event.server_code,
        **_said(event.fields, event.key, without=("path", "paths")),
    }


def _span_facts(event: SpanEvent) -> dict[str, Any]:
    return {
        **_trace(event.span),
        "operation": event.name,
        "duration_ms": _milliseconds(event.seconds),
        **_said(event.attributes),
    }


def _error_facts(event: ErrorEvent) -> dict[str, Any]:
    return {
        "request_id": event.request_id,
        **_trace(event.span),
        "operation": event.verb,
        "bucket": event.bucket,
        "key": event.key,
        "code": event.code,
        "server_code": event.server_code,
        **_said(event.fields, event.key),
        "error": event.message or None,
    }


def _record_facts(event: LogRecordEvent) -> dict[str, Any]:
    return {**_trace(event.span), "logger": event.logger, **_said(event.fields), "traceback": event.exception}


def _trace(span: SpanContext) -> dict[str, Any]:
    return {"trace_id": span.trace_id, "span_id": None if span.span_id == _NO_SPAN else span.span_id}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


_OWN: Final = frozenset(
    {
        *("timestamp", "level", "message", "logger", "request_id", "host_id", "trace_id", "span_id"),
        *("operation", "engine", "server", "bucket", "key", "status", "attempt", "bytes", "duration_ms"),
        *("code", "server_code", "error", "traceback"),
    }
)
"""Names that mean one thing in all lines, whatever somebody calls a field of a span."""


def _said(fields: Mapping[str, str], key: str | None = None, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of the spans around, with the partition of a key that lies in Hive's folders."""
    partition = fields.get("partition") or (hive_folders(key)[1] if key else "")
    said = {"dataset": fields.get("dataset"), "partition": partition or None, "run_id": fields.get("run_id")}
    for name, text in fields.items():
        if name not in _OWN and name not in without:
            said.setdefault(name, text)
    return said
