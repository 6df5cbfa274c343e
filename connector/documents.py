"""JSON and YAML that others may have written.

The libraries answer a text that is not what it should be with many kinds of errors: a wrong date in YAML is a
`ValueError`, an empty number an `IndexError`, an unknown truth value a `KeyError`, deep nesting a `RecursionError`.
Here they are one kind, and the caller says in its own error which object or file it was.
"""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

from tierlake.connector.redact import printable

__all__ = [
    "UnreadableDocument",
    "json_document",
    "json_list",
    "json_object",
    "yaml_document",
    "yaml_lines",
    "yaml_text",
]


_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's bounds the nesting; Python's own takes seconds until it has no stack left."""

_VALUES_MAX: Final = 1_000_000
_DEEPEST: Final = 8
"""No field of a description is nested deeper."""


class UnreadableDocument(ValueError):
    """A text that is not JSON, or not YAML; the message may quote a few characters of it.

    Attributes:
        place: Where, such as `line 3, column 7`; empty where the library does not tell.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        """Keep the place beside the message."""
        super().__init__(f"{reason}, at {place}" if place else reason)
        self.place = place


def json_document(data: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        UnreadableDocument: It is none, is not UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(data if isinstance(data, str) else data.decode())
    except json.JSONDecodeError as error:
        raise UnreadableDocument(error.msg, f"line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise UnreadableDocument(f"it is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise UnreadableDocument("it is nested too deeply") from error
    except ValueError as error:
        raise UnreadableDocument("it has a number of thousands of digits") from error


def json_object(data: str | bytes) -> dict[str, Any]:
    """The fields of a JSON text that is an object.

    Raises:
        UnreadableDocument: It is none.
    """
    document = json_document(data)
    if not isinstance(document, dict):
        raise UnreadableDocument("it is not a JSON object")
    return document


def json_list(data: str | bytes) -> list[Any]:
    """The elements of a JSON text that is a list.

    Raises:
        UnreadableDocument: It is none.
    """
    document = json_document(data)
    if not isinstance(document, list):
        raise UnreadableDocument("it is not a JSON list")
    return document


def yaml_document(data: str | bytes) -> Any:
    """The value of a YAML text, of plain types only.

    Raises:
        UnreadableDocument: It is none, is not UTF-8, is nested too deeply, or repeats itself by aliases.
    """
    try:
        value = yaml.load(data if isinstance(data, str) else data.decode(), Loader=_LOADER)  # noqa: S506 - a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UnreadableDocument(str(error.problem), place) from error
    except yaml.YAMLError as error:
        raise UnreadableDocument(" ".join(str(error).split())) from error
    except UnicodeDecodeError as error:
        raise UnreadableDocument(f"it is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise UnreadableDocument("it is nested too deeply") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # of its readers of numbers and times
        raise UnreadableDocument(f"a value of it is none of its type: {error}") from error
    if _count(value, {}) > _VALUES_MAX:
        raise UnreadableDocument(f"its aliases stand for more than {_VALUES_MAX} values")
    return value


def yaml_text(value: Any, **options: Any) -> str:
    """A value as YAML, fields in their order, which stays what it is where a terminal's control characters are escaped.

    Args:
        value: Of plain types.
        options: More of `yaml.dump`, such as `width`.
    """
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **options)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes text with control characters or bidi marks in double quotes, where YAML itself escapes them."""

    def analyze_scalar(self, scalar: str) -> Any:
        analysis = super().analyze_scalar(scalar)
        if printable(scalar) != scalar:
            analysis.allow_flow_plain = analysis.allow_block_plain = False
            analysis.allow_single_quoted = analysis.allow_block = False
        return analysis

    def write_double_quoted(self, text: str, split: bool = True) -> None:  # noqa: FBT001, FBT002 - PyYAML's
        usual = self.allow_unicode
        self.allow_unicode = usual and printable(text) == text
        super().write_double_quoted(text, split)
        self.allow_unicode = usual


def yaml_lines(data: str | bytes) -> dict[tuple[str, ...], int]:
    """The line of each field of a YAML text, by its path: names of mappings, places in lists.

    Args:
        data: A text that `yaml_document` reads.
    """
    lines: dict[tuple[str, ...], int] = {}
    root = yaml.compose(data if isinstance(data, str) else data.decode(), Loader=_LOADER)
    nodes: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while nodes:
        path, node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            parts = [(str(name.value), name, value) for name, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            parts = [(str(place), value, value) for place, value in enumerate(node.value)]
        else:
            continue
        for name, marked, value in parts:
            lines.setdefault((*path, name), marked.start_mark.line + 1)
            if len(path) < _DEEPEST:  # an alias may lead back to where it stands
                nodes.append(((*path, name), value))
    return lines


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values there are if each alias is written out.

    Args:
        value: A value of YAML.
        known: The counts of lists and mappings by their identity; too many while they are being counted.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = _VALUES_MAX + 1  # an alias within stands for itself
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(value)]
