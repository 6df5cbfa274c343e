"""What happened to a dataset, newest first: the table's commits and the journal's events in one list."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, SupportsIndex, overload

from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.columns import Columns
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.table import Table
from tierlake.pipelines.tables.snapshot import FENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.metastore.records import JournalEntry
    from tierlake.pipelines.tables.snapshot import Commit

__all__ = ["History", "HistoryEntry", "history"]

_KEYS_SHOWN = 3


@dataclass(frozen=True, slots=True, repr=False)
class HistoryEntry(Shown):
    """One event.

    Attributes:
        at: When, by the log or the server.
        operation: `ingest`, `append`, `expire`, `undo`, `tier`, `vacuum`, ..., or another writer's own word.
        version: The table's version after it; None for what is no commit.
        partitions: How many partitions it concerned.
        keys: Which, where that was written down.
        rows: Rows written.
        bytes: Bytes written, moved, taken out or deleted.
        reason: Why.
        run: The run that did it.
        by: Who did it: user and host, where that was written down.
        undo_until: Until when it can be undone; None where it cannot.
    """

    at: datetime
    operation: str
    version: int | None
    partitions: int | None
    keys: tuple[str, ...]
    rows: int | None
    bytes: int | None
    reason: str | None
    run: str | None
    by: str | None = None
    undo_until: datetime | None = None

    def __str__(self) -> str:
        """The event in a line."""
        facts = [f"version {self.version:,}"] if self.version is not None else []
        facts += [formatting.partitions(self.partitions)] if self.partitions is not None else []
        facts += [f"{self.rows:,} rows"] if self.rows is not None else []
        facts += [formatting.size(self.bytes)] if self.bytes is not None else []
        facts += [self.reason] if self.reason else []
        facts += [f"undo until {self.undo_until:%Y-%m-%d %H:%M}"] if self.undo_until else []
        return f"{self.at:%Y-%m-%d %H:%M:%S%z} {self.operation}: {', '.join(facts) or '-'}"


class History(Shown, Columns, list[HistoryEntry]):
    """Events, newest first; a list that prints as a table."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> HistoryEntry: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: SupportsIndex | slice) -> HistoryEntry | History:
        """By position; a slice is a history as well."""
        chosen = super().__getitem__(index)
        return History(chosen) if isinstance(chosen, list) else chosen

    def to_arrow(self) -> pa.Table:
        """The events as columns."""
        import pyarrow as pa

        instant = pa.timestamp("us", tz="UTC")
        schema = pa.schema(
            [
                pa.field("at", instant, nullable=False),
                pa.field("operation", pa.string(), nullable=False),
                pa.field("version", pa.int64()),
                pa.field("partitions", pa.int64()),
                pa.field("keys", pa.list_(pa.string()), nullable=False),
                pa.field("rows", pa.int64()),
                pa.field("bytes", pa.int64()),
                pa.field("reason", pa.string()),
                pa.field("run", pa.string()),
                pa.field("by", pa.string()),
                pa.field("undo_until", instant),
            ]
        )
        return pa.table({name: [getattr(entry, name) for entry in self] for name in schema.names}, schema=schema)

    def __str__(self) -> str:
        return self._table().text() if self else self._summary()

    def _summary(self) -> str:
        if not self:
            return "no events"
        count = "1 event" if len(self) == 1 else f"{len(self):,} events"
        return f"{count} from {formatting.day(self[-1].at)} to {formatting.day(self[0].at)}"

    def _parts(self) -> tuple[Table[HistoryEntry]]:
        return (self._table(),)

    def _table(self) -> Table[HistoryEntry]:
        columns = ["when", "what", ">version", "partitions", ">rows", ">size", "why", "by", "run", "undo until"]
        return Table(columns, self, _cells)


def _cells(entry: HistoryEntry) -> tuple[str, ...]:
    return (
        f"{entry.at:%Y-%m-%d %H:%M:%S%z}",
        entry.operation,
        formatting.count(entry.version),
        _partitions(entry),
        formatting.count(entry.rows),
        "-" if entry.bytes is None else formatting.size(entry.bytes),
        entry.reason or "",
        entry.by or "",
        entry.run or "",
        f"{entry.undo_until:%Y-%m-%d %H:%M}" if entry.undo_until else "",
    )


def _partitions(entry: HistoryEntry) -> str:
    if not entry.keys:
        return formatting.count(entry.partitions)
    named = ", ".join(entry.keys[:_KEYS_SHOWN])
    more = max(entry.partitions or 0, len(entry.keys)) - len(entry.keys[:_KEYS_SHOWN])
    return f"{named} and {more:,} more" if more > 0 else named


def history(handle: Handle, limit: int | None = None) -> History:
    """Commits and events, newest first.

    Args:
        handle: The dataset.
        limit: At most this many.
    """
    commits = handle.table.history(limit)
    versions = {str(commit.details["removal"]): commit.version for commit in commits if "removal" in commit.details}
    journal = _with_undo(
        handle, [event for event in _with_reasons(handle.journal.entries()) if _is_made(event, versions)]
    )
    replaced = [event for event in journal if event.operation == "replace"]
    events = [
        _of_event(event, versions.get(event.id, event.version)) for event in journal if event.operation != "replace"
    ]
    # for an expiry or undo the journal has more detail than the commit, unless the writer died in between
    journaled = {event.version for event in events if event.version is not None}
    by_version = {versions.get(event.id, event.version): event for event in replaced}
    by_run = {event.run_key: event for event in replaced}
    entries = [
        _of_commit(commit, by_run.get(commit.run_key) if commit.version is None else by_version.get(commit.version))
        for commit in commits
        if commit.version not in journaled and commit.operation != FENCE  # the journal has the vacuum
    ]
    if not handle.table.is_atomic:  # a table without a log forgets an ingest that was undone
        known = {commit.run_key for commit in commits}
        events += [_of_event(event, None) for event in replaced if event.run_key not in known]
    return History(_newest_first(events + entries)[:limit])


def _is_made(event: JournalEntry, versions: Mapping[str, int | None]) -> bool:
    """Whether it was done: its record says so, or the log has its commit."""
    return event.committed or (event.operation in {"expire", "replace"} and event.id in versions)


def _with_reasons(events: list[JournalEntry]) -> list[JournalEntry]:
    """The events, where the reason of an undo is what it undid instead of the id of a record."""
    known = {event.id: event for event in events}
    return [replace(event, reason=_undone(known[event.undone])) if event.undone in known else event for event in events]


def _undone(removal: JournalEntry) -> str:
    if removal.operation == "replace":
        return f"undo of the ingest {removal.run_key}"
    return f"undo of an expiry: {removal.reason}"


def _with_undo(handle: Handle, events: list[JournalEntry]) -> list[JournalEntry]:
    """The events, with `undo_until` only where some part can still be undone."""
    if all(event.undo_until is None for event in events):
        return events
    now = handle.clock.now()
    within = [event.id for event in events if event.undo_until is not None and now < event.undo_until]
    over = handle.journal.undone(min(within)) | handle.journal.ended(min(within)) if within else frozenset()
    return [
        event
        if event.undo_until is not None
        and now < event.undo_until
        and any((event.id, key) not in over for key in event.keys)
        else replace(event, undo_until=None)
        for event in events
    ]


def _newest_first(entries: list[HistoryEntry]) -> list[HistoryEntry]:
    """Commits in the order of their versions, and events between them by time.

    A commit's time is its writer's clock, an event's the server's, in whole seconds: neither may reorder commits, and
    an event comes after the commits of its second.
    """
    commits = sorted((entry for entry in entries if entry.version is not None), key=lambda entry: entry.version or 0)
    latest = itertools.accumulate((commit.at.replace(microsecond=0) for commit in commits), max)
    placed = [(at, commit.version or 0, commit) for at, commit in zip(latest, commits, strict=True)]
    after_all = len(entries) + max((version for _, version, _ in placed), default=0)
    placed += [(entry.at.replace(microsecond=0), after_all, entry) for entry in entries if entry.version is None]
    return [entry for _, _, entry in sorted(placed, key=lambda place: place[:2], reverse=True)]


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _of_commit(commit: Commit, replaced: JournalEntry | None) -> HistoryEntry:
    details = commit.details
    return HistoryEntry(
        at=commit.at,
        operation=commit.operation,
        version=commit.version,
        partitions=_integer(details.get("partitions")),
        keys=replaced.keys if replaced else tuple(str(details.get("keys", "")).split()),
        rows=_integer(details.get("rows")),
        bytes=_integer(details.get("bytes")),
        reason=str(details["reason"]) if "reason" in details else None,
        run=str(details["run_id"]) if "run_id" in details else commit.run_key,
        by=replaced.by if replaced else str(details["by"]) if "by" in details else None,
        undo_until=replaced.undo_until if replaced else None,
    )


def _of_event(event: JournalEntry, version: int | None) -> HistoryEntry:
    return HistoryEntry(
        at=event.at,
        operation=event.operation,
        version=version,
        partitions=len(event.keys) or None,
        keys=event.keys,
        rows=None,
        bytes=event.bytes if event.files else None,
        reason=event.reason,
        run=event.run_id,
        by=event.by,
        undo_until=event.undo_until,
    )
