"""Where a command's words go: what it found to stdout, what it says meanwhile to stderr."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click
from pydantic import BaseModel
from pydantic_core import to_json

from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime.cells import escaped_lines
from tierlake.pipelines.runtime.collector import collector_paused
from tierlake.pipelines.runtime.page import Page, current_page, has_colour, on_page
from tierlake.pipelines.runtime.progress import PlainLines, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tierlake.pipelines.runtime.progress import Progress

__all__ = ["Output", "plain"]


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """One command's voice.

    Attributes:
        as_json: One JSON document on stdout and nothing else there.
    """

    as_json: bool

    @contextmanager
    def open_page(self, *, shows_all: bool = False) -> Iterator[None]:
        """Write for what stdout is, a terminal or a pipe; how work goes on is said on stderr.

        Args:
            shows_all: Show all rows of a long table on a terminal too.
        """
        can_redraw = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        progress: Progress = True if can_redraw else PlainLines(partial(_echo, err=True))
        with on_page(Page.of(sys.stdout, shows_all=shows_all)), watched(progress):
            yield

    def emit(self, document: object, text: str | Callable[[], str]) -> None:
        """Say the result, once: the document to programs, the text, or what a function makes of it, to people."""
        if self.as_json:
            click.echo(_json(document))
        else:
            _echo(text if isinstance(text, str) else text())

    def note(self, text: str) -> None:
        """Say something on the way."""
        _echo(text, err=True)


def _echo(text: str, *, err: bool = False) -> None:
    page = current_page()
    made_coloured = page is not None and page.is_coloured
    is_coloured = has_colour(sys.stderr if err else sys.stdout)
    click.echo(escaped_lines(text, is_coloured=made_coloured), err=err, color=is_coloured)


def _json(document: object) -> str:
    with collector_paused():
        tree = plain(document)
        try:
            return to_json(tree, indent=2, inf_nan_mode="constants").decode()  # ten times as fast as `json`
        except UnicodeEncodeError:  # half a pair of surrogates, which UTF-8 does not have
            return json.dumps(tree, ensure_ascii=False, indent=2)


def plain(value: object) -> object:
    """A value of ours as JSON carries it: keys as `ls` prints them, instants in ISO 8601, spans in seconds."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PartitionKey):
        return str(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return str(value)
