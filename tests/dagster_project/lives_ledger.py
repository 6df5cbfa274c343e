"""What was acknowledged, and what the downstream has read: kept by the test, past the product."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta

from tests.dagster_project.lives import KEYS, Ids, Table

KEPT = timedelta(days=30)
GRACES_ARE_OVER = date(2100, 1, 1)
NONE: Ids = frozenset()

Place = tuple[str, str]
"""An asset and one of its keys."""

PLACES: list[Place] = [(asset, key) for asset, keys in KEYS.items() for key in keys]


def end_of(key: str) -> date:
    """The day after a day, or after a month."""
    if len(key) > 7:
        return date.fromisoformat(key) + timedelta(days=1)
    return (date.fromisoformat(f"{key}-01") + timedelta(days=31)).replace(day=1)


def month_of(day: str) -> str:
    return day[:7]


@dataclass
class Ledger:
    """One life's books.

    Attributes:
        today: By which policies judge.
        turn: Counts acts.
        rows: Each place's rows as they were last seen.
        empty: Places of which a finished run said that the source has no rows.
        lost: By place, the rows that its expiries took, newest last.
        read: By place, what the downstream's last materialization read of it.
        read_at: In which turn.
        touched: By place, the last turn in which somebody may have changed it.
        held: Places that a person holds.
        undone: Places that came back after an expiry, and are kept until the grace is over.
        expiries: How often each place has expired.
    """

    today: date
    turn: int = 0
    rows: dict[Place, Ids] = field(default_factory=lambda: dict.fromkeys(PLACES, NONE))
    empty: set[Place] = field(default_factory=set)
    lost: dict[Place, list[Ids]] = field(default_factory=lambda: {place: [] for place in PLACES})
    read: dict[Place, Ids] = field(default_factory=dict)
    read_at: dict[Place, int] = field(default_factory=dict)
    touched: Counter[Place] = field(default_factory=Counter)
    held: set[Place] = field(default_factory=set)
    undone: set[Place] = field(default_factory=set)
    expiries: Counter[Place] = field(default_factory=Counter)

    def is_due(self, place: Place) -> bool:
        """Whether it is past its retention."""
        return self.today - end_of(place[1]) >= KEPT

    def is_read(self, place: Place) -> bool:
        """Whether the downstream has read what is there."""
        return place[0] == "months" or self.read.get(place) == self.rows[place]

    def may_go(self, place: Place) -> bool:
        """Whether the policy may take it."""
        return self.is_due(place) and place not in self.held and self.is_read(place)

    def must_go(self, place: Place) -> bool:
        """Whether there is no reason to keep it: nobody has touched it since it was read."""
        seen = place[0] == "months" or self.touched[place] < self.read_at.get(place, -1)
        is_kept = place in self.undone and self.today < GRACES_ARE_OVER
        return bool(self.rows[place]) and self.may_go(place) and seen and not is_kept

    def is_there(self, place: Place) -> bool:
        """Whether it can be read: it has rows, or is known to have none."""
        return bool(self.rows[place]) or place in self.empty

    def must_show(self, place: Place) -> bool:
        """Whether it has to."""
        return bool(self.rows[place]) or (place in self.empty and not self.is_due(place))

    def must_hide(self, place: Place) -> bool:
        """Whether it has to be missing: it has no rows, and its time is over as its neighbours' is."""
        is_seen = place[0] == "months" or self.touched[place] < self.read_at.get(place, -1)
        is_over = self.is_due(place) and is_seen and place not in self.held
        return not self.rows[place] and (place not in self.empty or is_over)

    def of(self, asset: str) -> Table:
        """An asset's rows, without the partitions that have none."""
        return {key: self.rows[asset, key] for key in KEYS[asset] if self.rows[asset, key]}
