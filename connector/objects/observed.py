"""The verbs of the filesystem as spans, fsspec's and s3fs's own among them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fsspec.spec import AbstractFileSystem

from tierlake.connector.objects.verbs import synced
from tierlake.connector.observe.edges import edge
from tierlake.connector.observe.verbs import verb
from tierlake.connector.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["observed_verbs"]

KindT = TypeVar("KindT")
_INSIDE: Final = frozenset({"_call_s3", "_connect", "_profile"})
"""Coroutines that are no verbs, though they have a public face."""
_OURS: Final = "tierlake."
_BLOCKING: Final = ("open",)
"""Verbs that have no asynchronous form."""


def observed_verbs(kind: type[KindT]) -> type[KindT]:
    """A filesystem whose verbs are observed, each with its blocking face; see `tierlake.connector.observe.verbs`.

    It wraps all of them, inherited ones too, so that a new verb need not remember to. fsspec makes the other blocking
    faces when an instance is made.
    """
    for name in dir(kind):
        method = getattr(kind, name)
        if not name.startswith("_") or name in _INSIDE or not inspect.iscoroutinefunction(method):
            continue
        face = inspect.getattr_static(kind, name[1:], None)
        if face is None:  # a mechanism
            continue
        observed: Any = verb(method, "fs", _said)
        setattr(kind, name, observed)
        if getattr(face, "__wrapped__", None) is method:
            setattr(kind, name[1:], synced(observed))
        elif face is not getattr(AbstractFileSystem, name[1:], None):  # one that asks memory first
            setattr(kind, name[1:], verb(face, "fs", _said))
    for name in _BLOCKING:
        setattr(kind, name, verb(getattr(kind, name), "fs", _said))
    return edge(kind, of=_OURS, properties=("profile",))


def _said(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, str | None]:
    """The path, which is the first argument of most verbs; of several, how many there are."""
    path = args[1] if len(args) > 1 else kwargs.get("path")
    if isinstance(path, list | tuple | set | dict):
        return {"paths": str(len(path))}
    return {"path": redact(path) if isinstance(path, str) else None}
