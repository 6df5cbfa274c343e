"""Old events of the journal put into one object a month, so that it does not grow with every act.

Once a month is over, a vacuum folds those of its events that need no object of their own: the grace of their removals
is over, and the store has none of the files that they name. The history stays: who did what, when and why, to which
partitions and how much, and why an undo is refused. The names of the files go.

    1. the month's object is written, if it is unchanged since it was read: of two folds at once, one gives up
    2. the events' own objects are deleted, by path and version or ETag as they were listed before they were read

A fold that stops between the two leaves events in both places. They count once, and the next fold deletes them.
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tierlake.connector.errors import ObjectNotFound, PreconditionFailed
from tierlake.pipelines.metastore.deletion import delete_folded
from tierlake.pipelines.metastore.folded import month_of, packed, place_of
from tierlake.pipelines.metastore.records import RemovalRecord, UndoRecord
from tierlake.pipelines.metastore.removal import outcome, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from tierlake.connector.objects.delete import SeenObject
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import Record

__all__ = ["KEPT", "SETTLED", "WORTHWHILE", "fold"]

SETTLED: Final = timedelta(days=7)
"""An event is not folded for this long after its month, so that its writer has ended by then."""
WORTHWHILE: Final = 16
"""Fewer events are not worth the requests."""
KEPT: Final = 120
"""The most objects of folded events: ten years of a dataset with up to a thousand acts a month."""

_OVERWRITTEN = "null"
"""The version that a write replaces where versioning is suspended: it may be the new one."""


def fold(
    handle: Handle,
    *,
    now: datetime,
    is_stored: Callable[[str, str | None], bool],
    live: Collection[str] = frozenset(),
) -> int:
    """Fold the events of the months that are over, and forget the oldest where there are more than `KEPT` objects.

    Args:
        handle: The dataset.
        now: By the server's clock.
        is_stored: Whether the store has a file, by its path below the root and its version.
        live: Paths that the table names and whose objects are never replaced.

    Returns:
        How many events lost their own object.

    Raises:
        SpecError: A record that cannot be read.
        PolicyRefused: A record that names files outside the dataset.
        DeletionFailed: The store refused to delete some of the objects; their events count once all the same.
        AccessDenied: Likewise.
    """
    own, objects = handle.journal.objects()
    until = f"{now - SETTLED:%Y%m}"
    old = [path for path in own[:-1] if month_of(_id(path)) < until]  # the newest of all stays: ids go on from it
    try:
        events = list(_foldable(handle, dict(handle.journal.read(old)), now, is_stored, live)) if old else []
        if len(events) < WORTHWHILE:
            return 0
        for month, group in itertools.groupby(events, lambda event: month_of(_id(event[0]))):
            _fold_month(handle, month, list(group), objects)
    except (PreconditionFailed, ObjectNotFound):  # somebody else folds
        return 0
    _forget(handle, objects)
    return len(events)


def _id(path: str) -> str:
    return path.rpartition("/")[2].partition("-")[2]


def _foldable(
    handle: Handle,
    old: Mapping[str, Record],
    now: datetime,
    is_stored: Callable[[str, str | None], bool],
    live: Collection[str],
) -> Iterator[tuple[str, Record | None]]:
    """The events to fold by path, oldest first, in their folded form; None for an event that was never committed."""
    stays = {
        record.id
        for record in old.values()
        if isinstance(record, RemovalRecord) and (now < record.undo_until or _is_needed(record, is_stored, live))
    }
    for path, record in old.items():
        if isinstance(record, RemovalRecord):
            if record.id in stays:
                continue
            made = record if record.committed_at is not None else settled(handle, record)
            if made is not None and made.committed_at is None:  # of a plain table, whose runs say when they were made
                made = outcome(handle, record) or made.model_copy(update={"committed_at": record.at})
            yield path, made.folded() if made is not None else None
        elif isinstance(record, UndoRecord) and record.state == "begun" and record.removal in stays:
            continue  # a vacuum that wants the files ends it
        elif not any(is_stored(*file) for file in record.named_files()):
            yield path, record.folded()


def _is_needed(record: RemovalRecord, is_stored: Callable[[str, str | None], bool], live: Collection[str]) -> bool:
    """Whether the names of its files are still needed. A removal that was never committed took no live file."""
    named = (file for file in record.named_files() if record.committed_at is not None or file[0] not in live)
    return any(is_stored(*file) for file in named)


def _fold_month(
    handle: Handle,
    month: str,
    events: Sequence[tuple[str, Record | None]],
    objects: Mapping[str, Sequence[SeenObject]],
) -> None:
    journal = handle.journal
    parts = [journal.folded(path) for path in objects if (place_of(path) or ("",))[0] == month]
    for part in packed(parts, month, [record for _, record in events if record is not None]):
        journal.write_folded(part)
    delete_folded(handle, [objects[path] for path, _ in events])


def _forget(handle: Handle, objects: Mapping[str, Sequence[SeenObject]]) -> None:
    """Delete the oldest folded events, and the versions of the others that were replaced when they were listed."""
    folded = sorted((path for path in objects if place_of(path) is not None), key=lambda path: path.rpartition("/")[2])
    over = folded[: max(0, len(folded) - KEPT)]
    replaced = [[one for one in objects[path][:-1] if one.version_id != _OVERWRITTEN] for path in folded[len(over) :]]
    delete_folded(handle, [*(objects[path] for path in over), *replaced])
