"""Rejected rows, kept with the reason, and the limit beyond which they fail the ingest.

They wait in `_lake/rejects/` until somebody deletes the file, or corrects the rows and ingests them again
(`ingest_rejects`), which removes the file. A file is named by its content, so that a second ingest of a source does not
list its rejects twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from tierlake.connector.documents import json_list
from tierlake.pipelines.errors import RejectedTooMany, SourceError
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import emphasised
from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.runtime.rows import Rows
from tierlake.pipelines.sources.row_origin import ALL, REASON_COLUMN, TEXT_MARK
from tierlake.pipelines.values import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.model.spec import RejectSpec

__all__ = [
    "RejectFile",
    "RejectFiles",
    "Rejects",
    "check_tolerable",
    "identity_of",
    "is_text",
    "list_rejects",
    "own_columns",
    "read_rejects",
    "reject_paths",
    "texts_in",
]

_ABOUT, _IDENTITY, _IS_TEXT, _TEXTS = b"lake.source", b"lake.id", b"lake.text", b"lake.texts"
_READAHEAD = 8
_FILE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class RejectFile:
    """The rejected rows of one run.

    Attributes:
        path: `bucket/key` of the Parquet file: the rows as they came, with the columns of `sources.row_origin`.
        rows: How many.
        reasons: The number of rows for each reason.
        at: When the file was written.
        source: The source of the rows.
    """

    path: str
    rows: int
    reasons: Mapping[str, int]
    at: datetime
    source: str


class RejectFiles(Rows[RejectFile]):
    """Files of rejected rows, newest first."""

    __slots__ = ()

    NOUN = "file of rejected rows", "files of rejected rows"
    COLUMNS = "file", ">rows", "when", "why", "source"

    @staticmethod
    def cells(item: RejectFile) -> tuple[str, ...]:
        """A file as a row."""
        why = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(item.reasons.items()))
        return f"lake://{item.path}", formatting.count(item.rows), f"{item.at:%Y-%m-%d %H:%M}", why, item.source

    def __str__(self) -> str:
        return "\n".join([emphasised(self._summary()), self._table().text()]) if self else self._summary()

    def _summary(self) -> str:
        if not self:
            return "no rejected rows wait"
        count = formatting.counted(sum(file.rows for file in self), "rejected row")
        return f"{count} in {formatting.files(len(self))}"


def reject_paths(fs: LakeFileSystem, root: str) -> list[str]:
    """The files of rejected rows."""
    return list(_reject_files(fs, root))


def _reject_files(fs: LakeFileSystem, root: str) -> dict[str, Mapping[str, Any]]:
    stored = fs.list_fresh(f"{root}/_lake/rejects")
    return {path: info for path, info in sorted(stored.items()) if path.endswith(".parquet")}


def read_rejects(fs: LakeFileSystem, path: str) -> pa.Table:
    """The rows of one such file, with `_reject_reason`.

    Raises:
        SourceError: There is no such file, or it cannot be read.
    """
    try:
        rows = pq.read_table(io.BytesIO(fs.cat_file(path)))
        rows.validate(full=True)
        _check_is_ours(rows)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(f"cannot read the rejected rows in lake://{path}: {error}") from error
    return rows


def _check_is_ours(rows: pa.Table) -> None:
    """Refuse what has no reasons, or whose remarks about the columns cannot be read.

    Raises:
        ValueError: It says what is missing.
    """
    if REASON_COLUMN not in rows.column_names or not pat.is_string(rows.schema.field(REASON_COLUMN).type):
        raise ValueError(f"they have no texts in {REASON_COLUMN}")
    about = rows.schema.metadata or {}
    about.get(_IDENTITY, b"").decode()
    if not all(isinstance(name, str) for name in json_list(about.get(_TEXTS, b"[]"))):
        raise ValueError("the names of columns are no texts")


def list_rejects(fs: LakeFileSystem, root: str) -> RejectFiles:
    """The files of rejected rows that were not ingested since, newest first.

    Raises:
        SourceError: A file that cannot be read.
    """
    stored = _reject_files(fs, root)

    def described(path: str) -> RejectFile:
        rows = read_rejects(fs, path)
        source = (rows.schema.metadata or {}).get(_ABOUT, b"").decode("utf-8", "replace")
        return RejectFile(path, rows.num_rows, counted_reasons(rows), stored[path]["LastModified"], source)

    files = in_threads(described, stored, at_once=_READAHEAD, name="rejects")
    return RejectFiles(sorted(files, key=lambda file: file.at, reverse=True))


def counted_reasons(rows: pa.Table) -> dict[str, int]:
    """How many rows for each reason."""
    counts = rows.column(REASON_COLUMN).value_counts().to_pylist()
    return {str(count["values"]): count["counts"] for count in counts}


def identity_of(rows: pa.Table) -> str:
    """Distinguishes one writing of a reject file from the next, even with the same rows."""
    identity: bytes = (rows.schema.metadata or {}).get(_IDENTITY, b"")
    return identity.decode()


def is_text(rows: pa.Table) -> bool:
    """Whether the rows of a reject file are untyped text, as those of CSV."""
    return (rows.schema.metadata or {}).get(_IS_TEXT) == b"1"


def texts_in(rows: pa.Table) -> frozenset[str]:
    """The columns of a reject file whose text stands for values of another type: all of them for text files."""
    if is_text(rows):
        return frozenset(own_columns(rows))
    return frozenset(json_list((rows.schema.metadata or {}).get(_TEXTS, b"[]")))


def own_columns(rows: pa.Table) -> list[str]:
    """The source's columns of a reject file."""
    return [name for name in rows.column_names if name not in ALL]


class Rejects:
    """Collects the bad rows of one ingest and writes them to `_lake/rejects/`, as Parquet."""

    def __init__(self, fs: LakeFileSystem, root: str, source: str = "", *, is_text: bool = False) -> None:
        """Collect the rows of a source.

        Args:
            fs: May write below the root.
            root: `bucket/prefix` of the table.
            source: The source of the rows, as text.
            is_text: Whether the rows are untyped text.
        """
        self._source = source
        self._is_text = is_text
        self._fs = fs
        self._folder = f"{root}/_lake/rejects"
        self._paths: list[str] = []
        self._rows: list[pa.Table] = []
        self._waiting_bytes = 0
        self.reasons: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The number of rejected rows."""
        return self.reasons.total()

    @property
    def path(self) -> str | None:
        """The file that keeps them, or a pattern for several; None where nothing was written."""
        if not self._paths:
            return None
        return self._paths[0] if len(self._paths) == 1 else f"{self._folder}/*.parquet"

    def add(self, rows: pa.Table) -> None:
        """Keep these rows. Many rows are written to files at once, so that memory stays bounded."""
        if not rows.num_rows:
            return
        self.reasons.update(counted_reasons(rows))
        self._rows.append(rows)
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes > _FILE_BYTES:
            self.write()

    def write(self) -> None:
        """Write the remaining rows to a file, if there are any."""
        if not self._rows:
            return
        rows, texts = _united(self._rows)
        about = {
            _ABOUT: self._source.encode(),
            _IDENTITY: uuid.uuid4().hex.encode(),
            _IS_TEXT: b"1" if self._is_text else b"0",
            _TEXTS: json.dumps(sorted(texts)).encode(),
        }
        buffer = io.BytesIO()
        pq.write_table(rows.replace_schema_metadata(about), buffer, compression="zstd")
        path = f"{self._folder}/{_digest(rows)}.parquet"
        self._fs.pipe_file(path, buffer.getvalue())
        self._paths.append(path)
        self._rows.clear()
        self._waiting_bytes = 0


def _united(tables: Sequence[pa.Table]) -> tuple[pa.Table, set[str]]:
    """The rows of several tables, and the columns where text stands for values of another type in one of them."""
    kinds: dict[str, set[pa.DataType]] = {}
    texts: set[str] = set()
    for field in (field for table in tables for field in table.schema):
        if not pat.is_null(field.type):
            kinds.setdefault(field.name, set()).add(field.type)
        if TEXT_MARK in (field.metadata or {}):
            texts.add(field.name)
    texts.update(name for name, types in kinds.items() if len(types) > 1)
    names = dict.fromkeys(name for table in tables for name in table.column_names if name not in ALL)
    order = [*names, *(name for name in ALL if any(name in table.column_names for table in tables))]
    plain = []
    for table in tables:
        own = [name for name in order if name in table.column_names]
        columns = [texts_of(table.column(name)) if name in texts else table.column(name) for name in own]
        plain.append(pa.table(columns, names=own))
    return pa.concat_tables(plain, promote_options="default").select(order), texts


def _digest(rows: pa.Table) -> str:
    """The digest by which a file of rejected rows is named."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema.remove_metadata()) as stream:
        stream.write_table(rows.combine_chunks().replace_schema_metadata(None))
    return hashlib.sha256(sink.getvalue()).hexdigest()[:32]


def check_tolerable(spec: RejectSpec, rows: int, reasons: Mapping[str, int], path: str | None) -> None:
    """Compare the rejected rows with the spec's limit.

    Args:
        spec: The limit.
        rows: Rows read, good and bad.
        reasons: The number of bad rows for each reason.
        path: The file that keeps them.

    Raises:
        RejectedTooMany: It names the reasons and the file that keeps the rows.
    """
    count = sum(reasons.values())
    if count > spec.max_ratio * rows:
        why = ", ".join(f"{number} x {reason}" for reason, number in sorted(reasons.items()))
        message = (
            f"{count} of {rows} rows were rejected ({why}), more than rejects.max_ratio {spec.max_ratio:g} allows; "
            f"nothing was committed"
        )
        where = f"look at lake://{path}" if path else "`--dry-run` keeps none of them: an ingest would"
        raise RejectedTooMany(message, hint=f"{where}, then mend the source or raise the limit")
