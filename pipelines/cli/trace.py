"""`--trace FILE`: the spans of a command as a file; and the span of the command itself."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tierlake.connector.observe.trace_file import TraceFile

__all__ = ["command_span", "trace"]


def trace(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--trace FILE`; before the command's name and after it."""
    return click.option(
        "--trace",
        metavar="FILE",
        expose_value=False,
        callback=_begin,
        help="Write what the command did, request by request: run.json for ui.perfetto.dev, run.otlp.json for Jaeger.",
    )(command)


def _begin(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is None or ctx.resilient_parsing:
        return
    from tierlake.connector.observe import hooks
    from tierlake.connector.observe.trace_file import TraceFile

    file = TraceFile.begun(value)
    hooks.add(file)
    ctx.call_on_close(partial(_end, file))


def _end(file: TraceFile) -> None:
    from tierlake.connector.observe import hooks

    hooks.remove(file)
    file.close()


@contextmanager
def command_span() -> Iterator[None]:
    """The span of the running command, around all that it does: `tierlake ingest`."""
    from tierlake.connector.observe import tracing
    from tierlake.pipelines.runtime.observing import observe_as_configured

    observe_as_configured()
    with tracing.span(click.get_current_context().command_path):
        yield
