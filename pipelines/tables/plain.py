"""Plain tables: a Hive-partitioned prefix, whose live files are those of the listing.

Partitions that we write are one object under a stable key, replaced by one PUT, so a reader sees the old rows or the
new ones. There is no commit over several partitions: an ingest is complete when its run record is there, and a run
that died is finished by running it again. On a versioned bucket an expired partition is a delete marker, and undo
removes it.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from tierlake.pipelines.errors import CommitConflict, PolicyRefused, UnsupportedByTable
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime.clock import time_of_change
from tierlake.pipelines.runtime.listing import listed
from tierlake.pipelines.tables.change_times import ChangeTimes
from tierlake.pipelines.tables.commit_counts import committed
from tierlake.pipelines.tables.error_edge import edge
from tierlake.pipelines.tables.live_files import FileNames, arrow_filesystem
from tierlake.pipelines.tables.lost_log import has_begun
from tierlake.pipelines.tables.nested import LOG, is_nested, nested_roots, outside_nested
from tierlake.pipelines.tables.one_look import Looks
from tierlake.pipelines.tables.paths import WAITING, is_data, is_hidden
from tierlake.pipelines.tables.plain_objects import PlainObjects, each
from tierlake.pipelines.tables.plain_schema import PlainSchema
from tierlake.pipelines.tables.run_records import RunRecords
from tierlake.pipelines.tables.runs import RUN_METADATA, has_our_name, run_token
from tierlake.pipelines.tables.snapshot import (
    Change,
    Commit,
    Fate,
    LiveFile,
    RecentLog,
    RemovedFile,
    Snapshot,
    StagedFile,
)
from tierlake.pipelines.tables.staging import several
from tierlake.pipelines.tables.states import ListedChanges, ListedRows, plain_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.parquet.scan import LiveDataset
    from tierlake.pipelines.tables.change_times import KnownTimes
    from tierlake.pipelines.tables.protocol import Table
    from tierlake.pipelines.tables.snapshot import Operation, SameRows, SeenFile

    _Look: TypeAlias = tuple[dict[str, dict[str, Any]], KnownTimes, dict[str, dict[str, Any]]]

__all__ = ["PlainParquetTable"]

_OBJECT_NAME = "data.parquet"


@edge
class PlainParquetTable:
    """One prefix of Hive-partitioned Parquet, ours or others'."""

    format = "parquet"
    is_atomic = False

    def __init__(self, fs: LakeFileSystem, root: str, partition_columns: tuple[str, ...]) -> None:
        """Point at `root` (`bucket/prefix`); nothing is read yet."""
        self._fs = fs
        self.root = root
        self.partition_columns = partition_columns
        self._times = ChangeTimes(fs, root)
        self._kept: Looks[_Look] = Looks()
        self._objects = PlainObjects(fs, root)
        self._schema = PlainSchema(fs, root)
        self._runs = RunRecords(fs, root)

    # -- reading ------------------------------------------------------------------------------------------------------

    def key_of(self, path: str) -> PartitionKey:
        """The partition of a file, by its path below the root."""
        return PartitionKey.of_path(path, self.partition_columns)

    def path_key(self, path: str, columns: tuple[str, ...]) -> PartitionKey | None:  # noqa: ARG002 - the protocol's
        """The key in the path; see `Table.path_key`."""
        return self.key_of(path.removeprefix(WAITING))

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The objects of the listing; see `Table.snapshot`.

        Raises:
            UnsupportedByTable: It was adopted meanwhile, and has a log now.
        """
        if version is not None:
            raise self._without_versions()
        return self._shown(*self._looked())

    def look(self) -> Snapshot:
        """The objects of the listing, for adoption alone: with a log, others must not use the listing."""
        return self._shown(*self._looked(is_adopting=True))

    def _shown(
        self, infos: Mapping[str, Mapping[str, Any]], times: KnownTimes, stored: Mapping[str, Mapping[str, Any]]
    ) -> Snapshot:
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
        schema = self._schema.read(files, classes, self.partition_columns)
        return Snapshot(0, files, schema, has_log=False, stored=stored)

    def _listed(self, *, is_adopting: bool = False) -> tuple[dict[str, dict[str, Any]], KnownTimes]:
        """The table's objects by path below the root, and their recorded times; one listing."""
        return self._looked(is_adopting=is_adopting)[:2]

    def one_look(self) -> AbstractContextManager[None]:
        """The store is listed once; see `Table.one_look`."""
        return self._kept.once()

    def _looked(self, *, is_adopting: bool = False) -> _Look:
        """The same, and the whole listing by `bucket/key`."""
        return self._kept.at(partial(self._look_now, is_adopting=is_adopting))

    def _look_now(self, *, is_adopting: bool) -> _Look:
        listing = self._fs.list_fresh(self.root)
        if not is_adopting:
            self._check_has_no_log(listing)
        infos = outside_nested({name.removeprefix(f"{self.root}/"): info for name, info in listing.items()})
        data = {path: info for path, info in sorted(infos.items()) if is_data(path, info)}
        return data, self._times.read(listing), listing

    def _check_has_no_log(self, paths: Iterable[str]) -> None:
        """Refuse a root with a log: it would not name the objects written here, but those that they replace."""
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
        """By the objects' times and the recorded ones; see `Table.changes`."""
        by_partition = snapshot.by_partition()
        return {key: max(file.modified for file in by_partition[key]) for key in keys if key in by_partition}

    def state(self, version: int | None = None) -> str:  # noqa: ARG002 - there are no versions
        """The present second, and the objects that are new in it; see `Table.state`."""
        second = int(self._fs.server_time(self.root).timestamp())  # before the listing: later objects are newer
        return plain_state(second, (rows for group in self._rows().values() for rows in group))

    def changes_since(self, states: Collection[str]) -> ListedChanges:  # noqa: ARG002 - the protocol's
        """By the objects' times and the recorded ones; see `Table.changes_since`."""
        return ListedChanges(self._rows())

    def _rows(self) -> dict[PartitionKey, list[ListedRows]]:
        infos, times = self._listed()
        rows: dict[PartitionKey, list[ListedRows]] = {}
        for path, info in infos.items():
            second = int(times.changed(path, info).timestamp())
            rows.setdefault(self.key_of(path), []).append(ListedRows.of(path, times.first_object(path, info), second))
        return rows

    def note_same_rows(self, rewritten: Sequence[SameRows]) -> None:
        """Record when their rows had changed; see `Table.note_same_rows`."""
        if rewritten:
            self._times.note_same_rows(rewritten)

    def version_at(self, instant: datetime) -> int:  # noqa: ARG002 - the protocol's
        """There are no versions; see `Table.version_at`."""
        raise self._without_versions()

    def _without_versions(self) -> UnsupportedByTable:
        message = f"lake://{self.root} is plain Parquet and keeps no older versions to read"
        return UnsupportedByTable(message, hint="use format: delta for time travel")

    def dataset(self, snapshot: Snapshot) -> LiveDataset:
        """The rows of a snapshot, lazily; partition columns are strings, '' is null; see `LiveDataset`."""
        from tierlake.pipelines.tables.rows import live_dataset

        names = FileNames(self._fs, self.root, {f"{self.root}/{file.path}": file.key for file in snapshot.files})
        return live_dataset(arrow_filesystem(self._fs, names), names, snapshot, self.partition_columns)

    def history(self, limit: int | None = None) -> list[Commit]:
        """Ingests by their run records, newest first; expiries are in the journal."""
        return self._runs.newest(limit)

    def outdated_runs(
        self,
        snapshot: Snapshot,
        stored: Collection[str],  # noqa: ARG002 - the protocol's
        *,
        now: datetime,
        history: timedelta,
    ) -> list[str]:
        """Records of replaced ingests, older than the history; see `Table.outdated_runs`."""
        return self._runs.outdated(now - history, snapshot)

    def removed_files(self) -> Sequence[RemovedFile]:
        """Objects behind a delete marker; none on an unversioned bucket, which keeps no deleted objects."""
        if not self._fs.is_versioned(self.root.partition("/")[0]):
            return []
        below = {
            version: version.path.removeprefix(f"{self.root}/") for version in self._fs.object_versions(f"{self.root}/")
        }
        nested = nested_roots(below.values())
        return [
            RemovedFile(path, version.modified, self.key_of(path))
            for version, path in below.items()
            if version.is_latest and version.is_delete_marker and not is_hidden(path) and not is_nested(path, nested)
        ]

    # -- writing ------------------------------------------------------------------------------------------------------

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:  # noqa: ARG002 - the protocol's
        """The stable key of the partition's one object."""
        return f"{key.prefix}/{_OBJECT_NAME}" if key.items else _OBJECT_NAME

    def file_size(self, target: int) -> float:  # noqa: ARG002 - the protocol's
        """Unlimited, as a partition is one object; see `Table.file_size`."""
        return math.inf

    def upload_metadata(self, token: str) -> Mapping[str, str] | None:  # noqa: ARG002 - the protocol's
        """Files stay on disk, since an upload would be live; see `Table.upload_metadata`."""
        return None

    def for_workers(self) -> Table:
        """A table where files wait hidden; see `Table.for_workers`."""
        return WaitingRoom(self._fs, self.root, self.partition_columns)

    def to_join(self, staged: Iterable[StagedFile]) -> tuple[tuple[PartitionKey, tuple[StagedFile, ...]], ...]:
        """The partitions with several files; see `Table.to_join`."""
        return several(staged)

    def to_publish(self, staged: Sequence[StagedFile]) -> tuple[StagedFile, ...]:
        """Copied from where they wait to their partitions' keys; see `Table.to_publish`."""
        return tuple(
            replace(
                one,
                file=replace(one.file, path=self.path_for(one.file.key, "", 0, "")),
                waiting=one.file.path,
            )
            for one in staged
        )

    def has_own_name(self, path: str) -> bool:
        """Only files of workers that are not copied yet; see `Table.has_own_name`."""
        return path.startswith(WAITING) and has_our_name(path)

    def is_replaced_in_place(self, path: str) -> bool:
        """All but files that wait for their commit; see `Table.is_replaced_in_place`."""
        return not path.startswith(WAITING)

    def identity(self, file: SeenFile) -> tuple[str, str]:
        """The path and the ETag; see `Table.identity`."""
        return file.path, file.etag or ""

    def is_as_seen(self, live: Iterable[SeenFile], seen: Iterable[SeenFile]) -> bool:
        """Those objects, or the rest of them; see `Table.is_as_seen`."""
        return {(*self.identity(file), file.size) for file in live} <= {
            (*self.identity(file), file.size) for file in seen
        }

    def lost(self, files: Sequence[LiveFile]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        """The commit looks at files on disk and at versions itself; see `Table.lost`."""
        return ()

    def keeps(self, files: Iterable[LiveFile]) -> bool:
        """As older versions of their objects; see `Table.keeps`."""
        return all(file.version_id is not None for file in files)

    def keeps_replaced(self) -> bool:
        """Where the bucket keeps versions; see `Table.keeps_replaced`."""
        return bool(self._fs.has_versions(self.root.partition("/")[0]))

    def check_operation(self, operation: Operation, *, by_workers: bool = False) -> None:
        """Refuse operations that need several files per partition, or several objects at once."""
        adopts = "`tierlake adopt` makes it a Delta table"
        uri = f"lake://{self.root}"
        if operation == "append":
            message = f"{uri} is plain Parquet: a partition is one object, and append would rewrite it"
            raise UnsupportedByTable(message, hint="use mode='replace', or a dataset with format: delta")
        if operation == "compact":
            message = f"{uri} is plain Parquet: a partition that we wrote is one object"
            raise UnsupportedByTable(message, hint=f"{adopts}, which can be compacted")
        if operation == "erase" and by_workers:
            message = f"{uri} is plain Parquet: its objects are swapped one by one, without workers"
            raise UnsupportedByTable(message, hint=f"leave engine='dask' out, or {adopts}")

    def is_committed(self, run_key: str) -> bool:
        """Whether this run's record is there; an expiry of one of its partitions deletes it."""
        return self._runs.has(run_key)

    def left_of(self, run_key: str, snapshot: Snapshot) -> frozenset[PartitionKey]:  # noqa: ARG002 - the protocol's
        """None: this matters for appends alone; see `Table.left_of`."""
        return frozenset()

    def check_takes(self, change: Change) -> None:
        """Refuse partitions that no single PUT can replace; see `Table.check_takes`."""
        self._check_single_objects(change)
        for key in change.touched:
            self.path_for(key, "", 0, "")

    def check_can_remove(self, *, undo: bool) -> None:
        """Refuse a store with neither versions nor conditions; see `Table.check_can_remove`."""
        profile = self._fs.profile
        bucket = self.root.partition("/")[0]
        if undo and not self._fs.is_versioned(bucket):
            message = f"lake://{self.root} is plain Parquet in an unversioned bucket: what expires could not come back"
            hint = "turn versioning on, use format: delta, or give undo up: `--no-undo`, in Python undo=False"
            raise PolicyRefused(message, hint=hint)
        if profile.delete_if_match or self._fs.is_versioned(bucket):
            return
        raise self._objects.unsafe(f"lake://{self.root}", profile.alternative("delete_if_match"))

    def commit(self, change: Change) -> Commit:
        """Publish partition by partition, then write the run record; see `Table.commit`.

        Raises:
            UnsupportedByTable: A replace of a partition that others wrote as several objects.
            CommitConflict: An undo of a partition that has live files again.
            UnsupportedByTable: It was adopted meanwhile.
        """
        self._check_has_no_log(self._fs.first_keys(f"{self.root}/{LOG}"))
        written: list[LiveFile] = []
        taken: list[LiveFile] = []
        match change.operation:
            case "ingest":
                written, taken = self._ingest(change)
            case "erase":
                self._erase(change)
            case "expire":
                self._expire(change)
            case "undo":
                self._undo(change)
            case _:
                message = f"{change.operation} is not possible on plain Parquet (lake://{self.root})"
                raise UnsupportedByTable(message, hint="`tierlake adopt` makes it a Delta table")
        self._fs.invalidate_cache()
        run_key = change.run_key or uuid.uuid4().hex
        at = time_of_change(self._fs, self.root.partition("/")[0])
        if change.operation == "ingest":
            self._runs.write(run_key, change, at)
        committed(self.format, self.root)
        return Commit(None, at, change.operation, run_key, dict(change.details), tuple(written), tuple(taken))

    def fence(self, now: datetime) -> None:
        """Do nothing: there is no log; see `Table.fence`."""

    def recent(self, since: datetime) -> RecentLog:  # noqa: ARG002 - the protocol's
        """Nothing: only the journal has removed files; see `Table.recent`."""
        return RecentLog({}, reaches_back=True)

    def made_at(self, version: int) -> datetime | None:  # noqa: ARG002 - the protocol's
        """There are no versions; see `Table.made_at`."""
        return None

    def fate_of(self, removal: str, base: int, run_key: str | None) -> Fate:  # noqa: ARG002 - the protocol's
        """By the run record of an ingest, or the missing objects of an expiry; see `Table.fate_of`."""
        return Fate(is_made=run_key is None or self.is_committed(run_key))

    def named_after(self, version: int) -> frozenset[str] | None:  # noqa: ARG002 - the protocol's
        """There are no versions; see `Table.named_after`."""
        return frozenset()

    def identified(self, files: Sequence[LiveFile], *, must_know: bool = True) -> tuple[LiveFile, ...]:
        """Objects with their versions, where the bucket keeps any; see `Table.identified`."""
        return self._objects.identified(files, must_know=must_know)

    def below(self, file: LiveFile, is_own: Callable[[LiveFile], bool]) -> tuple[LiveFile | None, tuple[LiveFile, ...]]:
        """By the versions of the object; see `Table.below`."""
        return self._objects.below(file, is_own)

    def properties(self) -> Mapping[str, str]:
        """None: a plain table has no properties."""
        return {}

    def set_properties(self, properties: Mapping[str, str], details: Mapping[str, object]) -> int | None:  # noqa: ARG002 - the protocol's
        """Do nothing: a plain table has no properties."""
        return None

    def checkpointed_at(self) -> datetime | None:
        """Never: there is no log; see `Table.checkpointed_at`."""
        return None

    def declare(self, schema: pa.Schema) -> None:
        """Add columns to the schema beside the files; see `Table.declare`."""
        self._schema.keep(schema)

    def _check_single_objects(self, change: Change) -> None:
        for key, files in change.base.by_partition().items():
            if key in change.touched and len(files) > 1:
                message = f"lake://{self.root}: {key} is {len(files)} objects, which no single PUT can replace"
                raise UnsupportedByTable(message, hint="`tierlake adopt` makes it a Delta table, which can")

    # -- each operation -----------------------------------------------------------------------------------------------

    def _ingest(self, change: Change) -> tuple[list[LiveFile], list[LiveFile]]:
        """Publish partition by partition; return the new objects, and those that they replaced."""
        self._check_single_objects(change)
        self._schema.keep(change.schema)
        before = {file.key: file for file in change.removes}
        mark = {RUN_METADATA: run_token(change.run_key)} if change.run_key is not None else {}

        def publish(staged: StagedFile) -> tuple[LiveFile, LiveFile | None]:
            old = before.get(staged.file.key)
            path = old.path if old is not None else self.path_for(staged.file.key, "", 0, "")
            return self._objects.publish(staged, path, old, mark)

        published = each(publish, change.adds)
        added = {staged.file.key for staged in change.adds}
        emptied = [file for file in change.removes if file.key not in added]
        taken = [old for _, old in published] + each(partial(self._objects.empty, self._columns(change)), emptied)
        return [new for new, _ in published], [file for file in taken if file is not None]

    def _erase(self, change: Change) -> None:
        each(self._objects.swap, change.adds)
        each(partial(self._objects.remove_rows, self._columns(change)), change.removes)
        self._note_neighbours(change)

    def _expire(self, change: Change) -> None:
        try:
            each(self._objects.remove, change.removes)
        except CommitConflict as error:
            error.is_partial = True
            raise
        self._runs.forget(change.touched)

    def _undo(self, change: Change) -> None:
        replaced = {file.path: file for file in change.removes}
        coming = self._objects.hidden([one.file.path for one in change.adds if one.file.path not in replaced])
        self._note_changes(coming)  # in case the process dies before it can record more
        each(partial(self._objects.bring_back, replaced), change.adds)
        self._note_changes(coming)
        if replaced:
            self._runs.forget(change.touched)

    def _columns(self, change: Change) -> pa.Schema:
        """Of the files."""
        schema = change.base.known_schema or pa.schema([])
        return pa.schema([field for field in schema if field.name not in self.partition_columns])

    # -- times that the objects do not tell ---------------------------------------------------------------------------

    def _note_changes(self, objects: Mapping[str, tuple[str, datetime]]) -> None:
        if objects:
            self._times.note_changes(objects, time_of_change(self._fs, self.root.partition("/")[0]))

    def _note_neighbours(self, change: Change) -> None:
        """Record the time where an object left a partition with others, whose own times do not show it."""
        gone, path = {file.key for file in change.removes}, f"{self.root}/"
        if not gone:
            return
        infos = listed(self._fs, self.root, [file.path for file in change.removes])
        left = {
            name: (str(info.get("ETag") or "").strip('"'), info["LastModified"])
            for name, info in ((full.removeprefix(path), info) for full, info in infos.items())
            if is_data(name, info) and self.key_of(name) in gone
        }
        self._note_changes(left)


class WaitingRoom(PlainParquetTable):
    """A plain table as workers write to it: hidden from readers, until a copy publishes each file."""

    def upload_metadata(self, token: str) -> Mapping[str, str] | None:
        """The run's token, which the copy that publishes an object keeps; until then it is hidden from readers."""
        return {RUN_METADATA: token}

    def path_for(self, key: PartitionKey, token: str, number: int, suffix: str) -> str:
        """A new name for every attempt."""
        name = f"part-{token}-{uuid.uuid4().hex[:12]}-{number:05d}.{suffix}"
        return f"{WAITING}{key.prefix}/{name}" if key.items else f"{WAITING}{name}"
