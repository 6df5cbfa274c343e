"""Plain tables: a Hive-partitioned prefix, and the listing is the truth.

Partitions that we write are one object under a stable key, replaced by one PUT, so a reader sees the old rows or the
new ones. There is no commit over several partitions: an ingest is complete when its run record is there, and a run
that died is finished by running it again. On a versioned bucket an expired partition is a delete marker, and undo
removes it.
"""

from __future__ import annotations

import io
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema
from deltalake.exceptions import DeltaError

from tierlake.connector.errors import (
    AccessDenied,
    ObjectArchived,
    ObjectNotFound,
    PreconditionFailed,
    UnsupportedByServer,
)
from tierlake.pipelines.errors import (
    ArchivedError,
    CommitConflict,
    PolicyRefused,
    SourceError,
    TableNotFound,
    UnsupportedByTable,
)
from tierlake.pipelines.model.partition_key import PartitionKey, hive_columns
from tierlake.pipelines.model.schema import evolved_schema
from tierlake.pipelines.model.stored_types import ROW_COLUMN, filterable_type
from tierlake.pipelines.parquet.scan import parquet_format
from tierlake.pipelines.runtime.clock import time_of_change
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.runtime.identity import user_and_host
from tierlake.pipelines.tables.change_times import ChangeTimes
from tierlake.pipelines.tables.error_edge import edge
from tierlake.pipelines.tables.live_files import FileNames, arrow_filesystem
from tierlake.pipelines.tables.lost_log import has_begun
from tierlake.pipelines.tables.nested import LOG, is_nested, nested_roots, outside_nested
from tierlake.pipelines.tables.protocol import Change, Commit, LiveFile, RecentLog, RemovedFile, Snapshot, StagedFile
from tierlake.pipelines.tables.rows import live_dataset
from tierlake.pipelines.tables.runs import RUN_METADATA, run_token
from tierlake.pipelines.tables.states import ListedChanges, ListedRows, plain_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.objects.metadata import ObjectVersion
    from tierlake.pipelines.parquet.scan import LiveDataset
    from tierlake.pipelines.tables.change_times import KnownTimes
    from tierlake.pipelines.tables.protocol import SameRows

__all__ = ["PlainParquetTable", "open_plain"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_OBJECT_NAME = "data.parquet"
_CONCURRENCY = 8
_SCHEMA_ATTEMPTS = 5


@edge
class PlainParquetTable:
    """One prefix of Hive-partitioned Parquet, ours or anybody's."""

    format = "parquet"
    can_append = False
    is_published_by_writing = True

    def __init__(self, fs: LakeFileSystem, root: str, partition_columns: tuple[str, ...]) -> None:
        """Point at `root` (`bucket/prefix`); nothing is read yet."""
        self._fs = fs
        self.root = root
        self.partition_columns = partition_columns
        self._times = ChangeTimes(fs, root)

    # -- reading ------------------------------------------------------------------------------------------------------

    def key_of(self, path: str) -> PartitionKey:
        """The partition of a file, by its path below the root."""
        return PartitionKey.of_path(path, self.partition_columns)

    def told_key(self, path: str, columns: tuple[str, ...]) -> PartitionKey | None:  # noqa: ARG002 - the protocol's
        """The path is what tells it; see `Table.told_key`."""
        return self.key_of(path)

    def snapshot(self, version: int | None = None) -> Snapshot:
        """What the listing shows; see `Table.snapshot`.

        Raises:
            UnsupportedByTable: it was adopted meanwhile, and goes by a log now.
        """
        if version is not None:
            raise self._without_versions()
        return self.look(is_adopting=False)

    def look(self, *, is_adopting: bool = True) -> Snapshot:
        """What the listing shows, for whoever makes a Delta table of it; others must not go by it then."""
        infos, times = self._listed(is_adopting=is_adopting)
        files = tuple(
            LiveFile(
                path=path,
                size=int(info["size"]),
                key=self.key_of(path),
                rows=None,
                modified=times.changed(path, info),
                etag=str(info.get("ETag") or "").strip('"'),
            )
            for path, info in infos.items()
        )
        classes = {file.path: str(infos[file.path].get("StorageClass")) for file in files}
        return Snapshot(0, files, self._schema(files, classes))

    def _listed(self, *, is_adopting: bool = False) -> tuple[dict[str, dict[str, Any]], KnownTimes]:
        """The table's objects by path below the root, and what is known of their times; one listing."""
        self._fs.invalidate_cache()
        found = self._fs.find(self.root, detail=True)
        if not is_adopting:
            self._check_has_no_log(found)
        infos = outside_nested({name.removeprefix(f"{self.root}/"): info for name, info in found.items()})
        data = {path: info for path, info in sorted(infos.items()) if _is_data(path, info)}
        return data, self._times.read(found)

    def _check_has_no_log(self, paths: Iterable[str]) -> None:
        """A log would name none of the objects that are written here, and go on to name those that they replace."""
        if any(path.startswith(f"{self.root}/{LOG}") and has_begun(path) for path in paths):
            message = f"lake://{self.root} has become a Delta table since it was opened as plain Parquet"
            hint = f"open it again; `tierlake adopt lake://{self.root}` completes an adoption that was interrupted"
            raise UnsupportedByTable(message, hint=hint)

    def changes(
        self,
        snapshot: Snapshot,
        keys: Collection[PartitionKey],
        since: datetime,  # noqa: ARG002 - the protocol's
    ) -> Mapping[PartitionKey, datetime]:
        """By the objects' times, and what we know of them; see `Table.changes`."""
        by_partition = snapshot.by_partition()
        return {key: max(file.modified for file in by_partition[key]) for key in keys if key in by_partition}

    def state(self, version: int | None = None) -> str:  # noqa: ARG002 - there are no versions
        """The second at which it is looked at, and what is new then; see `Table.state`."""
        second = int(self._fs.server_time(self.root).timestamp())  # before the listing: what comes meanwhile is later
        return plain_state(second, (rows for group in self._rows().values() for rows in group))

    def changes_since(self, states: Collection[str]) -> ListedChanges:  # noqa: ARG002 - the protocol's
        """By the objects' times, and what we know of them; see `Table.changes_since`."""
        return ListedChanges(self._rows())

    def _rows(self) -> dict[PartitionKey, list[ListedRows]]:
        infos, times = self._listed()
        rows: dict[PartitionKey, list[ListedRows]] = {}
        for path, info in infos.items():
            second = int(times.changed(path, info).timestamp())
            rows.setdefault(self.key_of(path), []).append(ListedRows.of(path, times.first_object(path, info), second))
        return rows

    def note_same_rows(self, rewritten: Sequence[SameRows]) -> None:
        """Write down when their rows had changed; see `Table.note_same_rows`."""
        if rewritten:
            self._times.note_same_rows(rewritten)

    def version_at(self, instant: datetime) -> int:  # noqa: ARG002 - the protocol's
        """There are no versions; see `Table.version_at`."""
        raise self._without_versions()

    def _without_versions(self) -> UnsupportedByTable:
        message = f"lake://{self.root} is plain Parquet and keeps no older versions to read"
        return UnsupportedByTable(message, hint="use format: delta for time travel")

    def _schema(self, files: tuple[LiveFile, ...], classes: Mapping[str, str]) -> pa.Schema | ArchivedError | None:
        kept = self._stored_schema()
        if kept is not None:
            return kept[0]
        if not files:
            return None
        stored = self._newest_schema(files, classes)
        if isinstance(stored, ArchivedError):
            return stored
        keys = [pa.field(name, pa.string()) for name in self.partition_columns]
        hidden = {*self.partition_columns, ROW_COLUMN}
        return pa.schema([*keys, *(field for field in stored if field.name not in hidden)])

    def _newest_schema(self, files: tuple[LiveFile, ...], classes: Mapping[str, str]) -> pa.Schema | ArchivedError:
        """Of the newest file that can be read; of the next where others left one that is not Parquet."""
        filesystem = arrow_filesystem(self._fs)
        broken = ""
        archived: list[LiveFile] = []
        newest = sorted(files, key=lambda file: file.modified, reverse=True)
        hidden = [file for file in newest if classes[file.path] in self._fs.profile.archived_classes]
        readable = [file for file in newest if classes[file.path] not in self._fs.profile.archived_classes]
        for file in [*readable[:_SCHEMA_ATTEMPTS], *hidden[:_SCHEMA_ATTEMPTS]]:  # one of those may be restored
            fragment = parquet_format().make_fragment(f"{self.root}/{file.path}", filesystem)
            try:
                stored = fragment.physical_schema.remove_metadata()
            except ObjectArchived:
                archived.append(file)
                continue
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                broken = f"lake://{self.root}/{file.path} is not Parquet, or not for pyarrow: {error}"
                continue
            return pa.schema([field.with_type(filterable_type(field.type)) for field in stored])
        if archived and not broken:
            return self._all_archived(archived[0], classes)
        raise SourceError(broken, hint=f"nor are the next of the newest {min(len(newest), _SCHEMA_ATTEMPTS)} files")

    def _all_archived(self, newest: LiveFile, classes: Mapping[str, str]) -> ArchivedError:
        uri, key = f"lake://{self.root}", str(newest.key)
        message = f"{uri}: no file tells the columns: all are archived in {', '.join(sorted(set(classes.values())))}"
        hint = f"`tierlake restore {uri} {key}` asks for the newest partition, which tells them"
        return ArchivedError(message, hint=hint, keys=(key,))

    def dataset(self, snapshot: Snapshot) -> LiveDataset:
        """The rows of a snapshot, lazily; partition columns are strings, '' is null; see `LiveDataset`."""
        names = FileNames(self._fs, self.root, {f"{self.root}/{file.path}": file.key for file in snapshot.files})
        return live_dataset(arrow_filesystem(self._fs, names), self.root, snapshot, self.partition_columns)

    def history(self, limit: int | None = None) -> list[Commit]:
        """Ingests by their run records, newest first; expiries are in the journal."""
        records = sorted(self._records().values(), key=lambda record: str(record["at"]), reverse=True)
        return [
            Commit(0, datetime.fromisoformat(record["at"]), record["operation"], record["run_key"], record["details"])
            for record in records[:limit]
        ]

    def removed_files(self) -> Sequence[RemovedFile]:
        """Objects behind a delete marker; none on an unversioned bucket, where gone is gone."""
        if not self._fs.is_versioned(self.root.partition("/")[0]):
            return []
        below = {
            version: version.path.removeprefix(f"{self.root}/") for version in self._fs.object_versions(f"{self.root}/")
        }
        nested = nested_roots(below.values())
        return [
            RemovedFile(path, version.modified, self.key_of(path))
            for version, path in below.items()
            if version.is_latest and version.is_delete_marker and not _is_ours(path) and not is_nested(path, nested)
        ]

    # -- writing ------------------------------------------------------------------------------------------------------

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:  # noqa: ARG002 - the protocol's
        """The stable key of the partition's one object."""
        return f"{key.prefix}/{_OBJECT_NAME}" if key.items else _OBJECT_NAME

    def is_committed(self, run_key: str) -> bool:
        """Whether this run's record is there; an expiry of one of its partitions deletes it."""
        return bool(self._fs.exists(self._record_path(run_token(run_key))))

    def left_of(self, run_key: str, snapshot: Snapshot) -> frozenset[PartitionKey]:  # noqa: ARG002 - the protocol's
        """Nothing is appended here, so nobody has to know; see `Table.left_of`."""
        return frozenset()

    def check_takes(self, change: Change) -> None:
        """Refuse partitions that no single PUT can replace; see `Table.check_takes`."""
        self._check_single_objects(change)
        for key in change.touched():
            self.path_for(key, "", 0, "")

    def check_can_remove(self) -> None:
        """Refuse where the store has neither versions nor conditions; see `Table.check_can_remove`."""
        profile = self._fs.profile
        if profile.delete_if_match or self._fs.is_versioned(self.root.partition("/")[0]):
            return
        raise self._unsafe(f"lake://{self.root}", profile.alternative("delete_if_match"))

    def _unsafe(self, what: str, alternative: str) -> UnsupportedByTable:
        message = (
            f"{what} could be replaced by an ingest while it is deleted, and {self._fs.profile.name} has no condition"
        )
        return UnsupportedByTable(f"{message} that would notice", hint=f"use {alternative}")

    def commit(self, change: Change) -> Commit:
        """Publish partition by partition, then write the run record; see `Table.commit`.

        Raises:
            UnsupportedByTable: a replace of a partition that others wrote as several objects.
            CommitConflict: an undo of a partition that has live files again.
            UnsupportedByTable: it was adopted meanwhile.
        """
        self._check_has_no_log(self._fs.first_keys(f"{self.root}/{LOG}"))
        written: list[LiveFile] = []
        taken: list[LiveFile | None] = []
        match change.operation:
            case "ingest":
                self._check_single_objects(change)
                self._keep_schema(change.schema)
                added = {staged.file.key for staged in change.adds}
                published = _each(partial(self._publish, change), change.adds)
                written, taken = [new for new, _ in published], [old for _, old in published]
                taken += _each(partial(self._empty, change), [file for file in change.removes if file.key not in added])
            case "erase":
                _each(self._swap, change.adds)
                _each(partial(self._without_rows, change), change.removes)
                self._note_neighbours(change)
            case "expire":
                try:
                    _each(self._remove, change.removes)
                except CommitConflict as error:
                    error.is_partial = True
                    raise
                self._forget_runs(change.touched())
            case "undo":
                replaced = {file.path: file for file in change.removes}
                coming = self._hidden([one.file.path for one in change.adds if one.file.path not in replaced])
                self._note_changes(coming)  # for a process that dies before it can say more
                _each(partial(self._restore, replaced), change.adds)
                self._note_changes(coming)
                if replaced:
                    self._forget_runs(change.touched())
            case _:
                message = f"{change.operation} is not possible on plain Parquet (lake://{self.root})"
                raise UnsupportedByTable(message, hint="`tierlake adopt` makes it a Delta table")
        self._fs.invalidate_cache()
        return self._record(change, tuple(written), tuple(file for file in taken if file is not None))

    def fence(self, now: datetime) -> None:
        """No log, and no commit that could rest on it; see `Table.fence`."""

    def recent(self, since: datetime) -> RecentLog:  # noqa: ARG002 - the protocol's
        """The journal alone knows what left; see `Table.recent`."""
        return RecentLog({}, reaches_back=True)

    def made_at(self, version: int) -> datetime | None:  # noqa: ARG002 - the protocol's
        """There are no versions; see `Table.made_at`."""
        return None

    def commit_of(self, removal: str, base: int) -> Commit | None:  # noqa: ARG002 - the protocol's
        """There are no versions; see `Table.commit_of`."""
        return None

    def named_after(self, version: int) -> frozenset[str] | None:  # noqa: ARG002 - the protocol's
        """There are no versions; see `Table.named_after`."""
        return frozenset()

    def identified(self, files: Sequence[LiveFile], *, must_know: bool = True) -> tuple[LiveFile, ...]:
        """Objects with their versions, where the bucket keeps any; see `Table.identified`."""
        if not files:
            return ()
        nameless: str | None = None
        try:
            if not self._fs.is_versioned(self.root.partition("/")[0]):
                return tuple(files)
            nameless = "null"  # which some servers do not say
        except AccessDenied:
            if must_know:
                raise
        return tuple(_each(partial(self._identified, nameless), files))

    def _identified(self, nameless: str | None, file: LiveFile) -> LiveFile:
        there = self._object(file.path, file.key)
        if there is None or there.etag != file.etag:
            raise self._replaced(f"{self.root}/{file.path}")
        return replace(file, version_id=there.version_id or nameless, run=there.run)

    def below(self, file: LiveFile, is_own: Callable[[LiveFile], bool]) -> tuple[LiveFile | None, tuple[LiveFile, ...]]:
        """By the versions of the object; see `Table.below`."""
        if not is_own(file):
            return file, ()
        own = [file]
        for version in self._older(file):
            found = None if version.is_delete_marker else self._object(file.path, file.key, version.version_id)
            if found is None or not is_own(found):
                return found, tuple(own)
            own.append(found)
        return None, tuple(own)

    def properties(self) -> Mapping[str, str]:
        """A plain table has none."""
        return {}

    def set_properties(self, properties: Mapping[str, str], details: Mapping[str, object]) -> int | None:  # noqa: ARG002 - the protocol's
        """Nowhere to keep any."""
        return None

    def declare(self, schema: pa.Schema) -> None:
        """Columns in the schema beside the files; see `Table.declare`."""
        self._keep_schema(schema)

    # -- the schema, beside the files ---------------------------------------------------------------------------------

    @property
    def _schema_path(self) -> str:
        return f"{self.root}/_lake/schema.json"

    def _stored_schema(self) -> tuple[pa.Schema, str] | None:
        try:
            data, etag = self._fs.read_with_etag(self._schema_path)
        except FileNotFoundError:
            return None
        try:
            return pa.schema(Schema.from_json(data.decode()).to_arrow()), etag
        except (ValueError, DeltaError) as error:
            raise SourceError(f"lake://{self._schema_path} is no schema: {error}") from error

    def _keep_schema(self, wanted: pa.Schema | None) -> None:
        """Write down the columns that an ingest adds, before a file has them: no reader misses one then.

        Raises:
            SchemaMismatch: another writer gave a column a type that does not meet ours.
            CommitConflict: others kept changing it.
        """
        if wanted is None:
            return
        for attempt in attempts(f"lake://{self._schema_path}", done="nothing was changed"):
            with attempt:
                kept = self._stored_schema()
                merged = wanted if kept is None else evolved_schema(kept[0], wanted)
                if kept is not None and merged.equals(kept[0]):
                    return
                data = Schema.from_arrow(merged).to_json().encode()
                try:
                    if kept is None:
                        self._fs.put_if(self._schema_path, data, if_none_match=True)
                    else:
                        self._fs.put_if(self._schema_path, data, if_match=kept[1])
                except PreconditionFailed:
                    continue
                return
        raise AssertionError  # the last attempt raises

    def _check_single_objects(self, change: Change) -> None:
        for key, files in change.base.by_partition().items():
            if key in change.touched() and len(files) > 1:
                message = f"lake://{self.root}: {key} is {len(files)} objects, which no single PUT can replace"
                raise UnsupportedByTable(message, hint="`tierlake adopt` makes it a Delta table, which can")

    def _publish(self, change: Change, staged: StagedFile) -> tuple[LiveFile, LiveFile | None]:
        """Put an object where its partition's is; the object as it is now, and what it replaced.

        Whoever came between the look and the PUT is replaced too: to replace means to replace what is there then.
        """
        key = staged.file.key
        before = next((file for file in change.removes if file.key == key), None)
        path = before.path if before is not None else self.path_for(key, "", 0, "")
        name = f"{self.root}/{path}"
        mark = {RUN_METADATA: run_token(change.run_key)} if change.run_key is not None else {}
        if staged.waiting is not None:
            return self._publish_anyway(staged, path, mark)
        if staged.local is None:  # pragma: no cover - the writer keeps the spool where writing is publishing
            raise ValueError(key)
        for attempt in attempts(f"lake://{name}", done="it is as others left it"):
            with attempt:
                condition = {"if_none_match": True} if before is None else {"if_match": before.etag}
                try:
                    etag = self._fs.put_file_if(staged.local, name, **condition, metadata=mark)
                except UnsupportedByServer:
                    return self._publish_anyway(staged, path, mark)
                except PreconditionFailed:
                    before = self._object(path, key)
                else:
                    return replace(staged.file, path=path, etag=etag), before
        raise AssertionError  # the last attempt raises

    def _publish_anyway(
        self, staged: StagedFile, path: str, mark: Mapping[str, str]
    ) -> tuple[LiveFile, LiveFile | None]:
        """What is copied into place, or is too large for the server's conditions; what it replaced is looked for."""
        name, key = f"{self.root}/{path}", staged.file.key
        before = self._object(path, key)
        if staged.waiting is not None:
            self._fs.cp_file(f"{self.root}/{staged.waiting}", name)
        else:
            self._fs.put_file(staged.local, name, Metadata=dict(mark))
        new = self._object(path, key)
        if new is None:
            raise self._replaced(name)
        older = self._older(new)
        if older:  # whoever came between the look and the PUT is there too
            below = older[0]
            before = None if below.is_delete_marker else self._object(path, key, below.version_id)
        return replace(staged.file, path=path, etag=new.etag), before

    def _older(self, file: LiveFile) -> Sequence[ObjectVersion]:
        """The versions below one of an object, the newest first; none for who may not see any."""
        if file.version_id is None:
            return []
        name = f"{self.root}/{file.path}"
        try:
            versions = [version for version in self._fs.object_versions(name) if version.path == name]
        except AccessDenied:
            return []
        ids = [version.version_id for version in versions]
        return versions[ids.index(file.version_id) + 1 :] if file.version_id in ids else []

    def _empty(self, change: Change, file: LiveFile) -> LiveFile | None:
        """Take from view what a partition without rows has; what that was."""
        there: LiveFile | None = file
        for attempt in attempts(f"lake://{self.root}/{file.path}", done="it is as others left it"):
            with attempt:
                if there is None:
                    return None
                try:
                    self._without_rows(change, there)
                except CommitConflict:
                    there = self._object(file.path, file.key)
                else:
                    return there
        raise AssertionError  # the last attempt raises

    def _object(self, path: str, key: PartitionKey, version_id: str | None = None) -> LiveFile | None:
        """An object as it is now, or a version of it, with what identifies it; None where there is none."""
        try:
            head = self._fs.head_object(f"{self.root}/{path}", version_id)
        except ObjectNotFound:
            return None
        return LiveFile(
            path=path,
            size=int(head["ContentLength"]),
            key=key,
            rows=None,
            modified=head["LastModified"],
            etag=str(head["ETag"]).strip('"'),
            version_id=version_id or (str(head["VersionId"]) if head.get("VersionId") else None),
            run=(head.get("Metadata") or {}).get(RUN_METADATA),
        )

    def _swap(self, staged: StagedFile) -> None:
        """Replace an object that must still be the one that was read."""
        path = f"{self.root}/{staged.file.path}"
        fs = self._fs.for_table(self.root, storage_class=staged.storage_class)
        if staged.local is None or staged.if_match is None:  # pragma: no cover - the caller has both
            raise ValueError(path)
        try:
            fs.put_file_if(staged.local, path, if_match=staged.if_match)
        except (PreconditionFailed, ObjectNotFound) as error:
            raise self._replaced(path) from error

    def _replaced(self, path: str) -> CommitConflict:
        return CommitConflict(f"lake://{path} was replaced or deleted by another writer meanwhile", hint="run it again")

    def _remove(self, file: LiveFile) -> None:
        """Take an object from view that must still be the one that was seen."""
        name = f"{self.root}/{file.path}"
        try:
            self._fs.hide(name, etag=file.etag or "", version_id=file.version_id)
        except (PreconditionFailed, ObjectNotFound) as error:
            raise self._replaced(name) from error
        except UnsupportedByServer as error:
            raise self._unsafe(f"lake://{name}", str(error.alternative)) from error

    def _without_rows(self, change: Change, file: LiveFile) -> None:
        """Take an object from view that must still be the one that was seen, or its rows.

        Where nothing makes sure of that for a deletion, an object without rows takes its place: a PUT has a condition.
        """
        try:
            self._remove(file)
        except UnsupportedByTable:
            schema = change.base.known_schema or pa.schema([])
            columns = pa.schema([field for field in schema if field.name not in self.partition_columns])
            data = io.BytesIO()
            pq.write_table(columns.empty_table(), data)
            name = f"{self.root}/{file.path}"
            try:
                self._fs.put_if(name, data.getvalue(), if_match=file.etag)
            except (PreconditionFailed, ObjectNotFound) as error:
                raise self._replaced(name) from error

    def _restore(self, replaced: Mapping[str, LiveFile], staged: StagedFile) -> None:
        """Bring a version back: from behind its delete marker, or over what replaced it."""
        name, version = f"{self.root}/{staged.file.path}", staged.file.version_id
        gone = f"lake://{name}: no version is left to bring back"
        hint = "the bucket was not versioned, or the grace ended and vacuum deleted it"
        if version is None:
            raise PolicyRefused(gone, hint=hint)
        try:
            if staged.file.path in replaced:
                self._fs.bring_back(name, version_id=version, etag=replaced[staged.file.path].etag or "")
            else:
                self._fs.unhide(name, version_id=version)
        except ObjectNotFound as error:
            raise PolicyRefused(gone, hint=hint) from error
        except PreconditionFailed as error:
            message = f"lake://{name} has been written anew"
            raise CommitConflict(message, hint="it was ingested anew; undo would double its rows") from error

    # -- times that the objects do not tell ---------------------------------------------------------------------------

    def _hidden(self, paths: Sequence[str]) -> dict[str, tuple[str, datetime]]:
        """ETag and time of the objects behind delete markers: they come back with them, though rows have changed."""
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            found = pool.map(lambda path: self._fs.object_versions(f"{self.root}/{path}"), paths)
            newest = {
                path: next((v for v in versions if v.path == f"{self.root}/{path}" and not v.is_delete_marker), None)
                for path, versions in zip(paths, found, strict=True)
            }
        return {path: (version.etag, version.modified) for path, version in newest.items() if version is not None}

    def _note_changes(self, objects: Mapping[str, tuple[str, datetime]]) -> None:
        if objects:
            self._times.note_changes(objects, time_of_change(self._fs, self.root.partition("/")[0]))

    def _note_neighbours(self, change: Change) -> None:
        """Where an object left a partition that has others, their times do not tell that rows went."""
        gone, path = {file.key for file in change.removes}, f"{self.root}/"
        if not gone:
            return
        infos = {name.removeprefix(path): info for name, info in self._fs.find(self.root, detail=True).items()}
        left = {
            name: (str(info.get("ETag") or "").strip('"'), info["LastModified"])
            for name, info in infos.items()
            if _is_data(name, info) and self.key_of(name) in gone
        }
        self._note_changes(left)

    # -- run records --------------------------------------------------------------------------------------------------

    def _record_path(self, token: str) -> str:
        return f"{self.root}/_lake/runs/{token}.json"

    def _record(self, change: Change, written: tuple[LiveFile, ...], taken: tuple[LiveFile, ...]) -> Commit:
        run_key = change.run_key or uuid.uuid4().hex
        at = time_of_change(self._fs, self.root.partition("/")[0])
        record = {
            "run_key": run_key,
            "operation": change.operation,
            "at": at.isoformat(),
            "partitions": sorted(str(key) for key in change.touched()),
            "details": {"by": user_and_host(), **change.details},
        }
        if change.operation == "ingest":
            self._fs.pipe_file(self._record_path(run_token(run_key)), json.dumps(record).encode())
        return Commit(0, at, change.operation, run_key, dict(change.details), written, taken)

    def _records(self) -> dict[str, dict[str, Any]]:
        folder = f"{self.root}/_lake/runs"
        self._fs.invalidate_cache(folder)
        paths = self._fs.find(folder)
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            return {
                path: json.loads(data) for path, data in zip(paths, pool.map(self._fs.cat_file, paths), strict=True)
            }

    def _forget_runs(self, expired: frozenset[PartitionKey]) -> None:
        names = {str(key) for key in expired}
        for path, record in self._records().items():
            if names & set(record["partitions"]):
                self._fs.rm_file(path)


def _is_ours(path: str) -> bool:
    return any(segment.startswith(("_", ".")) for segment in path.split("/"))


def _is_data(path: str, info: dict[str, Any]) -> bool:
    """A Parquet file that readers would read: not hidden by its name, not empty, not a "directory" object."""
    return info["type"] == "file" and bool(info["size"]) and path.endswith((".parquet", ".pq")) and not _is_ours(path)


def _each(act: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> list[ResultT]:
    """Do something to each item, all of them, and then raise the first error."""
    with ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="plain") as pool:
        # each in a context of its own: they share the budget of the act for conflicts
        started = [pool.submit(copy_context().run, act, item) for item in items]
    return [future.result() for future in started]


def open_plain(fs: LakeFileSystem, root: str, partition_columns: tuple[str, ...] | None) -> PlainParquetTable:
    """A prefix that holds Parquet, its partition columns told by the paths where nobody declared them.

    Raises:
        TableNotFound: no Parquet file below the prefix.
    """
    if partition_columns is not None:
        return PlainParquetTable(fs, root, partition_columns)
    listed = {name.removeprefix(f"{root}/"): info for name, info in fs.find(root, detail=True).items()}
    found = outside_nested(listed)
    paths = [path for path, info in found.items() if _is_data(path, info)]
    if paths:
        return PlainParquetTable(fs, root, hive_columns(paths))
    message = f"no table at lake://{root}: neither a Delta log nor a Parquet file below it"
    raise TableNotFound(message, hint=_what_is_there(root, listed, found))


def _what_is_there(root: str, listed: Collection[str], own: Collection[str]) -> str:
    """What to do where a prefix has no Parquet of its own."""
    if nested := sorted(nested_roots(listed)):
        return f"{len(nested)} tables lie below it: open lake://{root}/{nested[0]}"
    if others := [path for path in own if not _is_ours(path)]:
        return f"{len(others)} other objects are there, such as {min(others)}: a table's files end in .parquet"
    if hidden := [path for path in own if path.endswith((".parquet", ".pq")) and not path.startswith("_lake/")]:
        return f"{min(hidden)} is hidden: readers skip files and folders whose names begin with _ or ."
    return "create one with `tierlake create SPEC.yaml`"
