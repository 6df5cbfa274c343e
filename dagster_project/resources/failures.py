"""Errors as Dagster's failures: which of them are worth another try, and their metadata.

    @dg.op
    def compact(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        with dagster_failures(context):
            lake.dataset("flights").compact()

For a store that is busy, fails or cannot be reached, and for a writer that was faster, Dagster is asked for a retry of
the step, with exponential backoff and full jitter. All other errors cannot change by themselves (denied access, a spec
that contradicts itself, a policy's refusal) and fail at once, whatever retry policy the step has. Both carry the
error's message, its hint and the store's request id, as metadata of the failure and in the step's log.

An error of a library below tierlake is handled likewise (as `library_error`, or as the store's error that it reports).
An error of the step's own code stays as it is, even where tierlake calls that code, as it does with a reader's batches.
"""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import dagster as dg

from tierlake.connector import observe
from tierlake.connector.errors import EndpointUnreachable, LakeError, ServerError, Throttled
from tierlake.connector.observe.edges import left
from tierlake.dagster_project.resources.step_log import logged_step
from tierlake.dagster_project.resources.step_spans import tick_span
from tierlake.pipelines.errors import ArchivedError, CommitConflict, CommitUnknown, PartialFailure, StalePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RETRIES", "RETRYABLE", "dagster_failures", "lake_error_in", "lake_errors", "step_of", "tick_errors"]

TickT = TypeVar("TickT")

_OURS: Final = ("tierlake",)
_STEP: Final = "dagster.step"
"""The operation of an error that leaves everything of ours in Dagster."""

RETRYABLE: Final = (CommitConflict, CommitUnknown, EndpointUnreachable, ServerError, StalePlan, Throttled)
"""Errors that another try may overcome: the step starts again and looks at everything anew."""

RETRIES: Final = dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)
"""Up to 10, 30 and 70 seconds apart, beyond the seconds for which the connector itself tries each request again."""


@contextmanager
def dagster_failures(context: Any, retries: dg.RetryPolicy = RETRIES) -> Iterator[None]:
    """Around code that uses a dataset or the filesystem in an op, an asset, a check or an IO manager.

    Args:
        context: The op's, the asset's, the check's, or an IO manager's.
        retries: How often and how far apart; a retry policy of the step itself takes precedence.

    Raises:
        dagster.RetryRequested: Another try may help.
        dagster.Failure: It will not.
        LakeError: There is no step that could be tried again, as in a unit test that calls an asset.
    """
    step = step_of(context)
    try:
        with nullcontext() if step is None else logged_step(context.log), lake_errors():
            yield
    except LakeError as error:
        if step is None:
            raise
        failure = dg.Failure(str(error), metadata=_metadata(error), allow_retries=False)
        failure.__cause__ = error
        if not isinstance(error, RETRYABLE):
            context.log.error("%s: %s", error.code, error)  # noqa: TRY400 - the failure has the stack
            raise failure from error
        policy = step.op_retry_policy or retries
        attempt = step.previous_attempt_count + 1
        wait = policy.calculate_delay(attempt)
        context.log.warning("%s: %s; try %d of %d", error.code, error, attempt, policy.max_retries + 1)
        raise dg.RetryRequested(max_retries=policy.max_retries, seconds_to_wait=wait) from failure


@contextmanager
def lake_errors() -> Iterator[None]:
    """Around code that uses a dataset where no step can be tried again: a library's error becomes a `LakeError`.

    Raises:
        LakeError: In place of a library's error.
    """
    try:
        yield
    except LakeError as error:
        left(_STEP, error)
        raise
    except (dg.DagsterError, dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        from tierlake.connector.client.library_errors import of_a_library  # loads the libraries that move data

        translated = of_a_library(error, callers=_OURS)
        if translated is None:
            raise
        left(_STEP, translated)
        raise translated from error


def tick_errors(tick: Callable[..., TickT]) -> Callable[..., TickT]:
    """A sensor's tick that fails by the store with code, hint and request id instead of a library's trace.

        @dg.sensor(...)
        @tick_errors
        def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason: ...

    It fails and does not skip, which would look as if all were well; the next tick tries again by itself. The time of
    each tick that did not fail is a metric, `tierlake_sensor_tick_timestamp_seconds`.
    """

    @functools.wraps(tick)
    def checked(context: Any, *args: Any, **kwargs: Any) -> TickT:
        try:
            with tick_span(context), lake_errors():
                result = tick(context, *args, **kwargs)
        except LakeError as error:
            context.log.error("%s: %s", error.code, error)  # noqa: TRY400 - the failure has the stack
            raise dg.Failure(f"{error.code}: {error}", metadata=_metadata(error), allow_retries=False) from error
        _note_tick(context)
        return result

    return checked


def _note_tick(context: Any) -> None:
    """Say that a sensor lives, for the alert on one that does not; a context made for a direct call has no name."""
    if not observe.is_on():
        return
    with suppress(Exception):  # Dagster's own check of an absent name has no public type
        observe.gauge("sensor_tick_timestamp_seconds", time.time(), sensor=context.sensor_name)


def lake_error_in(error: BaseException | None) -> LakeError | None:
    """The `LakeError` that caused a step's failure; None where none did."""
    while error is not None and not isinstance(error, LakeError):
        error = error.__cause__
    return error


def _metadata(error: LakeError) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(error.to_dict())
    if isinstance(error, ArchivedError):
        metadata["partitions"] = dg.MetadataValue.json(list(error.keys))
    if isinstance(error, PartialFailure):
        metadata["failures"] = dg.MetadataValue.json(error.failures)
    return metadata


def step_of(context: Any) -> Any:
    """The running step; None for a context that was built for a direct call."""
    try:
        if isinstance(context, dg.InputContext | dg.OutputContext):
            return context.step_context
        return context.get_step_execution_context()
    except (AttributeError, dg.DagsterError):
        return None
