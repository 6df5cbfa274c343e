"""What is in somebody's bucket: survey."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session

__all__ = ["survey"]


@click.command()
@click.argument("place", metavar="s3://BUCKET[/PREFIX]")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Stop looking after so long; the report names what it has not looked at.",
)
@click.option("--objects", type=click.IntRange(min=1), help="List so many objects at the most. [default: no limit]")
@click.option(
    "--out-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a YAML file for each dataset that `tierlake adopt` takes.",
)
@options.all_rows
@with_session
def survey(session: Session, place: str, *, seconds: float, objects: int | None, out_dir: Path | None) -> ExitCode:
    """Show what a bucket holds, what it costs, and what could be saved. Writes nothing there.

    Delta, Iceberg and Hudi tables, Hive prefixes and folders of files, whoever wrote them, with sizes, ages, classes
    and small files; incomplete uploads, old versions and unreferenced files; and what cannot be told.
    """
    from tierlake.pipelines.survey.page import survey_text
    from tierlake.pipelines.survey.run import survey as look

    if out_dir is not None:
        _check_may_be_made(out_dir)
    result = look(place, fs=session.filesystem(), seconds=seconds, objects=objects)
    session.out.emit(result, lambda: survey_text(result, limit=None))
    if out_dir is not None:
        written = _write(result.specs, out_dir)
        session.out.note(f"{written:,} files written to {out_dir}" if written else "no dataset can be adopted as it is")
    return ExitCode.DONE


def _check_may_be_made(folder: Path) -> None:
    """Before the look, which takes a while.

    Raises:
        click.UsageError: No file can be written there.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "it may not be written to" if there.is_dir() else "it is a file"
        message = f"nothing can be written to {str(folder)!r}: {str(there)!r} is in the way, {why}"
        raise click.UsageError(message, click.get_current_context())


def _write(specs: dict[str, str], folder: Path) -> int:
    """Write new files; one that is there with other contents is never replaced.

    Raises:
        click.UsageError: Such a file is there.
    """
    changed = [folder / name for name, text in specs.items() if (folder / name).exists()]
    different = [path for path in changed if path.read_text(encoding="utf-8") != specs[path.name]]
    if different:
        message = f"{different[0]} is there already: choose another --out-dir, or remove it"
        raise click.UsageError(message, click.get_current_context())
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in specs.items():
        (folder / name).write_text(text, encoding="utf-8")
    return len(specs)
