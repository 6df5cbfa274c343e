"""Rows of text in the types of their stream, where others of the source are no text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.pipelines.sources.row_origin import REJECT_FILE, REJECT_LINE
from tierlake.pipelines.sources.stream import ORIGIN, BadRow, SourceBatch, bad_rows
from tierlake.pipelines.values import fit

__all__ = ["fitted"]


def fitted(batch: SourceBatch, schema: pa.Schema) -> SourceBatch:
    """Text in the types of a schema; a row with a cell that does not fit is bad."""
    rows = batch.rows
    columns: list[pa.Array] = []
    wrong: dict[int, tuple[str, str]] = {}
    for field in schema:
        text = pa.chunked_array([rows.column(field.name)])
        kind = pa.string() if pat.is_null(field.type) else field.type
        part = fit(text, kind, from_text=True)
        columns.append(part.values.combine_chunks() if kind == field.type else pa.nulls(rows.num_rows))
        if part.reasons is not None:
            for place in pc.indices_nonzero(pc.is_valid(part.reasons.combine_chunks())).to_pylist():
                wrong.setdefault(place, (field.name, f"{field.name} {part.reasons[place].as_py()}"))
    origin = [rows.column(name) for name in ORIGIN.names]
    typed = pa.RecordBatch.from_arrays([*columns, *origin], schema=pa.schema([*schema, *ORIGIN]))
    if not wrong:
        return SourceBatch(typed, batch.bad)
    taken = rows.take(pa.array(list(wrong))).to_pylist()
    worse = [
        BadRow(row[REJECT_LINE], name, row[name], reason, {column: row[column] for column in schema.names})
        for row, (name, reason) in zip(taken, wrong.values(), strict=True)
    ]
    bad = bad_rows(taken[0][REJECT_FILE], worse)
    keep = pa.array([place not in wrong for place in range(rows.num_rows)])
    tables = [bad] if batch.bad is None else [batch.bad, bad]
    return SourceBatch(typed.filter(keep), pa.concat_tables(tables, promote_options="default"))
