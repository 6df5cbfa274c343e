"""Adopting what others wrote: a Hive prefix of Parquet becomes a Delta table where it lies, and gets our description.

No data byte is read or written: the footers tell rows, schema and statistics, and the first commit of the log names the
files. A Delta table that is there already gets the description alone. In this order, so that a crash anywhere leaves
either the prefix as it was or a Delta table, and a second try completes it:

    1. the survey (`survey.py`), which refuses what cannot be one table; neither above nor inside another one
    2. the log's version 0, with all files: from here on readers see a Delta table
    3. `_lake/dataset.json`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tierlake.connector.errors import PreconditionFailed
from tierlake.pipelines.errors import CommitConflict, LogMissing, SpecError, TableExists
from tierlake.pipelines.metastore.document import DatasetDocument, DocumentStore
from tierlake.pipelines.metastore.handle import Handle
from tierlake.pipelines.metastore.journal import Journal
from tierlake.pipelines.metastore.opening import (
    BESIDE,
    fields_of,
    first_document,
    open_dataset,
    spec_of_undescribed,
    table_filesystem,
    table_properties,
)
from tierlake.pipelines.metastore.records import PolicyRecord
from tierlake.pipelines.metastore.survey import OddObject, listed_below, refuse_nested, survey
from tierlake.pipelines.model.spec import DatasetSpec
from tierlake.pipelines.model.spec_diff import completed, differences
from tierlake.pipelines.model.stored_types import declared_schema
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.clock import Clock, ServerClock
from tierlake.pipelines.runtime.fork_guard import refuse_after_fork
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import listed
from tierlake.pipelines.tables.nested import enclosing_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.metastore.opening import Described
    from tierlake.pipelines.metastore.survey import Survey
    from tierlake.pipelines.tables.delta import LakeDeltaTable

__all__ = ["AdoptReport", "adopt"]

_SHOWN = 20
_LOST = (
    "the log is gone: files that it had replaced, expired or never named cannot be told from live ones, and are taken"
)


@dataclass(frozen=True, slots=True, repr=False)
class AdoptReport(Shown):
    """What was adopted, or would be.

    Attributes:
        uri: The dataset.
        spec: Its description.
        partitions: How many.
        files: Data files that are the table's.
        rows: In them; None where an existing log does not say.
        bytes: Their size; none of them was rewritten.
        writes_log: True where a Delta log was written, or would be; False for a table that had one.
        odd: Objects that are left alone: not in the table, never deleted by `vacuum`.
        notes: Remarks about the files.
        changed: False for a dry run, and where everything was adopted before.
        dry_run: True where something would be written, and nothing was.
    """

    uri: str
    spec: DatasetSpec
    partitions: int
    files: int
    rows: int | None
    bytes: int
    writes_log: bool
    odd: tuple[OddObject, ...]
    notes: tuple[str, ...]
    changed: bool
    dry_run: bool

    def __str__(self) -> str:
        """For people."""
        time = self.spec.partition.time
        by = ", ".join(self.spec.partition.columns) or "nothing"
        log = "a Delta log for" if self.writes_log else "the description of"
        did = "would write" if self.dry_run else "wrote" if self.changed else "found complete:"
        amount = f"{formatting.files(self.files)}, {formatting.rows(self.rows)}, {formatting.size(self.bytes)}"
        lines = [
            f"{did} {log} {self.uri}: {formatting.partitions(self.partitions)}, {amount}; no data is rewritten",
            f"partitioned by {by}" + (f"; ages go by {time.key}, one {time.every} each" if time else "; no ages"),
            *self.notes,
            *listed([f"left alone: {odd.path}: {odd.problem}" for odd in self.odd], _SHOWN),
        ]
        return "\n".join(lines)


def adopt(
    uri: str,
    spec: Described | None = None,
    *,
    dry_run: bool = True,
    fs: LakeFileSystem | None = None,
    clock: Clock | None = None,
    options: Mapping[str, Any] | None = None,
) -> AdoptReport:
    """Make a prefix that others wrote a dataset of ours, in place.

    Args:
        uri: `lake://bucket/prefix`.
        spec: Tiers, retention and more; the files tell what it leaves out.
        dry_run: Only report what would be adopted.
        fs: The connector.
        clock: Whose time counts.
        options: Arguments of `LakeFileSystem`.

    Raises:
        TableNotFound: No Delta log and no Parquet file is there.
        SchemaMismatch: The files' schemas do not merge.
        UnsupportedByTable: Another table lies below, or a log cannot lie there.
        SpecError: The spec contradicts what is there.
        TableExists: The dataset has another description already, or it lies inside another one.
    """
    refuse_after_fork()
    fields = fields_of(spec) if spec is not None else {}
    if "format" in fields and fields["format"] != "delta":
        raise SpecError("an adopted dataset is a Delta table", hint="Dataset.open works on plain Parquet as it is")
    _check_outside(uri, fs, options or {})
    opened = _opened(uri, fs, clock, options or {})
    opened.check_in_use()
    if opened.table.format == "delta":
        return _adopt_table(opened, fields, fs, options or {}, dry_run=dry_run)
    return _adopt_prefix(opened, fields, fs, options or {}, dry_run=dry_run)


def _check_outside(uri: str, fs: LakeFileSystem | None, options: Mapping[str, Any]) -> None:
    """Refuse a prefix inside another table, unless it was adopted before."""
    location = DatasetSpec(uri=uri)
    inside = table_filesystem(fs, location, options)
    document = DocumentStore(inside, location.root).find()
    is_new = document is None or document.spec.format != "delta"
    if is_new and (above := enclosing_root(inside, location.root)) is not None:
        raise TableExists(f"{location.uri} lies inside another table, lake://{above}", hint=BESIDE)


def _opened(uri: str, fs: LakeFileSystem | None, clock: Clock | None, options: Mapping[str, Any]) -> Handle:
    """The dataset. One whose log is gone opens as a plain table of its files, under its own description."""
    try:
        return open_dataset(uri, None, fs, clock, options)
    except LogMissing:
        from tierlake.pipelines.tables.undescribed import open_plain

        location = DatasetSpec(uri=uri)
        inside = table_filesystem(fs, location, options)
        store = DocumentStore(inside, location.root)
        spec = store.read().spec.model_copy(update={"uri": location.uri})
        plain = open_plain(inside, spec.root, spec.partition.columns)
        return Handle(inside, spec, plain, store, Journal(inside, spec.root), clock or ServerClock(inside, spec.bucket))


def _adopt_table(
    opened: Handle,
    fields: Mapping[str, object],
    fs: LakeFileSystem | None,
    options: Mapping[str, Any],
    *,
    dry_run: bool,
) -> AdoptReport:
    """Give a Delta table our description, and nothing else."""
    snapshot = opened.table.snapshot()
    is_new = opened.document is None
    if not is_new:
        _check_described(opened.spec, fields)
        spec = opened.spec
    else:
        refuse_nested(opened.table.root, listed_below(opened.fs, opened.table.root))
        base = {"uri": opened.spec.uri, "format": "delta"}
        spec = spec_of_undescribed(base, opened.table.partition_columns, snapshot.by_partition(), fields)
        if not dry_run:
            _describe(spec, fs, options)
            at = opened.clock.now()
            opened.journal.write(PolicyRecord(id=opened.journal.new_id(at), at=at, operation="adopt"))
    counts = [file.rows for file in snapshot.files]
    return AdoptReport(
        uri=spec.uri,
        spec=spec,
        partitions=len(snapshot.by_partition()),
        files=len(snapshot.files),
        rows=None if None in counts else sum(count for count in counts if count is not None),
        bytes=sum(file.size for file in snapshot.files),
        writes_log=False,
        odd=(),
        notes=(),
        changed=is_new and not dry_run,
        dry_run=dry_run and is_new,
    )


def _adopt_prefix(
    opened: Handle,
    fields: Mapping[str, object],
    fs: LakeFileSystem | None,
    options: Mapping[str, Any],
    *,
    dry_run: bool,
) -> AdoptReport:
    """Give a prefix a log that names its files, then our description."""
    from tierlake.pipelines.tables.creation import check_is_no_partition, check_place
    from tierlake.pipelines.tables.delta import LakeDeltaTable
    from tierlake.pipelines.tables.lost_log import has_log

    opened.table.check_operation("adopt")
    contents = survey(opened.fs, opened.table.root)
    if opened.document is None:
        base = {"uri": opened.spec.uri, "format": "delta"}
        spec = spec_of_undescribed(base, contents.columns, {file.key for file in contents.files}, fields)
    else:
        _check_described(opened.spec, fields)
        spec = opened.spec.model_copy(update={"format": "delta"})
    check_place(spec)
    check_is_no_partition(spec)
    if not dry_run:
        inside = table_filesystem(fs, spec, options)
        if has_log(inside, spec.root):  # an adoption was interrupted, and no session of ours has written since
            _check_adopted(LakeDeltaTable(inside, spec.root))
        else:
            LakeDeltaTable.adopt(
                inside,
                spec.root,
                _schema(contents, opened),
                contents.columns,
                contents.files,
                table_properties(spec),
                _run_tokens(opened),
            )
        inside.invalidate_view(spec.root)
        if opened.document is None:
            _describe(spec, fs, options)
        else:
            at = opened.clock.now()
            opened.document.update(
                lambda document: document.model_copy(
                    update={"spec": document.spec.model_copy(update={"format": "delta"}), "adopted_at": at}
                )
            )
    return AdoptReport(
        uri=spec.uri,
        spec=spec,
        partitions=len({file.key for file in contents.files}),
        files=len(contents.files),
        rows=sum(file.rows or 0 for file in contents.files),
        bytes=sum(file.size for file in contents.files),
        writes_log=True,
        odd=contents.odd,
        notes=contents.notes + ((_LOST,) if opened.document is not None and opened.spec.format == "delta" else ()),
        changed=not dry_run,
        dry_run=dry_run,
    )


def _check_adopted(table: LakeDeltaTable) -> None:
    """Refuse a log that others made: nobody knows which of the files it should name.

    Raises:
        CommitConflict: Its first entry is no adoption.
    """
    if table.history()[-1].operation != "adopt":
        message = f"lake://{table.root} became a Delta table that others made, and is described as plain Parquet"
        raise CommitConflict(message, hint="move its _delta_log away if it is not meant, then adopt it again")


def _schema(contents: Survey, opened: Handle) -> pa.Schema:
    """The columns of the files, and the partition columns in the types of the table's own schema."""
    known = opened.table.look().schema if opened.document is not None else None
    types = {field.name: field.type for field in (*(known or ()), *declared_schema(opened.spec.columns))}
    return pa.schema([*(pa.field(name, types.get(name, pa.string())) for name in contents.columns), *contents.schema])


def _run_tokens(opened: Handle) -> tuple[str, ...]:
    """Runs recorded by a plain dataset of ours: the adopted table must still know them."""
    records = opened.fs.list_fresh(f"{opened.table.root}/_lake/runs")
    return tuple(path.rpartition("/")[2].removesuffix(".json") for path in records)


def _describe(spec: DatasetSpec, fs: LakeFileSystem | None, options: Mapping[str, Any]) -> None:
    inside = table_filesystem(fs, spec, options)
    store = DocumentStore(inside, spec.root)
    at = ServerClock(inside, spec.bucket).now()
    try:
        first_document(inside, store, DatasetDocument(spec=spec, adopted_at=at))
    except PreconditionFailed:
        if store.read().spec != spec:
            raise TableExists(f"{spec.uri} was described by somebody else meanwhile", hint="look at it first") from None


def _check_described(stored: DatasetSpec, fields: Mapping[str, object]) -> None:
    """Refuse a second adoption whose spec differs from the stored one."""
    changes = differences(stored, completed(stored, {name: one for name, one in fields.items() if name != "format"}))
    if changes:
        raise TableExists(
            f"{stored.uri} is described already, and otherwise: {', '.join(map(str, changes))}",
            hint="`tierlake diff SPEC.yaml` shows what a change would do, `tierlake apply SPEC.yaml` makes it",
        )
