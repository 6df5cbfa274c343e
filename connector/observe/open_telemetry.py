"""Metrics through OpenTelemetry: `TIERLAKE_METRICS=otlp` for a collector, `otel` for the application's own provider.

Counters and gauges are observable instruments on the sums of `tierlake.connector.observe.metrics`; the API has none for
histograms, so response times are recorded one by one.
"""

from __future__ import annotations

import functools
import math
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter_provider

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import hooks
from tierlake.connector.observe.instruments import BUCKETS, INSTRUMENTS
from tierlake.connector.observe.pushing import Pushing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter

    from tierlake.connector.observe.instruments import Instrument
    from tierlake.connector.observe.metrics import Metrics

__all__ = ["ApplicationProvider", "Otlp"]

_METER: Final = "tierlake"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_INTERVAL_MILLISECONDS: Final = 60_000.0
"""As OpenTelemetry's specification has it."""


class _Instruments:
    """Our instruments on a meter, and the sums that they show.

    Args:
        meter: OpenTelemetry's meter.
    """

    def __init__(self, meter: Meter) -> None:
        self.metrics: Metrics | None = None
        self._attributes: dict[tuple[str, ...], dict[str, str]] = {}
        for one in INSTRUMENTS:
            text = {"unit": one.unit, "description": one.description}
            if one.kind == "histogram":
                self._times = meter.create_histogram(one.name, explicit_bucket_boundaries_advisory=BUCKETS, **text)
                self._labels = one.labels
            else:
                create: Any = getattr(meter, f"create_observable_{one.kind}")
                create(one.name, callbacks=[functools.partial(self._observations, one)], **text)

    def _observations(self, one: Instrument, _: CallbackOptions) -> Iterable[Observation]:
        values = [] if self.metrics is None else self.metrics.values(one)
        return [Observation(value, dict(zip(one.labels, labels, strict=True))) for labels, value in values]

    def record(self, seconds: float, labels: tuple[str, ...]) -> None:
        """Record a response time."""
        attributes = self._attributes.get(labels)
        if attributes is None:
            attributes = self._attributes[labels] = dict(zip(self._labels, labels, strict=True))
        self._times.record(seconds, attributes)


class Otlp:
    """A collector that OpenTelemetry's variables name, by OTLP over HTTP."""

    name = "otlp"

    def __init__(self) -> None:
        import opentelemetry.exporter.otlp.proto.http.metric_exporter
        import opentelemetry.sdk.metrics  # noqa: F401 -- both are needed later: what is missing is said now

        self._seconds = _interval_seconds()
        self._instruments: _Instruments | None = None
        self._pushing: Pushing | None = None

    def start(self, metrics: Metrics) -> bool:
        """Begin to send."""
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        reader = PeriodicExportingMetricReader(_exporter(), export_interval_millis=math.inf)
        self._instruments = _Instruments(_provider(reader).get_meter(_METER))
        self._instruments.metrics = metrics
        self._pushing = Pushing(self.name, reader.collect, self._seconds)
        return True

    def record(self, seconds: float, labels: tuple[str, ...]) -> None:
        """Record a response time."""
        if self._instruments is not None:
            self._instruments.record(seconds, labels)

    def flush(self, seconds: float) -> None:
        """Send the sums as they are now, and wait for so many seconds at most."""
        if self._pushing is not None:
            self._pushing.flush(seconds)

    def close(self) -> None:
        """Send no more."""
        if self._pushing is not None:
            self._pushing.close()
        self.abandon()

    def abandon(self) -> None:
        """The thread is the parent's, and its locks may be held by another one that is not here."""
        self._pushing = self._instruments = None


class ApplicationProvider:
    """The provider that the application has set by `opentelemetry.metrics.set_meter_provider`, now or later."""

    name = "otel"

    def __init__(self) -> None:
        self._metrics: Metrics | None = None

    def start(self, metrics: Metrics) -> bool:
        """Show the sums through it, in place of those before."""
        self._metrics = _application_instruments().metrics = metrics
        return True

    def record(self, seconds: float, labels: tuple[str, ...]) -> None:
        """Record a response time."""
        _application_instruments().record(seconds, labels)

    def flush(self, seconds: float) -> None:
        """Flush the provider, if it is one that can."""
        flush = getattr(get_meter_provider(), "force_flush", None)
        if flush is not None:
            flush(seconds * 1000)

    def close(self) -> None:
        """Show nothing more, unless others are shown already."""
        if _application_instruments().metrics is self._metrics:
            _application_instruments().metrics = None

    def abandon(self) -> None:
        """The provider says itself what becomes of it in a child process."""


@functools.cache
def _application_instruments() -> _Instruments:
    """One set for the process: a meter keeps an instrument for good."""
    return _Instruments(get_meter_provider().get_meter(_METER))


def _provider(reader: Any) -> MeterProvider:
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
    from opentelemetry.sdk.resources import Resource

    instance = f"{socket.gethostname()}:{os.getpid()}"
    ours = Resource({"service.name": _METER, "service.instance.id": instance})
    named = Resource.create({})
    unnamed = str(named.attributes.get("service.name", "")).startswith("unknown_service")
    resource = named.merge(ours) if unnamed else ours.merge(named)
    return MeterProvider(
        metric_readers=[reader],
        resource=resource,
        exemplar_filter=AlwaysOffExemplarFilter(),
        shutdown_on_exit=False,
    )


def _exporter() -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricExportResult

    class Counted(OTLPMetricExporter):
        """Counts what did not arrive."""

        def export(self, *args: Any, **kwargs: Any) -> MetricExportResult:
            result = super().export(*args, **kwargs)
            if result is not MetricExportResult.SUCCESS:
                hooks.drop(Otlp.name)
            return result

    return Counted()


def _interval_seconds() -> float:
    text = os.environ.get(_INTERVAL) or str(_INTERVAL_MILLISECONDS)
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = 0
    if not 0 < milliseconds < math.inf:
        raise InvalidSetting(f"{_INTERVAL} is {text!r}: it must be a number of milliseconds")
    return milliseconds / 1000
