"""Rows of many files in memory: all requests planned beforehand, many at once, and files decoded as they come.

Arrow's scanner asks a file for its footer, then for the columns of a row group, then for those of the next, and has a
few files under way. Here the log says which files there are and how large each is. Small files are fetched whole, and
of large ones the column chunks that are needed, by footers that are kept beside the table or fetched all at once.

The rows are those of `LiveDataset.to_table`. A file is decoded directly where its columns have the table's types, which
takes half as long, and as a fragment of a dataset where they do not. What cannot be decoded from what was fetched, and
what cannot be planned, is read by `LiveDataset`, whose errors name the file. A filter that fails for some row (a
division by zero) fails here too, unless statistics show that no row of its row group can match.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pyarrow.types as pat

from tierlake.connector.transfer.pieces import Group, Pieces, Span
from tierlake.pipelines.parquet.chunks import PiecesFile, chunks_of, leaves_of, size_of, spans_of
from tierlake.pipelines.parquet.footers import WHOLE_BYTES, NotParquet, parsed_footer
from tierlake.pipelines.parquet.scan import SPECIAL_COLUMNS, needed_columns, parquet_format
from tierlake.pipelines.runtime.parallel import ThreadQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    import pyarrow.compute as pc

    from tierlake.connector.transfer.pieces import Failed, Taken
    from tierlake.connector.transfer.ranges import Piece
    from tierlake.pipelines.parquet.scan import FileSource, LiveDataset, ScannedFile

__all__ = ["planned_table"]

_GROUP_FILES, _GROUP_BYTES = 16, 4 << 20
"""What is decoded, and filtered, together: files, or row groups of one file."""
_GROUP_ROWS, _GROUP_ENCODED_BYTES = 1 << 20, 64 << 20
_TAIL_BYTES, _TAIL_SHARE = 64 << 10, 1 << 10
"""What is fetched of a large file whose footer is not known, at least and of its bytes; few footers are longer."""


def planned_table(dataset: LiveDataset, names: Sequence[str], matching: pc.Expression | None) -> pa.Table:
    """Read some columns of the rows that match, as `dataset.to_table` does.

    Args:
        dataset: The rows.
        names: The columns, in order.
        matching: Which rows; None means all.

    Raises:
        OSError: A file cannot be read, by its name.
    """
    source = dataset.source
    is_plain = bool(names) and len(set(names)) == len(names) and SPECIAL_COLUMNS.isdisjoint(names)
    if source is None or not is_plain:
        return dataset.to_table(columns=list(names), filter=matching)
    empty = pads.FileSystemDataset([], dataset.schema, dataset.format, dataset.filesystem)
    shape = empty.scanner(columns=list(names), filter=matching).projected_schema  # refuses what does not fit
    files = dataset.files_of(matching)
    decoder = _Decoder(dataset, names, matching)
    footers = _footers(source, [file for file in files if file.size > WHOLE_BYTES])
    work = [unit for file_or_files in _together(files) for unit in decoder.units(file_or_files, footers)]
    tables: dict[int, pa.Table] = {}

    def take(taken: Taken) -> None:
        tables[taken.number] = decoder.decoded(work[taken.number], taken.pieces)

    _fetch(source, [unit.group for unit in work], take)
    return pa.concat_tables([shape.empty_table(), *(tables[number] for number in range(len(work)))])


def _fetch(source: FileSource, groups: Sequence[Group], take: Callable[[Taken], None]) -> None:
    """Fetch groups of pieces, and hand each to `take`, on all cores; the first failure ends all."""

    def work() -> None:
        try:
            while (taken := pieces.take()) is not None:
                _check(source, taken.failure)
                take(taken)
                pieces.release(taken)
        except BaseException:
            pieces.stop()
            raise

    cores = min(pa.cpu_count(), len(groups))
    if not cores:
        return
    with (
        Pieces(
            source.fs.store,
            groups,
            memory_bytes=source.fs.settings.read_memory_bytes,
            one_generation=not source.is_immutable,
        ) as pieces,
        ThreadQueue[None](cores, "read") as queue,
    ):
        try:
            for _ in range(cores):
                queue.submit(work)
            queue.results()
        finally:
            pieces.stop()


def _check(source: FileSource, failure: Failed | None) -> None:
    if failure is None:
        return
    error = failure.error
    raise (source.failure(failure.span.path, error) if isinstance(error, OSError) else error) from error


def _together(files: Sequence[ScannedFile]) -> Iterator[tuple[ScannedFile, ...]]:
    """Files in their order, several small ones together."""
    batch: list[ScannedFile] = []
    size = 0
    for file in files:
        is_full = len(batch) == _GROUP_FILES or size + file.size > _GROUP_BYTES
        if batch and (is_full or file.size > WHOLE_BYTES or not file.size):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(file)
        size += file.size if 0 < file.size <= WHOLE_BYTES else _GROUP_BYTES
    if batch:
        yield tuple(batch)


# -- footers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Footer:
    """A footer.

    Attributes:
        footer: The footer.
        etag: The file's ETag, where the footer was read from the file.
    """

    footer: pq.FileMetaData
    etag: str | None = None


def _footers(source: FileSource, files: Sequence[ScannedFile]) -> dict[str, _Footer]:
    """The footers of some files, those that can be read: from beside the table, and the others from the files."""
    if not files:
        return {}
    known = {path: _Footer(one) for path, one in source.footers({file.path: file.size for file in files}).items()}
    missing = [file for file in files if file.path not in known]
    longer = _fetch_footers(source, [(file, max(_TAIL_BYTES, file.size // _TAIL_SHARE)) for file in missing], known)
    _fetch_footers(source, longer, known)
    return known


def _fetch_footers(
    source: FileSource, tails: Sequence[tuple[ScannedFile, int]], known: dict[str, _Footer]
) -> list[tuple[ScannedFile, int]]:
    """Read footers from the last bytes of files; return those that are longer, with their lengths."""
    longer: list[tuple[ScannedFile, int]] = []

    def take(taken: Taken) -> None:
        file, (piece,) = tails[taken.number][0], taken.pieces
        if piece.size != file.size:
            return
        with suppress(NotParquet):  # `LiveDataset` reads it, and its error names the file
            footer = parsed_footer(piece.data)
            if not isinstance(footer, int):
                known[file.path] = _Footer(footer, piece.etag)
            elif footer <= file.size:
                longer.append((file, footer))

    _fetch(source, [Group((Span(file.path, -length),), length) for file, length in tails], take)
    return longer


# -- rows --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is decoded together.

    Attributes:
        files: Small files; or one file, of which some row groups are read.
        group: The pieces of them; none of a file that `LiveDataset` reads.
        footer: The footer of the one file.
        row_groups: Its row groups.
    """

    files: tuple[ScannedFile, ...]
    group: Group
    footer: pq.FileMetaData | None = None
    row_groups: tuple[int, ...] = ()


_Rows: TypeAlias = tuple[pa.Table, int]
"""Columns, and the number of rows: there may be no column."""


class _Decoder:
    """Makes rows of the bytes of files."""

    def __init__(self, dataset: LiveDataset, names: Sequence[str], matching: pc.Expression | None) -> None:
        """Prepare to read columns of the rows that match."""
        self._dataset = dataset
        self._names = list(names)
        self._matching = matching
        self._condition = dataset.condition(matching)
        needed = needed_columns(dataset.schema, [] if self._condition is None else [self._condition], names)
        self._schema = pa.schema([dataset.schema.field(name) for name in needed])
        self._keys: dict[Hashable, Mapping[str, pa.Scalar]] = {}

    # -- what to fetch ------------------------------------------------------------------------------------------------

    def units(self, files: tuple[ScannedFile, ...], footers: Mapping[str, _Footer]) -> Iterator[_Unit]:
        """The work on some small files, or on a large one.

        Args:
            files: The files.
            footers: Those of large files.
        """
        first = files[0]
        if 0 < first.size <= WHOLE_BYTES:
            yield _Unit(files, Group(tuple(Span(file.path) for file in files), sum(file.size for file in files)))
            return
        known = footers.get(first.path)
        planned = None if known is None else self._units_of(first, known)
        yield from planned if planned is not None else [_Unit(files, Group((), 0))]

    def _units_of(self, file: ScannedFile, known: _Footer) -> list[_Unit] | None:
        """The work on some row groups each; None where the columns or the footer are not what they should be."""
        footer = known.footer
        try:
            stored = footer.schema.to_arrow_schema()
            names = [name for name in self._schema.names if name not in self._known(file)]
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return None
        if not all(self._fits(stored, name) for name in names):
            return None
        leaves = leaves_of(footer, names)
        units: list[_Unit] = []
        part = _Part()
        for number in self._dataset.groups_of(file, footer, stored, self._condition):
            chunks = chunks_of(footer, number, leaves, file.size)
            if chunks is None:
                return None
            more = _Part([number], chunks, *size_of(footer, number, leaves))
            if part.groups and not part.has_room(more):
                units.append(_unit(file, known, part))
                part = _Part()
            part.add(more)
        return [*units, _unit(file, known, part)] if part.groups else units

    def _fits(self, stored: pa.Schema, name: str) -> bool:
        """Whether a file lacks a column, or has it in the table's type."""
        places = stored.get_all_field_indices(name)
        kind = self._schema.field(name).type
        return not places or (len(places) == 1 and _is_same(stored.field(places[0]).type, kind))

    # -- decoding -----------------------------------------------------------------------------------------------------

    def decoded(self, unit: _Unit, pieces: Sequence[Piece]) -> pa.Table:
        """The rows of a unit that match."""
        if not pieces and unit.footer is None:
            return self._dataset.only([unit.files[0].path]).to_table(columns=self._names, filter=self._matching)
        rows = self._of_row_groups(unit, pieces) if unit.footer is not None else self._of_files(unit.files, pieces)
        matches = rows if self._condition is None else rows.filter(self._condition)
        return matches.select(self._names)

    def _of_files(self, files: Sequence[ScannedFile], pieces: Sequence[Piece]) -> pa.Table:
        """The rows of small files."""
        read = [self._decoded(file, piece) for file, piece in zip(files, pieces, strict=True)]
        together = [one for one in read if one is not None]
        if len(together) == len(files) and (rows := self._in_table(files, together)) is not None:
            return rows
        single = [None if one is None else self._in_table([file], [one]) for file, one in zip(files, read, strict=True)]
        return pa.concat_tables(
            self._as_fragment(file, piece) if rows is None else rows
            for file, piece, rows in zip(files, pieces, single, strict=True)
        )

    def _decoded(self, file: ScannedFile, piece: Piece) -> _Rows | None:
        """The stored columns of a small file; None where they cannot be decoded."""
        if piece.size == file.size:
            with suppress(*_UNDECODED):
                return self._read(file, pa.BufferReader(piece.data))
        return None

    def _of_row_groups(self, unit: _Unit, pieces: Sequence[Piece]) -> pa.Table:
        """The rows of some row groups of a large file."""
        (file,) = unit.files
        try:
            opened = pa.PythonFile(PiecesFile(pieces, file.size), mode="r")
            if all(piece.size == file.size for piece in pieces):
                rows = self._in_table(unit.files, [self._read(file, opened, unit.footer, unit.row_groups)])
                if rows is not None:
                    return rows
        except _UNDECODED:
            pass
        fragment = self._dataset.fragment(file.path).subset(row_group_ids=list(unit.row_groups))
        return fragment.to_table(schema=self._dataset.schema, columns=self._schema.names)

    def _read(
        self,
        file: ScannedFile,
        opened: pa.NativeFile,
        footer: pq.FileMetaData | None = None,
        row_groups: Sequence[int] | None = None,
    ) -> _Rows:
        """The stored columns as the Parquet reader makes them."""
        known = self._known(file)
        stored = [name for name in self._schema.names if name not in known]
        reader = pq.ParquetFile(opened, metadata=footer, coerce_int96_timestamp_unit="us")
        if row_groups is None:
            return reader.read(columns=stored, use_threads=False), reader.metadata.num_rows
        rows = reader.read_row_groups(row_groups, columns=stored, use_threads=False)
        return rows, sum(reader.metadata.row_group(number).num_rows for number in row_groups)

    def _in_table(self, files: Sequence[ScannedFile], read: Sequence[_Rows]) -> pa.Table | None:
        """What was read of some files as rows of the table; None where their columns differ, or are not the table's."""
        first = read[0][0].schema
        nested = [number for number, one in enumerate(first) if pat.is_nested(one.type)]
        known = [self._known(file) for file in files]
        names = known[0].keys()
        for (rows, _), values in zip(read[1:], known[1:], strict=True):
            is_alike = rows.schema.equals(first) and values.keys() == names
            if not is_alike or any(not _is_same(rows.schema.field(one).type, first.field(one).type) for one in nested):
                return None
        rows = pa.concat_tables([rows for rows, _ in read])
        count = sum(count for _, count in read)
        columns = []
        for one in self._schema:
            if one.name in names:
                parts = [pa.repeat(of_file[one.name], own) for of_file, (_, own) in zip(known, read, strict=True)]
                columns.append(pa.chunked_array(parts, one.type))
            elif not self._fits(first, one.name):
                return None
            elif one.name in first.names:
                columns.append(rows.column(one.name))
            else:
                columns.append(pa.nulls(count, one.type))
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _known(self, file: ScannedFile) -> Mapping[str, pa.Scalar]:
        """The values of the partition columns."""
        key = file.facts.key
        if key not in self._keys:
            values = pads.get_partition_keys(file.facts.known)
            names = [name for name in values if name in self._schema.names]
            self._keys[key] = {name: pa.scalar(values[name], self._schema.field(name).type) for name in names}
        return self._keys[key]

    def _as_fragment(self, file: ScannedFile, piece: Piece) -> pa.Table:
        """The rows as Arrow's dataset brings them into the table's types; of the file itself where that fails."""
        columns = {"schema": self._dataset.schema, "columns": self._schema.names}
        if piece.size == file.size:
            fragment = parquet_format().make_fragment(
                pa.BufferReader(piece.data), partition_expression=file.facts.known
            )
            with suppress(*_UNDECODED):
                return fragment.to_table(**columns, use_threads=False)
        return self._dataset.fragment(file.path).to_table(**columns)


_UNDECODED = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError)


def _is_same(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types are the same, down to the names of nested fields; files add metadata to these."""
    return one.equals(other) and (not pat.is_nested(one) or str(one) == str(other))


@dataclass(slots=True)
class _Part:
    """Some row groups of a file.

    Attributes:
        groups: Their numbers.
        chunks: The bytes of the columns that are needed.
        rows: Their rows.
        encoded_bytes: The size of these columns before compression.
    """

    groups: list[int] = field(default_factory=list)
    chunks: list[tuple[int, int]] = field(default_factory=list)
    rows: int = 0
    encoded_bytes: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(end - start for start, end in self.chunks)

    def has_room(self, more: _Part) -> bool:
        """Whether more row groups can be decoded together with these."""
        is_small = self.size + more.size <= _GROUP_BYTES and self.rows + more.rows <= _GROUP_ROWS
        return is_small and self.encoded_bytes + more.encoded_bytes <= _GROUP_ENCODED_BYTES

    def add(self, more: _Part) -> None:
        """Add row groups."""
        self.groups += more.groups
        self.chunks += more.chunks
        self.rows += more.rows
        self.encoded_bytes += more.encoded_bytes
        self.size += more.size


def _unit(file: ScannedFile, known: _Footer, part: _Part) -> _Unit:
    ranges = spans_of(part.chunks)
    spans = tuple(Span(file.path, start, end) for start, end in ranges)
    size = sum(end - start for start, end in ranges)
    return _Unit((file,), Group(spans, size, known.etag), known.footer, tuple(part.groups))
