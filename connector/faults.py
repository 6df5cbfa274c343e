"""What is wrong with a description that a model refuses: each fault with its place, its line, and the nearest name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from tierlake.connector.documents import yaml_lines
from tierlake.connector.nearest import alternatives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["Fault", "at_lines", "faults_of", "hint_of"]

_UNKNOWN: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
_LITERALS: Final = re.compile("'([^']*)'")
_LIKENESS: Final = 0.5
"""Fields and choices are few."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        place: The field as YAML nests it: `retention.expire_after`.
        text: What is wrong with it, without its value, which might be a secret.
        hint: The name that may have been meant, or all there are.
    """

    place: str
    text: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def faults_of(model: type[BaseModel], error: ValidationError) -> list[Fault]:
    """The faults that pydantic found.

    Args:
        model: The model that refused.
        error: Its refusal.
    """
    return [_fault(model, detail) for detail in error.errors(include_url=False)]


def _fault(model: type[BaseModel], detail: ErrorDetails) -> Fault:
    place = ".".join(str(part) for part in detail["loc"]) or "spec"
    if detail["type"] in _UNKNOWN:
        name = str(detail["loc"][-1])
        return Fault(place, "there is no such field", alternatives(name, _fields_at(model, detail["loc"]), _LIKENESS))
    hint = None
    if detail["type"] == "literal_error":
        hint = alternatives(str(detail["input"]), _LITERALS.findall(str(detail.get("ctx"))), _LIKENESS, lists=False)
    return Fault(place, detail["msg"].removeprefix("Value error, "), hint)


def _fields_at(model: Any, location: Sequence[int | str]) -> list[str]:
    """The fields beside the one at a location."""
    here = model
    for part in location[:-1]:
        field = _fields(here).get(str(part))
        if field is not None:
            here = field
    return list(_fields(here))


def _fields(kind: Any) -> Mapping[str, Any]:
    """The fields of a model or of a dataclass, within an optional or a list of it, each with its type."""
    for one in (kind, *get_args(kind)):
        if hasattr(one, "model_fields"):
            return {name: field.annotation for name, field in one.model_fields.items()}
        if hasattr(one, "__dataclass_fields__"):
            return {name: field.type for name, field in one.__dataclass_fields__.items()}
        if one is not kind and (inner := _fields(one)):
            return inner
    return {}


def hint_of(faults: Sequence[Fault]) -> str | None:
    """The hints of all faults as one; where there are several, each with its field."""
    hints = [fault for fault in faults if fault.hint]
    if len(hints) == 1:
        return hints[0].hint
    return " ".join(f"{fault.place}: {fault.hint}" for fault in hints) or None


def at_lines(faults: Sequence[Fault], text: str | bytes) -> list[Fault]:
    """The faults with the lines of a YAML text in which their fields are.

    Args:
        faults: Of the document in the text.
        text: The YAML.
    """
    lines = yaml_lines(text)
    return [Fault(one.place, _with_line(one, lines), one.hint) for one in faults]


def _with_line(fault: Fault, lines: Mapping[tuple[str, ...], int]) -> str:
    parts: tuple[str, ...] = ()
    for part in fault.place.split("."):  # pydantic names the alternatives of a union too, which YAML does not
        if (*parts, part) in lines:
            parts = (*parts, part)
    return f"{fault.text} (line {lines[parts]})" if parts else fault.text
