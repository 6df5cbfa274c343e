"""Holds and retentions: what keeps a partition, whatever the policy says.

They are in the dataset's document and change by compare-and-swap, so that nobody loses a colleague's hold. A hold may
be put on an expired partition too, while its grace lasts: `vacuum` then leaves its files. In a bucket with Object Lock
the partition's files get a legal hold as well, so that other tools leave them too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from tierlake.connector.errors import AccessDenied
from tierlake.pipelines.errors import PolicyRefused, SpecError, UnsupportedByTable
from tierlake.pipelines.lifecycle.undoable import can_be_undone
from tierlake.pipelines.metastore.document import DatasetDocument, Hold
from tierlake.pipelines.metastore.records import KeepingRecord, RemovalRecord
from tierlake.pipelines.model.partition_key import PartitionKey, canonical
from tierlake.pipelines.runtime.after_commit import after_commit
from tierlake.pipelines.tables.nested import is_nested, nested_roots
from tierlake.pipelines.tables.requested_keys import check_possible, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from tierlake.connector.objects.metadata import ObjectVersion
    from tierlake.pipelines.metastore.document import DocumentStore
    from tierlake.pipelines.metastore.handle import Handle

__all__ = ["hold", "release", "retain"]

logger = logging.getLogger("tierlake.pipelines")


def hold(
    handle: Handle,
    key: PartitionKey | str,
    reason: str,
    now: datetime | None = None,
    *,
    dry_run: bool = False,
    run_id: str | None = None,
) -> bool:
    """Forbid that a partition expires or is deleted, until `release`.

    Args:
        handle: The dataset.
        key: The partition.
        reason: Why; plans, explanations and the catalog repeat it.
        now: Since when; the server's now by default.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Returns:
        Whether anything changed, or would; the same hold again does not.

    Raises:
        UnknownPartition: The table has no such partition, and none that could still be undone.
        SpecError: No reason is given.
        PolicyRefused: A vacuum has begun to delete the files of the expired partition.
        UnsupportedByTable: The table has no description, so there is nowhere to keep holds.
    """
    name, store = _checked_name(handle, key), _document(handle)
    text = reason.strip()
    if not text:
        raise SpecError("a hold needs a reason", hint="say why: it is what others will read")

    since = now or handle.clock.now()

    def change(document: DatasetDocument) -> DatasetDocument:
        held = document.holds.get(name)
        if held is not None and held.reason == text:
            return document
        return document.model_copy(update={"holds": {**document.holds, name: Hold(reason=text, since=since)}})

    if dry_run:
        return _would_change(store, change)
    is_other = _update(store, change)
    if not _is_live(handle, name) and not can_be_undone(handle, name):
        # a vacuum records what ends before it reads the holds; we write the hold before we read those records
        _update(store, _without(name))
        message = f"the grace of {name} ended while it was to be held: its files are being deleted"
        raise PolicyRefused(message, hint="ingest it again from its source, then hold it")
    _lock(handle, PartitionKey.parse(name))
    if is_other:
        _remember(handle, "hold", name, text, run_id=run_id)
    return is_other


def release(
    handle: Handle, key: PartitionKey | str, reason: str = "", *, dry_run: bool = False, run_id: str | None = None
) -> bool:
    """End a hold; the policy applies again.

    Args:
        handle: The dataset.
        key: The partition.
        reason: Why, for the history.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Returns:
        Whether there was one.

    Raises:
        UnknownPartition: A key that the table cannot have: other columns, or another spelling.
        UnsupportedByTable: The table has no description, so there are no holds.
    """
    name, store = _name(key), _document(handle)
    if name not in store.read().holds:
        snapshot = handle.table.snapshot()
        check_possible(handle.spec, snapshot.known_schema, [PartitionKey.parse(name)], snapshot.by_partition())
    if dry_run:
        return _would_change(store, _without(name))
    is_other = _update(store, _without(name))
    _unlock(handle, PartitionKey.parse(name))
    if is_other:
        _remember(handle, "release", name, reason.strip(), run_id=run_id)
    return is_other


def retain(
    handle: Handle,
    key: PartitionKey | str,
    until: datetime,
    *,
    shorten: bool = False,
    reason: str = "",
    dry_run: bool = False,
    run_id: str | None = None,
) -> bool:
    """Keep a partition longer than the policy says. For an expired one this counts once it is back.

    Args:
        handle: The dataset.
        key: The partition.
        until: Plans as of this instant or later may expire it.
        shorten: Replace a longer retention too.
        reason: Why, for the history.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Returns:
        Whether anything changed, or would.

    Raises:
        UnknownPartition: The table has no such partition, and none that could still be undone.
        SpecError: `until` has no timezone.
        PolicyRefused: The partition is kept longer already.
        UnsupportedByTable: The table has no description, so there is nowhere to keep it.
    """
    name, store = _checked_name(handle, key), _document(handle)
    if until.tzinfo is None:
        raise SpecError(f"{until} has no timezone", hint="write 2014-01-01T00:00:00+00:00")

    def change(document: DatasetDocument) -> DatasetDocument:
        kept = document.retains.get(name)
        if kept is not None and kept > until and not shorten:
            message = f"{name} is retained until {kept.isoformat()}, which is later than {until.isoformat()}"
            raise PolicyRefused(message, hint="say shorten=True (`--shorten`) if it may go earlier")
        return document.model_copy(update={"retains": {**document.retains, name: until}})

    if dry_run:
        return _would_change(store, change)
    is_other = _update(store, change)
    if is_other:
        _remember(handle, "retain", name, reason.strip(), until=until, run_id=run_id)
    return is_other


def _without(name: str) -> Callable[[DatasetDocument], DatasetDocument]:
    def change(document: DatasetDocument) -> DatasetDocument:
        holds = {other: held for other, held in document.holds.items() if other != name}
        return document.model_copy(update={"holds": holds})

    return change


def _remember(
    handle: Handle,
    operation: Literal["hold", "release", "retain"],
    name: str,
    reason: str,
    *,
    until: datetime | None = None,
    run_id: str | None = None,
) -> None:
    with after_commit(f"the history lacks this {operation}"):
        at = handle.clock.now()
        handle.journal.write(
            KeepingRecord(
                id=handle.journal.new_id(at),
                at=at,
                run_id=run_id,
                operation=operation,
                key=name,
                reason=reason,
                until=until,
            )
        )


def _lock(handle: Handle, key: PartitionKey) -> None:
    """Set legal holds on the files that are live, or would be again after an undo."""
    if not _has_object_lock(handle):
        return
    paths = {file.path for file in handle.table.snapshot().files if file.key == key}
    expiry = handle.journal.latest_removal(str(key), ("expire",)) if not paths else None
    gone = expiry.partition(str(key)) if expiry else None
    paths |= {file.path for file in (gone.files if gone else ())}
    newest: dict[str, ObjectVersion] = {}
    for version in _versions_at(handle, paths):
        if version.path not in newest or newest[version.path].modified < version.modified:
            newest[version.path] = version
    handle.fs.set_legal_hold([(version.path, version.version_id) for version in newest.values()], held=True)


def _unlock(handle: Handle, key: PartitionKey) -> None:
    """Remove the legal holds of all the partition's files, including those replaced meanwhile."""
    if _has_object_lock(handle):
        handle.fs.set_legal_hold([(version.path, version.version_id) for version in _versions(handle, key)], held=False)


def _has_object_lock(handle: Handle) -> bool:
    try:
        return handle.fs.has_object_lock(handle.table.root.partition("/")[0])
    except AccessDenied as error:  # our own hold still counts
        logger.warning(
            "no legal hold in %s, as whether it has Object Lock may not be seen: %s", handle.table.root, error
        )
        return False


def _versions(handle: Handle, key: PartitionKey) -> list[ObjectVersion]:
    """Versions of the partition's files, without delete markers: in our folder, and in others' folders."""
    root = handle.table.root
    own = f"{key.prefix}/" if key.items else ""
    paths = {version: version.path.removeprefix(f"{root}/") for version in handle.fs.object_versions(f"{root}/{own}")}
    nested = nested_roots(paths.values())
    here = [
        version
        for version, path in paths.items()
        if not version.is_delete_marker and not path.startswith("_") and not is_nested(path, nested)
    ]
    snapshot = handle.table.snapshot()
    schema = snapshot.known_schema
    gone = [(file.path, file.key) for file in handle.table.removed_files() if file.key is not None]
    named = {file.path for file in snapshot.files if file.key == key}
    named |= {path for path, other in gone if canonical(other, schema) == key}
    for record in handle.journal.records(RemovalRecord):
        part = record.partition(str(key))
        named |= {file.path for file in (part.files if part else ())}
    return [*here, *_versions_at(handle, {path for path in named if not path.startswith(own)})]


def _versions_at(handle: Handle, paths: Collection[str]) -> list[ObjectVersion]:
    """Versions of just these files, without delete markers; a folder of them is one listing."""
    root = handle.table.root
    names = {f"{root}/{path}" for path in paths}
    below = {f"{folder}/" if (folder := name.rpartition("/")[0]) != root else name for name in names}
    return [
        version
        for versions in handle.fs.object_versions_many(sorted(below))
        for version in versions
        if version.path in names and not version.is_delete_marker
    ]


def _would_change(store: DocumentStore, change: Callable[[DatasetDocument], DatasetDocument]) -> bool:
    document = store.read()
    return change(document) != document


def _update(store: DocumentStore, change: Callable[[DatasetDocument], DatasetDocument]) -> bool:
    is_other = False

    def noting(document: DatasetDocument) -> DatasetDocument:
        nonlocal is_other
        changed = change(document)
        is_other = changed != document
        return changed

    store.update(noting)
    return is_other


def _document(handle: Handle) -> DocumentStore:
    if handle.document is None:
        raise UnsupportedByTable(
            f"{handle.spec.uri} has no description of ours, so there is nowhere to keep a hold",
            hint="describe it once: Dataset.adopt(uri), or `tierlake adopt URI`",
        )
    return handle.document


def _name(key: PartitionKey | str) -> str:
    return str(PartitionKey.parse(key) if isinstance(key, str) else key)


def _checked_name(handle: Handle, key: PartitionKey | str) -> str:
    name = _name(key)
    if _is_live(handle, name) or can_be_undone(handle, name):
        return name
    requested = PartitionKey.parse(name)
    raise unknown(handle.spec, handle.table.snapshot(), requested, ", and none that could be brought back")


def _is_live(handle: Handle, name: str) -> bool:
    requested = PartitionKey.parse(name)
    return any(file.key == requested for file in handle.table.snapshot().files)
