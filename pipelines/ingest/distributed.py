"""A distributed ingest: each worker reads pieces of the source and writes files; the caller commits them.

Where a partition must be one object (plain tables) or must lose its duplicates, a worker then rewrites its files as
one, in the order of the source. Files of plain tables wait where readers do not look, and the commit copies them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tierlake.pipelines.ingest.dask_workers import Place, Workers, threads_of_this_worker
from tierlake.pipelines.ingest.staging import Staged, Staging, open_writer, stage
from tierlake.pipelines.sources import open_source
from tierlake.pipelines.sources.splits import check_part
from tierlake.pipelines.tables.staging import several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tierlake.pipelines.metastore.handle import Handle
    from tierlake.pipelines.model.partition_key import PartitionKey
    from tierlake.pipelines.sources.splits import Pieces
    from tierlake.pipelines.tables.snapshot import StagedFile

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
    """Partitions that a worker rewrites, each with its files in the order of the source."""

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
    """Write a source's rows to files; each worker writes its own pieces.

    Args:
        workers: The cluster.
        handle: The dataset.
        staging: How the files are written; the bound on memory counts for each worker process.
        pieces: The source.
        known: Types of text columns.
        on_rows: Called with the number of rows written so far.
        check: Called with the rows read, the reasons of the bad ones and their reject file; raises to abort.
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
    joined = several(staged.files) if staging.unique_by else handle.table.to_join(staged.files)
    staged = _joined(workers, place, staging, staged, joined)
    files = handle.table.to_publish(staged.files)
    copied = tuple(one.waiting for one in files if one.waiting is not None)
    return replace(staged, files=files, leftovers=(*staged.leftovers, *copied))


def _joined(
    workers: Workers,
    place: Place,
    staging: Staging,
    staged: Staged,
    split: Sequence[tuple[PartitionKey, tuple[StagedFile, ...]]],
) -> Staged:
    """Replace the files of partitions that several workers wrote to: one worker rewrites each partition."""
    if not split:
        return staged
    size = -(-len(split) // (_TASKS_A_THREAD * workers.threads))
    tasks = [_Merge(place, staging, tuple(split[at : at + size])) for at in range(0, len(split), size)]
    merged = workers.run_in_order(_merge, tasks)
    again = {key for key, _ in split}
    kept = tuple(file for file in staged.files if file.file.key not in again)
    duplicates = sum(part.duplicates for part in merged)
    return replace(
        staged,
        files=(*kept, *(file for part in merged for file in part.files)),
        rows=staged.rows - duplicates,
        duplicates=staged.duplicates + duplicates,
        leftovers=tuple(file.file.path for _, files in split for file in files),
    )


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
    return replace(handle, table=handle.table.for_workers())


def _rows_of(handle: Handle, path: str, columns: pa.Schema) -> Iterator[pa.Table]:
    with handle.fs.open(f"{handle.table.root}/{path}") as file:
        for batch in pq.ParquetFile(file).iter_batches():
            yield pa.Table.from_batches([batch]).cast(columns)
