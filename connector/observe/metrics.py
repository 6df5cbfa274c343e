"""The sink that counts: it adds events up, and exporters show or send the sums.

An event costs some dictionary look-ups, which OpenTelemetry's own instruments would take ten times as long for. So
the sums are kept here; `tierlake.connector.observe.open_telemetry` hands them to OpenTelemetry's API as observable
instruments, and `tierlake.connector.observe.prometheus` to a scrape. The number of series is bounded, whatever labels
events have.

Requests are those of this process by aiobotocore and obstore, whose user agent begins with `tierlake`. deltalake reads
and writes its log by itself and shows none of its requests; a server's log has them under `object_store/`. Whoever is
handed a signed URL is another client.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, Protocol

from tierlake.connector.observe import depth, hooks
from tierlake.connector.observe.events import Count, ErrorEvent, Gauge, RequestEvent, SpanEvent, status_class
from tierlake.connector.observe.instruments import BUCKETS, BY_NAME, INSTRUMENTS, Instrument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierlake.connector.observe.events import Event

__all__ = ["BUCKETS", "INSTRUMENTS", "Distribution", "Exporter", "Instrument", "Metrics", "is_throttled"]

OTHER: Final = "other"
"""The value of a label that has had too many."""
DATASETS_MAX: Final = 1000
LABEL_VALUES_MAX: Final = 200
SERIES_MAX: Final = 10_000
"""The most series of a metric."""
_ALL: Final = "*"
_UNKNOWN: Final = "unknown"
_LOCK_SECONDS: Final = 1.0
_TOO_MANY_REQUESTS: Final = 429
_THROTTLED: Final = "throttled"


class Exporter(Protocol):
    """Shows or sends sums.

    Attributes:
        name: A word for it, for the count of what it could not take.
    """

    name: str

    def start(self, metrics: Metrics) -> bool:
        """Begin; False where it cannot, which it has said."""

    def record(self, seconds: float, labels: tuple[str, ...]) -> None:
        """Take one response time, where sums of it are no use."""

    def flush(self, seconds: float) -> None:
        """Send the sums as they are now, and wait for so many seconds at most."""

    def close(self) -> None:
        """Give back what it holds."""

    def abandon(self) -> None:
        """Forget what it holds, in a child process: it is the parent's."""


class Distribution:
    """The values of a histogram.

    Attributes:
        counts: The number of values in each bucket, and above the last one.
        total: Their sum.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value

    def copy(self) -> Distribution:
        """The same values, which do not change."""
        copied = Distribution()
        copied.counts, copied.total = list(self.counts), self.total
        return copied


class Metrics:
    """Sums of events.

    Args:
        exporters: Where the sums go.
        datasets: The datasets that are labels; `*` is all.
    """

    name = "metrics"

    def __init__(self, exporters: Iterable[Exporter] = (), datasets: frozenset[str] = frozenset({_ALL})) -> None:
        self._exporters = tuple(exporters)
        self._has_all = _ALL in datasets
        self._datasets = frozenset(_plain(one) for one in datasets)
        self._lock = threading.RLock()
        self._seen: dict[str, set[str]] = {}
        self._sums: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in BY_NAME}
        self._times: dict[tuple[str, ...], Distribution] = {}
        self._started: tuple[Exporter, ...] = ()
        self._lost: tuple[str, ...] = ()
        self._is_stale = True
        self._start()
        _live.add(self)

    # -- as a sink ----------------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Add an event to the sums."""
        if isinstance(event, SpanEvent):
            return
        if self._is_stale:
            self._start()
        # A finalizer that runs in whoever holds the lock may wait for a request, which comes here.
        lock = self._lock
        if not lock.acquire(timeout=_LOCK_SECONDS):
            hooks.drop(self.name)
            return
        try:
            labels = self._add_up(event)
        finally:
            lock.release()
        if labels is not None and isinstance(event, RequestEvent):
            for exporter in self._started:  # without our lock: OpenTelemetry asks for it within its own
                exporter.record(event.seconds, labels)

    def _add_up(self, event: Event) -> tuple[str, ...] | None:
        """Add an event to the sums; returns the labels of a request's time."""
        labels = None
        if isinstance(event, RequestEvent):
            labels = self._take_request(event)
        elif isinstance(event, Count):
            self._add(event.name, self._labels(BY_NAME[event.name], event.labels), event.amount)
        elif isinstance(event, Gauge):
            self._take_gauge(event)
        elif isinstance(event, ErrorEvent):
            self._add("error_count", (_text(event.verb), event.code, event.kind, _UNKNOWN), 1)
        else:
            return None
        for lost in self._lost:
            hooks.drop(lost)
        return labels

    def flush(self, seconds: float) -> None:
        """Send the sums, and wait for so many seconds at most."""
        deadline = time.monotonic() + seconds
        for number, exporter in enumerate(started := self._started):
            exporter.flush(max(deadline - time.monotonic(), 0) / (len(started) - number))

    def close(self) -> None:
        """Give back ports and threads."""
        _live.discard(self)
        for exporter in self._started:
            exporter.close()
        self._started = ()

    # -- for exporters ------------------------------------------------------------------------------------------------
    #
    # Without the lock: what is allocated here may run a finalizer, which may write the rest of a file that nobody
    # closed, and wait for its request, which in turn would wait for the lock to be counted.

    def values(self, instrument: Instrument) -> list[tuple[tuple[str, ...], float]]:
        """The series of a counter or a gauge as they are now, by their labels' values."""
        if instrument.event_name == "queue_depth":
            return [((state,), value) for state, value in depth.depths().items()]
        if instrument.event_name == "dropped_event_count":
            return [((sink,), value) for sink, value in hooks.dropped().items()]
        return list(self._sums[instrument.event_name].copy().items())

    def distributions(self) -> list[tuple[tuple[str, ...], Distribution]]:
        """The series of `tierlake_response_time_seconds`, likewise."""
        return [(labels, one.copy()) for labels, one in self._times.copy().items()]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._is_stale:
                self._is_stale = False
                self._started = tuple(one for one in self._exporters if one.start(self))
                self._lost = tuple(one.name for one in self._exporters if one not in self._started)

    def forget_parent(self) -> None:
        """Begin anew in a child process: the parent shows its own sums, and its threads are not here."""
        self._lock = threading.RLock()
        for exporter in self._exporters:
            exporter.abandon()
        self._sums = {name: {} for name in BY_NAME}
        self._times, self._seen = {}, {}
        self._started = self._lost = ()
        self._is_stale = True

    def _take_request(self, event: RequestEvent) -> tuple[str, ...] | None:
        operation, server = _text(event.operation), _text(event.server)
        labels: tuple[str, ...] | None = None
        if not event.is_body:
            labels = (operation, status_class(event.status), server)
            times = self._times.get(labels)
            if times is None:
                labels = self._bounded("response_time_seconds", labels, self._times)
                times = self._times.setdefault(labels, Distribution())
            times.add(event.seconds)
            self._add("request_count", labels, 1)
            if event.bytes_sent:
                self._add("sent_bytes", (operation, server), event.bytes_sent)
            if event.bytes_received:
                self._add("received_bytes", (operation, server), event.bytes_received)
        if event.code is not None:
            self._add("error_count", (operation, event.code, event.kind or "", server), 1)
            if is_throttled(event):
                self._add("throttle_count", (operation, server), 1)
        if event.is_retried:
            self._add("retry_count", (operation, server), 1)
        return labels

    def _take_gauge(self, event: Gauge) -> None:
        instrument = BY_NAME[event.name]
        labels = self._labels(instrument, event.labels)
        if "dataset" in instrument.labels and not labels[-1]:
            return  # those of several datasets would replace each other
        series = self._sums[event.name]
        bounded = labels if labels in series else self._bounded(event.name, labels, series)
        if bounded == labels:  # likewise
            series[labels] = event.value + 0  # raises where it is no number, which would cost each later scrape

    def _add(self, name: str, labels: tuple[str, ...], amount: float) -> None:
        series = self._sums[name]
        if labels not in series:
            labels = self._bounded(name, labels, series)
        series[labels] = series.get(labels, 0) + amount

    def _labels(self, instrument: Instrument, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The values of an instrument's labels, in their order."""
        values = tuple(_text(labels.get(one, "")) for one in instrument.labels)
        if "dataset" not in instrument.labels:
            return values
        dataset = _plain(values[-1])
        return (*values[:-1], dataset if self._has_all or dataset in self._datasets else "")

    def _bounded(self, name: str, labels: tuple[str, ...], series: Mapping[tuple[str, ...], object]) -> tuple[str, ...]:
        """The labels of a new series, within the bounds of each label and of all series."""
        names = BY_NAME[name].labels
        bounded = tuple(self._known(label, value) for label, value in zip(names, labels, strict=True))
        if bounded in series or len(series) < SERIES_MAX:
            return bounded
        return (OTHER,) * len(labels)

    def _known(self, label: str, value: str) -> str:
        seen = self._seen.setdefault(label, set())
        if value not in seen and len(seen) >= (DATASETS_MAX if label == "dataset" else LABEL_VALUES_MAX):
            return OTHER
        seen.add(value)
        return value


_live: Final[weakref.WeakSet[Metrics]] = weakref.WeakSet()


def _forget_parent() -> None:
    for metrics in list(_live):
        metrics.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def is_throttled(event: RequestEvent) -> bool:
    """Whether a response asks to slow down."""
    return event.code == _THROTTLED or event.status == _TOO_MANY_REQUESTS


def _text(value: object) -> str:
    """A label's value: a single one that is no text, or not in UTF-8, would cost a scrape all series."""
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(uri: str) -> str:
    return uri.rstrip("/")
