"""Rows of many files in memory: all requests planned beforehand, many at once, and files decoded as they come.

Arrow's scanner asks a file for its footer, then for the columns of a row group, then for those of the next, and has a
few files under way. Here the log says which files there are and how large each is, and many are fetched at once.

The rows are those of `LiveDataset.to_table`. A file is decoded directly where its columns have the table's types, which
takes half as long, and as a fragment of a dataset where they do not. A file that cannot be decoded from what was
fetched is read by `LiveDataset`, whose errors name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from tierlake.connector.transfer.pieces import Group, Pieces, Span
from tierlake.pipelines.parquet.scan import SPECIAL_COLUMNS, needed_columns, parquet_format
from tierlake.pipelines.runtime.parallel import ThreadQueue

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    import pyarrow.compute as pc

    from tierlake.connector.transfer.pieces import Failed, Taken
    from tierlake.pipelines.parquet.scan import FileSource, LiveDataset, ScannedFile

__all__ = ["planned_table"]

_MEMORY_BYTES = 256 << 20
_WHOLE_BYTES = 8 << 20
"""A file up to this size is fetched whole."""
_GROUP_FILES, _GROUP_BYTES = 16, 4 << 20
"""Files that are decoded, and filtered, together."""


def planned_table(dataset: LiveDataset, names: Sequence[str], matching: pc.Expression | None) -> pa.Table:
    """Read some columns of the rows that match, as `dataset.to_table` does.

    Args:
        dataset: The rows.
        names: The columns, in order.
        matching: Which rows; None means all.

    Raises:
        OSError: A file cannot be read, by its name.
    """
    files = dataset.files_of(matching)
    source = dataset.source
    if source is None or not _is_planned(names, files):
        return dataset.to_table(columns=list(names), filter=matching)
    empty = pads.FileSystemDataset([], dataset.schema, dataset.format, dataset.filesystem)
    shape = empty.scanner(columns=list(names), filter=matching).projected_schema  # refuses what does not fit
    decoder = _Decoder(dataset, names, dataset.condition(matching))
    batches = list(_together(files))
    groups = [Group(tuple(Span(file.path) for file in batch), sum(file.size for file in batch)) for batch in batches]
    tables: dict[int, pa.Table] = {}

    def work() -> None:
        while (taken := pieces.take()) is not None:
            if (failure := taken.failure) is not None:
                raise _reason(source, failure) from failure.error
            tables[taken.number] = decoder.decoded(batches[taken.number], taken)
            pieces.release(taken)

    cores = pa.cpu_count()
    with (
        Pieces(source.fs.store, groups, memory_bytes=_MEMORY_BYTES) as pieces,
        ThreadQueue[None](cores, "decode") as decoding,
    ):
        for _ in range(cores):
            decoding.submit(_stopping, pieces, work)
        try:
            decoding.results()
        finally:
            pieces.stop()
    return pa.concat_tables([shape.empty_table(), *(tables[number] for number in range(len(batches)))])


def _is_planned(names: Sequence[str], files: Sequence[ScannedFile]) -> bool:
    is_plain = bool(names) and len(set(names)) == len(names) and SPECIAL_COLUMNS.isdisjoint(names)
    return is_plain and all(0 < file.size <= _WHOLE_BYTES for file in files)


def _reason(source: FileSource, failure: Failed) -> Exception:
    error = failure.error
    return source.failure(failure.span.path, error) if isinstance(error, OSError) else error


def _stopping(pieces: Pieces, work: Any) -> None:
    """Do some work on the pieces; where it fails, nobody needs any more of them."""
    try:
        work()
    except BaseException:
        pieces.stop()
        raise


def _together(files: Sequence[ScannedFile]) -> Iterator[tuple[ScannedFile, ...]]:
    batch: list[ScannedFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) == _GROUP_FILES or size + file.size > _GROUP_BYTES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield tuple(batch)


class _Decoder:
    """Makes rows of the bytes of files."""

    def __init__(self, dataset: LiveDataset, names: Sequence[str], matching: pc.Expression | None) -> None:
        """Prepare to read columns of the rows that match."""
        self._dataset = dataset
        self._names = list(names)
        self._matching = matching
        needed = list(names) if matching is None else needed_columns(dataset.schema, [matching], names)
        self._schema = pa.schema([dataset.schema.field(name) for name in needed])
        self._keys: dict[Hashable, Mapping[str, pa.Scalar]] = {}

    def decoded(self, files: Sequence[ScannedFile], taken: Taken) -> pa.Table:
        """The rows of some files that match."""
        tables = [self._rows(file, piece.data, piece.size) for file, piece in zip(files, taken.pieces, strict=True)]
        rows = pa.concat_tables(tables)
        matches = rows if self._matching is None else rows.filter(self._matching)
        return matches.select(self._names)

    def _rows(self, file: ScannedFile, data: Any, size: int) -> pa.Table:
        if size == file.size:
            try:
                rows = self._directly(file, data)
                return rows if rows is not None else self._as_fragment(file, data)
            except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError):
                pass
        return self._dataset.only([file.path]).to_table(columns=self._schema.names)

    def _directly(self, file: ScannedFile, data: Any) -> pa.Table | None:
        """The rows as the Parquet reader makes them; None where a column's type is not the table's."""
        known = self._known(file)
        stored = [name for name in self._schema.names if name not in known]
        opened = pq.ParquetFile(pa.BufferReader(data), coerce_int96_timestamp_unit="us")
        rows = opened.read(columns=stored, use_threads=False)
        count = opened.metadata.num_rows
        columns = []
        for field in self._schema:
            if field.name in known:
                columns.append(pa.repeat(known[field.name], count))
                continue
            places = rows.schema.get_all_field_indices(field.name)
            if not places:
                columns.append(pa.nulls(count, field.type))
                continue
            if len(places) > 1 or not rows.schema.field(places[0]).type.equals(field.type, check_metadata=True):
                return None
            columns.append(rows.column(places[0]))
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _known(self, file: ScannedFile) -> Mapping[str, pa.Scalar]:
        """The values of the partition columns."""
        key = file.facts.key
        if key not in self._keys:
            values = pads.get_partition_keys(file.facts.known)
            names = [name for name in values if name in self._schema.names]
            self._keys[key] = {name: pa.scalar(values[name], self._schema.field(name).type) for name in names}
        return self._keys[key]

    def _as_fragment(self, file: ScannedFile, data: Any) -> pa.Table:
        """The rows as Arrow's dataset brings them into the table's types."""
        fragment = parquet_format().make_fragment(pa.BufferReader(data), partition_expression=file.facts.known)
        return fragment.to_table(schema=self._dataset.schema, columns=self._schema.names, use_threads=False)
