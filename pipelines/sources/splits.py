"""A source in pieces: what each worker reads of it.

Files are put together, and large Parquet files split by row groups, so that there are about two pieces for each thread:
each of them writes files of its own in every partition that it has rows of, and more pieces mean more small files.
Large text files are cut at line ends: JSON Lines always, CSV where no quoted value may hold one, which only the user
knows (`SourceLimits.newlines_in_values`). Compressed text stays whole. Pieces keep the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.sources.csv import head_of
from tierlake.pipelines.sources.files import SourceFile, find_files, paths_of
from tierlake.pipelines.sources.line_ranges import cut_lines
from tierlake.pipelines.sources.open import Layout, layout_of, open_source, read_files
from tierlake.pipelines.sources.refusals import unreadable
from tierlake.pipelines.sources.stream import RowStream
from tierlake.pipelines.values import meets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tierlake.pipelines.model.text_options import TextOptions
    from tierlake.pipelines.sources.limits import SourceLimits

__all__ = ["Piece", "Pieces", "check_part", "split", "together"]

T = TypeVar("T")

_SMALLEST_BYTES = 32 << 20
_LARGEST_BYTES = 2 << 30
_PIECES_A_THREAD = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """What one worker reads.

    Attributes:
        files: Whole files, or one of which only some row groups are meant.
        row_groups: Those; None means all.
    """

    files: tuple[SourceFile, ...]
    row_groups: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pieces:
    """A source in pieces.

    Attributes:
        schema: Of the rows.
        name: Where they come from, for messages and history.
        layout: What is known of all files together; None for frames.
        files: Pieces of files.
        frames: Pieces that the cluster computes itself: a Dask frame's partitions.
    """

    schema: pa.Schema
    name: str
    layout: Layout | None = None
    files: tuple[Piece, ...] = ()
    frames: tuple[Any, ...] = ()

    def described(self) -> RowStream:
        """What is known of the whole source, without its rows."""
        if self.layout is None:
            return RowStream(self.schema, iter(()), self.name)
        return RowStream(self.schema, iter(()), self.name, self.layout.is_text, self.layout.notes, self.layout.spoilers)

    def open(self) -> RowStream:
        """The rows of the first piece, in the types of the whole source."""
        piece = self.files[0]
        layout = self.layout or layout_of(piece.files, None)
        return read_files(piece.files, layout, piece.files[0].path, row_groups=piece.row_groups)


def split(
    source: object,
    known: pa.Schema | None,
    storage_options: Mapping[str, Any] | None,
    *,
    threads: int,
    limits: SourceLimits | None = None,
    text: TextOptions | None = None,
) -> Pieces:
    """Cut a source into pieces.

    Args:
        source: Paths, URLs or patterns, or a Dask DataFrame.
        known: Types to read text columns in, where the table knows them.
        storage_options: For paths.
        threads: Of all workers together.
        limits: What each file may be.
        text: How text files are written.

    Raises:
        SourceError: A source that only this process has, or one that cannot be read.
    """
    paths = paths_of(source)
    if paths:
        files = find_files(paths, storage_options or {}, limits, text)
        layout = layout_of(files, known)
        return Pieces(layout.schema, ", ".join(paths), layout, files=tuple(_cut(files, threads)))
    if _is_dask_frame(source):
        frame: Any = source
        dask: Any = import_module("dask.dataframe.utils")  # has types in part
        meta = dask.make_meta(frame)
        schema = open_source(meta, known).schema
        _check_objects(meta, known)
        return Pieces(schema, "dask frame", frames=tuple(frame.to_delayed()))
    message = f"workers cannot reach a {type(source).__name__} of this process"
    raise SourceError(message, hint="hand over paths or URLs, or a Dask DataFrame, or ingest it without engine='dask'")


def _is_dask_frame(source: object) -> bool:
    if not type(source).__module__.startswith("dask"):  # Dask is imported for its own alone
        return False
    from dask.dataframe import DataFrame

    return isinstance(source, DataFrame)


def _check_objects(meta: Any, known: pa.Schema | None) -> None:
    """Refuse columns of Python objects whose type nothing tells before they are computed."""
    types = [*meta.dtypes.items(), *((level.name, level.dtype) for level in [meta.index] if level.name is not None)]
    untold = [name for name, kind in types if str(kind) == "object" and (known is None or name not in known.names)]
    if untold:
        message = f"column {untold[0]} of the dask frame holds Python objects, and no part of it tells the type of all"
        hint = f"declare {untold[0]} in the spec's `columns`, or give it a type: `frame.astype(...)`"
        raise SourceError(message, hint=hint)


def check_part(stream: RowStream, expected: pa.Schema, stored: pa.Schema) -> None:
    """Refuse a part of a frame that is not what the frame's description says.

    Args:
        stream: The part.
        expected: The schema of the description.
        stored: The types that the columns are stored in.

    Raises:
        SourceError: It has other columns, or a column of a type that does not meet the stored one.
    """
    names = stream.schema.names
    missing, extra = set(expected.names) - set(names), set(names) - set(expected.names)
    if missing or extra:
        what = [f"it lacks {', '.join(sorted(missing))}"] * bool(missing)
        what += [f"it has {', '.join(sorted(extra))} more"] * bool(extra)
        message = f"a part of the dask frame has other columns than its description: {' and '.join(what)}"
        raise SourceError(message, hint="give the frame the right `meta`")
    for field in stored:
        kind = stream.schema.field(field.name).type if field.name in names else pa.null()
        if not meets(kind, field.type):
            message = f"column {field.name} is {kind} in a part of the dask frame, which does not fit {field.type}"
            raise SourceError(message, hint="give the frame's columns their types, and the right `meta`")


def _cut(files: Sequence[SourceFile], threads: int) -> Iterator[Piece]:
    sized = [(file, 0 if file.member else int(file.file.fs.size(file.file.path) or 0)) for file in files]
    total = sum(size for _, size in sized)
    target_bytes = min(_LARGEST_BYTES, max(_SMALLEST_BYTES, total // (_PIECES_A_THREAD * max(1, threads))))
    small: list[tuple[SourceFile, int]] = []
    for file, size in sized:
        parts = _parts(file, size, target_bytes) if size > target_bytes else []
        if not parts:
            small.append((file, size))
            continue
        yield from (Piece(tuple(bundle)) for bundle in together(small, target_bytes))
        yield from parts
        small.clear()
    yield from (Piece(tuple(bundle)) for bundle in together(small, target_bytes))


def _parts(file: SourceFile, size: int, target_bytes: int) -> list[Piece]:
    """Of a large file; none where it has to stay whole."""
    if file.kind == "parquet" and not file.member:
        return [Piece((file,), tuple(groups)) for groups in _row_groups(file, target_bytes)]
    if not file.is_cut_by_lines:
        return []
    whole = _as_sniffed(file) if file.is_delimited else file
    try:
        with file.file as opened:
            cut = cut_lines(opened, size, target_bytes, has_header=file.is_delimited and whole.text.header is True)
    except OSError as error:
        raise unreadable(file.path, error) from error
    return [Piece((replace(whole, lines=lines),)) for lines in cut]


def _as_sniffed(file: SourceFile) -> SourceFile:
    """With the dialect of its beginning, which the parts of it do not have."""
    head = head_of(file)
    if head is None:
        return file
    dialect = head.dialect
    header = tuple(head.names) if file.text.header is False else file.text.header or True
    marks = {"delimiter": dialect.delimiter, "quote": dialect.quote, "decimal": dialect.decimal, "header": header}
    return replace(file, text=file.text.model_copy(update=marks))


def _row_groups(source: SourceFile, target_bytes: int) -> list[list[int]]:
    try:
        with source.file as opened:
            footer = pq.ParquetFile(opened).metadata
    except (OSError, pa.ArrowException) as error:
        raise unreadable(source.path, error) from error
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    sizes = [sum(group.column(one).total_compressed_size for one in range(group.num_columns)) for group in groups]
    return together(enumerate(sizes), target_bytes)


def together(sized: Iterable[tuple[T, int]], target_bytes: int) -> list[list[T]]:
    """Bundles of neighbours, as long as they stay within the wanted size; what is larger stands alone.

    Args:
        sized: Items, each with its size.
        target_bytes: Of a bundle, in the same unit.
    """
    bundles: list[list[T]] = []
    room = 0
    for item, size in sized:
        if not bundles or size > room:
            bundles.append([])
            room = target_bytes
        bundles[-1].append(item)
        room -= size
    return bundles
