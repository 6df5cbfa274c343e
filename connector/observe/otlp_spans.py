"""Spans for OpenTelemetry: to a collector, or to an application's own span processor.

    observe.add(OtlpSpans(BatchSpanProcessor(my_exporter)))

Spans are exported in a thread of OpenTelemetry's. A collector that is down or hangs delays no request, and the end of
the process by two seconds at most; spans that it did not take are counted as dropped.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
import weakref
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, cast

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import hooks, tracing
from tierlake.connector.observe.events import RequestEvent, SpanEvent
from tierlake.connector.observe.finished_spans import SCOPE, SERVICE, finished_span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext as OtelContext

    from tierlake.connector.observe.events import Event, SpanContext
    from tierlake.connector.observe.finished_spans import FinishedSpan

__all__ = ["OtlpSpans"]

_NAME: Final = "traces"
_EXPORTERS: Final = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
_PACKAGES: Final = {"http/protobuf": "'tierlake[observe]'", "grpc": "opentelemetry-exporter-otlp-proto-grpc"}
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_QUEUE_MAX: Final = 2048
"""OpenTelemetry's own default of `OTEL_BSP_MAX_QUEUE_SIZE`."""


class OtlpSpans:
    """Gives spans to a span processor of OpenTelemetry.

    Args:
        processor: Takes the spans; `take` calls its `on_end`, which has to return at once.
        resource: What the spans are of; OpenTelemetry's variables name it otherwise.
        waiting: Counts the spans that the processor holds, where that is known.
    """

    name = _NAME

    def __init__(
        self, processor: SpanProcessor, *, resource: Resource | None = None, waiting: _Waiting | None = None
    ) -> None:
        self._processor = processor
        self._waiting = waiting
        self._made = _Conversion(resource or own_resource())
        self._calls = _Calls()

    @classmethod
    def exported(cls) -> OtlpSpans:
        """Spans to the collector that OpenTelemetry's variables name, in batches.

        `OTEL_EXPORTER_OTLP_*` have the endpoint, the headers and the protocol, `OTEL_SERVICE_NAME` and
        `OTEL_RESOURCE_ATTRIBUTES` the service, `OTEL_TRACES_SAMPLER` which traces that begin here are kept, and
        `OTEL_BSP_*` the sizes of queue and batches.

        Raises:
            InvalidSetting: The exporter's library is not installed, or a variable has a value that it cannot have.
        """
        exporter = _exporter()
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import Decision

        waiting = _Waiting(_queue_max())
        try:
            processor = BatchSpanProcessor(cast("SpanExporter", _Counted(exporter, waiting)))
        except ValueError as error:
            raise InvalidSetting(f"Wrong OTEL_BSP_ variables: {error}") from error
        sampler = TracerProvider(shutdown_on_exit=False).sampler
        tracing.sample_by(
            lambda trace_id: sampler.should_sample(None, int(trace_id, 16), "").decision is Decision.RECORD_AND_SAMPLE
        )
        return cls(processor, waiting=waiting)

    def take(self, event: Event) -> None:
        """Give a span to the processor; spans beyond its queue are counted as dropped."""
        if not isinstance(event, RequestEvent | SpanEvent) or not event.span.is_sampled:
            return
        if self._waiting is not None and not self._waiting.add():
            hooks.drop(self.name)
            return
        self._processor.on_end(self._made(finished_span(event)))

    def flush(self, seconds: float) -> None:
        """Export what has ended so far, for so many seconds at most."""
        self._calls.call(self._processor.force_flush, seconds)

    def close(self) -> None:
        """Export the rest in the background; the processor takes no more."""
        self._calls.call(self._processor.shutdown, 0, is_last=True)


def own_resource() -> Resource:
    """What the variables of OpenTelemetry say of this process; the service is `tierlake` where they name none."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    resource = Resource.create({})
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    return resource


def _queue_max() -> int:
    try:
        return int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE_MAX))
    except ValueError:  # OpenTelemetry says so in its log
        return _QUEUE_MAX


def _exporter() -> SpanExporter:
    protocol = next((text for name in _PROTOCOLS if (text := os.environ.get(name, "").strip())), "http/protobuf")
    if protocol not in _EXPORTERS:
        raise InvalidSetting(f"Traces cannot be sent as {protocol}", hint=f"Write one of {', '.join(_EXPORTERS)}")
    try:
        exporter: SpanExporter = import_module(_EXPORTERS[protocol]).OTLPSpanExporter()
    except ImportError as error:
        hint = f"pip install {_PACKAGES[protocol]}"
        raise InvalidSetting(f"Traces by {protocol} need OpenTelemetry's exporter", hint=hint) from error
    except ValueError as error:
        raise InvalidSetting(f"Wrong OTEL_EXPORTER_OTLP_ variables: {error}") from error
    return exporter


class _Waiting:
    """How many spans have been given to a processor and not yet to its exporter."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begin anew, also in a child process: its processor forgets what the parent's holds."""
        self._lock = threading.Lock()
        self._count = 0

    def add(self) -> bool:
        """Count one more; False where there is no room."""
        with self._lock:
            has_room = self._count < self._most
            self._count += has_room
        return has_room

    def remove(self, amount: int) -> None:
        """Count some less."""
        with self._lock:
            self._count = max(self._count - amount, 0)


_all: Final[weakref.WeakSet[_Waiting]] = weakref.WeakSet()


def _begin_anew() -> None:
    for one in list(_all):
        one.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class _Counted:
    """An exporter whose failures are counted."""

    def __init__(self, exporter: SpanExporter, waiting: _Waiting) -> None:
        self._exporter, self._waiting = exporter, waiting

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        """Export spans, and count those that the collector did not take."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._waiting.remove(len(spans))
            if result is not SpanExportResult.SUCCESS:
                hooks.drop(_NAME, len(spans))
        return result

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)


class _Calls:
    """Calls that may hang, in a thread of their own that does not keep the process alive.

    The thread is there before it is needed: at the exit of the interpreter none can be started.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._queue: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        threading.Thread(target=_run, args=(self._queue,), name="tierlake-traces", daemon=True).start()

    def call(self, work: Callable[[], object], seconds: float, *, is_last: bool = False) -> None:
        """Call a function, and wait for it, but no longer than some seconds."""
        if self._process != os.getpid():  # a forked child, which has no threads of its parent
            self._begin()
        one = _Call(work, is_last)
        self._queue.put(one)
        one.done.wait(seconds)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call.

    Attributes:
        work: The function.
        is_last: The thread ends with it.
        done: Set when the function has returned.
    """

    work: Callable[[], object]
    is_last: bool
    done: threading.Event = field(default_factory=threading.Event)


def _run(calls: queue.SimpleQueue[_Call]) -> None:
    is_over = False
    while not is_over:
        one = calls.get()
        try:
            one.work()
        except Exception:  # noqa: BLE001 -- whatever a processor does, the next call is made
            hooks.drop(_NAME)
        finally:
            one.done.set()
        is_over = one.is_last


class _Conversion:
    """Makes OpenTelemetry's spans of ours."""

    def __init__(self, resource: Resource) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._trace, self._kind, self._resource = trace, ReadableSpan, resource
        self._scope = InstrumentationScope(SCOPE, _version())
        self._unset = trace.Status(trace.StatusCode.UNSET)

    def __call__(self, span: FinishedSpan) -> ReadableSpan:
        trace = self._trace
        parent = None if span.parent_id is None else self._context(span.context, span.parent_id)
        return self._kind(
            name=span.name,
            context=self._context(span.context, span.context.span_id),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=trace.SpanKind.CLIENT if span.is_request else trace.SpanKind.INTERNAL,
            status=trace.Status(trace.StatusCode.ERROR, span.code) if span.is_failed else self._unset,
            start_time=span.started_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self._scope,
        )

    def _context(self, own: SpanContext, span_id: str) -> OtelContext:
        flags = self._trace.TraceFlags(int(own.is_sampled))
        return self._trace.SpanContext(int(own.trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)


@functools.cache
def _version() -> str:
    try:
        return version("tierlake")
    except PackageNotFoundError:  # a working tree that is not installed
        return ""
