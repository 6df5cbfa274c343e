"""Lines as JSON or as text, through structlog's renderers: one line each, whatever is in a key or a message."""

from __future__ import annotations

import functools
import json
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from tierlake.connector.observe.lines import LEVELS
from tierlake.connector.observe.standard_error import is_terminal

if TYPE_CHECKING:
    from tierlake.connector.observe.lines import Line

__all__ = ["JsonLines", "TextLines", "as_text"]

_NAMES: Final = {number: name for name, number in LEVELS.items()}
_SURROGATE: Final = "\\ud"
"""As JSON spells one, and the first of a pair."""


def _facts(line: Line) -> dict[str, Any]:
    instant = datetime.fromtimestamp(line.occurred, UTC)
    return {
        "timestamp": f"{instant.isoformat(timespec='microseconds')[:-6]}Z",
        "level": _NAMES.get(line.level) or logging.getLevelName(line.level).lower(),
        "message": line.message,
        **line.fields,
    }


class JsonLines:
    """A line as JSON in ASCII: control characters, and all that is not ASCII, as JSON escapes them."""

    def __init__(self) -> None:
        encode = json.JSONEncoder(ensure_ascii=True, default=str).encode
        self._render = structlog.processors.JSONRenderer(serializer=lambda facts, **_: encode(facts))

    def __call__(self, line: Line) -> str:
        """The line, without its end."""
        facts = _facts(line)
        text = str(self._render(None, "", facts))
        if _SURROGATE not in text:
            return text
        return str(self._render(None, "", {name: _without_surrogates(fact) for name, fact in facts.items()}))


def _without_surrogates(fact: Any) -> Any:
    """Text that each parser of JSON takes: half a surrogate pair is none, and is spelled out."""
    return fact.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(fact, str) else fact


class TextLines:
    """A line for people: what a terminal would take as a command is spelled out."""

    def __init__(self) -> None:
        self._renderers = {
            colours: structlog.dev.ConsoleRenderer(
                colors=colours, event_key="message", timestamp_key="timestamp", sort_keys=False, pad_event_to=0
            )
            for colours in (False, True)
        }

    def __call__(self, line: Line) -> str:
        """The line, without its end."""
        facts = {_printable(name): _shown(fact) for name, fact in _facts(line).items()}
        facts["message"] = _printable(line.message)
        render = self._renderers[is_terminal() and not os.environ.get("NO_COLOR")]
        return str(render(None, "", facts))


@functools.cache
def _plain() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=False, event_key="message", sort_keys=False, pad_event_to=0)


def as_text(line: Line) -> str:
    """A line as text without its time and level, for a log that has its own."""
    facts = {_printable(name): _shown(fact) for name, fact in line.fields.items()}
    return str(_plain()(None, "", {"message": _printable(line.message), **facts}))


class _Quoted:
    """Text that is shown in quotes, with escapes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _shown(fact: Any) -> Any:
    return _Quoted(fact) if isinstance(fact, str) and not fact.isprintable() else fact


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
