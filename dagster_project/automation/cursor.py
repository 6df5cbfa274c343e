"""What the sensors of a table remember between their ticks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Self

from tierlake.connector.documents import UnreadableDocument, json_object

__all__ = ["STATE_MAX", "Cursor"]

STATE_MAX: Final = 1 << 16
"""The length of a table's state up to which a cursor holds it."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a sensor goes on; without one, everything is compared anew.

    Attributes:
        state: The table's state up to which all changes have been reported to Dagster; empty where it is unknown.
        act: The newest act in the dataset's journal that has been looked at.
    """

    state: str = ""
    act: str = ""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Parse a cursor; another version's, and any text that a person typed into the UI, counts as none."""
        try:
            content = json_object(text or "{}")
        except UnreadableDocument:
            return cls()
        match content:
            case {"version": int(version), "state": str(state), "act": str(act)} if version == _VERSION:
                return cls(state, act)
        return cls()

    def __str__(self) -> str:
        # a plain table's state names all objects of its second: of very many, the next tick compares everything anew
        state = self.state if len(self.state) <= STATE_MAX else ""
        return json.dumps({"version": _VERSION, "state": state, "act": self.act})
