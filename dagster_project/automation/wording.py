"""How ticks and jobs name partitions in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["are", "some", "them"]

_SHOWN: Final = 3


def some(keys: Sequence[str]) -> str:
    """The first keys, and how many more there are: `a, b, c and 7 more`."""
    return ", ".join(keys[:_SHOWN]) + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")


def are(keys: Sequence[str]) -> str:
    """The verb that agrees with their number."""
    return "is" if len(keys) == 1 else "are"


def them(keys: Sequence[str]) -> str:
    """The pronoun that agrees with their number."""
    return "it" if len(keys) == 1 else "them"
