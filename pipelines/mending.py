"""Rejected rows, mended and ingested again.

Rows are appended to their partitions, as one run whose key is the reject file's name: when it dies between the commit
and the removal of the file, the second try only removes the file. Rows that are still bad are in a new reject file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.errors import ObjectNotFound
from pipelines.errors import SourceError
from pipelines.ingest import ingest
from pipelines.partitioning import REASON_COLUMN
from pipelines.rejects import read_rejects

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pipelines.handle import Handle
    from pipelines.ingest import IngestMode, IngestResult

__all__ = ["ingest_rejects"]


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
    folder = f"{handle.table.root}/_lake/rejects/"
    name = path.removeprefix("lake://")
    if not name.startswith(folder) or "/" in name.removeprefix(folder):
        raise SourceError(f"{path} is no reject file of {handle.spec.uri}", hint="`tierlake rejects` lists them")
    rows = read_rejects(handle.fs, name)
    mended = rows if fix is None else fix(rows)
    if REASON_COLUMN in getattr(mended, "column_names", ()):
        mended = mended.drop_columns([REASON_COLUMN])
    token = name.removeprefix(folder).removesuffix(".parquet")
    result = ingest(handle, mended, mode=mode, run_key=f"rejects:{token}", details={"rejects": token})
    try:
        handle.fs.rm_file(name)
    except (FileNotFoundError, ObjectNotFound):
        return result  # somebody else finished it
    return result
