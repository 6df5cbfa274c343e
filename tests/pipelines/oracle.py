"""What was acknowledged in a life of a dataset, and what it makes of the rows.

An act that was acknowledged has effects: functions that bring the oracle up to date, or say that the act could not have
been acknowledged then. Acts that meet are tried in every order in which they may have happened.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

DAYS = ("2013-01-01", "2013-01-02")

Rows = frozenset[int]
State = dict[str, Rows]
NONE: Rows = frozenset()


@dataclass
class Removal:
    """What an act took out of a day, what came in its place, and whether that was undone, or never can be."""

    kind: Literal["replace", "expire"]
    rows: Rows
    came: Rows = NONE
    run: str | None = None
    undone: bool = False
    is_final: bool = False
    is_drop: bool = False


@dataclass
class Oracle:
    """The rows of each day, what was taken out of it, and what the policy and people say of it.

    Attributes:
        rows: That readers see.
        removals: By day, the newest last.
        erased: That may not come back.
        holds: By day, with a number that no other hold has.
        kept: Days that are retained for longer than any plan's `as_of`.
        expires: Whether the days are past the retention.
        dropped: What the dataset had when it was dropped; None where it is in use.
    """

    rows: State = field(default_factory=lambda: dict.fromkeys(DAYS, NONE))
    removals: dict[str, list[Removal]] = field(default_factory=lambda: {day: [] for day in DAYS})
    erased: set[int] = field(default_factory=set)
    holds: dict[str, int] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    expires: bool = True
    dropped: State | None = None

    def copy(self) -> Oracle:
        return Oracle(
            dict(self.rows),
            {day: [replace(one) for one in removals] for day, removals in self.removals.items()},
            set(self.erased),
            dict(self.holds),
            set(self.kept),
            self.expires,
            dict(self.dropped) if self.dropped is not None else None,
        )


Effect = Callable[[Oracle], bool]
"""Brings the oracle up to date with an acknowledged act; False where the act could not have been acknowledged then."""


@dataclass(frozen=True)
class Part:
    """One step of an act, whole or not at all; one of an act that failed half-way may not have happened."""

    effect: Effect
    is_certain: bool = True


Parts = tuple[Part, ...]
NOTHING: Parts = ()


def whole(effect: Effect) -> Parts:
    return (Part(effect),)


def day_by_day(effects: dict[str, Effect], *, at_once: bool, is_certain: bool = True) -> Parts:
    """An act on some days, at once as a Delta commit is, or one after the other as objects are."""
    if at_once and is_certain:
        return whole(lambda oracle: all(effect(oracle) for effect in effects.values()))
    return tuple(Part(effect, is_certain) for effect in effects.values())


def outcomes(oracles: Iterable[Oracle], outer: Parts, inner: Sequence[Parts]) -> list[Oracle]:
    """What the oracles may be after an act and those that came while it was at work."""
    flat = [part for parts in inner for part in parts]
    found: list[Oracle] = []
    for oracle in oracles:
        for order in _orders(outer, flat):
            for chosen in itertools.product(*((True,) if part.is_certain else (True, False) for part in order)):
                after = oracle.copy()
                happened = (part for part, is_in in zip(order, chosen, strict=True) if is_in)
                if all(part.effect(after) for part in happened) and after not in found:
                    found.append(after)
    return found


def _orders(outer: Parts, inner: Sequence[Part]) -> Iterator[list[Part]]:
    """Those of others in their order, and the parts of the act wherever they may have come between."""
    for cuts in itertools.product(range(len(inner) + 1), repeat=len(outer)):
        order: list[Part] = []
        for place in range(len(inner) + 1):
            order += [part for part, cut in zip(outer, cuts, strict=True) if cut == place]
            order += inner[place : place + 1]
        yield order


# -- what acts do to it -----------------------------------------------------------------------------------------------


def ingested(day: str, rows: Rows, mode: str, run: str | None, *, may_be_late: bool) -> Effect:
    """One that had passed its checks may come after a drop."""

    def effect(oracle: Oracle) -> bool:
        before = oracle.rows[day]
        oracle.rows[day] = rows if mode == "replace" else before | rows
        if mode == "replace" and before:
            oracle.removals[day].append(Removal("replace", before, rows, run))
        return oracle.dropped is None or may_be_late

    return effect


def expired(day: str, planned: Rows | None, *, can_undo: bool) -> Effect:
    def effect(oracle: Oracle) -> bool:
        is_as_planned = planned is None or oracle.rows[day] == planned
        may_go = oracle.expires and day not in oracle.holds and day not in oracle.kept and oracle.dropped is None
        oracle.removals[day].append(Removal("expire", oracle.rows[day], undone=not can_undo, is_final=not can_undo))
        oracle.rows[day] = NONE
        return is_as_planned and may_go

    return effect


def undone(day: str, operation: str, kinds: Sequence[str], run: str | None = None) -> Effect:
    """The newest removal of these kinds, or that of a run."""

    def effect(oracle: Oracle) -> bool:
        wanted = [one for one in oracle.removals[day] if one.kind in kinds and run in (None, one.run)]
        if not wanted or wanted[-1].undone or wanted[-1].kind != operation or oracle.dropped is not None:
            return False
        removal, before = wanted[-1], oracle.rows[day]
        removal.undone = True
        oracle.rows[day] = removal.rows
        if operation == "expire":
            oracle.kept.add(day)
        # nobody's rows but those that took the place may go, and none that was erased may come
        return before == removal.came and not removal.rows & oracle.erased

    return effect


def erased(day: str, victims: Rows, *, is_held: bool) -> Effect:
    def effect(oracle: Oracle) -> bool:
        if is_held:
            return day in oracle.holds
        is_free = day not in oracle.holds or not oracle.rows[day] & victims
        # not those that are yet to come
        known = oracle.rows[day].union(*(one.rows for one in oracle.removals[day]))
        oracle.rows[day] -= victims
        oracle.erased |= victims & known
        return is_free and oracle.dropped is None

    return effect


def held(day: str, token: int) -> Effect:
    def effect(oracle: Oracle) -> bool:
        oracle.holds.setdefault(day, token)
        # what is there to be held, now or after an undo
        return bool(oracle.rows[day]) or any(one.kind == "expire" and not one.is_final for one in oracle.removals[day])

    return effect


def dropped(*, has_objects: bool) -> Effect:
    def effect(oracle: Oracle) -> bool:
        oracle.dropped = _together(oracle.dropped or {}, oracle.rows, has_objects=has_objects)
        for day, rows in oracle.rows.items():
            if rows:
                oracle.removals[day].append(Removal("expire", rows, is_drop=True))
            oracle.rows[day] = NONE
        return not oracle.holds

    return effect


def undropped(*, has_objects: bool) -> Effect:
    def effect(oracle: Oracle) -> bool:
        if oracle.dropped is None:
            return False
        for removals in oracle.removals.values():
            for one in removals:
                one.undone |= one.is_drop
        is_free = not oracle.erased & frozenset().union(*oracle.dropped.values())
        oracle.rows = _together(oracle.dropped, oracle.rows, has_objects=has_objects)
        oracle.dropped = None
        return is_free

    return effect


def _together(older: State, newer: State, *, has_objects: bool) -> State:
    """Rows that came late beside the others; where an object is a day, in their place."""
    rows = {day: older.get(day, NONE) for day in DAYS}
    return {day: newer[day] if has_objects and newer[day] else rows[day] | newer[day] for day in DAYS}


def ended(oracle: Oracle) -> bool:
    """After the grace of a drop a vacuum takes the rest."""
    return oracle.dropped is not None and not oracle.holds
