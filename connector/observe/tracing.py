"""Which span a piece of work belongs to, in this process and from one process to the next.

A span is opened by `span`; requests and spans inside are its children, in the threads and tasks of this process too, as
they inherit its context variables. To another process it goes as W3C's `traceparent`: by `environment` to a
subprocess, by `traceparent` and `under` to anything else. A process that was started with the variable `TRACEPARENT`
continues that trace. Where an application has an active span of OpenTelemetry, that one is the parent.
"""

from __future__ import annotations

import functools
import os
import random
import re
import sys
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from tierlake.connector.observe import hooks
from tierlake.connector.observe.events import ErrorEvent, SpanContext, SpanEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


__all__ = [
    "Scope",
    "Span",
    "beginning",
    "child",
    "current",
    "enter",
    "environment",
    "fields",
    "has_span",
    "in_verb",
    "leave",
    "sample_by",
    "scope",
    "span",
    "traceparent",
    "under",
    "unless_within",
    "within",
]

VARIABLE: Final = "TRACEPARENT"
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
P = ParamSpec("P")
T = TypeVar("T")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_FIRST_VERSION, _NO_VERSION = "00", "ff"
_INTERRUPTED: Final = "cancelled"


class Scope(NamedTuple):
    """The span around a piece of work.

    Attributes:
        span: The span.
        fields: What was said of it and of those around it.
        is_verb: A verb is at work, whose own calls of verbs are part of it.
    """

    span: SpanContext
    fields: Mapping[str, str] = _NOTHING
    is_verb: bool = False


_ids = random.Random()  # noqa: S311 -- they need to differ, not to be secret; the system's own take a call of it each
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)
_scope: ContextVar[Scope | None] = ContextVar("tierlake_scope", default=None)
_is_inside: ContextVar[bool] = ContextVar("tierlake_is_inside", default=False)


_open: dict[str, tuple[Scope, str | None]] = {}
"""The spans that are open, with their parents' ids, but for those of native threads."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)


def _all_kept(_trace_id: str) -> bool:
    return True


_is_kept: Callable[[str], bool] = _all_kept


def parsed(text: str | None) -> SpanContext | None:
    """The span that a `traceparent` names; None for a text that is none, which W3C says is to be ignored.

    Source: https://www.w3.org/TR/trace-context/#traceparent-header
    """
    match = _TRACEPARENT.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return SpanContext(trace_id, span_id, bool(int(flags, 16) & 1))


@functools.lru_cache(maxsize=16)
def _process_trace_id(_process: int) -> str:
    return os.urandom(16).hex()


@functools.lru_cache(maxsize=16)
def _process_scope(inherited: SpanContext | None, process: int, _decision: Callable[[str], bool]) -> Scope:
    """The scope of all that no span of this process is around."""
    return Scope(inherited or beginning(_process_trace_id(process)))


_read: tuple[int, SpanContext | None] = (-1, None)


def _inherited() -> SpanContext | None:
    """The span of the process that started this one, as the environment named it when somebody began to observe.

    To look there each time would take as long as all else that a span does.
    """
    global _read  # noqa: PLW0603 -- as a cache, whoever writes it
    known, own = _read
    changes = hooks.changes()  # before the look: what changes meanwhile is looked at again
    if known != changes:
        own = parsed(os.environ.get(VARIABLE))
        _read = changes, own
    return own


def beginning(trace_id: str) -> SpanContext:
    """The beginning of a trace in this process, before its first span."""
    return SpanContext(trace_id, _NO_SPAN, _is_kept(trace_id))


def sample_by(is_kept: Callable[[str], bool]) -> None:
    """Let a function of the trace's id decide whether traces that begin in this process are kept.

    A trace that another process began is kept as that one decided.
    """
    global _is_kept  # noqa: PLW0603 -- it holds for the process
    _is_kept = is_kept


def scope() -> Scope:
    """The innermost scope: a span's, an application's, or the process's."""
    return (
        _scope.get()
        or _application_scope()
        or _scope_of_native_thread()
        or _process_scope(_inherited(), os.getpid(), _is_kept)
    )


def _application_scope() -> Scope | None:
    """The scope of an application's active span, where it uses OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return Scope(SpanContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled))


def _scope_of_native_thread() -> Scope | None:
    """The scope for a thread that Python did not start, such as Arrow's: the innermost span around all that are open.

    Such threads inherit no context variables. Where spans are open beside each other, none of them is known to be it.
    """
    if not _open or not _is_native_thread():
        return None
    within: dict[str | None, list[Scope]] = {}
    spans = _open.copy()
    for own, parent_id in spans.values():
        within.setdefault(parent_id if parent_id in spans else None, []).append(own)
    innermost, inside = None, within.get(None, [])
    while len(inside) == 1:
        innermost = inside[0]
        inside = within.get(innermost.span.span_id, [])
    return innermost


def _is_native_thread() -> bool:
    return threading.current_thread().name.startswith("Dummy-")  # how `threading` names those that it did not start


def current() -> SpanContext:
    """The innermost span; its id is zeros where there is only a trace."""
    return scope().span


def fields() -> Mapping[str, str]:
    """What was said of the spans around: `dataset`, `run_id`."""
    return scope().fields


def in_verb() -> bool:
    """Whether a verb of ours is at work around this."""
    if _is_inside.get():
        return True
    own = _scope.get() or _scope_of_native_thread()  # neither an application nor the process is a verb
    return own is not None and own.is_verb


def enter() -> Token[bool]:
    """Be at work as a verb is, without a span of its own; returns what `leave` takes."""
    return _is_inside.set(True)


def leave(token: Token[bool]) -> None:
    """End what `enter` began, in the same context."""
    _is_inside.reset(token)


def child(around: Scope) -> tuple[SpanContext, str | None]:
    """A new span inside a scope, and its parent's id."""
    parent = around.span
    return SpanContext(parent.trace_id, _ids.randbytes(8).hex(), parent.is_sampled), _known(parent.span_id)


def _known(span_id: str) -> str | None:
    return None if span_id == _NO_SPAN else span_id


def span(name: str, *, is_verb: bool = False, **said: str | None) -> Span:
    """Run work within a span of its own: a block, or as a decorator each call of a function.

    Args:
        name: The span's name.
        is_verb: The work is a verb: a `LakeError` that leaves it is reported, unless a request did.
        **said: Fields for all events inside, such as `dataset`, `partition` and `run_id`; None leaves one out, and
            what is no text is written as one.
    """
    return Span(name, said, is_verb=is_verb)


class Span:
    """A span that begins and ends with a block; see `span`.

    Requests wait for what is done here: it is written for speed.
    """

    __slots__ = ("_begin", "_detach", "_is_verb", "_name", "_parent_id", "_said", "_scope", "_started", "_token")

    _token: Token[Scope | None] | None

    def __init__(self, name: str, said: Mapping[str, Any], *, is_verb: bool) -> None:
        self._name, self._said, self._is_verb = name, said, is_verb

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """A function each call of which has a span of its own."""

        @functools.wraps(function)
        def spanned(*args: P.args, **kwargs: P.kwargs) -> T:
            with Span(self._name, self._said, is_verb=self._is_verb):
                return function(*args, **kwargs)

        return spanned

    def __enter__(self) -> SpanContext:
        """Begin; returns the span, and while nobody observes the one around."""
        if not hooks.is_on():
            self._token = None
            return current()
        around = _scope.get() or _application_scope() or _scope_of_native_thread() or _outermost()
        own, self._parent_id = child(around)
        fields = around.fields
        if self._said:
            fields = {**fields, **_texts(self._said)}
        inner = self._scope = Scope(own, fields, self._is_verb or around.is_verb)
        if not _is_native_thread():
            _open[own.span_id] = inner, self._parent_id
        self._token, self._detach = _scope.set(inner), _shown_to_application(own)
        self._started, self._begin = time.time(), time.perf_counter()
        return own

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """End, and tell."""
        if self._token is None:
            return
        seconds = time.perf_counter() - self._begin
        inner, code = self._scope, None
        if error is not None:
            code = _code_of(error)
            if self._is_verb:
                report(self._name, error, inner)
        _reset(self._token)
        if self._detach is not None:
            self._detach()
        own = inner.span
        _open.pop(own.span_id, None)
        hooks.emit(SpanEvent(self._name, self._started, seconds, own, self._parent_id, code, inner.fields))


def _outermost() -> Scope:
    """The scope of a span with nothing around: the process that started this one, or else a trace that begins."""
    return Scope(_inherited() or beginning(_ids.randbytes(16).hex()))


def _texts(said: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in said.items() if value is not None}


def _code_of(error: BaseException) -> str:
    """The code of an error, or its class's name; what interrupts the work is no failure of it, as in requests."""
    if not isinstance(error, Exception):
        return _INTERRUPTED
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and code else type(error).__name__


def _reset(token: Any) -> None:
    try:
        _scope.reset(token)
    except ValueError:  # a generator that is closed in another context than it began in
        _scope.set(None)


def _shown_to_application(own: SpanContext) -> Callable[[], object] | None:
    """Make a span the active one of OpenTelemetry, where the application uses it; returns what ends that."""
    trace = sys.modules.get("opentelemetry.trace")
    context = sys.modules.get("opentelemetry.context")
    if trace is None or context is None:
        return None
    shown = trace.SpanContext(
        int(own.trace_id, 16), int(own.span_id, 16), is_remote=False, trace_flags=trace.TraceFlags(int(own.is_sampled))
    )
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(shown)))
    return functools.partial(context.detach, token)


def report(verb: str, error: BaseException, around: Scope) -> None:
    """Report an error that leaves a verb, once; those of requests are reported with their requests."""
    code = getattr(type(error), "code", None)
    if not isinstance(error, Exception) or not isinstance(code, str) or is_reported(error):
        return
    mark_reported(error)
    hooks.emit(
        ErrorEvent(
            verb=verb,
            code=code,
            message="" if getattr(error, "shows_values", False) else str(error),
            request_id=getattr(error, "request_id", None),
            server_code=getattr(error, "server_code", None),
            bucket=getattr(error, "bucket", None),
            key=getattr(error, "key", None),
            occurred=time.time(),
            span=around.span,
            fields=around.fields,
        )
    )


def mark_reported(error: BaseException) -> None:
    """Note that an error has had its event."""
    error.__dict__["_is_reported"] = True


def is_reported(error: BaseException) -> bool:
    """Whether an error has had its event."""
    return bool(error.__dict__.get("_is_reported"))


def traceparent() -> str:
    """The innermost span, for another process: W3C's `traceparent`. Fields do not go with it."""
    own = current()
    span_id = own.span_id if own.span_id != _NO_SPAN else own.trace_id[:16]
    return f"{_FIRST_VERSION}-{own.trace_id}-{span_id}-{int(own.is_sampled):02x}"


def has_span() -> bool:
    """Whether a span is around: of this process, of the application, or of the process that started this one."""
    return current().span_id != _NO_SPAN


@contextmanager
def within(around: Scope) -> Iterator[None]:
    """Run work as part of a scope."""
    token = _scope.set(around)
    try:
        yield
    finally:
        _reset(token)


@contextmanager
def unless_within(around: Scope | None) -> Iterator[None]:
    """Run work as part of a scope that was kept, unless it is part of another one already; None is none."""
    if around is None or _scope.get() is not None:
        yield
        return
    with within(around):
        yield


@contextmanager
def under(text: str | None, **said: str) -> Iterator[None]:
    """Run work as part of another process's span.

    Args:
        text: Its `traceparent`; a text that is none changes nothing.
        **said: Fields for all events inside.
    """
    parent = parsed(text)
    around = scope()
    with within(Scope(parent or around.span, {**around.fields, **_texts(said)})):
        yield


def environment() -> dict[str, str]:
    """The variables by which a subprocess continues this trace."""
    return {VARIABLE: traceparent()}
