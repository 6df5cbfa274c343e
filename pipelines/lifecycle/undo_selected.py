"""Undo of a selection: what was taken out last of each partition comes back, one commit for each removal.

A partition that cannot come back does not keep the others: it is reported with its reason. Requests go by removals, not
by partitions, of which an expiry has many.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from tierlake.connector.errors import LakeError
from tierlake.pipelines.errors import CommitConflict, PolicyRefused, UnknownPartition
from tierlake.pipelines.lifecycle.results import UndoSummary
from tierlake.pipelines.lifecycle.undo import bring_back_checked, nothing_to_do, with_what_came
from tierlake.pipelines.lifecycle.undoable import classes_of, described, newest_removals, still_waiting
from tierlake.pipelines.runtime.conflicts import attempts
from tierlake.pipelines.tables.requested_keys import selected, unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tierlake.pipelines.lifecycle.results import UndoResult
    from tierlake.pipelines.lifecycle.undoable import Removed, Undoable
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import RemovalRecord, RemovedPartition
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = ["undo_selected", "undoable_among"]


def undo_selected(
    handle: Handle, selection: Selection, *, dry_run: bool = False, run_id: str | None = None
) -> UndoSummary:
    """Bring back all partitions of a selection that can be undone.

    A key that no such partition matches may match partitions of the table: of those nothing was taken out, or all is
    back already. A partition that left and cannot come back fails where it is named, or where nothing else matches.

    Args:
        handle: The dataset.
        selection: The partitions.
        dry_run: Only make the checks, and report what would come back.
        run_id: Who did it, for the history.

    Raises:
        UnknownPartition: A key that matches nothing, in the table or out of it.
        SpecError: A wrong range.
    """
    handle.check_in_use()
    look = _Look.at(handle)
    chosen = _chosen(look, selection)
    results = [nothing_to_do(look.snapshot, str(key)) for key in sorted(chosen.untouched)]
    failures: dict[str, Exception] = {}
    for record, partitions in _by_removal(look.removals[str(key)] for key in sorted(chosen.removed)):
        results += _undone(handle, record, partitions, failures, dry_run=dry_run, run_id=run_id)
    return UndoSummary.of(results, failures=failures, lost=map(str, chosen.lost), dry_run=dry_run)


def undoable_among(handle: Handle, selection: Selection, *, classes: bool = False) -> tuple[Undoable, ...]:
    """The partitions of a selection that can be undone, and until when, in key order.

    Args:
        handle: The dataset.
        selection: The partitions.
        classes: Also look up the storage classes of their files.

    Raises:
        UnknownPartition: A key that matches none of them.
        SpecError: A wrong range.
    """
    look = _Look.at(handle)
    chosen = look.can if selection.is_all else look.undoable(selection)
    waiting = [look.removals[name] for name in sorted(map(str, chosen))]
    named = classes_of(handle, [gone for _, gone in waiting]) if classes else [None] * len(waiting)
    return tuple(replace(described(*removed), storage_class=name) for removed, name in zip(waiting, named, strict=True))


@dataclass(frozen=True, slots=True)
class _Look:
    """What there is to choose from.

    Attributes:
        handle: The dataset.
        snapshot: The table now.
        removals: The newest removal of each partition, by key.
        can: Partitions that can be undone.
        live: Those of the table.
        lost: Those that are gone and cannot come back.
    """

    handle: Handle
    snapshot: Snapshot
    removals: Mapping[str, Removed]
    can: Sequence[PartitionKey]
    live: Collection[PartitionKey]
    lost: Sequence[PartitionKey]

    @classmethod
    def at(cls, handle: Handle) -> Self:
        snapshot = handle.table.snapshot()
        live = snapshot.by_partition()
        removals = newest_removals(handle)
        waiting = still_waiting(handle, removals, {str(key) for key in live})
        gone = [removed.partition_key for key, (_, removed) in removals.items() if key not in waiting]
        return cls(
            handle,
            snapshot,
            removals,
            can=[removed.partition_key for _, removed in waiting.values()],
            live=live.keys(),
            lost=[key for key in gone if key not in live],
        )

    def matching(self, selection: Selection, candidates: Collection[PartitionKey]) -> tuple[PartitionKey, ...]:
        """Those of some partitions that a selection names."""
        spec, schema = self.handle.spec, self.snapshot.known_schema
        return selected(spec, schema, selection, candidates, self._never_taken_out, which=" that can be undone")

    def _never_taken_out(self, key: PartitionKey) -> UnknownPartition:
        return unknown(self.handle.spec, self.snapshot, key, ", and nothing was taken out of it")

    def undoable(self, selection: Selection) -> set[PartitionKey]:
        """Those that can be undone and that a selection names.

        Raises:
            UnknownPartition: It names none, or a key of it names nothing.
        """
        named = self.matching_any(selection, {*self.can, *self.live, *self.lost})
        if can := named & set(self.can):
            return can
        self.matching(selection, self.can)
        raise UnknownPartition(
            f"nothing that could be undone was taken out of {min(map(str, named))} of {self.handle.spec.uri}",
            hint="`tierlake ls --expired` shows what can be undone",
        )

    def matching_any(self, selection: Selection, candidates: Collection[PartitionKey]) -> set[PartitionKey]:
        """The same, which may be none."""
        try:
            return set(self.matching(selection, candidates))
        except UnknownPartition:
            return set()


@dataclass(slots=True)
class _Chosen:
    """What a selection names: removed partitions, those of which nothing was taken out or all is back, lost ones."""

    removed: set[PartitionKey] = field(default_factory=set)
    untouched: set[PartitionKey] = field(default_factory=set)
    lost: list[PartitionKey] = field(default_factory=list)


def _chosen(look: _Look, selection: Selection) -> _Chosen:
    chosen = _Chosen()
    everything = {*look.can, *look.live, *look.lost}
    exact, texts = selection.parted(look.handle.spec)
    if exact is not None:  # also what cannot come back, with the reason
        for key in look.matching(exact, everything):
            (chosen.removed if str(key) in look.removals else chosen.untouched).add(key)
    lost: set[PartitionKey] = set()
    for text in texts:
        # all at once: a partition that is called like a range is meant, wherever it is
        named = look.matching_any(text, everything)
        back, untouched, too_late = named & set(look.can), named & set(look.live), named & set(look.lost)
        if not named:
            look.matching(text, look.can)  # says what can be undone
        chosen.removed.update(back)
        if not back:
            chosen.untouched.update(untouched)
            chosen.removed.update(() if untouched else too_late)
        lost.update(too_late)
    chosen.untouched -= chosen.removed
    chosen.lost = sorted(lost - chosen.removed)
    return chosen


def _by_removal(removed: Iterable[Removed]) -> list[tuple[RemovalRecord, list[RemovedPartition]]]:
    groups: dict[str, tuple[RemovalRecord, list[RemovedPartition]]] = {}
    for record, gone in removed:
        groups.setdefault(record.id, (record, []))[1].append(gone)
    return [groups[name] for name in sorted(groups)]


def _undone(
    handle: Handle,
    record: RemovalRecord,
    partitions: Sequence[RemovedPartition],
    failures: dict[str, Exception],
    *,
    dry_run: bool,
    run_id: str | None,
) -> Sequence[UndoResult]:
    refused: dict[str, PolicyRefused] = {}
    bringing = partial(bring_back_checked, handle, record, partitions, run_id, refused=refused)
    try:
        for number, attempt in enumerate(attempts(handle.spec.uri, on=CommitConflict)):
            with attempt:
                refused.clear()
                results = bringing(dry_run=dry_run)
                failures.update(refused)
                return with_what_came(handle, record, partitions, results, run_id, is_again=number > 0)
    except LakeError as error:
        refused.clear()
        try:
            seen = bringing(dry_run=True)
        except LakeError:
            raise error from None
        failures.update({**{one.key: error for one in seen if one.dry_run}, **refused})
        back = [one for one in seen if not one.dry_run]
        return with_what_came(handle, record, partitions, back, run_id, is_again=True)
    raise AssertionError  # the last attempt raises
