"""A span for each step that works while a lake is there, in whichever process: `dagster.<step key>`.

The trace of a run is its run id, so that all steps of a run are one trace, wherever they work; `traceparent` among the
run's tags, an active span of the application, or `TRACEPARENT` in the environment of the process puts it into
another one. Whatever a step does is inside its span: loading and storing by the IO manager, the resource in anybody's
op, and paths of `lake://` that the op hands to another library.

Dagster tells listeners of its events in the step's own thread, the first before inputs are loaded and the last after
outputs are stored. The resource's set-up, which comes before the first step of a process, adds the listener.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.connector.observe import hooks, tracing
from tierlake.dagster_project.dagster_internals import RUN_ENDS, STEP_ENDS, add_event_listener, remove_event_listener
from tierlake.pipelines.runtime.observing import observe_as_configured

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TRACEPARENT_TAG", "begin_step_spans", "tick_span"]

TRACEPARENT_TAG: Final = "traceparent"
"""Tag of runs: the span that they belong to, as W3C's `traceparent`."""

_PARTITION_TAGS: Final = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
_BEGUN: Final = frozenset({dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED})
_FAILED: Final = frozenset({dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_UP_FOR_RETRY})
_OF_DAGSTER: Final = frozenset(
    {"DagsterExecutionStepExecutionError", "Failure", "RetryRequested", "RetryRequestedFromPolicy"}
)


def begin_step_spans(context: dg.InitResourceContext) -> None:
    """Give each step of this process a span, once; outside of runs it does nothing more than to observe.

    Args:
        context: A resource's, at its set-up.
    """
    observe_as_configured()
    if context.run is not None and context.instance is not None and hooks.is_on():
        add_event_listener(context.instance, context.run.run_id, _Steps(context.run, context.instance))


class _Steps:
    """Listens to a run's events, and keeps the spans of the steps that are under way in this process."""

    def __init__(self, run: dg.DagsterRun, instance: dg.DagsterInstance) -> None:
        self._run, self._instance = run, instance
        self._spans: dict[str, ExitStack] = {}

    def __eq__(self, other: object) -> bool:  # a run's second resource adds no second listener
        return isinstance(other, _Steps)

    def __hash__(self) -> int:
        return hash(_Steps)

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Begin or end a step's span; nothing that is wrong with that fails the step."""
        event = entry.dagster_event
        if event is None:
            return
        try:
            if event.event_type in _BEGUN and event.step_key:
                self._begin(event.step_key)
            elif event.event_type in STEP_ENDS and event.step_key:
                self._end(event.step_key, _code_of(event) if event.event_type in _FAILED else None)
            elif event.event_type in RUN_ENDS:
                for step_key in list(self._spans):
                    self._end(step_key, "interrupted")
                remove_event_listener(self._instance, self._run.run_id, self)
        except Exception:  # noqa: BLE001 -- what observes never fails the work
            hooks.drop("dagster")

    def _begin(self, step_key: str) -> None:
        run = self._run
        said: dict[str, Any] = {
            "run_id": run.run_id,
            "job": run.job_name,
            "step": step_key,
            "partition": _partition_of(run),
        }
        with ExitStack() as entered:
            entered.enter_context(_of_run(run))
            entered.enter_context(tracing.span(f"dagster.{step_key}", **said))
            self._spans[step_key] = entered.pop_all()

    def _end(self, step_key: str, code: str | None) -> None:
        entered = self._spans.pop(step_key, None)
        if entered is None:
            return
        if code is None:
            entered.close()
        else:
            failure = _StepFailed(code)
            entered.__exit__(_StepFailed, failure, None)


class _StepFailed(Exception):
    """A step's end with an error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def _of_run(run: dg.DagsterRun) -> Iterator[None]:
    """Be part of the run's trace."""
    with ExitStack() as entered:
        if tag := run.tags.get(TRACEPARENT_TAG):
            entered.enter_context(tracing.under(tag))
        elif not tracing.has_span():
            entered.enter_context(tracing.within(tracing.Scope(tracing.beginning(uuid.UUID(run.run_id).hex))))
        yield


def _partition_of(run: dg.DagsterRun) -> str | None:
    """The run's partition, or the first and the last one of a range."""
    return "...".join(run.tags[tag] for tag in _PARTITION_TAGS if tag in run.tags) or None


def _code_of(event: dg.DagsterEvent) -> str:
    """The code of the error with which a step failed: ours, or the name of its class."""
    data: Any = event.event_specific_data
    failure = getattr(data, "user_failure_data", None)
    code = failure.metadata.get("code") if failure is not None else None
    if code is not None:
        return str(code.value)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None and error.cls_name in _OF_DAGSTER:
        error = error.cause
    return "failed" if error is None else str(error.cls_name)


@contextmanager
def tick_span(context: Any) -> Iterator[None]:
    """The span of a sensor's tick, which is a trace of its own.

    Args:
        context: The tick's.
    """
    observe_as_configured()
    with ExitStack() as entered:
        if not tracing.has_span():
            entered.enter_context(tracing.within(tracing.Scope(tracing.beginning(os.urandom(16).hex()))))
        entered.enter_context(tracing.span("dagster.tick", sensor=_sensor_of(context)))
        yield


def _sensor_of(context: Any) -> str | None:
    try:
        return str(context.sensor_name)
    except Exception:  # noqa: BLE001 -- a context of a test has none, and says so by an error of Dagster's own
        return None
