"""The one place where bytes are deleted for good.

It takes the objects that a caller saw (path, version, ETag) and deletes those alone: no pattern is expanded, and no key
is listed again for more. In this order, so that an undo, a hold or a late commit never loses to it silently:

    1. the journal gets a record of what ends: from here on it cannot be undone
    2. the table gets a fence: a commit based on an older snapshot has to read the table again
    3. before each batch the table, the holds and the journal are read once more, and what they name stays
    4. the record is completed
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tierlake.connector.errors import AccessDenied, DeletionFailed
from tierlake.connector.objects.delete import SeenObject
from tierlake.connector.objects.metadata import unquoted
from tierlake.pipelines.errors import CommitConflict
from tierlake.pipelines.metastore.records import RemovalRecord, UndoRecord, VacuumRecord
from tierlake.pipelines.model.partition_key import PartitionKey, canonical
from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.tables.tails import TailShelf

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    import pyarrow as pa

    from tierlake.connector.errors import LakeError
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.pipelines.metastore.handle import Handle

__all__ = [
    "Doomed",
    "Held",
    "delete_dataset",
    "delete_folded",
    "delete_for_good",
    "discard",
    "forget_tails",
    "take_back",
]

_BATCH = 1000
_CONCURRENCY = 8
_UNVERSIONED = "null"
"""The version id of an object written while its bucket kept no versions."""
_ABANDONED = timedelta(hours=1)
"""An undo without progress for this long is considered dead."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """An object to be deleted, as it was seen.

    Attributes:
        path: Below the root.
        size: Bytes, all versions.
        key: The partition whose rows it holds; None where it is unknown.
        versions: The ids to be deleted, the oldest last; empty where the bucket keeps none.
        etag: The object's ETag, where there are no versions.
        removal: Id of the journal's record that took it out of the table; None for what no record names.
        is_expired: Whether a commit ever named it.
    """

    path: str
    size: int
    key: PartitionKey | None
    versions: tuple[str, ...] = ()
    etag: str | None = None
    removal: str | None = None
    is_expired: bool = False


class Held:
    """The partitions whose files must stay, however their folders are spelled."""

    def __init__(self, handle: Handle, schema: pa.Schema | None) -> None:
        """Read the holds as they are now."""
        holds = handle.document.read().holds if handle.document is not None else {}
        self._schema = schema
        self._keys = {canonical(PartitionKey.parse(key), schema) for key in holds}

    def keeps(self, key: PartitionKey | None) -> bool:
        """Whether a partition is held. An unknown partition counts as held while any hold exists."""
        if key is None:
            return bool(self._keys)
        return canonical(key, self._schema) in self._keys


def delete_for_good(
    handle: Handle, doomed: Sequence[Doomed], *, now: datetime, reason: str, run_id: str | None = None
) -> tuple[Doomed, ...]:
    """Delete the given objects, except those in use again.

    Args:
        handle: The dataset.
        doomed: The objects that may go, as they were seen.
        now: The server's time to which ages were counted.
        reason: For the history.
        run_id: Likewise.

    Returns:
        What was deleted.

    Raises:
        DeletionFailed: The store refused some of it; all else is deleted.
        AccessDenied: Likewise.
    """
    if not doomed:
        return ()
    ended: dict[str, set[str]] = {}
    for one in doomed:
        if one.removal is not None:
            ended.setdefault(one.removal, set()).add(str(one.key))
    keys = tuple(sorted({str(one.key) for one in doomed if one.key is not None}))
    record = handle.journal.write(
        VacuumRecord(
            id=handle.journal.new_id(now),
            at=now,
            run_id=run_id,
            state="begun",
            keys=keys,
            reason=reason,
            files=0,
            bytes=0,
            ended={removal: tuple(sorted(names)) for removal, names in ended.items()},
        )
    )
    handle.table.fence(now)
    deleted: list[Doomed] = []
    is_done = False
    failed: LakeError | None = None
    try:
        total = sum(one.size for one in doomed)
        with reporting("delete", total=len(doomed), bytes_total=total) as advance:
            for start in range(0, len(doomed), _BATCH):
                batch = doomed[start : start + _BATCH]
                free = list(_still_free(handle, batch, record))
                done, refused = _delete(handle, free)
                deleted += done
                failed = failed or refused
                for one in batch:
                    advance(one.path, one.size)
        if failed is not None:  # a file that the store keeps under a lock does not stop the others
            raise failed
        is_done = True
    finally:
        counts = {"files": len(deleted), "bytes": sum(one.size for one in deleted)}
        state = "done" if is_done else "begun"
        handle.journal.write(record.model_copy(update={**counts, "state": state}))
    return tuple(deleted)


def delete_dataset(handle: Handle) -> None:
    """Delete what is left of a dataset that was dropped: its log, its journal, its description, which goes last.

    Its data files are gone by then. Nested tables, and whatever else lies below the root, stay.

    Args:
        handle: The dataset; its description says that it is ending.

    Raises:
        CommitConflict: Somebody wrote to it meanwhile.
        DeletionFailed: The store refused some of it.
    """
    root = handle.table.root
    own = _own_objects(handle)
    document = f"{root}/_lake/dataset.json"
    # the oldest entries of the log first: what is left of it names no file that is gone
    others = sorted((one for one in own if one.path != document), key=lambda one: one.path)
    for start in range(0, len(others), _BATCH):
        handle.fs.delete_seen(others[start : start + _BATCH])
    # the newest version of the description goes last: no older one ever reappears
    for one in reversed([one for one in own if one.path == document]):
        handle.fs.delete_seen([one])
    handle.fs.invalidate_view(root)
    late = sorted({one.path for one in _own_objects(handle)})
    if late:
        message = f"lake://{root} was written to while it was being deleted: lake://{late[0]}"
        raise CommitConflict(message, hint="files that nobody had seen were left; look at the prefix")


def _own_objects(handle: Handle) -> list[SeenObject]:
    root = handle.table.root
    objects: list[SeenObject] = []
    for folder in (f"{root}/_delta_log", f"{root}/_lake"):
        if handle.fs.has_versions(root.partition("/")[0]):
            objects += [SeenObject(one.path, one.version_id) for one in handle.fs.object_versions(f"{folder}/")]
            continue
        for path, info in handle.fs.list_fresh(folder).items():
            if info["type"] == "file":
                objects.append(SeenObject(path, etag=unquoted(info.get("ETag")) or None))
    return objects


def delete_folded(handle: Handle, objects: Iterable[Sequence[SeenObject]]) -> None:
    """Delete objects of the journal whose events were folded or forgotten.

    Args:
        handle: The dataset.
        objects: As they were listed, the version that readers see last, so that no older one reappears.

    Raises:
        DeletionFailed: The store refused some of it.
        AccessDenied: Likewise.
    """
    listed = [one for one in objects if one]
    older = [version for versions in listed for version in versions[:-1]]
    for some in (older, [versions[-1] for versions in listed]):
        for start in range(0, len(some), _BATCH):
            handle.fs.delete_seen(some[start : start + _BATCH])


def discard(handle: Handle, paths: Iterable[str]) -> None:
    """Delete objects that this process wrote under unique names and that are no longer needed.

    Args:
        handle: The dataset.
        paths: Below the root.
    """
    take_back(handle.fs, [f"{handle.table.root}/{path}" for path in paths])


def forget_tails(handle: Handle, kept: Collection[str]) -> None:
    """Delete the tails of files, except of those to keep; they hold rows.

    Args:
        handle: The dataset.
        kept: Paths below the root.

    Raises:
        DeletionFailed: The store refused some of it.
        AccessDenied: Likewise.
    """
    if handle.fs.profile.archived_classes and handle.table.is_atomic:
        take_back(handle.fs, TailShelf(handle.fs, handle.table.root).others(kept))


def take_back(fs: LakeFileSystem, names: Sequence[str]) -> None:
    """Delete objects that this process wrote and nobody else uses, with all of their versions.

    Args:
        fs: A filesystem that may write there.
        names: `bucket/key`, all in one bucket.
    """
    if not names:
        return
    if not fs.has_versions(names[0].partition("/")[0]):
        fs.delete_seen([SeenObject(name) for name in names])
        return
    fs.delete_seen(
        SeenObject(name, one.version_id)
        for name, versions in zip(names, fs.object_versions_many(names), strict=True)
        for one in versions
        if one.path == name
    )


def _still_free(handle: Handle, batch: Sequence[Doomed], record: VacuumRecord) -> Iterator[Doomed]:
    """What may go now, as the table, the holds and the journal have it at this moment."""
    snapshot = handle.table.snapshot()
    live = {file.path for file in snapshot.files if not handle.table.is_replaced_in_place(file.path)}
    held = Held(handle, snapshot.known_schema)
    oldest = min((one.removal for one in batch if one.removal is not None), default="")
    back = _coming_back(handle, oldest, record)
    again = {
        (file.path, file.version_id)
        for removal in handle.journal.records(RemovalRecord, record.id)
        for _, file in removal.files()
    }
    for one in batch:
        is_again = any((one.path, version) in again for version in one.versions or (None,)) or (one.path, None) in again
        is_back = one.removal is not None and (one.removal, str(one.key)) in back
        if one.path not in live and not is_again and not is_back and not held.keeps(one.key):
            yield one


def _coming_back(handle: Handle, oldest: str, record: VacuumRecord) -> set[tuple[str, str]]:
    """Removals that are undone, or are being undone since before our record was written."""
    coming: set[tuple[str, str]] = set()
    for undo in handle.journal.records(UndoRecord, oldest):
        is_dead = undo.state == "begun" and record.at - undo.at > _ABANDONED
        # an undo that resumes finds the record, and reports that it came too late
        is_refused = is_dead and handle.journal.swap(undo, undo.model_copy(update={"state": "refused"}))
        if undo.state != "refused" and not is_refused:
            coming.update((undo.removal, key) for key in undo.keys)
    return coming


def _delete(handle: Handle, free: Sequence[Doomed]) -> tuple[list[Doomed], LakeError | None]:
    """Delete a batch; return what was deleted, and the store's errors for the rest."""
    by_path: dict[str, list[Doomed]] = {}
    others: list[Doomed] = []
    for one in free:
        if handle.table.is_replaced_in_place(one.path):
            by_path.setdefault(one.path, []).append(one)
        else:
            others.append(one)
    gone, error = _delete_unnamed(handle, others) if others else ([], None)
    if by_path:
        results = in_threads(partial(_delete_path, handle), by_path.values(), at_once=_CONCURRENCY, name="delete")
        gone += itertools.chain.from_iterable(deleted for deleted, _ in results)
        error = error or next((error for _, error in results if error is not None), None)
    return gone, error


def _delete_unnamed(handle: Handle, free: Sequence[Doomed]) -> tuple[list[Doomed], LakeError | None]:
    """Objects whose paths nobody writes to again."""
    root = handle.table.root
    seen = {one.path: _seen(root, one) for one in free}
    try:
        changed = {other.path for other in handle.fs.delete_seen(itertools.chain.from_iterable(seen.values()))}
    except AccessDenied as error:
        return [], error
    except DeletionFailed as error:
        return [one for one in free if not _failures(root, one) & error.failures.keys()], error
    return [one for one in free if f"{root}/{one.path}" not in changed], None


def _failures(root: str, one: Doomed) -> set[str]:
    """The names by which `DeletionFailed` may tell of an object."""
    key = f"{root}/{one.path}".partition("/")[2]
    return {key, *(f"{key}?versionId={version}" for version in one.versions)}


def _delete_path(handle: Handle, ones: Sequence[Doomed]) -> tuple[list[Doomed], LakeError | None]:
    try:
        return _delete_hidden(handle, ones), None
    except (AccessDenied, DeletionFailed) as error:
        return [], error


def _seen(root: str, one: Doomed) -> list[SeenObject]:
    name = f"{root}/{one.path}"
    return [SeenObject(name, version) for version in one.versions] or [SeenObject(name, etag=one.etag)]


def _delete_hidden(handle: Handle, ones: Sequence[Doomed]) -> list[Doomed]:
    """Versions of one object that no reader sees any more; the markers above, when nothing is left.

    A marker over an older version stays: without it that version would be back.
    """
    name = f"{handle.table.root}/{ones[0].path}"
    gone = [one for one in ones if not one.versions and not handle.fs.delete_seen([SeenObject(name, etag=one.etag)])]
    if all(not one.versions for one in ones):
        return gone
    versions = [version for version in handle.fs.object_versions(name) if version.path == name]
    shown = {version.version_id for version in versions if version.is_latest and not version.is_delete_marker}
    if not handle.fs.is_versioned(handle.table.root.partition("/")[0]):
        shown.add(_UNVERSIONED)  # where versioning is suspended, the next write takes this id
    hidden = [one for one in ones if one.versions and not shown & set(one.versions)]
    ids = {version for one in hidden for version in one.versions}
    handle.fs.delete_seen([SeenObject(name, version) for one in hidden for version in one.versions])
    left = [version for version in versions if version.version_id not in ids]
    if left and all(version.is_delete_marker for version in left):
        handle.fs.delete_seen([SeenObject(name, marker.version_id) for marker in left])
    return [*gone, *hidden]
