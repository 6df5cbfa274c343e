"""The rows of one live file, as a dataset's fragment, a batch at a time: Arrow's scanner decodes whole row groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow.compute as pc

__all__ = ["batches_of"]

_BATCH_ROWS = 1 << 15
_BUFFER_BYTES = 4 << 20
_SMALL_BYTES, _SMALL_ROWS = 16 << 20, 1 << 17


def batches_of(
    fragment: pads.ParquetFileFragment, schema: pa.Schema, columns: Mapping[str, pc.Expression]
) -> Iterator[pa.Table]:
    """Read a file; columns that it lacks are null, and those that its path tells are there.

    Args:
        fragment: The file.
        schema: Of the dataset.
        columns: What to compute of the rows.
    """
    footer = fragment.metadata
    encoded_bytes = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    if encoded_bytes <= _SMALL_BYTES and footer.num_rows <= _SMALL_ROWS:
        # all of it in one or two requests
        yield fragment.to_table(schema=schema, columns=dict(columns))
        return
    key_values = pads.get_partition_keys(fragment.partition_expression)
    with fragment.open() as opened:
        file = pq.ParquetFile(
            opened, metadata=footer, pre_buffer=False, buffer_size=_BUFFER_BYTES, coerce_int96_timestamp_unit="us"
        )
        for batch in file.iter_batches(_BATCH_ROWS):
            rows = _in_schema(batch, schema, key_values)
            yield pads.Scanner.from_batches(rows.to_batches(), schema=schema, columns=dict(columns)).to_table()


def _in_schema(batch: pa.RecordBatch, schema: pa.Schema, key_values: Mapping[str, object]) -> pa.Table:
    columns = []
    for field in schema:
        if field.name in key_values:
            columns.append(pa.repeat(pa.scalar(key_values[field.name], field.type), batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=schema)
