"""Plans as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.pipelines.lifecycle.planned import Expiration, Refusal, TierMove

__all__ = ["expirations_text", "moves_text", "refusals_text"]

_ROWS_SHOWN: Final = 20
"""The most rows of each table; the others are counted."""


def moves_text(moves: Sequence[TierMove]) -> str:
    """Partitions that change their tier, with what the moves cost and save, and the totals."""
    moving = [file.size for move in moves for file in move.to_move()]
    return formatting.table_text(
        ["key", ">age", ">files", ">size", "from", "to", ">$/month", ">then", ">once", ">saved", "until"],
        map(_move, moves),
        number=len(moves),
        footer=(
            formatting.partitions(len(moves)),
            "",
            formatting.count(len(moving)),
            formatting.size(sum(moving)),
            "",
            "",
            formatting.money(sum(move.monthly_before or 0.0 for move in moves)),
            formatting.money(sum(move.monthly_after or 0.0 for move in moves)),
            formatting.money(sum(move.one_off or 0.0 for move in moves)),
            formatting.money(sum(move.saved or 0.0 for move in moves)),
            "",
        ),
        limit=_ROWS_SHOWN,
    )


def expirations_text(expirations: Sequence[Expiration]) -> str:
    """Partitions that leave the table, each with the reason, and the totals."""
    return formatting.table_text(
        ["key", ">age", ">rows", ">files", ">size", ">$/month", "why"],
        map(_expiration, expirations),
        number=len(expirations),
        footer=(
            formatting.partitions(len(expirations)),
            "",
            "",
            formatting.count(sum(len(expiration.files) for expiration in expirations)),
            formatting.size(sum(expiration.bytes for expiration in expirations)),
            formatting.money(sum(expiration.monthly or 0.0 for expiration in expirations)),
            "",
        ),
        limit=_ROWS_SHOWN,
    )


def refusals_text(refusals: Sequence[Refusal]) -> str:
    """The refused partitions; those with the same reason share a line."""
    keys: dict[str, list[str]] = {}
    for refusal in refusals:
        keys.setdefault(refusal.reason, []).append(refusal.key)
    rows = ((_span(same), reason) for reason, same in keys.items())
    return formatting.table_text(["left alone", "why"], rows, limit=_ROWS_SHOWN)


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
