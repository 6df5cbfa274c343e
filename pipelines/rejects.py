"""Rows that could not be taken, kept with the reason, and the limit that turns them into a failure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import RejectedTooMany, SourceError
from pipelines.partitioning import REASON_COLUMN

if TYPE_CHECKING:
    from connector.filesystem import LakeFileSystem
    from pipelines.spec import RejectSpec

__all__ = ["Rejects", "read_rejects", "reject_paths"]


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


class Rejects:
    """Collects the bad rows of one ingest and writes them to `_lake/rejects/`, as Parquet with `_reject_reason`."""

    def __init__(self, fs: LakeFileSystem, root: str, token: str, spec: RejectSpec) -> None:
        """Collect for the run that `token` names; a second attempt overwrites the first one's file."""
        self._fs = fs
        self._spec = spec
        self._rows: list[pa.Table] = []
        self.path = f"{root}/_lake/rejects/{token}.parquet"
        self.count = 0

    def add(self, rows: pa.Table) -> None:
        """Keep these rows."""
        if rows.num_rows:
            self._rows.append(rows)
            self.count += rows.num_rows

    def reasons(self) -> dict[str, int]:
        """How many rows for each reason."""
        counts: dict[str, int] = {}
        for rows in self._rows:
            for reason in rows.column(REASON_COLUMN).value_counts().to_pylist():
                counts[reason["values"]] = counts.get(reason["values"], 0) + reason["counts"]
        return counts

    def write(self) -> None:
        """Put the rows where people find them; nothing where there are none."""
        if not self._rows:
            return
        buffer = io.BytesIO()
        pq.write_table(pa.concat_tables(self._rows, promote_options="permissive"), buffer, compression="zstd")
        self._fs.pipe_file(self.path, buffer.getvalue())

    def check(self, total: int) -> None:
        """Compare with the spec's limit.

        Args:
            total: rows read, good and bad.

        Raises:
            RejectedTooMany: naming the reasons and the file that keeps the rows.
        """
        if self.count > self._spec.max_ratio * total:
            why = ", ".join(f"{count} x {reason}" for reason, count in sorted(self.reasons().items()))
            message = (
                f"{self.count} of {total} rows were rejected ({why}), more than rejects.max_ratio "
                f"{self._spec.max_ratio:g} allows; nothing was committed"
            )
            raise RejectedTooMany(message, hint=f"look at lake://{self.path}, then mend the source or raise the limit")
