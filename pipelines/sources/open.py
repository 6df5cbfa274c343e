"""Anything a user would hand to `ingest`, as a stream of Arrow batches.

A path or URL of any fsspec filesystem (CSV, JSON Lines, Parquet, Arrow IPC; globs; compressed text; zip archives), a
pandas or polars frame, an Arrow table, reader or dataset, or an iterable of batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.model.text_options import TextOptions
from tierlake.pipelines.sources.binary import read_batches, schema_of
from tierlake.pipelines.sources.csv import Head, head_of, read_rows
from tierlake.pipelines.sources.files import SourceFile, find_files, paths_of
from tierlake.pipelines.sources.frames import check_columns_of, numbered, open_frame
from tierlake.pipelines.sources.json import json_schema, read_json
from tierlake.pipelines.sources.row_origin import REJECT_LINE
from tierlake.pipelines.sources.stream import ORIGIN, RowStream, SourceBatch
from tierlake.pipelines.sources.text_format import as_written_with_points
from tierlake.pipelines.sources.typed_text import fitted
from tierlake.pipelines.values import Spoilers, TextTypes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tierlake.pipelines.sources.limits import SourceLimits

__all__ = ["Layout", "layout_of", "open_source", "read_files"]

_MOST_RUNS = 100
_EMPTY = "check that it was written; the first file of a dataset has rows, or a line of names at least"


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of all files of a source together.

    Attributes:
        schema: Of the rows.
        path: The first file with columns, for messages.
        known: The types that the table knows.
        is_text: Whether the rows are handed over as text.
        notes: What was guessed.
        spoilers: Columns that are text because of a few values, with these.
    """

    schema: pa.Schema
    path: str
    known: pa.Schema | None
    is_text: bool
    notes: tuple[str, ...] = ()
    spoilers: Mapping[str, Spoilers] = field(default_factory=dict)


def open_source(
    source: object,
    known: pa.Schema | None,
    storage_options: Mapping[str, Any] | None = None,
    limits: SourceLimits | None = None,
    text: TextOptions | Mapping[str, Any] | None = None,
) -> RowStream:
    """Open whatever the user handed over.

    Args:
        source: See the module's docstring.
        known: Types of columns, where the table or its description knows them. The others are told by all values.
        storage_options: For paths, passed to their fsspec filesystem.
        limits: What each file may be.
        text: How text files are written; what it leaves out is told by their beginning.

    Raises:
        SourceError: A kind that is not known, nothing that matches, or a file that cannot be read.
    """
    paths = paths_of(source)
    if not paths:
        return open_frame(source, known)
    options = text if isinstance(text, TextOptions) or text is None else TextOptions.model_validate(text)
    files = find_files(paths, storage_options or {}, limits, options)
    return read_files(files, layout_of(files, known), ", ".join(paths))


def layout_of(files: Sequence[SourceFile], known: pa.Schema | None) -> Layout:
    """Tell the schema of a source from all its files.

    CSV whose columns are not all known is read once for this, and so is JSON; of Parquet and IPC, the first footer.

    Raises:
        SourceError: A file cannot be read, or has other columns than the first.
    """
    groups = [
        [file for file in files if file.is_delimited],
        [file for file in files if file.kind == "json"],
        [file for file in files if not file.is_delimited and file.kind != "json"][:1],
    ]
    is_text = len(groups[0]) == len(files)
    layouts = [
        find(group, known) for find, group in zip((_of_delimited, _of_json, _of_binary), groups, strict=True) if group
    ]
    layouts = [layout for layout in layouts if len(layout.schema)]
    if not layouts:
        if known is None:
            raise SourceError(f"cannot read {files[0].path}: it is empty, and nothing tells its columns", hint=_EMPTY)
        return Layout(known, files[0].path, known, is_text)
    first = layouts[0]
    for other in layouts[1:]:
        _check_like(other.path, other.schema, first)
    return Layout(first.schema, first.path, known, is_text, first.notes, first.spoilers)


def _of_delimited(files: Sequence[SourceFile], known: pa.Schema | None) -> Layout:
    model: Head | None = None
    types = {one.name: one.type for one in known or ()}
    guesses: dict[str, TextTypes] = {}
    for file in files:
        head = head_of(file)
        if head is None:
            continue
        if model is None:
            model = head
            guesses = {name: TextTypes() for name in head.names if name not in types}
        _check_names_like(file.path, head.names, model.path, model.names)
        if not guesses:
            break
        for batch in read_rows(file, head):
            for run in _runs(batch.rows):
                first = run.column(run.schema.get_field_index(REJECT_LINE))[0].as_py()
                for name, guess in guesses.items():
                    guess.add(as_written_with_points(run.column(name), head.dialect), first)
    if model is None:
        if known is None:
            raise SourceError(f"cannot read {files[0].path}: it is empty, without even a header", hint=_EMPTY)
        return Layout(pa.schema([]), files[0].path, known, is_text=True)
    fields = [pa.field(name, types[name] if name in types else guesses[name].kind or pa.null()) for name in model.names]
    spoilers = {name: guess.spoilers for name, guess in guesses.items() if guess.spoilers is not None}
    return Layout(pa.schema(fields), model.path, known, is_text=True, notes=model.dialect.notes, spoilers=spoilers)


def _runs(rows: pa.RecordBatch) -> list[pa.RecordBatch]:
    """Slices of rows in consecutive lines, so that a row's place tells its line; not where that makes many."""
    if not rows.num_rows:
        return []
    steps = pc.pairwise_diff(rows.column(REJECT_LINE))
    starts = [0, *pc.indices_nonzero(pc.not_equal(steps, 1)).to_pylist()]
    if len(starts) > _MOST_RUNS:
        return [rows]
    return [rows.slice(start, end - start) for start, end in pairwise([*starts, rows.num_rows])]


def _of_json(files: Sequence[SourceFile], known: pa.Schema | None) -> Layout:
    return Layout(json_schema(files, known), files[0].path, known, is_text=False)


def _of_binary(files: Sequence[SourceFile], known: pa.Schema | None) -> Layout:
    schema = schema_of(files[0])
    check_columns_of(files[0].path, schema)
    return Layout(schema.remove_metadata(), files[0].path, known, is_text=False)


def read_files(
    files: Sequence[SourceFile], layout: Layout, name: str, *, row_groups: Sequence[int] | None = None
) -> RowStream:
    """The rows of files, one file after the other; none is open before its turn or after it.

    Args:
        files: At least one.
        layout: Of the source that they belong to.
        name: For messages and history.
        row_groups: Of a single Parquet file; None means all.

    Raises:
        SourceError: A file that cannot be read, while its rows are asked for.
    """

    def stream() -> Iterator[SourceBatch]:
        for file in files:
            yield from _in_order(_read(file, layout, row_groups), layout.schema)

    return RowStream(layout.schema, stream(), name, layout.is_text, layout.notes, layout.spoilers)


def _read(file: SourceFile, layout: Layout, row_groups: Sequence[int] | None) -> Iterator[SourceBatch]:
    if file.is_delimited:
        head = head_of(file)
        if head is None:
            return
        _check_names_like(file.path, head.names, layout.path, layout.schema.names)
        rows = read_rows(file, head, layout.schema)
        yield from rows if layout.is_text else (fitted(batch, layout.schema) for batch in rows)
    elif file.kind == "json":
        yield from read_json(file, layout.schema, layout.known)
    else:
        _check_like(file.path, schema_of(file).remove_metadata(), layout)
        yield from numbered(file.path, read_batches(file, row_groups))


def _in_order(batches: Iterable[SourceBatch], schema: pa.Schema) -> Iterator[SourceBatch]:
    """Each batch with its columns in the order of the schema."""
    names = [*schema.names, *ORIGIN.names]
    for batch in batches:
        yield batch if batch.rows.schema.names == names else SourceBatch(batch.rows.select(names), batch.bad)


def _check_names_like(path: str, names: Sequence[str], model: str, expected: Sequence[str]) -> None:
    missing = [name for name in expected if name not in names]
    extra = [name for name in names if name not in expected]
    if missing or extra:
        what = [f"it lacks {', '.join(missing)}"] * bool(missing) + [f"it has {', '.join(extra)} more"] * bool(extra)
        raise SourceError(f"{path} has another schema than {model}: {' and '.join(what)}", hint="ingest it by itself")


def _check_like(path: str, schema: pa.Schema, layout: Layout) -> None:
    _check_names_like(path, schema.names, layout.path, layout.schema.names)
    for one in layout.schema:
        kind = schema.field(one.name).type
        if kind != one.type:
            message = f"{path} has another schema than {layout.path}: {one.name} is {kind} instead of {one.type}"
            raise SourceError(message, hint="ingest it by itself")
