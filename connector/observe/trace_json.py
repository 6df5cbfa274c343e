"""Spans as the documents that trace viewers open: trace events for Perfetto, OTLP as JSON for Jaeger.

Sources: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (trace event format),
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, Protocol

from tierlake.connector.observe.finished_spans import SCOPE, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tierlake.connector.observe.finished_spans import FinishedSpan, Scalar

__all__ = ["Document", "OtlpJson", "TraceEvents"]

_SLACK_NS: Final = 1_000_000
"""A span that ends so much later than its parent ended with it: their clocks are read one after another."""
_INTERNAL, _CLIENT, _ERROR = 1, 3, 2


class Document(Protocol):
    """What a file of spans holds.

    Attributes:
        member: The list that has the spans.
    """

    member: str

    def of(self, spans: Sequence[FinishedSpan]) -> list[Any]:
        """The items of the list for some spans."""

    def size(self, item: Any) -> int:
        """How many spans an item has."""


class TraceEvents:
    """Trace events of one process: a span is drawn within its parent, or on a track of its own beside it.

    Args:
        pid: The process's id.
        process_name: Its name.
    """

    member = "traceEvents"

    def __init__(self, pid: int, process_name: str) -> None:
        self._pid, self._process_name = pid, process_name
        self._lanes = 0
        self._until_ns = 0

    def of(self, spans: Sequence[FinishedSpan]) -> list[Any]:
        """A complete event for each span, and the names of the tracks."""
        if not spans:
            return []
        # what was drawn before may overlap with spans that began earlier: these get tracks of their own
        first = 0 if min(span.started_ns for span in spans) >= self._until_ns else self._lanes
        events: list[Any] = []
        lanes: set[int] = set()
        for lane, span, ended_ns in _laid_out(spans):
            lanes.add(first + lane)
            events.append(self._event(first + lane, span, ended_ns))
            self._until_ns = max(self._until_ns, ended_ns)
        self._lanes = max(self._lanes, *lanes)
        named = [self._named("process_name", 0, self._process_name)]
        named += [self._named("thread_name", lane, f"lane {lane}") for lane in sorted(lanes)]
        return [*named, *events]

    def size(self, item: Any) -> int:
        """One, for all events but names."""
        return int(item.get("ph") == "X")

    def _named(self, what: str, lane: int, name: str) -> dict[str, Any]:
        return {"ph": "M", "name": what, "pid": self._pid, "tid": lane, "args": {"name": name}}

    def _event(self, lane: int, span: FinishedSpan, ended_ns: int) -> dict[str, Any]:
        begin = span.started_ns // 1000
        known = {"trace_id": span.context.trace_id, "span_id": span.context.span_id}
        if span.parent_id is not None:
            known["parent_id"] = span.parent_id
        return {
            "ph": "X",
            "name": span.name,
            "cat": "request" if span.is_request else "span",
            "ts": begin,
            "dur": ended_ns // 1000 - begin,
            "pid": self._pid,
            "tid": lane,
            "args": {**span.attributes, **known},
        }


def _laid_out(spans: Iterable[FinishedSpan]) -> Iterator[tuple[int, FinishedSpan, int]]:
    """Each span with its track, from 1 on, and its end: on a track spans lie within each other, or apart."""
    stacks: dict[int, list[tuple[int, str]]] = {}
    lane_of: dict[str, int] = {}
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for span in sorted(spans, key=lambda one: (one.started_ns, -one.ended_ns)):
        while busy and busy[0][0] <= span.started_ns:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = lane_of.get(span.parent_id or "", 0)
        stack = stacks.get(lane, [])
        while stack and stack[-1][0] <= span.started_ns:
            stack.pop()
        if stack and stack[-1][1] == span.parent_id and span.ended_ns <= stack[-1][0] + _SLACK_NS:
            ended_ns = min(span.ended_ns, stack[-1][0])
        else:
            lane = heapq.heappop(free) if free else len(stacks) + 1
            stack, ended_ns = stacks.setdefault(lane, []), span.ended_ns
            stack.clear()
            heapq.heappush(busy, (ended_ns, lane))
        stack.append((ended_ns, span.context.span_id))
        lane_of[span.context.span_id] = lane
        yield lane, span, ended_ns


class OtlpJson:
    """OTLP's export request as JSON, with the spans of one process.

    Args:
        pid: The process's id.
    """

    member = "resourceSpans"

    def __init__(self, pid: int) -> None:
        self._resource = {"attributes": [_attribute("service.name", SERVICE), _attribute("process.pid", pid)]}

    def of(self, spans: Sequence[FinishedSpan]) -> list[Any]:
        """One item with all spans."""
        if not spans:
            return []
        scope = {"scope": {"name": SCOPE}, "spans": [_otlp_span(span) for span in spans]}
        return [{"resource": self._resource, "scopeSpans": [scope]}]

    def size(self, item: Any) -> int:
        """The spans of an item."""
        return sum(len(scope.get("spans", ())) for scope in item.get("scopeSpans", ()))


def _otlp_span(span: FinishedSpan) -> dict[str, Any]:
    """A span; identities are hexadecimal, and 64-bit integers are text."""
    known: dict[str, Any] = {
        "traceId": span.context.trace_id,
        "spanId": span.context.span_id,
        "name": span.name,
        "kind": _CLIENT if span.is_request else _INTERNAL,
        "startTimeUnixNano": str(span.started_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": [_attribute(name, value) for name, value in span.attributes.items()],
        "status": {"code": _ERROR, "message": span.code} if span.is_failed else {},
    }
    if span.parent_id is not None:
        known["parentSpanId"] = span.parent_id
    return known


def _attribute(name: str, value: Scalar) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"key": name, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": name, "value": {"doubleValue": value}}
    return {"key": name, "value": {"stringValue": value}}
