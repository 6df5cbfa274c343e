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
from tierlake.pipelines.lifecycle.results import KeyChanges
from tierlake.pipelines.lifecycle.undoable import can_be_undone, expired_keys
from tierlake.pipelines.metastore.document import DatasetDocument, Hold
from tierlake.pipelines.metastore.records import KeepingRecord, RemovalRecord
from tierlake.pipelines.model.partition_key import PartitionKey, canonical
from tierlake.pipelines.model.selection import Selection
from tierlake.pipelines.runtime.after_commit import after_commit
from tierlake.pipelines.tables.nested import is_nested, nested_roots
from tierlake.pipelines.tables.requested_keys import faults, selected, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from tierlake.connector.objects.metadata import ObjectVersion
    from tierlake.pipelines.errors import UnknownPartition
    from tierlake.pipelines.metastore.document import DocumentStore
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.selection import Keys

__all__ = ["hold", "release", "retain"]

logger = logging.getLogger("tierlake.pipelines")


def hold(
    handle: Handle,
    keys: Keys,
    reason: str,
    now: datetime | None = None,
    *,
    dry_run: bool = False,
    run_id: str | None = None,
) -> KeyChanges:
    """Forbid that partitions expire or are deleted, until `release`; one change of the description for all of them.

    Args:
        handle: The dataset.
        keys: The partitions: those of the table, and expired ones that can be undone.
        reason: Why; plans, explanations and the catalog repeat it.
        now: Since when; the server's now by default.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Returns:
        What changed, or would; the same hold again changes nothing.

    Raises:
        UnknownPartition: The table has no such partition, and none that could still be undone.
        SpecError: No reason is given, or a wrong range.
        PolicyRefused: A vacuum has begun to delete the files of the expired partition, where one is named.
        UnsupportedByTable: The table has no description, so there is nowhere to keep holds.
    """
    names, store = _present(handle, keys), _document(handle)
    text = reason.strip()
    if not text:
        raise SpecError("a hold needs a reason", hint="say why: it is what others will read")
    since = now or handle.clock.now()
    changed: set[str] = set()

    def change(document: DatasetDocument) -> DatasetDocument:
        changed.clear()
        changed.update(name for name in names if (held := document.holds.get(name)) is None or held.reason != text)
        new = {name: Hold(reason=text, since=since) for name in names if name in changed}
        return document.model_copy(update={"holds": {**document.holds, **new}})

    failures: dict[str, PolicyRefused] = {}
    if dry_run:
        change(store.read())
        return KeyChanges.of("hold", names, changed=changed, failures=failures, dry_run=True)
    store.update(change)
    # a vacuum records what ends before it reads the holds; we write the hold before we read those records
    gone = _absent(handle, names)
    if gone:
        store.update(_without(gone))
    for name in gone:
        message = f"the grace of {name} ended while it was to be held: its files are being deleted"
        failures[name] = PolicyRefused(message, hint="ingest it again from its source, then hold it")
    if len(names) == len(failures) == 1:
        raise failures[names[0]]
    held = [name for name in names if name not in gone]
    _lock(handle, held)
    _remember(handle, "hold", [name for name in held if name in changed], text, run_id=run_id)
    return KeyChanges.of("hold", names, changed=changed, failures=failures)


def release(
    handle: Handle, keys: Keys, reason: str = "", *, dry_run: bool = False, run_id: str | None = None
) -> KeyChanges:
    """End holds; the policy applies again.

    Args:
        handle: The dataset.
        keys: The partitions, held or not.
        reason: Why, for the history.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Returns:
        What changed, or would.

    Raises:
        UnknownPartition: A key that the table cannot have: other columns, or another spelling; or a range or pattern
            that nothing matches.
        SpecError: A wrong range.
        UnsupportedByTable: The table has no description, so there are no holds.
    """
    store = _document(handle)
    selection = Selection.named(keys)
    names = _releasable(handle, selection, store.read().holds)
    changed: set[str] = set()

    def change(document: DatasetDocument) -> DatasetDocument:
        changed.clear()
        changed.update(name for name in names if name in document.holds)
        return _without(changed)(document)

    if dry_run:
        change(store.read())
        return KeyChanges.of("release", names, changed=changed, failures={}, dry_run=True)
    store.update(change)
    _unlock(handle, names)
    _remember(handle, "release", [name for name in names if name in changed], reason.strip(), run_id=run_id)
    return KeyChanges.of("release", names, changed=changed, failures={})


def retain(
    handle: Handle,
    keys: Keys,
    until: datetime,
    *,
    shorten: bool = False,
    reason: str = "",
    dry_run: bool = False,
    run_id: str | None = None,
) -> KeyChanges:
    """Keep partitions longer than the policy says. For an expired one this counts once it is back.

    Args:
        handle: The dataset.
        keys: The partitions: those of the table, and expired ones that can be undone.
        until: Plans as of this instant or later may expire them.
        shorten: Replace a longer retention too.
        reason: Why, for the history.
        dry_run: Only make the checks.
        run_id: Who did it, for the history.

    Returns:
        What changed, or would. A partition that is kept longer already fails, and the others do not.

    Raises:
        UnknownPartition: The table has no such partition, and none that could still be undone.
        SpecError: `until` has no timezone, or a wrong range.
        PolicyRefused: The one partition that is named is kept longer already.
        UnsupportedByTable: The table has no description, so there is nowhere to keep it.
    """
    names, store = _present(handle, keys), _document(handle)
    if until.tzinfo is None:
        raise SpecError(f"{until} has no timezone", hint="write 2014-01-01T00:00:00+00:00")
    changed: set[str] = set()
    failures: dict[str, PolicyRefused] = {}

    def change(document: DatasetDocument) -> DatasetDocument:
        changed.clear()
        failures.clear()
        for name in names:
            kept = document.retains.get(name)
            if kept is not None and kept > until and not shorten:
                message = f"{name} is retained until {kept.isoformat()}, which is later than {until.isoformat()}"
                hint = "say shorten=True (`--shorten`) if it may go earlier"
                failures[name] = PolicyRefused(message, hint=hint)
            elif kept != until:
                changed.add(name)
        if len(names) == len(failures) == 1:
            raise failures[names[0]]
        return document.model_copy(update={"retains": {**document.retains, **dict.fromkeys(changed, until)}})

    if dry_run:
        change(store.read())
        return KeyChanges.of("retain", names, changed=changed, failures=failures, dry_run=True)
    store.update(change)
    now_kept = [name for name in names if name in changed]
    _remember(handle, "retain", now_kept, reason.strip(), until=until, run_id=run_id)
    return KeyChanges.of("retain", names, changed=changed, failures=failures)


def _without(names: Collection[str]) -> Callable[[DatasetDocument], DatasetDocument]:
    def change(document: DatasetDocument) -> DatasetDocument:
        holds = {other: held for other, held in document.holds.items() if other not in names}
        return document.model_copy(update={"holds": holds})

    return change


def _remember(
    handle: Handle,
    operation: Literal["hold", "release", "retain"],
    names: Sequence[str],
    reason: str,
    *,
    until: datetime | None = None,
    run_id: str | None = None,
) -> None:
    if not names:
        return
    with after_commit(f"the history lacks this {operation}"):
        at = handle.clock.now()
        handle.journal.write(
            KeepingRecord(
                id=handle.journal.new_id(at),
                at=at,
                run_id=run_id,
                operation=operation,
                key=names[0],
                more_keys=tuple(names[1:]),
                reason=reason,
                until=until,
            )
        )


def _lock(handle: Handle, names: Sequence[str]) -> None:
    """Set legal holds on the files that are live, or would be again after an undo."""
    if not names or not _has_object_lock(handle):
        return
    live = handle.table.snapshot().by_partition(_keys(names))
    paths = {file.path for files in live.values() for file in files}
    left = {name for name in names if PartitionKey.parse(name) not in live}
    for record in handle.journal.records(RemovalRecord) if left else ():
        if record.operation != "expire":
            continue
        gone = [part for part in record.partitions if part.key in left]
        paths |= {file.path for part in gone for file in part.files}
        left -= {part.key for part in gone}
        if not left:
            break
    newest: dict[str, ObjectVersion] = {}
    for version in _versions_at(handle, paths):
        if version.path not in newest or newest[version.path].modified < version.modified:
            newest[version.path] = version
    handle.fs.set_legal_hold([(version.path, version.version_id) for version in newest.values()], held=True)


def _unlock(handle: Handle, names: Sequence[str]) -> None:
    """Remove the legal holds of all the partitions' files, including those replaced meanwhile."""
    if names and _has_object_lock(handle):
        versions = _versions(handle, _keys(names))
        handle.fs.set_legal_hold([(version.path, version.version_id) for version in versions], held=False)


def _keys(names: Iterable[str]) -> set[PartitionKey]:
    return set(map(PartitionKey.parse, names))


def _has_object_lock(handle: Handle) -> bool:
    try:
        return handle.fs.has_object_lock(handle.table.root.partition("/")[0])
    except AccessDenied as error:  # our own hold still counts
        logger.warning(
            "no legal hold in %s, as whether it has Object Lock may not be seen: %s", handle.table.root, error
        )
        return False


def _versions(handle: Handle, keys: Collection[PartitionKey]) -> list[ObjectVersion]:
    """Versions of the partitions' files, without delete markers: in our folders, and in others' folders."""
    root = handle.table.root
    own = tuple(f"{key.prefix}/" if key.items else "" for key in keys)
    listed = handle.fs.object_versions_many([f"{root}/{folder}" for folder in own])
    paths = {version: version.path.removeprefix(f"{root}/") for versions in listed for version in versions}
    nested = nested_roots(paths.values())
    here = [
        version
        for version, path in paths.items()
        if not version.is_delete_marker and not path.startswith("_") and not is_nested(path, nested)
    ]
    snapshot = handle.table.snapshot()
    schema = snapshot.known_schema
    names = {str(key) for key in keys}
    gone = [(file.path, file.key) for file in handle.table.removed_files() if file.key is not None]
    named = {file.path for file in snapshot.files if file.key in keys}
    named |= {path for path, other in gone if canonical(other, schema) in keys}
    for record in handle.journal.records(RemovalRecord):
        named |= {file.path for part in record.partitions if part.key in names for file in part.files}
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


def _document(handle: Handle) -> DocumentStore:
    if handle.document is None:
        raise UnsupportedByTable(
            f"{handle.spec.uri} has no description of ours, so there is nowhere to keep a hold",
            hint="describe it once: Dataset.adopt(uri), or `tierlake adopt URI`",
        )
    return handle.document


def _present(handle: Handle, keys: Keys) -> tuple[str, ...]:
    """The partitions that a caller means, in the table or still to be undone."""
    selection = Selection.named(keys)
    snapshot = handle.table.snapshot()
    live = snapshot.by_partition()
    exact = selection.exact(handle.spec)
    candidates = set(live)
    if exact is None or len(exact) > 1:
        candidates |= {PartitionKey.parse(one.key) for one in expired_keys(handle)}

    def absent(key: PartitionKey) -> UnknownPartition | None:
        if len(exact or ()) == 1 and can_be_undone(handle, str(key)):
            return None
        return unknown(handle.spec, snapshot, key, ", and none that could be brought back")

    return tuple(map(str, selected(handle.spec, snapshot.known_schema, selection, candidates, absent)))


def _absent(handle: Handle, names: Sequence[str]) -> set[str]:
    """Those of some partitions that are neither in the table nor still to be undone."""
    live = handle.table.snapshot().by_partition(_keys(names))
    left = {name for name in names if PartitionKey.parse(name) not in live}
    if len(left) == 1:
        return {name for name in left if not can_be_undone(handle, name)}
    return left - {one.key for one in expired_keys(handle)} if left else left


def _releasable(handle: Handle, selection: Selection, holds: Collection[str]) -> tuple[str, ...]:
    """The partitions that a caller means, held or not."""
    exact = selection.exact(handle.spec)
    if exact is not None and all(str(key) in holds for key in exact):
        return tuple(map(str, exact))
    snapshot = handle.table.snapshot()
    live = snapshot.by_partition()
    candidates = {*live, *_keys(holds)}
    if exact is None:
        candidates |= {PartitionKey.parse(one.key) for one in expired_keys(handle)}

    def absent(key: PartitionKey) -> UnknownPartition | None:
        return faults(handle.spec, snapshot.known_schema, [key], live).get(key)

    return tuple(map(str, selected(handle.spec, snapshot.known_schema, selection, candidates, absent)))
