"""Metrics for a scrape: `TIERLAKE_METRICS=prometheus:PORT`.

A process has one server for an address. A port that is in use costs a warning and the metrics, never the work.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, ClassVar, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import Collector

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe.instruments import BUCKETS, INSTRUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from tierlake.connector.observe.instruments import Instrument
    from tierlake.connector.observe.metrics import Distribution, Metrics

__all__ = ["Endpoint", "registry_of"]

logger = logging.getLogger("tierlake.connector")

_HOST: Final = "127.0.0.1"
_PORT_MAX: Final = 65535
_HINT: Final = "Write prometheus:PORT or prometheus:HOST:PORT"
_CLIENT_SECONDS: Final = 10.0
"""The longest wait for a client's next bytes."""


class Families(Collector):
    """The sums as prometheus_client wants them.

    Args:
        metrics: The sums.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        """All metrics, for a scrape of some of them."""
        for one in INSTRUMENTS:
            yield _histogram(one, []) if one.kind == "histogram" else _family(one, [])

    def collect(self) -> Iterator[Metric]:
        """The metrics that have a series."""
        for one in INSTRUMENTS:
            if one.kind == "histogram":
                if times := self._metrics.distributions():
                    yield _histogram(one, times)
            elif values := self._metrics.values(one):
                yield _family(one, values)


def _family(one: Instrument, values: list[tuple[tuple[str, ...], float]]) -> Metric:
    kind = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
    family = kind(one.name, one.description, labels=one.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _histogram(one: Instrument, series: list[tuple[tuple[str, ...], Distribution]]) -> Metric:
    family = HistogramMetricFamily(one.name, one.description, labels=one.labels)
    for labels, values in series:
        buckets, below = [], 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), values.counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets, values.total)
    return family


def registry_of(metrics: Metrics) -> CollectorRegistry:
    """A registry with our metrics alone."""
    registry = CollectorRegistry()
    registry.register(Families(metrics))
    return registry


class _Handler(WSGIRequestHandler):
    """Logs nothing, and does not wait for ever for a client that sends nothing."""

    timeout = _CLIENT_SECONDS

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a scrape, none of which keeps the process."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without a look at the name service, which may take long."""
        if os.name == "posix":  # elsewhere it would share a port that is in use
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no concern of the process."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class Endpoint:
    """An endpoint for Prometheus.

    Args:
        host: The interface.
        port: The port; 0 is a free one.
    """

    name = "prometheus"
    _open: ClassVar[dict[tuple[str, int], Endpoint]] = {}
    """The endpoint that serves each address."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._server: _Server | None = None

    @classmethod
    def at(cls, address: str) -> Endpoint:
        """The endpoint at `PORT` or `HOST:PORT`.

        Raises:
            InvalidSetting: The text is none of both.
        """
        host, _, port = address.rpartition(":")
        is_port = port.isascii() and port.isdigit() and int(port) <= _PORT_MAX
        if not is_port or "@" in host or "/" in host:
            raise InvalidSetting("metrics: prometheus needs a port from 0 to 65535", hint=_HINT)
        return cls(host.strip("[]") or _HOST, int(port))

    @property
    def port(self) -> int | None:
        """The port that is served; None if none is."""
        return self._server.server_port if self._server is not None else None

    def start(self, metrics: Metrics) -> bool:
        """Serve; take the address over from one of this process."""
        other = self._open.get(self._address)
        server = other._server if other is not None else None  # noqa: SLF001 -- of the same class
        if other is not None and server is not None:
            other._server = None  # noqa: SLF001 -- likewise
        else:
            server = self._bound()
        if server is None:
            return False
        server.set_app(make_wsgi_app(registry_of(metrics)))
        self._server, self._open[self._address] = server, self
        return True

    def _bound(self) -> _Server | None:
        host, port = self._address
        try:
            server = (_Server6 if ":" in host else _Server)(self._address, _Handler)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            logger.warning("This process shows no metrics: %s:%s cannot be served (%s)", host, port, reason)
            return None
        threading.Thread(target=server.serve_forever, args=(0.1,), name="tierlake-metrics", daemon=True).start()
        return server

    def record(self, seconds: float, labels: tuple[str, ...]) -> None:
        """Nothing: a scrape shows sums."""

    def flush(self, seconds: float) -> None:
        """Nothing: Prometheus comes for them."""

    def close(self) -> None:
        """Give the port back, unless another endpoint of this process has it now."""
        server, self._server = self._server, None
        if server is not None:
            self._open.pop(self._address, None)
            server.shutdown()
            server.server_close()

    def abandon(self) -> None:
        """Close the copy of the parent's socket, or its port would stay in use after its end."""
        server, self._server = self._server, None
        self._open.pop(self._address, None)
        if server is not None:
            server.socket.close()
