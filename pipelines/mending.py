"""Rejected rows, mended and ingested again.

Rows are appended to their partitions, as one run whose key is the reject file's identity: when it dies between the
commit and the removal of the file, the second try only removes the file. Rows that are still bad are in a new reject
file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from connector.errors import ObjectNotFound
from pipelines.errors import SourceError
from pipelines.ingest import ingest, rehearse
from pipelines.reject_columns import ALL, REASON_COLUMN, REJECT_COLUMN, REJECT_LINE, REJECT_VALUE
from pipelines.rejects import identity_of, is_text, read_rejects
from pipelines.sources import RowStream, SourceBatch, open_source
from pipelines.sources.stream import line_numbers, with_origin
from pipelines.values import TextTypes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pipelines.handle import Handle
    from pipelines.ingest import IngestMode, IngestResult, Rehearsal

__all__ = ["ingest_rejects", "read_reject_file", "rehearse_rejects"]


def ingest_rejects(
    handle: Handle, path: str, fix: Callable[[Any], Any] | None = None, *, mode: IngestMode = "append"
) -> IngestResult:
    """Ingest the rows of a reject file, mended; the file is removed once they are committed.

    Args:
        handle: the dataset.
        path: the file, as `Dataset.rejects` lists it.
        fix: takes the rejected rows as an Arrow table, with `_reject_reason`, and returns rows that can be taken: an
            Arrow table or anything that `ingest` takes. Rows that it leaves out are gone with the file. None takes the
            rows as they are, for a spec that has changed.
        mode: `append`, or `replace` for a file that holds whole partitions.

    Raises:
        SourceError: there is no such file, or it is no reject file of this dataset.
        RejectedTooMany: too many rows are still bad; the file stays.
        UnsupportedByTable: append to a plain table: mend the source instead, and ingest all of it again.
    """
    name = _checked_path(handle, path)
    rows = read_rejects(handle.fs, name)
    source = _source(rows, name, fix)
    token = name.rpartition("/")[2].removesuffix(".parquet")
    run_key = f"rejects:{identity_of(rows) or token}"
    result = ingest(handle, source, mode=mode, run_key=run_key, details={"rejects": token})
    try:
        handle.fs.rm_file(name)
    except (FileNotFoundError, ObjectNotFound):
        return result  # somebody else finished it
    return result


def rehearse_rejects(
    handle: Handle, path: str, fix: Callable[[Any], Any] | None = None, *, mode: IngestMode = "append"
) -> Rehearsal:
    """What `ingest_rejects` would do; nothing is written."""
    name = _checked_path(handle, path)
    return rehearse(handle, _source(read_rejects(handle.fs, name), name, fix), mode=mode)


def read_reject_file(handle: Handle, path: str) -> pa.Table:
    """The rows of a reject file of a dataset.

    Raises:
        SourceError: there is no such file, or it is no reject file of this dataset.
    """
    return read_rejects(handle.fs, _checked_path(handle, path))


def _checked_path(handle: Handle, path: str) -> str:
    folder = f"{handle.table.root}/_lake/rejects/"
    name = path.removeprefix("lake://")
    if not name.startswith(folder) or "/" in name.removeprefix(folder):
        raise SourceError(f"{path} is no reject file of {handle.spec.uri}", hint="`tierlake rejects` lists them")
    return name


def _source(rows: pa.Table, name: str, fix: Callable[[Any], Any] | None) -> object:
    mended = rows if fix is None else fix(rows)
    return _stream(mended, name, text=is_text(rows)) if isinstance(mended, pa.Table) else mended


def _stream(rows: pa.Table, name: str, *, text: bool) -> RowStream:
    """Rejected rows as a source: text is typed as CSV's is, and what was no row at all is none still."""
    own = [column for column in rows.column_names if column not in ALL]
    lines = rows.column(REJECT_LINE) if REJECT_LINE in rows.column_names else None
    bad = None
    if {REJECT_COLUMN, REASON_COLUMN, REJECT_VALUE} <= set(rows.column_names) and len(own) < rows.num_columns:
        is_whole_line = pc.and_(rows.column(REJECT_COLUMN).is_null(), rows.column(REJECT_VALUE).is_valid())
        bad = rows.filter(is_whole_line)
        rows = rows.filter(pc.invert(is_whole_line))
        lines = rows.column(REJECT_LINE) if lines is not None else None
    rows = rows.select(own).combine_chunks()
    text = text and all(pat.is_string(kind) for kind in rows.schema.types)
    if not text:
        stream = open_source(rows, None)
        return RowStream(stream.schema, _with_bad(stream, bad), f"lake://{name}")
    types = {column: TextTypes() for column in own}
    for column, guess in types.items():
        guess.add(rows.column(column))
    schema = pa.schema([pa.field(column, guess.kind or pa.null()) for column, guess in types.items()])
    numbers = lines.combine_chunks() if lines is not None else line_numbers(1, rows.num_rows)
    batches = rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
    batch = SourceBatch(with_origin(batches[0], f"lake://{name}", numbers), bad)
    return RowStream(schema, iter([batch]), f"lake://{name}", is_text=True)


def _with_bad(stream: RowStream, bad: pa.Table | None) -> Iterator[SourceBatch]:
    for batch in stream.batches:
        yield batch if bad is None else SourceBatch(batch.rows, bad)
        bad = None
