"""Writing files anew: compact."""

from __future__ import annotations

import click

from pipelines.cli import options
from pipelines.cli.options import Session, with_session

__all__ = ["compact"]


@click.command()
@options.dataset
@options.optional_key
@click.option("--sort-by", metavar="COLUMN", multiple=True, help="Sort rows within each file; rewrites all files.")
@click.option(
    "--level",
    "compression_level",
    type=click.IntRange(1, 22),
    help="Compression level (zstd: up to 22); rewrites all files.",
)
@options.dry_run
@with_session
def compact(
    session: Session,
    dataset: str,
    key: str | None,
    *,
    sort_by: tuple[str, ...],
    compression_level: int | None,
    dry_run: bool,
) -> None:
    """Put the small files of partition KEY, or of all partitions, together.

    Readers notice nothing, rows appended meanwhile stay, and a partition stays in its storage class. The old files are
    deleted by `vacuum` after the grace.
    """
    result = session.dataset(dataset).compact(
        key,
        sort_by=sort_by or None,
        compression_level=compression_level,
        dry_run=dry_run,
        progress=session.out.shows_progress,
    )
    session.out.emit(result, str(result))
