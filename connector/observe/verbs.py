"""The verbs that users call, each with a span, and each error that leaves one reported once.

A verb that another one calls is part of that one: it gets no span of its own.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from tierlake.connector.observe import configuration, hooks, tracing
from tierlake.connector.observe.edges import guarded, marked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["verb"]

P = ParamSpec("P")
T = TypeVar("T")


def verb(
    method: Callable[P, T],
    prefix: str,
    said: Callable[[tuple[Any, ...], Mapping[str, Any]], Mapping[str, str | None]],
) -> Callable[P, T]:
    """A method that is a verb.

    Args:
        method: The method, blocking or asynchronous.
        prefix: Before its name in the span's: `fs`.
        said: The span's fields, from the method's arguments.

    Returns:
        The method; while nobody observes it does nothing more.
    """
    name = f"{prefix}.{method.__name__.lstrip('_')}"
    if inspect.isgeneratorfunction(method):
        return cast("Callable[P, T]", guarded(method, name))  # its work is done between its caller's
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def observed(*args: Any, **kwargs: Any) -> Any:
            if not _is_observed() or tracing.in_verb():
                return await method(*args, **kwargs)
            with tracing.span(name, is_verb=True, **said(args, kwargs)):
                return await method(*args, **kwargs)

        return cast("Callable[P, T]", marked(observed))

    @functools.wraps(method)
    def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
        if not _is_observed() or tracing.in_verb():
            return method(*args, **kwargs)
        with tracing.span(name, is_verb=True, **said(args, kwargs)):
            return method(*args, **kwargs)

    return cast("Callable[P, T]", marked(blocking))


def _is_observed() -> bool:
    return hooks.is_on() or configuration.by_environment()
