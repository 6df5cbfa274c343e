"""Where a command's words go: what it found to stdout, what it says meanwhile to stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import click
from pydantic import BaseModel

from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["Output", "plain"]


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """One command's voice.

    Attributes:
        as_json: One JSON document on stdout and nothing else there.
    """

    as_json: bool

    @property
    def shows_progress(self) -> bool:
        """Whether somebody watches."""
        return sys.stderr.isatty()

    def emit(self, document: object, text: str) -> None:
        """Say the result, once: the document to programs, the text to people."""
        click.echo(json.dumps(plain(document), ensure_ascii=False, indent=2) if self.as_json else text)

    def note(self, text: str) -> None:
        """Say something on the way."""
        click.echo(text, err=True)


def plain(value: object) -> object:
    """A value of ours as JSON carries it: keys as `ls` prints them, instants in ISO 8601, spans in seconds."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
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
    if dataclasses.is_dataclass(value) and not isinstance(value, PartitionKey):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return str(value)
