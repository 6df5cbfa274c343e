"""Taking over what others wrote: adopt."""

from __future__ import annotations

from pathlib import Path

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting

__all__ = ["adopt"]


@click.command()
@click.argument("uri")
@click.option(
    "--spec",
    "described",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML file with tiers, retention and more. [default: what the files tell]",
)
@options.all_rows
@options.dry_run
@options.yes
@with_session
def adopt(session: Session, uri: str, *, described: Path | None, dry_run: bool, yes: bool) -> ExitCode:
    """Make Parquet or a Delta table of others a dataset, where it lies. No data is rewritten.

    A prefix of Parquet becomes a Delta table: a log is written that names its files. A Delta table gets our description
    alone. Objects that do not fit are reported and left alone.
    """
    from tierlake.pipelines.dataset import Dataset

    fs = session.filesystem()
    adoption = Dataset.adopt(uri, described, fs=fs)
    if dry_run or not adoption.dry_run:  # it is adopted already
        session.out.emit(adoption, str(adoption))
        return ExitCode.DONE
    if not yes:
        session.out.note(f"{adoption}\n")
    if not session.confirm(f"Adopt {formatting.files(adoption.files)} at {adoption.uri}?", yes=yes):
        session.out.note("nothing was changed")
        return ExitCode.FAILED
    report = Dataset.adopt(uri, described, dry_run=False, fs=fs)
    session.out.emit(report, str(report))
    return ExitCode.DONE
