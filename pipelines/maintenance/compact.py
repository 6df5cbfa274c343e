"""Compaction: many small files of a partition become a few of the target size, in one commit that readers do not see.

The rows stay the same (`dataChange=false`), files that others append meanwhile stay beside the new ones, and a
partition stays in its storage class. The old files are deleted by `vacuum` after the grace.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierlake.connector.nearest import alternatives
from tierlake.connector.observe import tracing
from tierlake.pipelines.errors import CommitConflict, SchemaMismatch
from tierlake.pipelines.maintenance.parallel_rewrite import Crew, Group
from tierlake.pipelines.maintenance.rewrite import archived_classes, class_to_keep, commit_rewrites
from tierlake.pipelines.query.placement import MISSING, placed
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.conflicts import REWRITES, attempts
from tierlake.pipelines.runtime.html import Shown
from tierlake.pipelines.runtime.page import emphasised, listed
from tierlake.pipelines.runtime.progress import reporting
from tierlake.pipelines.runtime.table import Table
from tierlake.pipelines.tables.requested_keys import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tierlake.pipelines.ingest.dask_workers import Workers
    from tierlake.pipelines.ingest.writer import WriterLimits
    from tierlake.pipelines.maintenance.rewrite import Rewrite
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import WriteSpec
    from tierlake.pipelines.runtime.progress import Progress
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

__all__ = ["CompactResult", "CompactedPartition", "compact", "groups_of"]

_SMALL = 0.75  # files below this share of the target size are small
_COMMIT_PARTITIONS = 64


@dataclass(frozen=True, slots=True)
class CompactedPartition:
    """One partition before and after.

    Attributes:
        key: The partition.
        files_before: Small files that were, or would be, merged.
        bytes_before: Their size.
        files_after: Files in their place; an estimate for a dry run.
        bytes_after: Their size; None for a dry run.
        storage_class: Where they are.
    """

    key: PartitionKey
    files_before: int
    bytes_before: int
    files_after: int
    bytes_after: int | None
    storage_class: str


@dataclass(frozen=True, slots=True, repr=False)
class CompactResult(Shown):
    """What a compaction did, or would do.

    Attributes:
        partitions: Those that were compacted.
        skipped: Partitions that could not be compacted, each with the reason.
        dry_run: True where nothing was written.
    """

    partitions: tuple[CompactedPartition, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.partitions) and not self.dry_run

    def __str__(self) -> str:
        """For people."""
        table = [self._table().text()] if self.partitions else []
        return "\n".join([emphasised(self._summary()), *table, *listed(self._left_alone(), len(self.skipped))])

    def _summary(self) -> str:
        if not self.partitions:
            return "nothing to compact: no partition has small files to put together"
        before = sum(part.files_before for part in self.partitions)
        after = sum(part.files_after for part in self.partitions)
        did = "would compact" if self.dry_run else "compacted"
        return f"{did} {formatting.partitions(len(self.partitions))}: {formatting.files(before)} become {after:,}"

    def _parts(self) -> tuple[Table[CompactedPartition], str]:
        return self._table(), "\n".join(self._left_alone())

    def _left_alone(self) -> list[str]:
        return [f"{key}: left alone: {why}" for key, why in self.skipped.items()]

    def _table(self) -> Table[CompactedPartition]:
        return Table(["key", ">files", ">then", ">size", ">then", "class"], self.partitions, _cells)


def _cells(part: CompactedPartition) -> tuple[str, ...]:
    return (
        str(part.key) or "(all)",
        formatting.count(part.files_before),
        formatting.count(part.files_after),
        formatting.size(part.bytes_before),
        "-" if part.bytes_after is None else formatting.size(part.bytes_after),
        part.storage_class,
    )


@dataclass(frozen=True, slots=True)
class _Job:
    key: PartitionKey
    groups: tuple[tuple[LiveFile, ...], ...]
    storage_class: str

    @property
    def files(self) -> tuple[LiveFile, ...]:
        return tuple(itertools.chain.from_iterable(self.groups))


def compact(
    handle: Handle,
    keys: Iterable[PartitionKey] | None = None,
    *,
    sort_by: Sequence[str] | None = None,
    compression_level: int | None = None,
    dry_run: bool = False,
    limits: WriterLimits | None = None,
    workers: Workers | None = None,
    progress: Progress = False,
) -> CompactResult:
    """Merge small files.

    Args:
        handle: The dataset.
        keys: Only these partitions.
        sort_by: Sort rows by these columns within each new file; then all files are rewritten, not only small ones. A
            file whose rows exceed the memory bound is sorted by row groups.
        compression_level: The level of the dataset's codec (zstd: up to 22); then all files are rewritten too.
        dry_run: Only report what would be done.
        limits: Bounds on memory and concurrency, of each process.
        workers: A cluster that reads and writes instead of this process; the commits are made here.
        progress: Listens to each step.

    Raises:
        UnsupportedByTable: A plain table: its partitions are one object each.
        UnknownPartition: The table does not have one of the keys.
        SchemaMismatch: The table does not have a column to sort by.
        CommitConflict: Others kept rewriting the same files; partitions compacted before that stay compacted.
    """
    handle.table.check_operation("compact")
    changes: dict[str, object] = {"sort_by": tuple(sort_by)} if sort_by else {}
    if compression_level is not None:
        changes["compression_level"] = compression_level
    write = handle.spec.write.model_copy(update=changes)
    snapshot = handle.table.snapshot()
    requested = _requested(handle, snapshot, keys)
    _check_columns(snapshot, write)
    plan, skipped = _planned(handle, snapshot, requested, write, everything=bool(changes))
    if dry_run:
        return CompactResult(tuple(_foreseen(job) for job in plan), skipped, dry_run=True)
    done: dict[PartitionKey, CompactedPartition] = {}
    total = sum(file.size for job in plan for file in job.files)
    with reporting("compact", total=len(plan), bytes_total=total, progress=progress) as advance:
        for start in range(0, len(plan), _COMMIT_PARTITIONS):
            batch = plan[start : start + _COMMIT_PARTITIONS]
            _compact_batch(handle, batch, write, limits, workers, done, bool(changes))
            for job in batch:
                advance(str(job.key), sum(file.size for file in job.files))
    return CompactResult(tuple(done[key] for key in sorted(done)), skipped)


def _requested(handle: Handle, snapshot: Snapshot, keys: Iterable[PartitionKey] | None) -> set[PartitionKey]:
    live = set(snapshot.by_partition())
    if keys is None:
        return live
    requested = set(keys)
    if absent := sorted(requested - live):
        raise unknown(handle.spec, snapshot, absent[0])
    return requested


def _check_columns(snapshot: Snapshot, write: WriteSpec) -> None:
    names = snapshot.schema.names if snapshot.schema is not None else []
    unknown = [name for name in write.sort_by if name not in names]
    if unknown:
        raise SchemaMismatch(f"no column {', '.join(unknown)} to sort by", hint=alternatives(unknown[0], names))


@tracing.span("compact.plan")
def _planned(
    handle: Handle, snapshot: Snapshot, keys: set[PartitionKey], write: WriteSpec, *, everything: bool
) -> tuple[list[_Job], dict[str, str]]:
    jobs: list[_Job] = []
    skipped: dict[str, str] = {}
    by_partition = snapshot.by_partition()
    grouped = {
        key: groups_of(by_partition[key], int(write.target_file_size), everything=everything)
        for key in sorted(keys & set(by_partition))
    }
    worth = {key: groups for key, groups in grouped.items() if groups}
    now = handle.clock.now()
    for key, part in (placed(handle, snapshot, worth) if worth else {}).items():
        if (archived := archived_classes(handle, part)) is not None:
            skipped[str(key)] = f"archived in {archived}: it must be restored before it can be read"
        elif MISSING in part.classes:
            skipped[str(key)] = "a committed file is not in the store: `tierlake verify`"
        else:
            jobs.append(_Job(key, worth[key], class_to_keep(handle, part, now)))
    return jobs, skipped


def groups_of(
    files: Iterable[LiveFile], target_bytes: int, *, everything: bool = False
) -> tuple[tuple[LiveFile, ...], ...]:
    """Which files of one partition become one file each, by size: oldest first, up to the target.

    Args:
        files: The partition's files.
        target_bytes: Size of a file.
        everything: Include files of the right size and single files too.
    """
    ordered = sorted(files, key=lambda file: (file.modified, file.path))
    groups: list[list[LiveFile]] = []
    size = 0
    for file in ordered:
        if not everything and file.size >= target_bytes * _SMALL:
            continue
        if not groups or size + file.size > target_bytes:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.size
    return tuple(tuple(group) for group in groups if everything or len(group) > 1)


def _foreseen(job: _Job) -> CompactedPartition:
    size = sum(file.size for file in job.files)
    return CompactedPartition(job.key, len(job.files), size, len(job.groups), None, job.storage_class)


def _compact_batch(
    handle: Handle,
    jobs: Sequence[_Job],
    write: WriteSpec,
    limits: WriterLimits | None,
    workers: Workers | None,
    done: dict[PartitionKey, CompactedPartition],
    everything: bool,  # noqa: FBT001 - private
) -> None:
    """Write and commit some partitions; those that others changed meanwhile are planned and written again."""
    pending = list(jobs)
    for attempt in attempts(f"lake://{handle.table.root}", on=CommitConflict, budget=REWRITES):
        with attempt:
            snapshot = handle.table.snapshot()
            live = {file.path for file in snapshot.files}
            if any(file.path not in live for job in pending for file in job.files):
                pending, _ = _planned(handle, snapshot, {job.key for job in pending}, write, everything=everything)
            rewrites = _written(Crew(handle, snapshot, write, limits, workers), pending)
            flat = [rewrite for parts in rewrites.values() for rewrite in parts]
            _, late = commit_rewrites(handle, "compact", flat, {"files": sum(len(part.sources) for part in flat)})
            behind = {rewrite.sources for rewrite in late}
            for job in pending:
                standing = [rewrite for rewrite in rewrites[job.key] if rewrite.sources not in behind]
                if standing:
                    done[job.key] = _summed(done.get(job.key), job, standing)
            again = {rewrite.key for rewrite in late}
            pending = [job for job in pending if job.key in again]
            if not pending:
                return
            keys = ", ".join(str(job.key) for job in pending)
            message = f"lake://{handle.table.root}: others kept rewriting {keys} while it was compacted"
            raise CommitConflict(message, hint="nothing of it is lost; run it again when the table is quieter")
    raise AssertionError  # the last attempt raises


@tracing.span("compact.rewrite")
def _written(crew: Crew, jobs: Sequence[_Job]) -> dict[PartitionKey, list[Rewrite]]:
    """The new files of each partition."""
    groups = [Group(job.key, group, job.storage_class) for job in jobs for group in job.groups]
    written: dict[PartitionKey, list[Rewrite]] = {job.key: [] for job in jobs}
    for rewrite in crew.rewrite(groups):
        written[rewrite.key].append(rewrite)
    return written


def _summed(before: CompactedPartition | None, job: _Job, rewrites: Sequence[Rewrite]) -> CompactedPartition:
    sources = [file for rewrite in rewrites for file in rewrite.sources]
    staged = [file.file for rewrite in rewrites for file in rewrite.staged]
    return CompactedPartition(
        key=job.key,
        files_before=len(sources) + (before.files_before if before else 0),
        bytes_before=sum(file.size for file in sources) + (before.bytes_before if before else 0),
        files_after=len(staged) + (before.files_after if before else 0),
        bytes_after=sum(file.size for file in staged) + ((before.bytes_after or 0) if before else 0),
        storage_class=job.storage_class,
    )
