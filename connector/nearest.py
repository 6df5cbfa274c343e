"""The nearest of some names, which the author of a mistyped one may have meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["alternatives", "did_you_mean", "nearest"]

_NAMED = 20


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known name that is most similar to a name, regardless of case.

    Args:
        name: The name to compare.
        known: The known names.
        likeness: The least similarity, from 0 to 1; among few names a lower one will do.

    Returns:
        The known name in its own spelling; None if none is similar enough.
    """
    spelled = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=likeness)
    return spelled[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The hint of an error that refuses a name; None if no known name is similar enough.

    Args:
        name: The refused name.
        known: The known names.
        likeness: As for `nearest`.
    """
    near = nearest(name, known, likeness=likeness)
    return None if near is None else f"Did you mean {near!r}?"


def alternatives(name: str, known: Iterable[str], likeness: float = 0.6, *, lists: bool = True) -> str | None:
    """The hint of an error that refuses a name: the nearest known one, or all of them.

    Args:
        name: The refused name.
        known: The known names.
        likeness: As for `nearest`.
        lists: Whether to list the names where none is near.
    """
    names = [str(one) for one in known]
    near = did_you_mean(name, names, likeness=likeness)
    if near is not None or not lists or not names:
        return near
    rest = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"There {'is' if len(names) == 1 else 'are'} {', '.join(names[:_NAMED])}{rest}"
