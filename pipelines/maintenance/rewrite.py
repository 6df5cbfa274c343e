"""Rewriting live files: rows stream through, the storage class stays, one commit swaps old for new.

Compaction and erasure share this. Nothing is visible before the commit; a crash leaves files that no commit names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from tierlake.connector.objects.metadata import unquoted
from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import CommitConflict, SchemaMismatch
from tierlake.pipelines.ingest.writer import PartitionedWriter, WriterLimits
from tierlake.pipelines.metastore.removal import begun, completed, removed_partitions
from tierlake.pipelines.model.age import tier_at, window_of_key
from tierlake.pipelines.model.stored_types import ROW_COLUMN, filterable_type
from tierlake.pipelines.movers import Move, get_mover
from tierlake.pipelines.parquet.row_groups import batches_of
from tierlake.pipelines.parquet.scan import naming_failures
from tierlake.pipelines.query.placement import MISSING, class_of_tier, tier_of_class
from tierlake.pipelines.query.restore import unreadable
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.tables.runs import new_rewrite_token, remember_sources
from tierlake.pipelines.tables.snapshot import Change
from tierlake.pipelines.values import wider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow.dataset as pads

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovalRecord
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import WriteSpec
    from tierlake.pipelines.query.placement import PlacedPartition
    from tierlake.pipelines.tables.snapshot import Commit, LiveFile, Snapshot, StagedFile

__all__ = ["Rewrite", "Rewriter", "archived_classes", "class_to_keep", "commit_rewrites"]

_MATCHES = "\0matches"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Files to be swapped.

    Attributes:
        key: Their partition.
        sources: Live files to be replaced.
        staged: New files; none where no row is left.
        dropped: Rows that the new files leave out.
        fence: The table's fence before the first new file was written.
    """

    key: PartitionKey
    sources: tuple[LiveFile, ...]
    staged: tuple[StagedFile, ...]
    dropped: int = 0
    fence: int | None = None


class Rewriter:
    """Reads live files of one snapshot and writes their rows to new ones."""

    def __init__(self, handle: Handle, snapshot: Snapshot, write: WriteSpec, limits: WriterLimits | None) -> None:
        """Rewrite under `write`, an encoding that may differ from the dataset's own."""
        self._handle = handle
        self._write = write
        self._limits = limits or WriterLimits()
        self._dataset = handle.table.dataset(snapshot)
        self._fence = snapshot.fence
        keys = snapshot.files[0].key.columns if snapshot.files else ()
        # the columns of the files: all but those in the path
        self._kept = pa.schema([field for field in self._dataset.schema if field.name not in keys])
        self._possible: tuple[pc.Expression, frozenset[str]] | None = None

    def may_hold(self, path: str, matching: pc.Expression) -> bool:
        """Whether a live file may hold a match, by its partition and statistics."""
        if self._possible is None or self._possible[0] is not matching:
            self._possible = (matching, frozenset(file.path for file in self._dataset.files_of(matching)))
        return f"{self._handle.table.root}/{path}" in self._possible[1]

    def count(self, path: str, matching: pc.Expression) -> int:
        """Rows of one live file that match."""
        file = f"{self._handle.table.root}/{path}"
        with naming_failures(file, matching):
            return int(self._dataset.only([file]).count_rows(filter=matching))

    def rewrite(
        self, key: PartitionKey, sources: Sequence[LiveFile], storage_class: str, without: pc.Expression | None = None
    ) -> Rewrite:
        """Write the rows of some files of one partition to new files.

        Args:
            key: The partition.
            sources: Its files.
            storage_class: Where the new files belong.
            without: Rows that match are left out; rows for which it is null stay.
        """
        token = new_rewrite_token()
        fs, is_there = self._filesystem(storage_class)
        total = written = 0
        fragments = self._fragments(sources)
        kept = self._columns_of(fragments)
        with PartitionedWriter(fs, self._handle.table, self._write, kept, token, self._limits) as writer:
            for rows in self._rows(fragments, without, kept):
                left = rows if without is None else _without_matches(rows)
                total += rows.num_rows
                written += left.num_rows
                if left.num_rows:
                    writer.add(key, left)
            staged = writer.finish()
            if not is_there:
                self._move([file.file.path for file in staged], storage_class)
        if staged:
            remember_sources(self._handle.fs, self._handle.table.root, token, [file.path for file in sources])
        return Rewrite(key, tuple(sources), staged, dropped=total - written, fence=self._fence)

    def swap(
        self,
        file: LiveFile,
        storage_class: str,
        without: pc.Expression,
        base: Snapshot,
        details: Mapping[str, object],
    ) -> None:
        """Rewrite one object of a plain table without some rows; one without rows left is deleted.

        Args:
            file: The object.
            storage_class: Where it belongs.
            without: Rows that match are left out.
            base: The snapshot that `file` comes from.
            details: JSON values for the commit's metadata.

        Raises:
            CommitConflict: The object was replaced meanwhile.
        """
        table = self._handle.table
        before = table.identified([file])
        is_put_there = storage_class in self._handle.fs.profile.storage_classes
        fragments = self._fragments([file])
        kept, token = self._columns_of(fragments), new_rewrite_token()
        with PartitionedWriter(self._handle.fs, table, self._write, kept, token, self._limits) as writer:
            for rows in self._rows(fragments, without, kept):
                left = _without_matches(rows)
                if left.num_rows:
                    writer.add(file.key, left)
            adds = tuple(
                replace(
                    staged,
                    file=replace(staged.file, path=file.path),
                    if_match=file.etag,
                    storage_class=storage_class if is_put_there else None,
                )
                for staged in writer.finish()
            )
            gone = removed_partitions(before, "rows erased on request")
            record = begun(self._handle, "erase", gone, base)
            commit = table.commit(Change("erase", base, adds=adds, removes=() if adds else before, details=details))
            completed(self._handle, record, commit)
        if adds and not is_put_there:
            self._move([file.path], storage_class)

    def _fragments(self, sources: Sequence[LiveFile]) -> list[pads.ParquetFileFragment]:
        return [self._dataset.fragment(f"{self._handle.table.root}/{source.path}") for source in sources]

    def _columns_of(self, fragments: Sequence[pads.ParquetFileFragment]) -> pa.Schema:
        """The columns of new files: the table's, and those that only the old files have, which must not be lost.

        Raises:
            SchemaMismatch: Files have a column, unknown to the table, in types that do not merge.
        """
        kept = {field.name: field.type for field in self._kept}
        others: dict[str, pa.DataType] = {}
        keys = set(self._dataset.schema.names) - set(kept)
        for fragment in fragments:
            for field in fragment.physical_schema:
                if field.name in kept:
                    known = kept[field.name]
                    # a single file can keep values that the table's type cannot hold
                    is_own = len(fragments) == 1 and (pat.is_timestamp(field.type) or wider(known, field.type) != known)
                    kept[field.name] = field.type if is_own else _with_fields_of(known, field.type)
                elif field.name not in keys:
                    kind = filterable_type(field.type)
                    known = others.get(field.name, kind)
                    both = known if known == kind else wider(known, kind)
                    if both is None:
                        message = f"lake://{fragment.path}: {field.name} is {field.type} there, {known} in another file"
                        raise SchemaMismatch(message, hint="the table does not have this column: rewrite one of them")
                    others[field.name] = both
        if kept or len(others) > 1:
            others.pop(ROW_COLUMN, None)
        return pa.schema(list((kept | others).items()))

    def _rows(
        self, fragments: Sequence[pads.ParquetFileFragment], without: pc.Expression | None, kept: pa.Schema
    ) -> Iterator[pa.Table]:
        columns: dict[str, pc.Expression] = {name: pc.field(name) for name in kept.names}
        schema = pa.schema([*kept, *(field for field in self._dataset.schema if field.name not in columns)])
        if without is not None:
            columns[_MATCHES] = without
        for fragment in fragments:
            with naming_failures(fragment.path, without):
                for rows in batches_of(fragment, schema, columns):
                    named = rows.select(kept.names).cast(kept)
                    yield named if without is None else named.append_column(_MATCHES, rows.column(_MATCHES))

    def _filesystem(self, storage_class: str) -> tuple[LakeFileSystem, bool]:
        """Where new files are written, and whether that is their storage class already."""
        handle = self._handle
        if storage_class in handle.fs.profile.storage_classes:
            encryption = handle.spec.write.encryption
            return handle.fs.for_table(handle.table.root, encryption=encryption, storage_class=storage_class), True
        return handle.fs, storage_class == handle.spec.write.storage_class

    def _move(self, paths: Sequence[str], storage_class: str) -> None:
        """Move a file to a class that PUT does not accept (MinIO's remote tiers)."""
        handle = self._handle
        tier = tier_of_class(handle.spec, handle.fs.profile, storage_class)
        if tier is None:
            return
        names = [f"{handle.table.root}/{path}" for path in paths]
        moves = {}
        for name, head in zip(names, handle.fs.head_many(names), strict=True):
            if isinstance(head, Exception):
                raise head
            was = handle.spec.write.storage_class
            moves[name] = Move(tier, storage_class, from_class=was, etag=unquoted(head["ETag"]))
        for _, outcome in get_mover(handle.fs.profile.mover).move_many(handle.fs, moves):
            if isinstance(outcome, Exception):
                raise outcome


def _with_fields_of(known: pa.DataType, kind: pa.DataType) -> pa.DataType:
    """The table's type with the fields of structs that only a file has."""
    if pat.is_struct(known) and pat.is_struct(kind):
        fields = {field.name: field for field in known}
        for field in kind:
            mine = fields.get(field.name)
            fields[field.name] = field if mine is None else mine.with_type(_with_fields_of(mine.type, field.type))
        return pa.struct(list(fields.values()))
    if pat.is_list(known) and pat.is_list(kind):
        return pa.list_(known.value_field.with_type(_with_fields_of(known.value_type, kind.value_type)))
    if pat.is_map(known) and pat.is_map(kind):
        item = known.item_field.with_type(_with_fields_of(known.item_type, kind.item_type))
        return pa.map_(known.key_field, item)
    return known


def _without_matches(rows: pa.Table) -> pa.Table:
    matches = pc.fill_null(rows.column(_MATCHES), fill_value=False)
    return rows.drop_columns([_MATCHES]).filter(pc.invert(matches))


def class_to_keep(handle: Handle, part: PlacedPartition, as_of: datetime) -> str:
    """The storage class of a partition's rewritten files: that of its files, or the policy's if they have several."""
    classes = tuple(name for name in part.classes if name != MISSING)
    if len(classes) == 1:
        return classes[0]
    window = window_of_key(handle.spec, part.key)
    due = class_of_tier(handle.spec, handle.fs.profile, tier_at(handle.spec, window.age(as_of))) if window else None
    return due if due is not None and due in classes else handle.spec.write.storage_class


def archived_classes(handle: Handle, part: PlacedPartition) -> str | None:
    """The classes of a partition that need a restore before reading, in words; None where there are none."""
    return ", ".join(sorted({file.storage_class for file in unreadable(handle, part.files)})) or None


@tracing.span("rewrite.commit")
def commit_rewrites(
    handle: Handle,
    operation: Literal["compact", "erase"],
    rewrites: Sequence[Rewrite],
    details: Mapping[str, object],
    snapshot_of: Callable[[], Snapshot] | None = None,
) -> tuple[Commit | None, tuple[Rewrite, ...]]:
    """Swap files in one commit, where all sources are still live.

    Args:
        handle: The dataset.
        operation: `compact` or `erase`.
        rewrites: The files to swap.
        details: JSON values for the commit's metadata.
        snapshot_of: Reads the table; for tests.

    Returns:
        The commit, None where nothing was left to swap; and the rewrites that came too late.

    Raises:
        CommitConflict: Others kept winning.
    """
    import uuid

    run_key = uuid.uuid4().hex
    read = snapshot_of or handle.table.snapshot
    fences = {rewrite.fence for rewrite in rewrites}
    record: RemovalRecord | None = None
    for attempt in attempts(f"lake://{handle.table.root}", on=CommitConflict):
        with attempt:
            base = read()
            live = {file.path for file in base.files}
            standing: list[Rewrite] = []
            late: list[Rewrite] = []
            for rewrite in rewrites:
                (standing if all(file.path in live for file in rewrite.sources) else late).append(rewrite)
            if attempt.number and late and handle.table.is_committed(run_key):
                standing, late = list(rewrites), []  # our own commit took them out, and its reply was lost
            if not standing:
                return None, tuple(late)
            adds = tuple(staged for rewrite in standing for staged in _timed(rewrite, operation))
            removes = tuple(file for rewrite in standing for file in rewrite.sources)
            record = begun(
                handle,
                operation,
                removed_partitions(removes, "written anew", (staged.file for staged in adds)),
                base,
                record_id=record.id if record is not None else None,
            )
            change = Change(
                operation=operation,
                base=base,
                adds=adds,
                removes=removes,
                run_key=run_key,
                fence=next(iter(fences)) if len(fences) == 1 else None,
                details={
                    "removal": record.id,
                    "partitions": len({rewrite.key for rewrite in standing}),
                    "rows": sum(staged.file.rows or 0 for staged in adds),
                    "bytes": sum(staged.file.size for staged in adds),
                    **details,
                },
            )
            commit = handle.table.commit(change)
            completed(handle, record, commit)
            return commit, tuple(late)
    raise AssertionError  # the last attempt raises


def _timed(rewrite: Rewrite, operation: Literal["compact", "erase"]) -> tuple[StagedFile, ...]:
    """The new files. A compaction changes no row, so its files keep the time of the newest of their sources."""
    if operation != "compact":
        return rewrite.staged
    newest = max(file.modified for file in rewrite.sources)
    return tuple(replace(staged, file=replace(staged.file, modified=newest)) for staged in rewrite.staged)
