"""The nearest of some names: what somebody who mistyped one may have meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The name most like another one; upper and lower case count as alike.

    Args:
        name: What was written.
        known: The names there are.
        likeness: What the answer must have in common with it, from 0 to 1: where there are few names, less will do.

    Returns:
        The name as it is spelled among those known; None where none is like it.
    """
    spelled = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=likeness)
    return spelled[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The hint of an error that refuses a name; None where no known one is like it.

    Args:
        name: What was written.
        known: The names there are.
        likeness: As for `nearest`.
    """
    near = nearest(name, known, likeness=likeness)
    return None if near is None else f"Did you mean {near!r}?"
