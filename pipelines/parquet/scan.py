"""Live files as a pyarrow dataset: files are left out by proof, and rows are compared, never guessed.

Arrow itself leaves row groups out by statistics that say nothing of NaN, and so loses rows (seen with pyarrow 26:
`x != 1.0` finds nothing in `[1.0, NaN]`). Here a filter is computed for every row that is read, and `skipping` alone
decides what need not be read.
"""

from __future__ import annotations

import textwrap
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.types as pat

from tierlake.pipelines.errors import SchemaMismatch
from tierlake.pipelines.parquet.file_skipping import FileFacts, columns_in, may_match
from tierlake.pipelines.parquet.statistics import footer_stats
from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.values.types import is_number, is_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pyarrow.parquet as pq
    from pyarrow.fs import FileSystem

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = [
    "SPECIAL_COLUMNS",
    "FileSource",
    "LiveDataset",
    "ScannedFile",
    "naming_failures",
    "needed_columns",
    "parquet_format",
]

_MATCHES = "\0matches"
_SEVERAL_GROUPS_BYTES = 16 << 20
"""Of a file that is smaller, reading the footer first costs as much as reading the file."""
_FOOTERS_AT_ONCE = 8
_SHOWN_CHARACTERS = 400
"""Of a filter, in an error."""
SPECIAL_COLUMNS = frozenset({"__fragment_index", "__batch_index", "__last_in_fragment", "__filename"})
"""Columns that Arrow's scanner adds for who names them."""


@contextmanager
def naming_failures(what: str, matching: pc.Expression | None = None) -> Iterator[None]:
    """Say what could not be read where Arrow cannot bring a file's values, or a filter, to an end.

    Args:
        what: `bucket/key`, of a table or a file.
        matching: The filter.

    Raises:
        SchemaMismatch: In the place of Arrow's error.
    """
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        by = "" if matching is None else f" by {textwrap.shorten(str(matching), _SHOWN_CHARACTERS)}"
        hint = "a file whose values do not fit the table's columns, or a filter that fails for some row"
        raise SchemaMismatch(f"cannot read lake://{what}{by}: {error}", hint=hint) from error


def parquet_format() -> pads.ParquetFileFormat:
    """How files of any writer are read: the oldest kind of timestamps (INT96) in microseconds."""
    return pads.ParquetFileFormat(
        read_options=pads.ParquetReadOptions(coerce_int96_timestamp_unit="us"),
        default_fragment_scan_options=pads.ParquetFragmentScanOptions(pre_buffer=True),
    )


_ORDERED = (is_text, is_number, pat.is_date, pat.is_timestamp)


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file of a dataset.

    Attributes:
        path: `bucket/key`.
        size: Bytes.
        facts: What is known of its rows.
    """

    path: str
    size: int
    facts: FileFacts


class FileSource(Protocol):
    """Where the files of a table are, and what they are called in errors."""

    @property
    def fs(self) -> LakeFileSystem:
        """Reads them."""

    @property
    def is_immutable(self) -> bool:
        """Whether a path names the same bytes for good."""

    def failure(self, path: str, error: OSError) -> OSError:
        """The error to raise where reading `bucket/key` failed."""

    def footers(self, sizes: Mapping[str, int]) -> Mapping[str, pq.FileMetaData]:
        """The footers that are known beside the files, by `bucket/key`; fewer requests than asking these files.

        Args:
            sizes: The size of each file by `bucket/key`.
        """


class LiveDataset(pads.FileSystemDataset):
    """A `pyarrow.dataset.Dataset` whose filters read no file that cannot match, and lose no row.

    `to_table`, `to_batches`, `scanner`, `head`, `count_rows`, `take`, `filter` and `get_fragments` go by
    `file_skipping`, and so does polars' `scan_pyarrow_dataset`. Whoever takes the C++ object from it (DuckDB,
    Acero, `Scanner.from_dataset`) or filters one of its fragments gets Arrow's own behaviour: all files, and rows can
    be missed in files of writers that keep statistics of floating point columns with NaN in them.
    """

    def __init__(
        self,
        files: Sequence[ScannedFile],
        schema: pa.Schema,
        filesystem: FileSystem,
        keys: Collection[str] = (),
        where: pc.Expression | None = None,
        source: FileSource | None = None,
    ) -> None:
        """Put files together.

        Args:
            files: In the order in which rows are read.
            schema: Of the rows; columns that a file lacks are null.
            filesystem: Where the files are.
            keys: The partition columns.
            where: Rows that do not match are not there.
            source: Where the files are, for `planned_table`; None in another process.
        """
        form = parquet_format()
        fragments = [
            form.make_fragment(
                file.path, filesystem, partition_expression=file.facts.known, file_size=file.size or None
            )
            for file in files
        ]
        super().__init__(fragments, schema, form, filesystem)
        self._files = tuple(files)
        self._by_path = {file.path: file for file in files}
        self._fragments = {file.path: fragment for file, fragment in zip(files, fragments, strict=True)}
        self._keys = tuple(keys)
        self._where = where
        self.source = source

    def __reduce__(self) -> tuple[Any, ...]:
        """As a value: workers make their own fragments."""
        return LiveDataset, (self._files, self.schema, self.filesystem, self._keys, self._where)

    # -- what is read --------------------------------------------------------------------------------------------------

    def condition(self, filter: pc.Expression | None = None) -> pc.Expression | None:  # noqa: A002 - pyarrow's word
        """Which rows match, those that are not there left out; None means all.

        Args:
            filter: Which rows.
        """
        return _both(self._where, filter)

    def files_of(self, filter: pc.Expression | None = None) -> tuple[ScannedFile, ...]:  # noqa: A002 - pyarrow's word
        """The files that may hold rows which match.

        Args:
            filter: Which rows.
        """
        matching = self.condition(filter)
        if matching is None:
            return self._files
        may = may_match(matching, self.schema, self._keys, [file.facts for file in self._files])
        return tuple(file for file, possible in zip(self._files, may, strict=True) if possible)

    def only(self, paths: Collection[str]) -> LiveDataset:
        """The rows of some of the files, by their paths."""
        files = [self._by_path[path] for path in paths]
        return LiveDataset(files, self.schema, self.filesystem, self._keys, self._where, self.source)

    def fragment(self, path: str) -> pads.ParquetFileFragment:
        """One file, by its path."""
        return self._fragments[path]

    def get_fragments(self, filter: pc.Expression | None = None) -> Iterator[pads.ParquetFileFragment]:  # noqa: A002
        """The files that may hold rows which match, as fragments.

        Args:
            filter: Which rows.
        """
        return (self._fragments[file.path] for file in self.files_of(filter))

    def filter(self, expression: pc.Expression) -> LiveDataset:
        """The rows that match, lazily."""
        return LiveDataset(
            self._files, self.schema, self.filesystem, self._keys, _both(self._where, expression), self.source
        )

    def replace_schema(self, schema: pa.Schema) -> LiveDataset:
        """The rows in another schema."""
        return LiveDataset(self._files, schema, self.filesystem, self._keys, self._where, self.source)

    def scanner(
        self,
        columns: Sequence[str] | Mapping[str, pc.Expression] | None = None,
        filter: pc.Expression | None = None,  # noqa: A002 - pyarrow's word
        **options: Any,
    ) -> pads.Scanner:
        """A scan of the rows that match; see `pyarrow.dataset.Dataset.scanner`.

        Args:
            columns: Names, or what to compute by name; all columns by default.
            filter: Which rows.
            options: Pyarrow's others.
        """
        matching = self.condition(filter)
        if matching is None:
            return super().scanner(columns=columns, **options)
        empty = pads.FileSystemDataset([], self.schema, self.format, self.filesystem)
        shape = empty.scanner(columns=columns, filter=matching)  # refuses what does not fit
        kept = self._parts(self.files_of(filter), matching)
        plain = pads.FileSystemDataset(kept, self.schema, self.format, self.filesystem)
        return _MatchingScanner(plain, shape.projected_schema, columns, matching, options)

    # -- Acero would take the C++ object and not see what is filtered --------------------------------------------------

    def sort_by(self, sorting: Any, **options: Any) -> pads.InMemoryDataset:
        """The rows in an order, in memory; see `pyarrow.dataset.Dataset.sort_by`."""
        return pads.InMemoryDataset(self.to_table().sort_by(sorting, **options))

    def join(self, right_dataset: pads.Dataset, *args: Any, **options: Any) -> pads.InMemoryDataset:
        """Joined rows, in memory; see `pyarrow.dataset.Dataset.join`."""
        return pads.InMemoryDataset(self.to_table()).join(_in_memory(right_dataset), *args, **options)

    def join_asof(self, right_dataset: pads.Dataset, *args: Any, **options: Any) -> pads.InMemoryDataset:
        """Joined rows, in memory; see `pyarrow.dataset.Dataset.join_asof`."""
        return pads.InMemoryDataset(self.to_table()).join_asof(_in_memory(right_dataset), *args, **options)

    # -- row groups ----------------------------------------------------------------------------------------------------

    def _parts(self, files: Sequence[ScannedFile], matching: pc.Expression) -> list[pads.ParquetFileFragment]:
        """The files, large ones without the row groups that cannot hold a match."""
        names = columns_in(matching, self.schema)
        filtered = (names or frozenset()) - set(self._keys)
        large = [file for file in files if filtered and file.size >= _SEVERAL_GROUPS_BYTES]
        if not large:
            return [self._fragments[file.path] for file in files]
        groups = in_threads(
            lambda file: self._groups(file, matching, filtered), large, at_once=_FOOTERS_AT_ONCE, name="footers"
        )
        parts = {file.path: part for file, part in zip(large, groups, strict=True)}
        chosen = (parts[path] if (path := file.path) in parts else self._fragments[path] for file in files)
        return [part for part in chosen if part is not None]

    def _groups(
        self, file: ScannedFile, matching: pc.Expression, filtered: Collection[str]
    ) -> pads.ParquetFileFragment | None:
        fragment = self._fragments[file.path]
        fragment.ensure_complete_metadata()
        left = self._may_match(file, fragment.metadata, fragment.physical_schema, matching, filtered)
        if not left:
            return None
        return fragment if len(left) == fragment.metadata.num_row_groups else fragment.subset(row_group_ids=left)

    def groups_of(
        self, file: ScannedFile, footer: pq.FileMetaData, stored: pa.Schema, matching: pc.Expression | None
    ) -> list[int]:
        """The row groups of a file that may hold rows which match.

        Args:
            file: The file.
            footer: Its footer.
            stored: Its columns.
            matching: Which rows; None means all.
        """
        names = frozenset() if matching is None else columns_in(matching, self.schema)
        filtered = (names or frozenset()) - set(self._keys)
        if matching is None or not filtered:
            return list(range(footer.num_row_groups))
        return self._may_match(file, footer, stored, matching, filtered)

    def _may_match(
        self,
        file: ScannedFile,
        footer: pq.FileMetaData,
        stored: pa.Schema,
        matching: pc.Expression,
        filtered: Collection[str],
    ) -> list[int]:
        groups = range(footer.num_row_groups)
        kinds = {field.name: field.type for field in stored}
        # a bound of a time says nothing of the text that it is read as
        kept = [
            name for name in filtered if name in kinds and _is_ordered_alike(kinds[name], self.schema.field(name).type)
        ]
        facts = [replace(file.facts, stats=footer_stats(footer, groups=[group], columns=kept)) for group in groups]
        may = may_match(matching, self.schema, self._keys, facts)
        return [group for group in groups if may[group]]


class _MatchingScanner(pads.Scanner):
    """A scan that reads all rows of its files and hands out those that match."""

    def __init__(
        self,
        plain: pads.FileSystemDataset,
        projected: pa.Schema,
        columns: Sequence[str] | Mapping[str, pc.Expression] | None,
        matching: pc.Expression,
        options: Mapping[str, Any],
    ) -> None:
        """Scan `plain`, whose fragments are those that may hold matches."""
        self._schema, self._projected, self._matching = plain.schema, projected, matching
        self._computed = dict(columns) if isinstance(columns, dict) else None
        self._names = list(plain.schema.names if columns is None else columns)
        special = [name for name in self._names if name in SPECIAL_COLUMNS and self._computed is None]
        needed = needed_columns(
            plain.schema, [matching, *(self._computed or {}).values()], self._names if self._computed is None else ()
        )
        self._has_mask = not special
        # Arrow adds its own columns to a list of names alone, which has no room for the mask
        projection = {name: pc.field(name) for name in needed} | {_MATCHES: matching}
        self._scanner = plain.scanner(columns=[*needed, *special] if special else projection, **options)
        self._counting = plain.scanner(columns={_MATCHES: matching}, **options)

    @property
    def dataset_schema(self) -> pa.Schema:
        """Of the dataset."""
        return self._schema

    @property
    def projected_schema(self) -> pa.Schema:
        """Of the rows that come out."""
        return self._projected

    def scan_batches(self) -> Iterator[pads.TaggedRecordBatch]:
        """Batches with the file that each is of."""
        for tagged in self._scanner.scan_batches():
            for batch in self._matches(tagged.record_batch):
                yield pads.TaggedRecordBatch(record_batch=batch, fragment=tagged.fragment)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows that match, in the order of the files."""
        return (tagged.record_batch for tagged in self.scan_batches())

    def to_reader(self) -> pa.RecordBatchReader:
        """The same as a stream."""
        return pa.RecordBatchReader.from_batches(self._projected, self.to_batches())

    def to_table(self) -> pa.Table:
        """The same in memory."""
        return pa.Table.from_batches(list(self.to_batches()), self._projected)

    def head(self, num_rows: int) -> pa.Table:
        """The first rows that match."""
        batches, count = [], 0
        for batch in self.to_batches() if num_rows else ():
            batches.append(batch.slice(0, num_rows - count))
            count += batches[-1].num_rows
            if count >= num_rows:
                break
        return pa.Table.from_batches(batches, self._projected)

    def take(self, indices: Any) -> pa.Table:
        """Rows by their number among those that match."""
        return self.to_table().take(indices)

    def count_rows(self) -> int:
        """How many rows match."""
        return sum(batch.column(0).true_count for batch in self._counting.to_batches())

    def _matches(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        if not self._has_mask:
            yield from pa.Table.from_batches([batch]).filter(self._matching).select(self._names).to_batches()
            return
        mask = batch.column(batch.num_columns - 1)
        if not mask.true_count:
            return
        rows = batch if mask.true_count == batch.num_rows else batch.filter(mask)
        if self._computed is None:
            yield rows.select(self._names)
            return
        rows = rows.select(rows.schema.names[:-1])
        yield from pads.Scanner.from_batches([rows], schema=rows.schema, columns=self._computed).to_batches()


def _is_ordered_alike(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of one type keep their order when they are read as the other."""
    one, other = (kind.value_type if pat.is_dictionary(kind) else kind for kind in (one, other))
    return one == other or any(is_of(one) and is_of(other) for is_of in _ORDERED)


def needed_columns(schema: pa.Schema, expressions: Sequence[pc.Expression], names: Collection[str]) -> list[str]:
    """The columns to read, in their order, so that references by position hold where there are any.

    Args:
        schema: Of the rows.
        expressions: What is computed of them.
        names: The columns that are needed anyway.
    """
    needed = {name for name in names if name in schema.names}
    for expression in expressions:
        used = columns_in(expression, schema)
        if used is None:
            return list(schema.names)
        needed |= used
    return [name for name in schema.names if name in needed]


def _both(one: pc.Expression | None, other: pc.Expression | None) -> pc.Expression | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _in_memory(dataset: pads.Dataset) -> pads.Dataset:
    return pads.InMemoryDataset(dataset.to_table()) if isinstance(dataset, LiveDataset) else dataset
