"""Where rows come from: anything a user would hand to `ingest`, as a stream of Arrow batches.

A path or URL of any fsspec filesystem (CSV, JSON Lines, Parquet, Arrow IPC; globs; compressed text), a pandas or polars
frame, an Arrow table, reader or dataset, or an iterable of batches.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import pyarrow.ipc as paipc
import pyarrow.json as pajson
import pyarrow.parquet as pq

from pipelines.errors import SourceError

if TYPE_CHECKING:
    from fsspec.core import OpenFile

__all__ = ["RowStream", "open_source"]

_BLOCK_BYTES = 8 << 20
_TEXT_FORMATS = {"csv": "csv", "tsv": "tsv", "json": "json", "jsonl": "json", "ndjson": "json"}
_BINARY_FORMATS = {"parquet": "parquet", "pq": "parquet", "arrow": "ipc", "feather": "ipc", "ipc": "ipc"}
_UNREADABLE = (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
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


def open_source(source: object, known: pa.Schema | None, storage_options: Mapping[str, Any] | None = None) -> RowStream:
    """Open whatever the user handed over.

    Args:
        source: see the module's docstring.
        known: types to read text columns in, where the table knows them.
        storage_options: for paths, passed to their fsspec filesystem.

    Raises:
        SourceError: a kind that is not known, nothing that matches, or a file that cannot be read.
    """
    if isinstance(source, str | Path):
        return _files([str(source)], known, storage_options or {})
    if isinstance(source, list | tuple) and source and all(isinstance(item, str | Path) for item in source):
        return _files([str(item) for item in source], known, storage_options or {})
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


def _files(paths: list[str], known: pa.Schema | None, storage_options: Mapping[str, Any]) -> RowStream:
    opened: list[tuple[OpenFile, str]] = []
    for path in paths:
        try:
            found = fsspec.open_files(path, "rb", compression="infer", **_options(path, storage_options))
        except (OSError, ValueError) as error:
            message = f"cannot open {path}: {error}"
            raise SourceError(message) from error
        if not found:
            message = f"nothing matches {path}"
            raise SourceError(message)
        opened.extend((file, _format_of(file.path)) for file in found)
    first = _read(*opened[0], known)

    def stream() -> Iterator[pa.RecordBatch]:
        yield from first.batches
        for file, kind in opened[1:]:
            part = _read(file, kind, known or first.schema)
            if part.schema != first.schema:
                message = f"{file.path} has another schema than {opened[0][0].path}"
                raise SourceError(
                    message, hint=f"{part.schema.names} instead of {first.schema.names}; ingest it by itself"
                )
            yield from part.batches

    return RowStream(first.schema, stream(), ", ".join(paths))


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


def _read(file: OpenFile, kind: str, known: pa.Schema | None) -> RowStream:
    try:
        handle = file.open()
        if kind in {"csv", "tsv"}:
            types = {field.name: field.type for field in known} if known is not None else None
            reader: Any = pacsv.open_csv(
                handle,
                read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=pacsv.ParseOptions(delimiter="," if kind == "csv" else "\t", newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(column_types=types, strings_can_be_null=True),
            )
        elif kind == "json":
            reader = pajson.open_json(
                handle,
                read_options=pajson.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=pajson.ParseOptions(explicit_schema=known),
            )
        elif kind == "ipc":
            reader = _open_ipc(handle)
        else:
            parquet = pq.ParquetFile(handle)
            return RowStream(parquet.schema_arrow, _guarded(parquet.iter_batches(), file.path), file.path)
    except _UNREADABLE as error:
        raise _unreadable(file.path, error) from error
    return RowStream(reader.schema, _guarded(iter(reader), file.path), file.path)


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
        except _UNREADABLE as error:
            raise _unreadable(path, error) from error
        yield batch


def _unreadable(path: str, error: Exception) -> SourceError:
    message = f"cannot read {path}: {error}"
    return SourceError(message, hint="a column whose type changes further down can be declared in the spec's `columns`")
