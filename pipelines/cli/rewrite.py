"""Writing files anew: compact, erase."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.cli.output import plain
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from tierlake.pipelines.maintenance.erase import EraseReport
    from tierlake.pipelines.model.selection import Selection

__all__ = ["compact", "erase"]


@click.command()
@options.dataset
@options.partitions
@click.option("--sort-by", metavar="COLUMN", multiple=True, help="Sort rows within each file; rewrites all files.")
@click.option(
    "--level",
    "compression_level",
    type=click.IntRange(1, 22),
    help="Compression level (zstd: up to 22); rewrites all files.",
)
@options.dask
@options.all_rows
@options.dry_run
@with_session
def compact(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    sort_by: tuple[str, ...],
    compression_level: int | None,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Put small files together. Those of partition KEY, or of all partitions.

    Readers notice nothing, rows appended meanwhile stay, and a partition stays in its storage class. The old files are
    deleted by `vacuum` after the grace.
    """
    from tierlake.pipelines.ingest.dask_workers import connected

    with connected(scheduler) as client:
        result = session.dataset(dataset).compact(
            chosen,
            sort_by=sort_by or None,
            compression_level=compression_level,
            dry_run=dry_run,
            engine="dask" if client else "local",
            client=client,
        )
    session.out.emit(result, str(result))


@click.command()
@options.dataset
@click.option(
    "--where",
    "conditions",
    metavar="COLUMN=VALUE",
    multiple=True,
    required=True,
    help="Which rows; several conditions must all hold.",
)
@click.option(
    "--unsafe-delete-old-files",
    is_flag=True,
    help="Delete the old files with such rows at once: readers that are at it fail, and undo is no longer possible.",
)
@options.dask
@options.all_rows
@options.dry_run
@options.yes
@with_session
def erase(
    session: Session,
    dataset: str,
    *,
    conditions: tuple[str, ...],
    unsafe_delete_old_files: bool,
    scheduler: str | None,
    dry_run: bool,
    yes: bool,
) -> ExitCode:
    """Delete the rows that match, for good (requests to be forgotten). From every partition that holds them.

    The report says what was rewritten and where such rows still are: held partitions, archived classes, rejected rows,
    and old files, which `vacuum` deletes after the grace. Exits 3 where any such row can still be read, or may be; run
    it again after `vacuum`, a release or a restore.
    """
    from tierlake.pipelines.ingest.dask_workers import connected

    where = [_condition(text) for text in conditions]
    opened = session.dataset(dataset)
    with connected(scheduler) as client:
        erasing = partial(opened.erase, where, engine="dask" if client else "local", client=client)
        preview = erasing(dry_run=True)
        if dry_run:
            session.out.emit(_document(preview), str(preview))
            is_complete = preview.foresees_completion(deletes_old_files=unsafe_delete_old_files)
            return ExitCode.DONE if is_complete else ExitCode.PARTIAL
        if not yes:
            session.out.note(f"{preview}\n")
        if not session.confirm(f"Erase {formatting.rows(preview.rows)} of {opened.uri}?", yes=yes):
            session.out.note("nothing was changed")
            return ExitCode.FAILED
        report = erasing(unsafe_delete_old_files=unsafe_delete_old_files)
    session.out.emit(_document(report), str(report))
    return ExitCode.DONE if report.is_complete else ExitCode.PARTIAL


def _document(report: EraseReport) -> object:
    return {**cast("dict[str, object]", plain(report)), "is_complete": report.is_complete}


def _condition(text: str) -> tuple[str, str, str]:
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise click.UsageError(f"--where {text!r} is not COLUMN=VALUE", click.get_current_context())
    return column, "==", value
