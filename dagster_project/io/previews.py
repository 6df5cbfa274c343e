"""A few rows of a partition, as metadata of its materialization: off unless somebody asks for it.

Dagster keeps metadata in its own database, whatever expires, is erased or dropped. So there is a preview only where the
component says `preview_rows`, or the IO manager does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from tierlake.dagster_project.partitions.metadata import PARTITION_ROWS, PREVIEW_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tierlake.pipelines import Dataset
    from tierlake.pipelines.ingest.results import IngestResult
    from tierlake.pipelines.model.partition_key import PartitionKey

__all__ = ["MOST_ROWS", "PREVIEW", "preview_table", "previewed", "rows_asked"]

PREVIEW: Final = "preview"
"""Of materializations: the first rows."""

MOST_ROWS: Final = 100

_MOST_COLUMNS: Final = 30
_MOST_LETTERS: Final = 80
_EXACT_IN_FLOATS: Final = 1 << 53
"""Browsers hold every integer up to this size."""

Cell = str | int | float | bool | None


def rows_asked(definition_metadata: Mapping[str, Any], default: int) -> int:
    """How many rows an asset's materializations show.

    Args:
        definition_metadata: The asset's.
        default: The IO manager's.
    """
    value = definition_metadata.get(PREVIEW_ROWS, default)
    number = value.value if isinstance(value, dg.MetadataValue) else value
    return min(int(number or 0), MOST_ROWS)


def previewed(
    dataset: Dataset,
    result: IngestResult,
    keys: Mapping[str, PartitionKey],
    partitions: Mapping[str, Mapping[str, Any]],
    rows: int,
) -> dict[str, dict[str, Any]]:
    """The preview of a run's last partition with rows, by Dagster's key; one, however many partitions the run has.

    Args:
        dataset: Ingested into.
        result: The result of the ingest.
        keys: The run's partitions.
        partitions: Their metadata.
        rows: How many rows; 0 for no preview.
    """
    filled = [name for name, facts in partitions.items() if facts.get(PARTITION_ROWS)]
    if not rows or not filled:
        return {}
    name = filled[-1]
    written = [key for key, part in result.written.items() if part.rows] if result.committed else []
    key = keys.get(name) or (max(written, key=str) if written else None)
    scanned = dataset.scan(keys=None if key is None else [key])
    head = scanned.head(rows, columns=scanned.schema.names[:_MOST_COLUMNS])
    return {name: {PREVIEW: preview_table(head)}}


def preview_table(rows: pa.Table) -> dg.TableMetadataValue:
    """Rows as Dagster shows a table; long texts are cut."""
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows.to_pylist()]
    return dg.MetadataValue.table(
        records, schema=dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in rows.schema])
    )


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_IN_FLOATS else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
