"""Which sinks there are, as the settings and OpenTelemetry's variables say; it holds for the process.

A filesystem that is made with other values than the last one replaces the sinks. One whose settings say nothing
changes nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tierlake.connector.observe.hooks import Sink

__all__ = ["Observing", "configure", "configured"]

_METRICS_VARIABLES: Final = (
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)
_TRACES_VARIABLES: Final = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OTLP, _FILE = "otlp", "file:"


@dataclass(frozen=True, slots=True)
class Observing:
    """What is observed, and where it goes; `tierlake.connector.LakeSettings` has the meaning of each.

    Attributes:
        log: `json`, `text`, `off` or None.
        log_level: The lowest level of a line.
        log_sample: The share of successes that get a line.
        metrics: The exporters of metrics, separated by commas.
        metrics_datasets: The datasets that get a label, likewise; `*` is all.
        traces: The exporters of spans, likewise.
    """

    log: str | None = None
    log_level: str = "info"
    log_sample: float = 1.0
    metrics: str | None = None
    metrics_datasets: str | None = None
    traces: str | None = None

    def with_variables(self, environ: Mapping[str, str]) -> Observing:
        """The same, with `otlp` where OpenTelemetry's own variables ask for it."""
        if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return Observing(self.log, self.log_level, self.log_sample)
        return Observing(
            self.log,
            self.log_level,
            self.log_sample,
            self.metrics or _otlp(environ, _METRICS_VARIABLES),
            self.metrics_datasets,
            self.traces or _otlp(environ, _TRACES_VARIABLES),
        )


def _otlp(environ: Mapping[str, str], variables: tuple[str, ...]) -> str | None:
    """`otlp` where a variable names an endpoint, and the one for the exporter does not name another one."""
    exporter, *endpoints = variables
    named = environ.get(exporter)
    if named is not None:
        return _OTLP if _OTLP in named.split(",") else None
    return _OTLP if any(environ.get(one) for one in endpoints) else None


class _Configured:
    """The sinks of the settings, and what they were made from."""

    def __init__(self) -> None:
        self.observing = Observing()
        self.sinks: tuple[Sink, ...] = ()
        self.lock = threading.Lock()

    def forget_lock(self) -> None:
        """Take a new lock in a child process: another thread of the parent may have held the old one."""
        self.lock = threading.Lock()


_configured: Final = _Configured()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_configured.forget_lock)


def configure(observing: Observing) -> None:
    """Make the sinks that are asked for; the same again changes nothing.

    Args:
        observing: What is observed.

    Raises:
        InvalidSetting: There is no such exporter, or its library is not installed.
    """
    observing = observing.with_variables(os.environ)
    if observing == _configured.observing or not (observing.log or observing.metrics or observing.traces):
        return
    with _configured.lock:
        if observing == _configured.observing:
            return
        sinks = _made(observing)
        for old in _configured.sinks:
            hooks.remove(old)
            old.close()
        for new in sinks:
            hooks.add(new)
        _configured.observing, _configured.sinks = observing, sinks


def configured() -> Observing:
    """What is observed by the settings, for another process."""
    return _configured.observing


@functools.cache
def _flushed_at_exit() -> None:
    from multiprocessing import parent_process
    from multiprocessing.util import Finalize

    atexit.register(hooks.flush)
    if parent_process() is not None:  # some processes of `multiprocessing` end without `atexit`
        Finalize(None, hooks.flush, exitpriority=0)


def _made(observing: Observing) -> tuple[Sink, ...]:
    _flushed_at_exit()
    makers: list[Callable[[], Sink]] = []
    if observing.log not in {None, "off"}:
        makers.append(lambda: _log(observing))
    if observing.metrics:
        makers.append(lambda: _metrics(observing))
    makers.extend(functools.partial(_traces, one) for one in _listed(observing.traces))
    with contextlib.ExitStack() as made:
        sinks = []
        for make in makers:
            try:
                sinks.append(make())
            except ModuleNotFoundError as error:
                hint = "pip install 'tierlake[observe]'"
                raise InvalidSetting(
                    f"Metrics and traces need {error.name}, which is not installed", hint=hint
                ) from error
            made.callback(sinks[-1].close)
        made.pop_all()
    return tuple(sinks)


def _listed(text: str | None) -> list[str]:
    return [one for part in (text or "").split(",") if (one := part.strip())]


def _log(observing: Observing) -> Sink:
    from tierlake.connector.observe.log_lines import LogLines

    return LogLines(as_json=observing.log == "json", level=observing.log_level, sample=observing.log_sample)


def _metrics(observing: Observing) -> Sink:
    from tierlake.connector.observe.metrics import Metrics

    return Metrics.exported(_listed(observing.metrics), frozenset(_listed(observing.metrics_datasets)))


def _traces(exporter: str) -> Sink:
    if exporter == _OTLP:
        from tierlake.connector.observe.otlp_spans import OtlpSpans

        return OtlpSpans.exported()
    if exporter.startswith(_FILE):
        from tierlake.connector.observe.trace_file import TraceFile

        return TraceFile(exporter.removeprefix(_FILE))
    raise InvalidSetting(f"There is no exporter of traces {exporter!r}", hint="Write otlp, or file:PATH")
