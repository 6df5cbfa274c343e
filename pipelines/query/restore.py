"""Partitions in archived classes: finding files that cannot be read, requesting their restore, waiting for it.

The profile alone knows the archived classes; where a server has none, nothing here makes a request.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tierlake.connector.objects.restore import check_request
from tierlake.pipelines.errors import ArchivedError
from tierlake.pipelines.query.placement import placed
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.tables.live_files import way_out
from tierlake.pipelines.tables.requested_keys import check_possible, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from tierlake.connector.objects.restore import RestoreStatus
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.query.placement import PlacedFile, PlacedPartition
    from tierlake.pipelines.tables.snapshot import Snapshot

__all__ = [
    "RestoreResult",
    "Speed",
    "Waiting",
    "archived_among",
    "refusal",
    "restore",
    "restore_many",
    "statuses",
    "unreadable",
    "wait_until_readable",
    "waiting_for",
]

Speed = Literal["bulk", "standard", "expedited"]
Waiting = Literal["archived", "in progress"]
"""Why a partition cannot be read: some files are not requested, or their restore is in progress."""

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 300.0
_NAMED = 5
_AT_A_TIME = 1000


@dataclass(frozen=True, slots=True, repr=False)
class RestoreResult(Shown):
    """The restore that was requested.

    Attributes:
        key: The partition.
        days: How long the readable copies stay.
        speed: The speed of the restore.
        files: Live files of the partition.
        archived: Archived files that were requested now, or would be.
        in_progress: Files whose restore is in progress.
        readable: Files that can be read.
        bytes: Size of the archived ones.
        dry_run: True where nothing was requested.
    """

    key: PartitionKey
    days: int
    speed: Speed
    files: int
    archived: int
    in_progress: int
    readable: int
    bytes: int
    dry_run: bool = False

    def __str__(self) -> str:
        """For people."""
        if not self.archived and not self.in_progress:
            return f"{self.key} can be read: nothing to restore"
        did = "would ask for" if self.dry_run else "asked for"
        files = f"{formatting.files(self.archived)} ({formatting.size(self.bytes)})"
        request = f"{did} {files}, {self.speed}, for {formatting.counted(self.days, 'day')}"
        return f"{self.key}: {request}; {self.in_progress} in progress, {self.readable} readable"


def statuses(handle: Handle, files: Sequence[PlacedFile]) -> list[RestoreStatus]:
    """The restore status of each of these files, by HEAD."""
    paths = [f"{handle.table.root}/{file.live.path}" for file in files]
    return handle.fs.restore_status_many(paths)


def unreadable(handle: Handle, files: Iterable[PlacedFile]) -> tuple[PlacedFile, ...]:
    """Those of the files that need a restore before they can be read."""
    archived = _archived(handle, files)
    return tuple(file for file, status in zip(archived, statuses(handle, archived), strict=True) if not status.readable)


def _archived(handle: Handle, files: Iterable[PlacedFile]) -> list[PlacedFile]:
    return [file for file in files if file.storage_class in handle.fs.profile.archived_classes]


def restore(
    handle: Handle, key: PartitionKey, *, days: int = 1, speed: Speed = "bulk", dry_run: bool = False
) -> RestoreResult:
    """Request the archived files of a partition; a second request changes nothing.

    Args:
        handle: The dataset.
        key: The partition.
        days: How long the readable copies stay.
        speed: `bulk` (cheapest, hours), `standard` or `expedited` (minutes, not from DEEP_ARCHIVE).
        dry_run: Only report what would be requested.

    Raises:
        UnknownPartition: The table does not have it.
        InvalidSetting: `days` or `speed` is invalid.
        UnsupportedByServer: The server has no restore; nothing is archived there.
    """
    return restore_many(handle, [key], days=days, speed=speed, dry_run=dry_run)[0]


def restore_many(
    handle: Handle, keys: Sequence[PartitionKey], *, days: int = 1, speed: Speed = "bulk", dry_run: bool = False
) -> tuple[RestoreResult, ...]:
    """Request the archived files of partitions of the table, all at once; see `restore`.

    Raises:
        UnknownPartition: The table does not have one of them.
        InvalidSetting: `days` or `speed` is invalid.
    """
    check_request(days, speed)
    snapshot = handle.table.snapshot()
    parts = placed(handle, snapshot, keys)
    absent = next((key for key in keys if key not in parts), None)
    if absent is not None:
        raise unknown(handle.spec, snapshot, absent)
    archived = [(key, file) for key in keys for file in _archived(handle, parts[key].files)]
    before = statuses(handle, [file for _, file in archived])
    after = before if dry_run else _requested(handle, before, days, speed)
    seen: dict[PartitionKey, list[tuple[PlacedFile, RestoreStatus, RestoreStatus]]] = {}
    for (key, file), was, now in zip(archived, before, after, strict=True):
        seen.setdefault(key, []).append((file, was, now))
    return tuple(_restored(parts[key], seen.get(key, ()), days=days, speed=speed, dry_run=dry_run) for key in keys)


def _restored(
    part: PlacedPartition,
    archived: Sequence[tuple[PlacedFile, RestoreStatus, RestoreStatus]],
    *,
    days: int,
    speed: Speed,
    dry_run: bool,
) -> RestoreResult:
    """The result of one partition, from the status of each archived file before and after."""
    requested = [file for file, before, _ in archived if before.state == "archived"]
    return RestoreResult(
        key=part.key,
        days=days,
        speed=speed,
        files=len(part.files),
        archived=len(requested),
        in_progress=sum(after.state == "in progress" for _, _, after in archived),
        readable=len(part.files) - len(archived) + sum(after.readable for _, _, after in archived),
        bytes=sum(file.live.size for file in requested),
        dry_run=dry_run,
    )


def _requested(handle: Handle, before: Sequence[RestoreStatus], days: int, speed: Speed) -> list[RestoreStatus]:
    """Request the archived files; return the status of all files afterwards, in their order."""
    archived = [status.path for status in before if status.state == "archived"]
    after: dict[str, RestoreStatus] = {}
    with reporting("restore", total=len(archived), bytes_total=0) as advance:
        for start in range(0, len(archived), _AT_A_TIME):
            for status in handle.fs.restore_many(archived[start : start + _AT_A_TIME], days=days, speed=speed):
                after[status.path] = status
                advance(status.path, 0)
    return [after.get(status.path, status) for status in before]


def waiting_for(handle: Handle, keys: Iterable[PartitionKey] | None = None) -> dict[PartitionKey, Waiting]:
    """The partitions that cannot be read now, by one read of the table and a HEAD for each archived file.

    Args:
        handle: The dataset.
        keys: Only these, as far as the table has them; None means all.

    Raises:
        UnknownPartition: A key that the table cannot have: other columns, or another spelling.
    """
    if not handle.fs.profile.archived_classes:
        return {}
    snapshot, requested = handle.table.snapshot(), None if keys is None else list(keys)
    check_possible(handle.spec, snapshot.schema, requested or (), snapshot.by_partition())
    parts = placed(handle, snapshot, requested)
    files = [(key, file) for key, part in sorted(parts.items()) for file in _archived(handle, part.files)]
    states: dict[PartitionKey, Waiting] = {}
    for (key, _), status in zip(files, statuses(handle, [file for _, file in files]), strict=True):
        if status.state == "archived":
            states[key] = "archived"
        elif status.state == "in progress":
            states.setdefault(key, "in progress")
    return states


def archived_among(
    handle: Handle, snapshot: Snapshot, paths: Iterable[str]
) -> dict[PartitionKey, tuple[PlacedFile, ...]]:
    """Which of these files need a restore before they can be read, by partition.

    Args:
        handle: The dataset.
        snapshot: The snapshot of the files.
        paths: The files, below the root.
    """
    if not handle.fs.profile.archived_classes:
        return {}
    requested = set(paths)
    keys = {file.key for file in snapshot.files if file.path in requested}
    parts = placed(handle, snapshot, keys)
    by_key = {key: [file for file in part.files if file.live.path in requested] for key, part in sorted(parts.items())}
    return {key: waiting for key, files in by_key.items() if (waiting := unreadable(handle, files))}


def refusal(handle: Handle, waiting: Mapping[PartitionKey, Sequence[PlacedFile]]) -> ArchivedError:
    """The error that names archived partitions and the call that requests them."""
    names = [str(key) for key in waiting]
    classes = sorted({file.storage_class for files in waiting.values() for file in files})
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return ArchivedError(
        f"{handle.spec.uri}: {formatting.are(len(names), 'partition')} archived in {', '.join(classes)} and cannot be "
        f"read before {'it is' if len(names) == 1 else 'they are'} restored: {shown}",
        hint=way_out(handle.spec.uri, names[0]),
        keys=tuple(names),
    )


def wait_until_readable(
    handle: Handle,
    files: Sequence[PlacedFile],
    patience: timedelta,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Request archived files once, and wait until they can be read.

    Args:
        handle: The dataset.
        files: The files.
        patience: How long to wait.
        sleep: Waits for some seconds; tests inject their own.
        clock: Elapsed seconds; tests inject their own.

    Raises:
        ArchivedError: They are not readable in time; the request stays.
    """
    ends, pause = clock() + patience.total_seconds(), _FIRST_WAIT_SECONDS
    _requested(handle, statuses(handle, files), patience.days + 1, "bulk")
    left = files
    while left := [file for file, status in zip(left, statuses(handle, left), strict=True) if not status.readable]:
        if clock() + pause > ends:
            keys = tuple(str(key) for key in sorted({file.live.key for file in left}))
            message = f"{handle.spec.uri}: {formatting.were(len(keys), 'partition')} not restored within {patience}"
            raise ArchivedError(message, hint="they are asked for: read again later", keys=keys)
        sleep(pause)
        pause = min(pause * 2, _LONGEST_WAIT_SECONDS)
