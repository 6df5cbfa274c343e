"""What happens, for whoever wants to know: one frozen event a request, and any number of sinks.

>>> from tierlake.connector import observe
>>> observe.configure(observe.Observing(log="json"))                # doctest: +SKIP
>>> observe.add(my_sink)                                            # doctest: +SKIP
>>> with observe.span("nightly", run_id="17"): ...                  # doctest: +SKIP

`TIERLAKE_LOG`, `TIERLAKE_METRICS`, `TIERLAKE_TRACES` and OpenTelemetry's own variables do the first without code.
"""

from tierlake.connector.observe.configuration import Observing, configure
from tierlake.connector.observe.counting import count, gauge
from tierlake.connector.observe.events import Count, ErrorEvent, Event, Gauge, RequestEvent, SpanContext, SpanEvent
from tierlake.connector.observe.hooks import Sink, add, dropped, emit, flush, is_on, remove
from tierlake.connector.observe.tracing import current, environment, span, traceparent, under

__all__ = [
    "Count",
    "ErrorEvent",
    "Event",
    "Gauge",
    "Observing",
    "RequestEvent",
    "Sink",
    "SpanContext",
    "SpanEvent",
    "add",
    "configure",
    "count",
    "current",
    "dropped",
    "emit",
    "environment",
    "flush",
    "gauge",
    "is_on",
    "remove",
    "span",
    "traceparent",
    "under",
]
