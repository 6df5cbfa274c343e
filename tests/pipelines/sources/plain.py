"""The rows of a source alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierlake.pipelines.sources.typed_text import fitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from tierlake.pipelines.sources import RowStream


def plain_batches(stream: RowStream) -> Iterator[pa.RecordBatch]:
    """In the stream's types; none of them is bad."""
    for source in stream.batches:
        batch = fitted(source, stream.schema) if stream.is_text else source
        assert batch.bad is None, batch.bad.to_pylist()
        yield batch.rows.select(stream.schema.names)
