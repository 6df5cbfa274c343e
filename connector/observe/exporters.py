"""Metrics that go where the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tierlake.connector.observe.metrics import Exporter

__all__ = ["exported"]

_HINT: Final = "Write prometheus:PORT, prometheus:HOST:PORT, pushgateway:URL, otlp or otel"


def exported(exporters: Iterable[str], datasets: frozenset[str]) -> Metrics:
    """Sums that go where the settings say.

    Args:
        exporters: `prometheus:PORT`, `prometheus:HOST:PORT`, `pushgateway:URL`, `otlp`, or `otel`, which is the
            application's own provider.
        datasets: The datasets that are labels; `*` is all.

    Raises:
        InvalidSetting: There is no such exporter, or its library is not installed.
    """
    try:
        made = [_exporter(one) for one in dict.fromkeys(exporters)]
    except ImportError as error:
        message = f"Metrics need the package {error.name}"
        raise InvalidSetting(message, hint="pip install 'tierlake[observe]'") from error
    try:
        return Metrics(made, datasets)
    except ValueError as error:
        raise InvalidSetting(f"Wrong OTEL_EXPORTER_OTLP_ variables: {error}") from error


def _exporter(text: str) -> Exporter:
    kind, _, rest = text.partition(":")
    make = _EXPORTERS.get(kind)
    if make is None or (rest and kind in {"otlp", "otel"}):
        raise InvalidSetting(f"There is no exporter of metrics {kind!r}", hint=_HINT)
    return make(rest)


def _prometheus(address: str) -> Exporter:
    from tierlake.connector.observe.prometheus import Endpoint

    return Endpoint.at(address)


def _push_gateway(url: str) -> Exporter:
    from tierlake.connector.observe.push_gateway import PushGateway

    return PushGateway(url)


def _otlp(_: str) -> Exporter:
    from tierlake.connector.observe.open_telemetry import Otlp

    return Otlp()


def _application(_: str) -> Exporter:
    from tierlake.connector.observe.open_telemetry import ApplicationProvider

    return ApplicationProvider()


_EXPORTERS: Final[Mapping[str, Callable[[str], Exporter]]] = {
    "prometheus": _prometheus,
    "pushgateway": _push_gateway,
    "otlp": _otlp,
    "otel": _application,
}
