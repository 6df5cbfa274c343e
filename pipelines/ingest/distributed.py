"""An ingest shared out to workers: each reads pieces of the source and writes files; the commit is made elsewhere.

Where a partition must be one object (plain tables) or has its duplicates left out, workers then write its files anew
as one, in the order of the source. Files of plain tables wait where no reader looks, and the commit copies them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tierlake.pipelines.ingest.dask_workers import Place, Workers, threads_of_this_worker
from tierlake.pipelines.ingest.staging import Staged, Staging, open_writer, stage
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.sources.splits import check_part
from tierlake.pipelines.tables.waiting import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.sources.splits import Pieces
    from tierlake.pipelines.tables.protocol import StagedFile

__all__ = ["stage_on_workers"]

_TASKS_A_THREAD = 4


@dataclass(frozen=True, slots=True)
class _Share:
    """One worker's part of an ingest."""

    place: Place
    staging: Staging
    pieces: Pieces
    known: pa.Schema | None
    number: int


@dataclass(frozen=True, slots=True)
class _Merge:
    """Partitions that a worker writes anew: each with its files, in the order of the source."""

    place: Place
    staging: Staging
    partitions: tuple[tuple[PartitionKey, tuple[StagedFile, ...]], ...]


def stage_on_workers(
    workers: Workers,
    handle: Handle,
    staging: Staging,
    pieces: Pieces,
    known: pa.Schema | None,
    *,
    on_rows: Callable[[int], None] | None = None,
    check: Callable[[int, Mapping[str, int], str | None], None] | None = None,
) -> Staged:
    """Write a source's rows to files, each worker its pieces.

    Args:
        workers: the cluster.
        handle: the dataset.
        staging: how; its bound on memory is each worker process's.
        pieces: the source.
        known: types to read text columns in.
        on_rows: called with the number of rows written so far.
        check: called with the rows read, the reasons of the bad ones and the file that keeps them; raises to end it.
    """
    place, alone = Place.of(handle), replace(pieces, files=(), frames=())
    shares = [
        _Share(place, staging, replace(alone, files=(piece,)), known, number)
        for number, piece in enumerate(pieces.files)
    ]
    if pieces.frames:
        shares = [_Share(place, staging, alone, known, number) for number in range(len(pieces.frames))]
        results = workers.run_delayed(_stage_share, list(zip(shares, pieces.frames, strict=True)))
    else:
        results = workers.run(_stage_share, shares)
    done: dict[int, Staged] = {}
    rows = 0
    for share, staged in results:
        done[share.number] = staged
        rows += staged.rows + staged.duplicates + staged.bad_rows
        if on_rows:
            on_rows(rows)
    parts = [done[number] for number in sorted(done)]
    pattern = f"{handle.table.root}/_lake/rejects/*.parquet"
    staged = Staged.together(parts, pattern)
    if check:
        check(rows, staged.rejected, staged.rejects_path)
    is_plain = handle.table.is_published_by_writing
    if is_plain or staging.unique_by:
        staged = _merged(workers, place, staging, staged)
    return _to_be_published(handle, staged) if is_plain else staged


def _merged(workers: Workers, place: Place, staging: Staging, staged: Staged) -> Staged:
    """One worker's files in each partition, where there were several's."""
    by_partition: dict[PartitionKey, list[StagedFile]] = defaultdict(list)
    for file in staged.files:
        by_partition[file.file.key].append(file)
    several = [(key, tuple(files)) for key, files in sorted(by_partition.items()) if len(files) > 1]
    if not several:
        return staged
    size = -(-len(several) // (_TASKS_A_THREAD * workers.threads))
    tasks = [_Merge(place, staging, tuple(several[at : at + size])) for at in range(0, len(several), size)]
    merged = workers.run_in_order(_merge, tasks)
    again = {key for key, _ in several}
    kept = tuple(file for file in staged.files if file.file.key not in again)
    duplicates = sum(part.duplicates for part in merged)
    return replace(
        staged,
        files=(*kept, *(file for part in merged for file in part.files)),
        rows=staged.rows - duplicates,
        duplicates=staged.duplicates + duplicates,
        leftovers=tuple(file.file.path for _, files in several for file in files),
    )


def _to_be_published(handle: Handle, staged: Staged) -> Staged:
    files = tuple(
        replace(
            waiting,
            file=replace(waiting.file, path=handle.table.path_for(waiting.file.key, "", 0, "")),
            waiting=waiting.file.path,
        )
        for waiting in staged.files
    )
    return replace(staged, files=files, leftovers=(*staged.leftovers, *(file.file.path for file in staged.files)))


def _stage_share(share: _Share, frame: object = None) -> Staged:
    """On a worker."""
    handle = _open_to_write(share.place)
    staging = share.staging.shared_by(threads_of_this_worker())
    stream = open_source(frame, share.known) if frame is not None else share.pieces.open()
    if frame is not None:
        check_part(stream, share.pieces.schema, staging.intake.plan.rows)
    with open_writer(handle, staging) as writer:
        return stage(handle, staging, stream.batches, writer)


def _merge(task: _Merge) -> Staged:
    """On a worker."""
    handle = _open_to_write(task.place)
    staging = task.staging.shared_by(threads_of_this_worker())
    with open_writer(handle, staging) as writer:
        for key, files in task.partitions:
            for file in files:
                for rows in _rows_of(handle, file.file.path, staging.columns):
                    writer.add(key, rows)
        files = writer.finish()
        return Staged(files, sum(file.file.rows or 0 for file in files), writer.duplicates)


def _open_to_write(place: Place) -> Handle:
    handle = place.open()
    if not handle.table.is_published_by_writing:
        return handle
    return replace(handle, table=WaitingRoom(handle.fs, handle.table.root, handle.table.partition_columns))


def _rows_of(handle: Handle, path: str, columns: pa.Schema) -> Iterator[pa.Table]:
    with handle.fs.open(f"{handle.table.root}/{path}") as file:
        for batch in pq.ParquetFile(file).iter_batches():
            yield pa.Table.from_batches([batch]).cast(columns)
