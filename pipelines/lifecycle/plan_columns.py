"""The steps of plans as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.pipelines.lifecycle.planned import Expiration, TierMove

__all__ = ["expirations_columns", "moves_columns"]

_STEP = (
    pa.field("key", pa.string(), nullable=False),
    pa.field("age", pa.duration("us"), nullable=False),
    pa.field("rows", pa.int64()),
    pa.field("files", pa.int64(), nullable=False),
    pa.field("bytes", pa.int64(), nullable=False),
    pa.field("storage_class_before", pa.string(), nullable=False),
)
_MOVES = pa.schema(
    [
        *_STEP,
        pa.field("storage_class", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("monthly_before", pa.float64()),
        pa.field("monthly_after", pa.float64()),
        pa.field("one_off", pa.float64()),
        pa.field("saved", pa.float64()),
        pa.field("until", pa.timestamp("us", tz="UTC")),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
_EXPIRATIONS = pa.schema([*_STEP, pa.field("monthly", pa.float64()), pa.field("reason", pa.string(), nullable=False)])


def moves_columns(moves: Sequence[TierMove]) -> pa.Table:
    """Moves as columns; files and bytes are those that move."""
    moving = [move.to_move() for move in moves]
    computed: dict[str, list[int] | list[str]] = {
        "files": [len(files) for files in moving],
        "bytes": [sum(file.size for file in files) for files in moving],
        "storage_class_before": ["+".join(sorted({file.storage_class for file in files})) for files in moving],
    }
    return _columns(_MOVES, moves, computed)


def expirations_columns(expirations: Sequence[Expiration]) -> pa.Table:
    """Expirations as columns."""
    computed: dict[str, list[int] | list[str]] = {
        "files": [len(one.files) for one in expirations],
        "storage_class_before": ["+".join(sorted({file.storage_class for file in one.files})) for one in expirations],
    }
    return _columns(_EXPIRATIONS, expirations, computed)


def _columns(
    schema: pa.Schema, steps: Sequence[TierMove] | Sequence[Expiration], computed: dict[str, list[int] | list[str]]
) -> pa.Table:
    names = [name for name in schema.names if name not in computed]
    return pa.table(computed | {name: [getattr(step, name) for step in steps] for name in names}, schema=schema)
