"""Plans as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.pipelines.lifecycle.planned import Expiration, Refusal, TierMove

__all__ = ["ROWS_SHOWN", "expirations_table", "moves_table", "refusals_table"]

ROWS_SHOWN: Final = 20
"""The most rows of each table as text; the others are counted."""


def moves_table(moves: Sequence[TierMove]) -> Table[TierMove]:
    """Partitions that change their tier, with what the moves cost and save, and the totals."""
    moving = [file.size for move in moves for file in move.to_move()]
    return Table(
        ["key", ">age", ">files", ">size", "from", "to", ">$/month", ">then", ">once", ">saved", "until"],
        moves,
        _move,
        footer=(
            formatting.partitions(len(moves)),
            "",
            formatting.count(len(moving)),
            formatting.size(sum(moving)),
            "",
            "",
            formatting.money(sum([move.monthly_before or 0.0 for move in moves])),
            formatting.money(sum([move.monthly_after or 0.0 for move in moves])),
            formatting.money(sum([move.one_off or 0.0 for move in moves])),
            formatting.money(sum([move.saved or 0.0 for move in moves])),
            "",
        ),
    )


def expirations_table(expirations: Sequence[Expiration]) -> Table[Expiration]:
    """Partitions that leave the table, each with the reason, and the totals."""
    return Table(
        ["key", ">age", ">rows", ">files", ">size", ">$/month", "why"],
        expirations,
        _expiration,
        footer=(
            formatting.partitions(len(expirations)),
            "",
            "",
            formatting.count(sum([len(expiration.files) for expiration in expirations])),
            formatting.size(sum([expiration.bytes for expiration in expirations])),
            formatting.money(sum([expiration.monthly or 0.0 for expiration in expirations])),
            "",
        ),
    )


def refusals_table(refusals: Sequence[Refusal]) -> Table[tuple[str, str]]:
    """The refused partitions; those with the same reason share a line."""
    keys: dict[str, list[str]] = {}
    for refusal in refusals:
        keys.setdefault(refusal.reason, []).append(refusal.key)
    return Table(["left alone", "why"], [(_span(same), reason) for reason, same in keys.items()], tuple)


def _move(move: TierMove) -> tuple[str, ...]:
    moving = move.to_move()
    return (
        move.key,
        formatting.age(move.age),
        formatting.count(len(moving)),
        formatting.size(sum(file.size for file in moving)),
        "+".join(sorted({file.storage_class for file in moving})),
        f"{move.storage_class} ({move.tier})",
        formatting.money(move.monthly_before),
        formatting.money(move.monthly_after),
        formatting.money(move.one_off),
        formatting.money(move.saved),
        formatting.day(move.until) if move.until else "12 months",
    )


def _expiration(expiration: Expiration) -> tuple[str, ...]:
    return (
        expiration.key,
        formatting.age(expiration.age),
        formatting.count(expiration.rows),
        formatting.count(len(expiration.files)),
        formatting.size(expiration.bytes),
        formatting.money(expiration.monthly),
        expiration.reason,
    )


def _span(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} ... {keys[-1]} ({len(keys):,})"
