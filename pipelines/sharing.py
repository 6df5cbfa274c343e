"""An ingest shared out to workers: each reads pieces of the source and writes files; the commit is made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.sources import open_source
from pipelines.staging import Staged, Staging, open_writer, stage
from pipelines.workers import Place, Workers, threads_of_this_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipelines.handle import Handle
    from pipelines.pieces import Pieces

__all__ = ["stage_on_workers"]


@dataclass(frozen=True, slots=True)
class _Share:
    """One worker's part of an ingest."""

    place: Place
    staging: Staging
    pieces: Pieces
    known: pa.Schema | None
    number: int


def stage_on_workers(
    workers: Workers,
    handle: Handle,
    staging: Staging,
    pieces: Pieces,
    known: pa.Schema | None,
    *,
    on_rows: Callable[[int], None] | None = None,
) -> Staged:
    """Write a source's rows to files, each worker its pieces.

    Args:
        workers: the cluster.
        handle: the dataset.
        staging: how; its bound on memory is each worker process's.
        pieces: the source.
        known: types to read text columns in.
        on_rows: called with the number of rows written so far.
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
        rows += staged.rows + staged.bad_rows
        if on_rows:
            on_rows(rows)
    pattern = f"{handle.table.root}/_lake/rejects/{staging.token}-*.parquet"
    return Staged.together([done[number] for number in sorted(done)], pattern)


def _stage_share(share: _Share, frame: object = None) -> Staged:
    """On a worker."""
    handle = share.place.open()
    staging = share.staging.shared_by(threads_of_this_worker())
    stream = open_source(frame, share.known) if frame is not None else share.pieces.open(share.known)
    with open_writer(handle, staging) as writer:
        return stage(handle, staging, stream.batches, writer, share=f"-{share.number:05d}")
