"""How ticks and jobs name partitions in a sentence, and how sensors and schedules say whether they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg

__all__ = ["are", "default_status", "some", "them"]

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


def default_status(status: dg.DefaultSensorStatus | dg.DefaultScheduleStatus) -> str:
    """What a description says of being on or off before anybody has switched it."""
    if status.value == "RUNNING":
        return "On from the start: somebody may switch it off."
    return "Off until somebody switches it on, here or in the component's file."
