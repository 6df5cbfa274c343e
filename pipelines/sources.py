"""Where rows come from: anything a user would hand to `ingest`, as a stream of Arrow batches.

A path or URL of any fsspec filesystem (CSV, JSON Lines, Parquet, Arrow IPC; globs; compressed text), a pandas or polars
frame, an Arrow table, reader or dataset, or an iterable of batches.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import pyarrow.ipc as paipc
import pyarrow.json as pajson
import pyarrow.parquet as pq
import pyarrow.types as pat

from pipelines.bounded import BoundedText, SourceLimits, check_columns, check_parquet
from pipelines.errors import SourceError
from pipelines.ranges import Lines, LinesOf

if TYPE_CHECKING:
    from fsspec.core import OpenFile

__all__ = ["RowStream", "SourceFile", "find_files", "open_source", "paths_of", "read_file", "read_files"]

_JSON_BLOCK_BYTES = 8 << 20
_CSV_BLOCK_BYTES = 2 << 20  # its reader takes 50 times that (seen with pyarrow 26)
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_TEXT_FORMATS = {"csv": "csv", "tsv": "tsv", "json": "json", "jsonl": "json", "ndjson": "json"}
_BINARY_FORMATS = {"parquet": "parquet", "pq": "parquet", "arrow": "ipc", "feather": "ipc", "ipc": "ipc"}
_UNREADABLE = (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
_RECODE = "text is read as UTF-8: `iconv -f LATIN1 -t UTF-8` or the like makes it that"
_COMPRESSIONS = ("gz", "zip", "bz2", "xz", "zst")


@dataclass(frozen=True, slots=True)
class RowStream:
    """Rows to be ingested, readable once.

    Attributes:
        schema: the batches' schema.
        batches: the rows.
        name: where they come from, for messages and history.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    name: str


def open_source(
    source: object,
    known: pa.Schema | None,
    storage_options: Mapping[str, Any] | None = None,
    limits: SourceLimits | None = None,
) -> RowStream:
    """Open whatever the user handed over.

    Args:
        source: see the module's docstring.
        known: types to read text columns in, where the table knows them.
        storage_options: for paths, passed to their fsspec filesystem.
        limits: what each file may be.

    Raises:
        SourceError: a kind that is not known, nothing that matches, or a file that cannot be read.
    """
    paths = paths_of(source)
    if paths:
        return read_files(find_files(paths, storage_options or {}, limits), known, ", ".join(paths))
    if isinstance(source, pads.Dataset):
        return RowStream(source.schema, iter(source.to_batches()), "pyarrow dataset")
    if isinstance(source, pa.RecordBatchReader):
        return RowStream(source.schema, iter(source), "record batch reader")
    if type(source).__module__.partition(".")[0] == "pandas":
        return _table(pa.Table.from_pandas(source, preserve_index=_has_named_index(source)), "pandas frame")
    if hasattr(source, "collect_schema") and hasattr(source, "collect"):
        return open_source(source.collect(), known)
    if hasattr(source, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(source)
        return RowStream(reader.schema, iter(reader), type(source).__name__)
    if isinstance(source, pa.RecordBatch):
        return RowStream(source.schema, iter([source]), "record batch")
    if isinstance(source, Iterable):
        return _iterable(iter(source))
    message = f"cannot ingest a {type(source).__name__}"
    raise SourceError(
        message, hint="pass a path or URL, a pandas or polars frame, or an Arrow table, reader or dataset"
    )


def paths_of(source: object) -> list[str]:
    """The paths, URLs and patterns that a source consists of; none where it is something else."""
    items = source if isinstance(source, list | tuple) else [source]
    return [str(item) for item in items] if all(isinstance(item, str | Path) for item in items) else []


def _has_named_index(frame: Any) -> bool:
    return any(name is not None for name in frame.index.names)


def _table(table: pa.Table, name: str) -> RowStream:
    return RowStream(table.schema, iter(table.to_batches(max_chunksize=1 << 17)), name)


def _iterable(items: Iterator[object]) -> RowStream:
    def batches(item: object) -> list[pa.RecordBatch]:
        if isinstance(item, pa.RecordBatch):
            return [item]
        if isinstance(item, pa.Table):
            return list(item.to_batches())
        message = f"an iterable source must yield Arrow tables or record batches, not {type(item).__name__}"
        raise SourceError(message)

    try:
        first = next(items)
    except StopIteration:
        message = "the source yielded nothing, not even a schema"
        raise SourceError(message, hint="yield one empty record batch where there are no rows") from None
    head = batches(first)
    if not isinstance(first, pa.RecordBatch | pa.Table):  # pragma: no cover - `batches` has raised
        raise TypeError

    def stream() -> Iterator[pa.RecordBatch]:
        yield from head
        for item in items:
            yield from batches(item)

    return RowStream(first.schema, stream(), "iterable")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        file: where it is; opened when it is read.
        kind: `csv`, `tsv`, `json`, `parquet` or `ipc`.
        limits: what it may be.
        lines: a part of it; None means all.
    """

    file: OpenFile
    kind: str
    limits: SourceLimits = field(default_factory=SourceLimits)
    lines: Lines | None = None

    @property
    def path(self) -> str:
        """For people."""
        return f"{self.file.path}{f' (from byte {self.lines.start:,})' if self.lines else ''}"

    @property
    def is_cut_by_lines(self) -> bool:
        """Whether each line end in the file is one between rows."""
        is_text = self.kind == "json" or (self.kind in _DELIMITERS and not self.limits.newlines_in_values)
        return is_text and not self.file.compression


def find_files(
    paths: Sequence[str], storage_options: Mapping[str, Any], limits: SourceLimits | None = None
) -> list[SourceFile]:
    """The files that paths, URLs and patterns stand for, in order.

    Args:
        paths: of any fsspec filesystem.
        storage_options: passed to the filesystems of URLs.
        limits: what each file may be.

    Raises:
        SourceError: nothing matches, or the name of a file does not tell its format.
    """
    found: list[SourceFile] = []
    for path in paths:
        try:
            files = fsspec.open_files(path, "rb", compression="infer", **_options(path, storage_options))
        except (OSError, ValueError) as error:
            message = f"cannot open {path}: {error}"
            raise SourceError(message) from error
        if not files:
            message = f"nothing matches {path}"
            raise SourceError(message)
        found.extend(SourceFile(file, _format_of(file.path), limits or SourceLimits()) for file in files)
    return found


def read_files(
    files: Sequence[SourceFile],
    known: pa.Schema | None,
    name: str,
    *,
    row_groups: Sequence[int] | None = None,
    like: tuple[str, pa.Schema] | None = None,
) -> RowStream:
    """The rows of files with the same schema, one file after the other.

    Args:
        files: at least one.
        known: types to read text columns in.
        name: for messages and history.
        row_groups: of a single Parquet file; None means all.
        like: path and schema of the source's first file, where that is not among these.

    Raises:
        SourceError: a file that cannot be read.
    """
    first = read_file(files[0], _types(files[0], known, like[1] if like else None), row_groups)
    model = like or (files[0].path, first.schema)

    def stream() -> Iterator[pa.RecordBatch]:
        for number, file in enumerate(files):
            part = read_file(file, _types(file, known, model[1])) if number else first
            if part.schema != model[1]:
                message = f"{file.path} has another schema than {model[0]}"
                hint = f"{part.schema.names} instead of {model[1].names}; ingest it by itself"
                raise SourceError(message, hint=hint)
            yield from part.batches

    return RowStream(model[1], stream(), name)


def _types(file: SourceFile, known: pa.Schema | None, model: pa.Schema | None) -> pa.Schema | None:
    """A part of a file has the types that its beginning told."""
    return model if known is None or file.lines is not None else known


def _options(path: str, storage_options: Mapping[str, Any]) -> Mapping[str, Any]:
    return storage_options if "://" in path else {}


def _format_of(path: str) -> str:
    parts = path.rpartition("/")[2].lower().split(".")
    is_compressed = len(parts) > 2 and parts[-1] in _COMPRESSIONS  # noqa: PLR2004 - name.csv.gz
    kind = _TEXT_FORMATS.get(parts[-2]) if is_compressed else {**_TEXT_FORMATS, **_BINARY_FORMATS}.get(parts[-1])
    if kind is None:
        known = ", ".join(sorted({*_TEXT_FORMATS, *_BINARY_FORMATS}))
        message = f"cannot tell the format of {path} by its name"
        raise SourceError(message, hint=f"names end in one of {known}; text may be compressed as well")
    return kind


def read_file(source: SourceFile, known: pa.Schema | None, row_groups: Sequence[int] | None = None) -> RowStream:
    """The rows of one file, or of some row groups of a Parquet file.

    Raises:
        SourceError: it cannot be read.
    """
    path = source.path
    try:
        handle = source.file.open()
        if source.lines is not None:
            handle = LinesOf(handle, source.lines)
            if handle.is_blank and known is not None:
                return RowStream(known, iter(()), path)
        if source.kind == "parquet":
            parquet = pq.ParquetFile(handle)
            check_parquet(path, parquet.metadata, source.limits)
            batches = parquet.iter_batches(row_groups=None if row_groups is None else list(row_groups))
            return RowStream(parquet.schema_arrow, _guarded(batches, path), path)
        reader = _open_ipc(handle) if source.kind == "ipc" else _open_text(source, handle, known)
        schema = reader.schema
        check_columns(path, len(schema.names), source.limits)
    except SourceError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    unknown = [field.name for field in schema if source.kind in {"csv", "tsv"} and pat.is_binary(field.type)]
    if unknown and known is None:
        raise SourceError(f"cannot read {path}: {', '.join(unknown)} is not UTF-8", hint=_RECODE)
    # of JSON, Arrow takes any bytes for text
    batches = map(_validated, reader) if source.kind == "json" else iter(reader)
    return RowStream(schema, _guarded(batches, path), path)


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    batch.validate(full=True)
    return batch


def _open_text(source: SourceFile, handle: Any, known: pa.Schema | None) -> Any:
    stored = source.file.fobjects[0].tell if source.file.compression else None
    text = BoundedText(source.path, handle, stored, source.limits)
    if source.kind == "json":
        return pajson.open_json(
            text,
            read_options=pajson.ReadOptions(block_size=_JSON_BLOCK_BYTES),
            parse_options=pajson.ParseOptions(explicit_schema=known),
        )
    delimiter = _DELIMITERS[source.kind]
    text.check_header(delimiter.encode(), _CSV_BLOCK_BYTES)
    types = {field.name: field.type for field in known} if known is not None else None
    return pacsv.open_csv(
        text,
        read_options=pacsv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=source.limits.newlines_in_values),
        convert_options=pacsv.ConvertOptions(column_types=types, strings_can_be_null=True),
    )


def _open_ipc(handle: Any) -> pa.RecordBatchReader:
    try:
        file = paipc.open_file(handle)
    except pa.ArrowInvalid:
        handle.seek(0)
        return paipc.open_stream(handle)
    batches = (file.get_batch(index) for index in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, batches)


def _guarded(batches: Iterator[pa.RecordBatch], path: str) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except SourceError:
            raise
        except _UNREADABLE as error:
            raise _unreadable(path, error) from error
        yield batch


def _unreadable(path: str, error: Exception) -> SourceError:
    message = f"cannot read {path}: {error}"
    if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
        return SourceError(message, hint=_RECODE)
    return SourceError(message, hint="a column whose type changes further down can be declared in the spec's `columns`")
