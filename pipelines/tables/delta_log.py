"""Facts of a log that deltalake does not show: removed files, the files that commits named, and commit times.

`vacuum` and `undo` need it (deltalake's own vacuum takes no clock). A commit's time is that of its object in the store:
the time inside is from a client's clock, which may be wrong. Format: the Delta protocol's "Actions" and
"Checkpoints".
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard

import pyarrow as pa
import pyarrow.parquet as pq

from tierlake.connector.documents import UnreadableDocument, json_object
from tierlake.pipelines.errors import TableUnreadable
from tierlake.pipelines.model.partition_key import PartitionKey
from tierlake.pipelines.runtime.listing import contents
from tierlake.pipelines.tables.log_actions import actions, checked_file, instant_of
from tierlake.pipelines.tables.paths import data_path
from tierlake.pipelines.tables.snapshot import RecentLog, RemovedFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tierlake.connector.filesystem import LakeFileSystem

__all__ = ["LogEntry", "checkpointed_at", "entries", "infos_since", "named_after", "recent", "removed_files"]

_ENTRY = re.compile(r"(\d{20})\.json")
_BATCH = 32  # entries fetched at once
_LAST_VERSION = 10**20 - 1
_MOST_PARTS = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit's object.

    Attributes:
        version: The table's version after it.
        path: `bucket/key`.
        at: When it was written, by the store's clock.
    """

    version: int
    path: str
    at: datetime


def entries(fs: LakeFileSystem, root: str) -> list[LogEntry]:
    """The commits that the log still has, newest first; one LIST."""
    log = f"{root}/_delta_log"
    commits = []
    for path, info in fs.list_fresh(log).items():  # deltalake writes without fsspec
        match = _ENTRY.fullmatch(path.removeprefix(f"{log}/"))
        if match is not None:
            commits.append(LogEntry(int(match[1]), path, info["LastModified"]))
    return sorted(commits, key=lambda entry: entry.version, reverse=True)


def recent(fs: LakeFileSystem, root: str, since: datetime) -> RecentLog:
    """The files that commits named since an instant.

    The store's clock may have been put back: a commit counts as young as the youngest before it.

    Args:
        fs: Reads the log.
        root: `bucket/prefix`.
        since: By the store's clock.
    """
    named: dict[str, datetime] = {}
    log = entries(fs, root)
    at = since
    young = [entry for entry in log if entry.at >= since]
    # all up to the oldest young one: commits in between were made after it, whatever their time
    after = [entry for entry in log if young and entry.version >= young[-1].version]
    for entry, done in _read(fs, sorted(after, key=lambda one: one.version)):
        at = max(at, entry.at)
        for action in done:
            for name in ("add", "remove"):
                if (file := action.get(name)) is not None:
                    named[data_path(root, file["path"])] = at
    return RecentLog(named, reaches_back=bool(log) and (log[-1].version == 0 or log[-1].at < since))


def named_after(fs: LakeFileSystem, root: str, version: int) -> frozenset[str] | None:
    """The paths that commits after a version named; None where the log has forgotten some of those."""
    log = entries(fs, root)
    later = [entry for entry in log if entry.version > version]
    if log and log[-1].version > version + 1:
        return None
    return frozenset(
        data_path(root, file["path"])
        for _, done in _read(fs, later)
        for action in done
        for name in ("add", "remove")
        if (file := action.get(name)) is not None
    )


def infos_since(fs: LakeFileSystem, root: str, version: int) -> Iterator[tuple[LogEntry, dict[str, Any]]]:
    """The `commitInfo` of each commit after a version, oldest first."""
    later = [entry for entry in entries(fs, root) if entry.version > version]
    for entry, done in _read(fs, sorted(later, key=lambda one: one.version)):
        for action in done:
            if info := action.get("commitInfo"):
                yield entry, info


def removed_files(fs: LakeFileSystem, root: str, columns: Sequence[str]) -> list[RemovedFile]:
    """Every tombstone of the table: the last checkpoint's and those of the commits after it.

    A file that was added again later is left out.

    Args:
        fs: Reads the log.
        root: `bucket/prefix`.
        columns: The partition columns.
    """
    log = f"{root}/_delta_log"
    start, checkpoint = _last_checkpoint(fs, log)
    removed: dict[str, Mapping[str, Any]] = {
        data_path(root, remove["path"]): remove for remove in _checkpoint_tombstones(fs, checkpoint)
    }
    later = sorted((entry for entry in entries(fs, root) if entry.version >= start), key=lambda one: one.version)
    for _, done in _read(fs, later):
        for action in done:
            if (gone := action.get("remove")) is not None:
                removed[data_path(root, gone["path"])] = gone
            elif (add := action.get("add")) is not None:
                removed.pop(data_path(root, add["path"]), None)
    return [
        RemovedFile(
            path=path,
            removed_at=instant_of(remove.get("deletionTimestamp")) or _EPOCH,
            key=_key(remove.get("partitionValues"), columns),
        )
        for path, remove in removed.items()
    ]


def _key(values: Any, columns: Sequence[str]) -> PartitionKey | None:
    if not values and columns:
        return None
    known = dict(values or {})
    return PartitionKey.of((name, known.get(name)) for name in columns) if set(columns) <= set(known) else None


def _read(fs: LakeFileSystem, log: Sequence[LogEntry]) -> Iterator[tuple[LogEntry, list[dict[str, Any]]]]:
    for start in range(0, len(log), _BATCH):
        batch = log[start : start + _BATCH]
        texts = contents(fs, [entry.path for entry in batch])  # without those that a clean-up is deleting
        for entry in batch:
            if entry.path in texts:
                yield entry, actions(entry.path, texts[entry.path])


def _last_checkpoint(fs: LakeFileSystem, log: str) -> tuple[int, list[str]]:
    path = f"{log}/_last_checkpoint"
    try:
        pointer = json_object(fs.read_with_etag(path)[0])
    except FileNotFoundError:
        return 0, []
    except UnreadableDocument as error:
        raise _unreadable(path, str(error)) from error
    version, parts = pointer.get("version"), pointer.get("parts")
    if not _is_number(version, _LAST_VERSION) or not (parts is None or _is_number(parts, _MOST_PARTS)):
        raise _unreadable(path, "it names no checkpoint")
    if parts is None:
        return version, [f"{log}/{version:020d}.checkpoint.parquet"]
    return version, [f"{log}/{version:020d}.checkpoint.{n:010d}.{parts:010d}.parquet" for n in range(1, parts + 1)]


def checkpointed_at(fs: LakeFileSystem, root: str) -> datetime | None:
    """When the last checkpoint was written; None where there is none."""
    try:
        written: datetime = fs.head_object(f"{root}/_delta_log/_last_checkpoint")["LastModified"]
    except FileNotFoundError:
        return None
    return written


def _is_number(value: object, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _checkpoint_tombstones(fs: LakeFileSystem, paths: list[str]) -> Iterator[Mapping[str, Any]]:
    for path in paths:
        data = fs.read_with_etag(path)[0]
        try:
            removes = pq.read_table(io.BytesIO(data), columns=["remove"]).column("remove").to_pylist()
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise _unreadable(path, f"it is no checkpoint: {error}") from error
        for remove in removes:
            if remove is None or (isinstance(remove, dict) and remove.get("path") is None):
                continue
            try:
                yield checked_file(_with_values(remove))
            except UnreadableDocument as error:
                raise _unreadable(path, str(error)) from error


def _with_values(remove: Any) -> Any:
    """A tombstone of a checkpoint, whose partition values are pairs, as one of a commit."""
    values = remove.get("partitionValues") if isinstance(remove, dict) else None
    return {**remove, "partitionValues": dict(values)} if isinstance(values, list) else remove


def _unreadable(path: str, reason: str) -> TableUnreadable:
    return TableUnreadable(f"lake://{path} cannot be read: {reason}", hint="find out who wrote it")
