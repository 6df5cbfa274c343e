"""A function for another process, whose work there belongs to the span in which it was sent.

With the function go the span, what was said of it (`dataset`, `run_id`), and what this process observes: a worker
reports its own requests, as it was told to or as its own environment says.
"""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from tierlake.connector.errors import InvalidSetting
from tierlake.connector.observe import configuration, hooks, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tierlake.connector.observe import Observing

__all__ = ["Carried", "HandedOn", "handed_on"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Carried:
    """A span on its way to another process.

    Attributes:
        traceparent: The span; None where there is none around.
        said: What was said of it.
        observing: What is observed.
    """

    traceparent: str | None
    said: Mapping[str, str]
    observing: Observing

    @classmethod
    def here(cls) -> Carried | None:
        """The innermost span; None while nobody observes."""
        if not hooks.is_on():
            return None
        around = tracing.traceparent() if tracing.has_span() else None
        return cls(around, dict(tracing.fields()), configuration.configured())


@dataclass(frozen=True, slots=True, repr=False)
class HandedOn(Generic[P, R]):
    """A function of a module, to be called in another process.

    Attributes:
        work: The function.
        name: The span's name there; None gives it none.
        carried: The span around it here; no part of what Dask knows the work by, as the work is the same in any.
    """

    work: Callable[P, R]
    name: str | None
    carried: Carried = field(compare=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function within a span of its own; an error that leaves it is reported here, and not again there."""
        _observe(self.carried.observing)
        around = tracing.under(self.carried.traceparent, **self.carried.said)
        with around, nullcontext() if self.name is None else tracing.span(self.name, is_verb=True):
            return self.work(*args, **kwargs)

    @property
    def __name__(self) -> str:
        """What Dask calls its tasks."""
        return getattr(self.work, "__name__", type(self.work).__name__)

    def __dask_tokenize__(self) -> Any:
        """What Dask knows the work by."""
        return type(self).__name__, self.work


def _observe(sent: Observing) -> None:
    """Observe what the worker's own environment says, and the rest as the sender does.

    A worker that lacks a library, or whose port is taken, has its lines at least.
    """
    wanted = configuration.Observing.of_environment(os.environ).or_else(sent)
    for one in (wanted, replace(wanted, metrics=None, traces=None)):
        with suppress(InvalidSetting, OSError):
            configuration.configure(one)
            return


def handed_on(work: Callable[P, R], name: str | None = None) -> Callable[P, R]:
    """A function that continues this trace in another process; the function itself while nobody observes.

    Args:
        work: The function.
        name: The name of its span, such as `dask.stage`; None where the work has spans of its own.
    """
    carried = Carried.here()
    return work if carried is None else HandedOn(work, name, carried)
