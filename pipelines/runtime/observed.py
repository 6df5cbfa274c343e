"""The verbs of a dataset as spans: what they are called on, for whom, and the errors that leave them."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tierlake.connector.observe.edges import edge
from tierlake.connector.observe.verbs import verb
from tierlake.connector.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["observed_verbs"]

KindT = TypeVar("KindT")
_NAMED = {"key": "partition", "run_id": "run_id"}
"""Parameters that say what a verb is for, and the field that has them."""


def observed_verbs(kind: type[KindT]) -> type[KindT]:
    """A class whose public methods are verbs, and its properties an edge; see `tierlake.connector.observe.verbs`.

    It wraps all of them, so that a new method need not remember to.
    """
    for name, member in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if inspect.isfunction(member):
            setattr(kind, name, _observed(member))
        elif isinstance(member, classmethod):
            setattr(kind, name, classmethod(_observed(member.__func__)))
    return edge(kind, properties=[name for name, member in vars(kind).items() if isinstance(member, property)])


def _observed(method: Callable[..., Any]) -> Callable[..., Any]:
    positions = {name: place for place, name in enumerate(inspect.signature(method).parameters)}
    return verb(method, "dataset", partial(_said, positions))


def _said(positions: Mapping[str, int], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, str | None]:
    said: dict[str, str | None] = {"dataset": _uri(args)}
    for parameter, name in _NAMED.items():
        place = positions.get(parameter)
        if place is None:  # `key` is the name of a credential among a store's options
            continue
        value = kwargs.get(parameter, args[place] if place < len(args) else None)
        said[name] = None if value is None else str(value)
    return said


def _uri(args: tuple[Any, ...]) -> str | None:
    """The dataset's URI: of an instance, or of what a class method is called with."""
    for one in args[:2]:
        uri = one if isinstance(one, str) else None if isinstance(one, type) else getattr(one, "uri", None)
        if isinstance(uri, str):
            return redact(uri)
    return None
