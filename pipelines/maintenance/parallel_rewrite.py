"""Counting in many files and rewriting them, by threads or by remote workers; the commit is made by the caller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tierlake.pipelines.ingest.dask_workers import Place, threads_of_this_worker
from tierlake.pipelines.ingest.writer import WriterLimits
from tierlake.pipelines.maintenance.rewrite import Rewriter
from tierlake.pipelines.runtime.parallel import in_threads
from tierlake.pipelines.runtime.progress import reporting

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.compute as pc

    from tierlake.pipelines.ingest.dask_workers import Workers
    from tierlake.pipelines.maintenance.rewrite import Rewrite
    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.model.spec import WriteSpec
    from tierlake.pipelines.tables.snapshot import LiveFile, Snapshot

__all__ = ["Crew", "Group"]

_CONCURRENCY = 4
_TASKS_A_THREAD = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one partition that become one, or few.

    Attributes:
        key: The partition.
        sources: Its files.
        storage_class: Where the new ones belong.
    """

    key: PartitionKey
    sources: tuple[LiveFile, ...]
    storage_class: str


class Crew:
    """The threads or workers that read and write the files of one snapshot."""

    def __init__(
        self,
        handle: Handle,
        snapshot: Snapshot,
        write: WriteSpec,
        limits: WriterLimits | None = None,
        workers: Workers | None = None,
    ) -> None:
        """Rewrite under `write`; `limits` are those of each process."""
        self._handle = handle
        self._snapshot = snapshot
        self._write = write
        self._limits = limits or WriterLimits()
        self._workers = workers
        self.rewriter = Rewriter(handle, snapshot, write, _shared(self._limits, _CONCURRENCY))

    def rewrite(self, groups: Sequence[Group], without: pc.Expression | None = None) -> list[Rewrite]:
        """Write each group's rows to new files, in order; see `Rewriter.rewrite`."""
        if self._workers is None:
            with reporting("rewrite", total=len(groups), bytes_total=_size(groups)) as advance:
                return in_threads(
                    lambda group: _rewrite(self.rewriter, group, without),
                    groups,
                    at_once=_CONCURRENCY,
                    name="rewrite",
                    advance=lambda group: advance(str(group.key), _size([group])),
                )
        tasks = self._tasks(self._workers, groups, without)
        return [rewrite for done in self._workers.run_in_order(_rewrite_there, tasks) for rewrite in done]

    def count(self, files: Sequence[LiveFile], matching: pc.Expression) -> list[int]:
        """How many rows of each file match."""
        if self._workers is None:
            with reporting("read", total=len(files), bytes_total=sum(file.size for file in files)) as advance:
                return in_threads(
                    lambda file: self.rewriter.count(file.path, matching),
                    files,
                    at_once=_CONCURRENCY,
                    name="rewrite",
                    advance=lambda file: advance(file.path, file.size),
                )
        groups = [Group(file.key, (file,), "") for file in files]
        tasks = self._tasks(self._workers, groups, matching)
        return [count for counts in self._workers.run_in_order(_count_there, tasks) for count in counts]

    def _tasks(self, workers: Workers, groups: Sequence[Group], matching: pc.Expression | None) -> list[_Task]:
        place = Place.of(self._handle)
        size = -(-len(groups) // (_TASKS_A_THREAD * workers.threads)) or 1
        tasks = []
        for start in range(0, len(groups), size):
            part = tuple(groups[start : start + size])
            # only the part of the snapshot that the worker needs: a large table would be a large message
            files = tuple(file for group in part for file in group.sources)
            tasks.append(_Task(place, replace(self._snapshot, files=files), self._write, self._limits, part, matching))
        return tasks


@dataclass(frozen=True, slots=True)
class _Task:
    place: Place
    snapshot: Snapshot
    write: WriteSpec
    limits: WriterLimits
    groups: tuple[Group, ...]
    matching: pc.Expression | None

    def rewriter(self) -> Rewriter:
        """On the worker."""
        limits = _shared(self.limits, threads_of_this_worker())
        return Rewriter(self.place.open(), self.snapshot, self.write, limits)


def _rewrite_there(task: _Task) -> list[Rewrite]:
    rewriter = task.rewriter()
    return [_rewrite(rewriter, group, task.matching) for group in task.groups]


def _count_there(task: _Task) -> list[int]:
    rewriter, matching = task.rewriter(), task.matching
    return [rewriter.count(file.path, matching) for group in task.groups for file in group.sources]


def _rewrite(rewriter: Rewriter, group: Group, without: pc.Expression | None) -> Rewrite:
    return rewriter.rewrite(group.key, group.sources, group.storage_class, without)


def _size(groups: Sequence[Group]) -> int:
    return sum(file.size for group in groups for file in group.sources)


def _shared(limits: WriterLimits, threads: int) -> WriterLimits:
    return replace(limits, memory_bytes=max(1, limits.memory_bytes // threads))
