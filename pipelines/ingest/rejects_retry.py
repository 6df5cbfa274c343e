"""Rejected rows, corrected and ingested again.

Rows are appended to their partitions, as one run whose key is the reject file's identity. After a crash between the
commit and the removal of the file, the second attempt only removes the file. Rows that are still bad go to a new reject
file.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tierlake.connector.errors import AccessDenied, ObjectNotFound
from tierlake.pipelines.errors import SourceError
from tierlake.pipelines.ingest.rejects import identity_of, is_text, own_columns, read_rejects, texts_in
from tierlake.pipelines.ingest.run import ingest, rehearse
from tierlake.pipelines.model.key_columns import is_text as is_text_type
from tierlake.pipelines.sources import RowStream, SourceBatch, open_source
from tierlake.pipelines.sources.row_origin import (
    ALL,
    HAS_A_POINT,
    REASON_COLUMN,
    REJECT_COLUMN,
    REJECT_LINE,
    REJECT_VALUE,
)
from tierlake.pipelines.sources.stream import ORIGIN
from tierlake.pipelines.values import TextTypes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tierlake.pipelines.ingest.results import IngestResult, Rehearsal
    from tierlake.pipelines.ingest.run import IngestMode
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.text_options import TextOptions

__all__ = ["ingest_rejects", "read_reject_file", "rehearse_rejects"]

logger = logging.getLogger("tierlake.pipelines")


def ingest_rejects(
    handle: Handle,
    path: str,
    fix: Callable[[Any], Any] | None = None,
    *,
    mode: IngestMode = "append",
    text: TextOptions | None = None,
) -> IngestResult:
    """Correct and ingest the rows of a reject file; the file is removed once they are committed.

    Args:
        handle: The dataset.
        path: The file, as `Dataset.rejects` lists it.
        fix: Takes the rejected rows as an Arrow table, with `_reject_reason`, and returns corrected rows in any form
            that `ingest` takes. Rows that it leaves out are lost with the file. None ingests the rows unchanged, for a
            spec that has changed.
        mode: `append`, or `replace` for a file that holds whole partitions.
        text: How text files that `fix` returns are written; the spec's `text` where it is left out.

    Raises:
        SourceError: There is no such file, or it is no reject file of this dataset.
        RejectedTooMany: Too many rows are still bad; the file stays.
        UnsupportedByTable: Plain tables cannot append: correct the source instead, and ingest all of it again.
    """
    name = _checked_path(handle, path)
    rows = read_rejects(handle.fs, name)
    source = _source(rows, name, fix)
    details = {"rejects": _token(name)}
    result = ingest(handle, source, mode=mode, run_key=_run_key(name, rows), details=details, text=text)
    try:
        # another identity: all rows are still bad, and were written to a new file
        if identity_of(read_rejects(handle.fs, name)) == identity_of(rows):
            handle.fs.rm_file(name)
    except (FileNotFoundError, ObjectNotFound, SourceError):
        return result  # another process finished it
    except AccessDenied as error:  # the rows are committed: another attempt adds none
        logger.warning("the rows of %s are committed, and the file stays, as it may not be deleted: %s", name, error)
    return result


def rehearse_rejects(
    handle: Handle,
    path: str,
    fix: Callable[[Any], Any] | None = None,
    *,
    mode: IngestMode = "append",
    text: TextOptions | None = None,
) -> Rehearsal:
    """What `ingest_rejects` would do; nothing is written."""
    name = _checked_path(handle, path)
    rows = read_rejects(handle.fs, name)
    return rehearse(handle, _source(rows, name, fix), mode=mode, run_key=_run_key(name, rows), text=text)


def _token(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".parquet")


def _run_key(name: str, rows: pa.Table) -> str:
    """A run key for each writing of a file: the same rows may be rejected, corrected, and rejected again."""
    return f"rejects:{identity_of(rows) or _token(name)}"


def read_reject_file(handle: Handle, path: str) -> pa.Table:
    """The rows of a reject file of a dataset.

    Raises:
        SourceError: There is no such file, or it is no reject file of this dataset.
    """
    return read_rejects(handle.fs, _checked_path(handle, path))


def _checked_path(handle: Handle, path: str) -> str:
    folder = f"{handle.table.root}/_lake/rejects/"
    name = path.removeprefix("lake://")
    if not name.startswith(folder) or "/" in name.removeprefix(folder):
        raise SourceError(f"{path} is no reject file of {handle.spec.uri}", hint="`tierlake rejects` lists them")
    return name


def _source(rows: pa.Table, name: str, fix: Callable[[Any], Any] | None) -> object:
    mended = rows if fix is None else _without_reject_columns(fix(rows))
    if not isinstance(mended, pa.Table) or not mended.num_columns:
        return mended
    texts = texts_in(rows).intersection(mended.column_names)
    return _stream(mended, f"lake://{name}", texts, is_text=is_text(rows), is_mended=fix is not None)


def _without_reject_columns(mended: Any) -> Any:
    """A frame without the reject columns; an Arrow table keeps them, as they name the lines."""
    reject_columns = [name for name in ALL if name in getattr(mended, "columns", ())]
    if isinstance(mended, pa.Table) or not reject_columns:
        return mended
    is_pandas = type(mended).__module__.partition(".")[0] == "pandas"
    return mended.drop(columns=reject_columns) if is_pandas else mended.drop(reject_columns)


def _stream(rows: pa.Table, name: str, texts: frozenset[str], *, is_text: bool, is_mended: bool) -> RowStream:
    """Rejected rows as a source: text is typed as in CSV, and lines that were no rows stay so."""
    bad = None
    if set(rows.column_names).issuperset(ALL):
        still_bad = _still_bad(rows, texts, is_text=is_text, is_mended=is_mended)
        bad, rows = rows.filter(still_bad), rows.filter(pc.invert(still_bad))
    own = own_columns(rows)
    if not own:
        message = f"{name}: what it holds are lines that are no rows"
        raise SourceError(message, hint="mend them: `tierlake rejects DATASET --show FILE --out rows.csv` writes them")
    stream = open_source(rows.select(own).combine_chunks(), None)
    texts = frozenset(column for column in texts if is_text_type(stream.schema.field(column).type))
    schema = pa.schema([_typed(field, rows) if field.name in texts else field for field in stream.schema])
    batches = _with_bad((_as_from(batch, rows) for batch in stream.batches), schema, bad)
    is_all_text = is_text and len(texts) == len(schema)
    return RowStream(schema, batches, name, is_all_text, texts=texts)


def _still_bad(rows: pa.Table, texts: frozenset[str], *, is_text: bool, is_mended: bool) -> pa.ChunkedArray:
    """Lines that are no rows, and unchanged rows whose bad cell only looks as if it would fit.

    The text of a typed source's cell may spell a value of the column's type, and a point among decimal commas may spell
    a number: both stay rejected.
    """
    column, value = rows.column(REJECT_COLUMN), rows.column(REJECT_VALUE)
    still_bad = pc.and_(column.is_null(), value.is_valid())
    if is_text:
        stays = pc.ends_with(rows.column(REASON_COLUMN), HAS_A_POINT)
        for name in texts:
            same = pc.and_(pc.equal(column, name), pc.equal(rows.column(name), value))
            still_bad = pc.or_(still_bad, pc.fill_null(pc.and_(same, stays), fill_value=False))
    elif not is_mended and texts:
        still_bad = pc.or_(still_bad, pc.fill_null(pc.is_in(column, pa.array(sorted(texts))), fill_value=False))
    return still_bad


def _typed(field: pa.Field[Any], rows: pa.Table) -> pa.Field[Any]:
    guess = TextTypes()
    guess.add(rows.column(field.name))
    return field.with_type(guess.kind or pa.null())


def _as_from(batch: SourceBatch, rows: pa.Table) -> SourceBatch:
    """A batch of rows, each with its first origin."""
    places = pc.subtract(batch.rows.column(REJECT_LINE), 1)
    taken = batch.rows
    for name in ORIGIN.names:
        if name in rows.column_names and rows.schema.field(name).type == ORIGIN.field(name).type:
            origin = rows.column(name).combine_chunks().take(places)
            taken = taken.set_column(taken.schema.get_field_index(name), ORIGIN.field(name), origin)
    return SourceBatch(taken)


def _with_bad(batches: Iterator[SourceBatch], schema: pa.Schema, bad: pa.Table | None) -> Iterator[SourceBatch]:
    if bad is not None and bad.num_rows:
        nothing = pa.RecordBatch.from_pylist([], schema=pa.schema([*schema, *ORIGIN]))
        yield SourceBatch(nothing, bad)
    yield from batches
