"""Which sinks there are, as the settings and OpenTelemetry's variables say; it holds for the process.

A filesystem that is made with other values than the last one replaces the sinks. One whose settings say nothing
changes nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tierlake.connector.observe.hooks import Sink

__all__ = ["Observing", "by_environment", "configure", "configured", "logs_by_environment"]

logger = logging.getLogger("tierlake.connector")

_METRICS_VARIABLES: Final = (
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)
_TRACES_VARIABLES: Final = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OTLP, _FILE = "otlp", "file:"
_LEVELS: Final = frozenset({"debug", "info", "warning", "error"})


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

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Observing:
        """What the environment says; a value that is none is left to the settings, which refuse it by name."""
        log, level = environ.get("TIERLAKE_LOG"), environ.get("TIERLAKE_LOG_LEVEL", "info")
        try:
            sample = float(environ.get("TIERLAKE_LOG_SAMPLE", "1"))
        except ValueError:
            return cls()
        if log not in {"json", "text", "off", None} or level not in _LEVELS or not 0 <= sample <= 1:
            return cls()
        named = (environ.get(f"TIERLAKE_{name}") for name in ("METRICS", "METRICS_DATASETS", "TRACES"))
        return cls(log, level, sample, *named)

    def or_else(self, other: Observing) -> Observing:
        """The same, and what another one says of logs, metrics and traces where this one says nothing."""
        log = other if self.log is None else self
        metrics = other if self.metrics is None else self
        traces = self.traces if self.traces is not None else other.traces
        return Observing(log.log, log.log_level, log.log_sample, metrics.metrics, metrics.metrics_datasets, traces)

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
        self.unavailable: Observing | None = None
        self.forget_lock()

    def forget_lock(self) -> None:
        """Take a new lock in a child process: another thread of the parent may have held the old one."""
        self.lock = threading.RLock()  # a program's handler of logs may make a filesystem, to write them there
        self.is_making = False


_configured: Final = _Configured()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_configured.forget_lock)


def configure(observing: Observing) -> None:
    """Make the sinks that are asked for; the same again changes nothing.

    OpenTelemetry's variables are there for all programs of a host: what they ask for and this one cannot do costs a
    warning, and not the work.

    Args:
        observing: What is observed.

    Raises:
        InvalidSetting: There is no such exporter, or its library is not installed.
    """
    wanted = observing.with_variables(os.environ)
    if wanted == _configured.unavailable:
        wanted = observing
    try:
        _apply(wanted)
    except InvalidSetting as error:
        if (wanted.metrics, wanted.traces) == (observing.metrics, observing.traces):
            raise
        _apply(observing)
        _configured.unavailable = wanted
        logger.warning("Nothing is sent where OpenTelemetry's variables say: %s", error)


def _apply(observing: Observing) -> None:
    if observing == _configured.observing or not (observing.log or observing.metrics or observing.traces):
        return
    with _configured.lock:
        if observing == _configured.observing or _configured.is_making:
            return
        _configured.is_making = True
        try:
            sinks = _made(observing)
        finally:
            _configured.is_making = False
        for old in _configured.sinks:
            hooks.remove(old)
            old.close()
        for new in sinks:
            hooks.add(new)
        _configured.observing, _configured.sinks = observing, sinks


def configured() -> Observing:
    """What is observed now, by settings or the environment; for another process too."""
    return _configured.observing


atexit.register(hooks.flush)  # at import: it comes after whatever others let happen at the end, which is observed too


@functools.cache
def logs_by_environment() -> bool:
    """Log as the environment says, from the first thing of ours that is called; a filesystem may never be made."""
    observing = Observing.of_environment(os.environ)
    if observing.log in {None, "off"} or hooks.is_on() or _is_decided():
        return False
    _apply(Observing(observing.log, observing.log_level, observing.log_sample))
    return True


@functools.cache
def by_environment() -> bool:
    """Observe as the environment says, from the first verb on, which may come before its filesystem is made."""
    try:
        if not _is_decided():
            configure(Observing.of_environment(os.environ))
    except InvalidSetting:  # the filesystem says so
        return False
    return hooks.is_on()


def _is_decided() -> bool:
    """Whether a filesystem's settings have said what is observed, be it nothing: they win over the environment."""
    return _configured.observing != Observing()


@functools.cache
def _flushed_at_exit() -> None:
    """Flush at the end of a process of `multiprocessing` too, some of which end without `atexit`."""
    from multiprocessing import parent_process
    from multiprocessing.util import Finalize

    if parent_process() is not None:
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
    from tierlake.connector.observe.exporters import exported

    return exported(_listed(observing.metrics), frozenset(_listed(observing.metrics_datasets)))


def _traces(exporter: str) -> Sink:
    if exporter == _OTLP:
        from tierlake.connector.observe.otlp_spans import OtlpSpans

        return OtlpSpans.exported()
    if exporter.startswith(_FILE):
        from tierlake.connector.observe.trace_file import TraceFile

        if path := exporter.removeprefix(_FILE):
            return TraceFile(path)
    raise InvalidSetting(f"There is no exporter of traces {exporter!r}", hint="Write otlp, or file:PATH")
