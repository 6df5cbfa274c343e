"""The edge of what users call: each `LakeError` that crosses it is reported, once.

Verbs are such an edge and have spans (`tierlake.connector.observe.verbs`). The rest of what users call has none: files
that are read and written, constructors, plans, descriptions. `edge` reports for a class and `reporting` for a function;
`left` for what has called them, such as a command. Inside, nothing is reported: an error that is handled there is none
for an operator.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from tierlake.connector.errors import LakeError
from tierlake.connector.observe import configuration, hooks, tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = ["crossing", "edge", "guarded", "is_guarded", "left", "marked", "reporting"]

EdgeT = TypeVar("EdgeT")
P = ParamSpec("P")
T = TypeVar("T")

_MARK: Final = "_is_edge_of_tierlake"
_ALSO: Final = ("__init__", "__post_init__", "__exit__", "__next__")
"""Methods with underscores that users call without their names."""


def edge(kind: type[EdgeT], of: str = "", properties: Collection[str] = ()) -> type[EdgeT]:
    """A class whose public methods are an edge, inherited ones too.

    It wraps all of them, so that a new method need not remember to.

    Args:
        kind: The class.
        of: Only methods that are written in modules whose names begin so.
        properties: Properties that may raise.
    """
    for name in dir(kind):
        if name.startswith("_") and name not in _ALSO:
            continue
        member = inspect.getattr_static(kind, name, None)
        label = f"{kind.__name__}.{name}"
        if isinstance(member, classmethod | staticmethod):
            if _is_plain(member.__func__, of):
                setattr(kind, name, type(member)(guarded(member.__func__, label)))
        elif isinstance(member, property):
            if name in properties and _is_plain(member.fget, of):
                own = guarded(cast("Callable[..., Any]", member.fget), label)
                setattr(kind, name, property(own, member.fset, member.fdel, member.__doc__))
        elif _is_plain(member, of):
            setattr(kind, name, guarded(member, label))
    return kind


def reporting(function: Callable[P, T]) -> Callable[P, T]:
    """A function that is an edge by itself, such as one of a class of values."""
    wrapped: Callable[P, T] = guarded(function, function.__qualname__)
    return wrapped


def _is_plain(member: object, of: str) -> bool:
    """Whether it is a function that is no edge yet, neither by itself nor by what it wraps."""
    return inspect.isfunction(member) and member.__module__.startswith(of) and not is_guarded(member)


def is_guarded(member: object) -> bool:
    """Whether a function, a method or a property is an edge."""
    while member is not None:
        if getattr(member, _MARK, False):
            return True
        inner = getattr(member, "__func__", None) or getattr(member, "fget", None)
        member = inner or getattr(member, "__wrapped__", None)
    return False


def marked(function: Callable[..., Any]) -> Any:
    """The function, known as an edge."""
    setattr(function, _MARK, True)
    return function


def guarded(method: Callable[..., Any], name: str) -> Any:
    """A function whose errors are reported as those of `name`.

    Args:
        method: Blocking or asynchronous, or one that makes an iterator.
        name: The operation in the report.
    """
    if inspect.isgeneratorfunction(method):
        return marked(_generated(method, name))
    if inspect.iscoroutinefunction(method):
        return marked(_awaited(method, name))
    return marked(_called(method, name))


def _generated(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def generated(*args: Any, **kwargs: Any) -> Any:
        try:
            return (yield from method(*args, **kwargs))
        except LakeError as error:  # what is around is its caller's: nothing to enter
            if is_outermost():
                tracing.report(name, error, tracing.scope())
            raise

    return generated


def _awaited(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        with crossing(name):
            return await method(*args, **kwargs)

    return awaited


def _called(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not is_outermost():
            return method(*args, **kwargs)
        token = tracing.enter()  # as `crossing`, which takes five times as long
        try:
            return method(*args, **kwargs)
        except LakeError as error:
            tracing.report(name, error, tracing.scope())
            raise
        finally:
            tracing.leave(token)

    return called


def is_outermost() -> bool:
    """Whether somebody observes, and no verb or edge of ours is around."""
    return (hooks.is_on() or configuration.logs_by_environment()) and not tracing.in_verb()


def left(name: str, error: BaseException) -> None:
    """Report a `LakeError` that has left all that is ours, if nothing inside has.

    Args:
        name: The operation in the report.
        error: The error; others are none of ours to report.
    """
    if isinstance(error, LakeError) and is_outermost():
        tracing.report(name, error, tracing.scope())


@contextmanager
def crossing(name: str) -> Iterator[None]:
    """Report a `LakeError` that leaves the block.

    Args:
        name: The operation in the report.
    """
    if not is_outermost():
        yield
        return
    token = tracing.enter()
    try:
        yield
    except LakeError as error:
        tracing.report(name, error, tracing.scope())
        raise
    finally:
        tracing.leave(token)
