"""Rows that could not be taken, kept with the reason, and the limit that turns them into a failure.

They wait in `_lake/rejects/`, one file a run (more where there are very many, or several workers), until somebody fixes
and ingests them again (`ingest_rejects`), which removes the file, or deletes it.
"""

from __future__ import annotations

import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import RejectedTooMany, SourceError
from pipelines.partitioning import REASON_COLUMN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from connector.filesystem import LakeFileSystem
    from pipelines.spec import RejectSpec

__all__ = ["RejectFile", "Rejects", "check_tolerable", "list_rejects", "read_rejects", "reject_paths"]

_ABOUT = b"lake.source"
_READAHEAD = 8
_FILE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class RejectFile:
    """The rejected rows of one run.

    Attributes:
        path: `bucket/key` of the Parquet file: the rows as they came, with `_reject_reason`.
        rows: how many.
        reasons: how many for each reason.
        at: when it was written.
        source: where the rows came from.
    """

    path: str
    rows: int
    reasons: Mapping[str, int]
    at: datetime
    source: str


def reject_paths(fs: LakeFileSystem, root: str) -> list[str]:
    """The files of rejected rows."""
    folder = f"{root}/_lake/rejects"
    fs.invalidate_cache(folder)
    return [path for path in sorted(fs.find(folder)) if path.endswith(".parquet")]


def read_rejects(fs: LakeFileSystem, path: str) -> pa.Table:
    """The rows of one such file, with `_reject_reason`.

    Raises:
        SourceError: there is no such file, or it cannot be read.
    """
    try:
        return pq.read_table(io.BytesIO(fs.cat_file(path)))
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"cannot read the rejected rows in lake://{path}: {error}") from error


def list_rejects(fs: LakeFileSystem, root: str) -> tuple[RejectFile, ...]:
    """What was rejected and not ingested since, newest first.

    Raises:
        SourceError: a file that cannot be read.
    """
    paths = reject_paths(fs, root)

    def described(path: str) -> RejectFile:
        rows = read_rejects(fs, path)
        source = (rows.schema.metadata or {}).get(_ABOUT, b"").decode("utf-8", "replace")
        modified: datetime = fs.info(path)["LastModified"]
        return RejectFile(path, rows.num_rows, counted_reasons(rows), modified, source)

    with ThreadPoolExecutor(_READAHEAD, thread_name_prefix="rejects") as pool:
        return tuple(sorted(pool.map(described, paths), key=lambda file: file.at, reverse=True))


def counted_reasons(rows: pa.Table) -> dict[str, int]:
    """How many rows for each reason."""
    counts = rows.column(REASON_COLUMN).value_counts().to_pylist()
    return {str(count["values"]): count["counts"] for count in counts}


class Rejects:
    """Collects the bad rows of one ingest and writes them to `_lake/rejects/`, as Parquet with `_reject_reason`."""

    def __init__(self, fs: LakeFileSystem, root: str, token: str, source: str = "") -> None:
        """Collect for the run that `token` names; a second attempt overwrites the first one's files."""
        self._source = source
        self._fs = fs
        self._name = f"{root}/_lake/rejects/{token}"
        self._rows: list[pa.Table] = []
        self._waiting_bytes = 0
        self._files = 0
        self.reasons: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Rows that were rejected."""
        return self.reasons.total()

    @property
    def path(self) -> str | None:
        """The file that keeps them, or a pattern for several; None where nothing was written."""
        if not self._files:
            return None
        return f"{self._name}.parquet" if self._files == 1 else f"{self._name}*.parquet"

    def add(self, rows: pa.Table) -> None:
        """Keep these rows; many of them become files at once, so that memory stays bounded."""
        if not rows.num_rows:
            return
        self.reasons.update(counted_reasons(rows))
        self._rows.append(rows)
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes > _FILE_BYTES:
            self.write()

    def write(self) -> None:
        """Put the rows where people find them; nothing where there are none."""
        if not self._rows:
            return
        buffer = io.BytesIO()
        rows = pa.concat_tables(self._rows, promote_options="permissive")
        about = {**(rows.schema.metadata or {}), _ABOUT: self._source.encode()}
        pq.write_table(rows.replace_schema_metadata(about), buffer, compression="zstd")
        self._fs.pipe_file(f"{self._name}{f'-{self._files}' if self._files else ''}.parquet", buffer.getvalue())
        self._files += 1
        self._rows.clear()
        self._waiting_bytes = 0


def check_tolerable(spec: RejectSpec, rows: int, reasons: Mapping[str, int], path: str | None) -> None:
    """Compare the rejected rows with the spec's limit.

    Args:
        spec: the limit.
        rows: rows read, good and bad.
        reasons: how many bad ones for each reason.
        path: what keeps them.

    Raises:
        RejectedTooMany: naming the reasons and the file that keeps the rows.
    """
    count = sum(reasons.values())
    if count > spec.max_ratio * rows:
        why = ", ".join(f"{number} x {reason}" for reason, number in sorted(reasons.items()))
        message = (
            f"{count} of {rows} rows were rejected ({why}), more than rejects.max_ratio {spec.max_ratio:g} allows; "
            f"nothing was committed"
        )
        raise RejectedTooMany(message, hint=f"look at lake://{path}, then mend the source or raise the limit")
