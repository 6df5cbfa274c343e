"""What tierlake does in a step, in the step's own log: warnings and errors always, the rest where lines are on.

The settings that switch lines on (`TIERLAKE_LOG`, `TIERLAKE_LOG_LEVEL`, `TIERLAKE_LOG_SAMPLE`) hold here too. A line
that Dagster's storage cannot take is lost: neither the step nor its requests wait for it.

An event belongs to the step in whose context it happens; threads and tasks of tierlake have that of their caller. One
without a context, as in a thread of Arrow's, belongs to the step that runs, where a single one does.
"""

from __future__ import annotations

import logging
import random
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

import dagster as dg

from tierlake.connector.errors import LakeError
from tierlake.connector.observe import hooks
from tierlake.connector.observe.background import BackgroundQueue
from tierlake.connector.observe.configuration import configured
from tierlake.connector.observe.events import ErrorEvent, RequestEvent
from tierlake.connector.observe.lines import LEVELS, is_success, level_of, line_of
from tierlake.dagster_project.dagster_internals import RUN_ENDS, STEP_ENDS, add_event_listener, remove_event_listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tierlake.connector.observe.events import Event

__all__ = ["log_running_step", "logged_step"]

_QUEUE_MAX: Final = 10_000
_HELD_MAX: Final = 100
_FLUSH_SECONDS: Final = 2.0


class _Guard:
    """A block whose last error the step's failure says: the errors inside wait until it is known which one it is.

    Attributes:
        log: The step's logger.
        held: The latest errors.
    """

    def __init__(self, log: Any) -> None:
        self.log = log
        self.held: deque[RequestEvent | ErrorEvent] = deque(maxlen=_HELD_MAX)


class _Entry(NamedTuple):
    log: Any
    event: Event


_guard: ContextVar[_Guard | None] = ContextVar("tierlake_step_guard", default=None)


class StepLog:
    """The sink of the logs of running steps.

    Attributes:
        name: As a sink.
    """

    name = "dagster"

    def __init__(self) -> None:
        self._queue = BackgroundQueue(self.name, self._write, _QUEUE_MAX)
        self._lock = threading.RLock()  # a step may end in a finalizer
        self._running: list[Any] = []

    def begin(self, log: Any) -> None:
        """Take events for a step's logger."""
        with self._lock:
            self._running.append(log)
            if len(self._running) == 1:
                hooks.add(self)

    def end(self, log: Any) -> None:
        """Take no more for it."""
        with self._lock:
            self._running.remove(log)
            if not self._running:
                hooks.remove(self)

    def take(self, event: Event) -> None:
        """Put an event into the log of its step."""
        level = level_of(event)
        if level is None or level < _lowest() or self._queue.is_own_thread():
            return
        if is_success(event) and random.random() >= configured().log_sample:  # noqa: S311 -- no secret
            return
        guard = _guard.get()
        if guard is not None and _is_final(event):
            guard.held.append(event)
            return
        log = guard.log if guard is not None else self._log()
        if log is not None:
            self.put(log, event)

    def put(self, log: Any, event: Event) -> None:
        """Give an event to a step's logger, soon."""
        self._queue.put(_Entry(log, event))

    def flush(self, seconds: float) -> None:
        """Wait until Dagster has what is there so far, for so many seconds at most."""
        self._queue.flush(seconds)

    def close(self) -> None:
        """Take no more events."""
        self._queue.close()

    def _log(self) -> Any:
        step = _running_step()
        if step is not None:
            return step.log
        known = self._running
        return known[0] if len({id(log) for log in known}) == 1 else None

    def _write(self, entries: list[_Entry]) -> None:
        from tierlake.connector.observe.rendering import as_text  # structlog takes its time

        for log, event in entries:
            try:
                line = line_of(event)
                if line is not None:
                    log.log(line.level, "%s", as_text(line))
            except Exception:  # noqa: BLE001 -- whatever Dagster's storage does, the step goes on
                hooks.drop(self.name)


_sink: Final = StepLog()


def _lowest() -> int:
    """The lowest level of a line in a step's log."""
    observing = configured()
    is_on = observing.log not in {None, "off"}
    return min(LEVELS[observing.log_level], logging.WARNING) if is_on else logging.WARNING


def _running_step() -> dg.OpExecutionContext | None:
    """The step in whose context this runs; None outside of steps."""
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterError:
        return None


@contextmanager
def logged_step(log: Any) -> Iterator[None]:
    """Log what tierlake does in a block of a step.

    The error that leaves the block has no line: whoever turns it into the step's failure logs it.

    Args:
        log: The step's logger.
    """
    guard = _Guard(log)
    token = _guard.set(guard)
    _sink.begin(log)
    left: LakeError | None = None
    try:
        yield
    except LakeError as error:
        left = error
        raise
    finally:
        _sink.end(log)
        _guard.reset(token)
        for event in guard.held:
            if left is None or (event.code, event.request_id) != (left.code, left.request_id):
                _sink.put(log, event)
        _sink.flush(_FLUSH_SECONDS)


def _is_final(event: Event) -> TypeGuard[RequestEvent | ErrorEvent]:
    """Whether it is the report of an error that is not tried again."""
    return isinstance(event, ErrorEvent) or (
        isinstance(event, RequestEvent) and event.code is not None and not event.is_retried
    )


_listened: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def log_running_step() -> None:
    """Log what tierlake does in the running step, whosever it is, until it ends; outside of steps nothing is logged."""
    step = _running_step()
    if step is None or step in _listened or _guard.get() is not None:
        return
    _listened.add(step)
    _sink.begin(step.log)
    # A connection that a step opened keeps the step's context for as long as it lives: the context's end comes later
    # than the step's, which is an event. Where Dagster tells no events, it must do.
    end = weakref.finalize(step, _sink.end, step.log)
    listener = _StepEnd(step.instance, step.run_id, step.get_step_execution_context().step.key, end)
    add_event_listener(step.instance, step.run_id, listener)


@dataclass(frozen=True)
class _StepEnd:
    """Listens to a run's events until a step ends: its log is whole then, and takes no more."""

    instance: dg.DagsterInstance
    run_id: str
    step_key: str
    end: Callable[[], object]

    def __call__(self, entry: dg.EventLogEntry) -> None:
        try:
            if self._is_end(entry.dagster_event):
                remove_event_listener(self.instance, self.run_id, self)
                self.end()
                _sink.flush(_FLUSH_SECONDS)
        except Exception:  # noqa: BLE001 -- what observes never fails the work
            hooks.drop(_sink.name)

    def _is_end(self, event: dg.DagsterEvent | None) -> bool:
        if event is None:
            return False
        return event.event_type in RUN_ENDS or (event.event_type in STEP_ENDS and event.step_key == self.step_key)
