"""Which failures are worth another try, and what Dagster is told of the others.

    @dg.op
    def compact(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        with tell_dagster(context):
            lake.dataset("flights").compact()

A store that is busy, that fails or that cannot be reached, and a writer that was faster, ask Dagster for a retry of the
step, with exponential backoff and full jitter. All else cannot change by itself (denied access, a spec that contradicts
itself, a policy's refusal) and fails at once, whatever retry policy the step has. Both carry the error's message, its
hint and the store's request id, as metadata of the failure and in the step's log.

What a library below us raised is told likewise (`library_error`, or what it says of the store). What the step's own
code raised stays as it is, also where that code is called from within ours, as a reader's batches are.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import dagster as dg

from tierlake.connector.errors import EndpointUnreachable, LakeError, ServerError, Throttled
from tierlake.pipelines.errors import ArchivedError, CommitConflict, CommitUnknown, PartialFailure, StalePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RETRIES", "WORTH_ANOTHER_TRY", "in_our_words", "lake_error_in", "step_of", "tell_dagster", "told_tick"]

TickT = TypeVar("TickT")

_OURS: Final = ("tierlake",)

WORTH_ANOTHER_TRY: Final = (CommitConflict, CommitUnknown, EndpointUnreachable, ServerError, StalePlan, Throttled)
"""What another try may mend: the step starts again and looks at everything anew."""

RETRIES: Final = dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)
"""Up to 10, 30 and 70 seconds apart, beyond the seconds for which the connector itself tries each request again."""


@contextmanager
def tell_dagster(context: Any, retries: dg.RetryPolicy = RETRIES) -> Iterator[None]:
    """Around what uses a dataset or the filesystem in an op, an asset, a check or an IO manager.

    Args:
        context: the op's, the asset's, the check's, or an IO manager's.
        retries: how often and how far apart; a retry policy that the step itself has comes first.

    Raises:
        dagster.RetryRequested: another try may help.
        dagster.Failure: it will not.
        LakeError: there is no step that could be tried again, as in a unit test that calls an asset.
    """
    try:
        with in_our_words():
            yield
    except LakeError as error:
        step = step_of(context)
        if step is None:
            raise
        failure = dg.Failure(str(error), metadata=_facts(error), allow_retries=False)
        failure.__cause__ = error
        if not isinstance(error, WORTH_ANOTHER_TRY):
            context.log.error("%s: %s", error.code, error)  # noqa: TRY400 - the failure has the stack
            raise failure from error
        policy = step.op_retry_policy or retries
        tried = step.previous_attempt_count
        wait = policy.calculate_delay(tried + 1)
        context.log.warning("%s: %s; try %d of %d", error.code, error, tried + 1, policy.max_retries + 1)
        raise dg.RetryRequested(max_retries=policy.max_retries, seconds_to_wait=wait) from failure


@contextmanager
def in_our_words() -> Iterator[None]:
    """Around what uses a dataset where there is no step to be tried again: what a library raised becomes ours.

    Raises:
        LakeError: in the place of a library's error.
    """
    try:
        yield
    except (LakeError, dg.DagsterError, dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        from tierlake.connector.client.library_errors import (
            of_a_library,  # with it comes what moves data: loading definitions takes none
        )

        ours = of_a_library(error, callers=_OURS)
        if ours is None:
            raise
        raise ours from error


def told_tick(tick: Callable[..., TickT]) -> Callable[..., TickT]:
    """A sensor's tick that fails by the store with code, hint and request id, and not with a library's trace.

        @dg.sensor(...)
        @told_tick
        def tick(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason: ...

    It fails, and is no skip, which would look as if all were well; the next tick tries again by itself.
    """

    @functools.wraps(tick)
    def told(context: Any, *args: Any, **kwargs: Any) -> TickT:
        try:
            with in_our_words():
                return tick(context, *args, **kwargs)
        except LakeError as error:
            context.log.error("%s: %s", error.code, error)  # noqa: TRY400 - the failure has the stack
            raise dg.Failure(f"{error.code}: {error}", metadata=_facts(error), allow_retries=False) from error

    return told


def lake_error_in(error: BaseException | None) -> LakeError | None:
    """The error of ours that a step's failure comes from; None where it comes from none."""
    while error is not None and not isinstance(error, LakeError):
        error = error.__cause__
    return error


def _facts(error: LakeError) -> dict[str, Any]:
    facts: dict[str, Any] = dict(error.to_dict())
    if isinstance(error, ArchivedError):
        facts["partitions"] = dg.MetadataValue.json(list(error.keys))
    if isinstance(error, PartialFailure):
        facts["failures"] = dg.MetadataValue.json(error.failures)
    return facts


def step_of(context: Any) -> Any:
    """The running step; None for a context that was built for a direct call."""
    try:
        if isinstance(context, dg.InputContext | dg.OutputContext):
            return context.step_context
        return context.get_step_execution_context()
    except (AttributeError, dg.DagsterError):
        return None
