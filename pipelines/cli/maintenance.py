"""Looking after a dataset: verify, vacuum, and its end: drop, undrop."""

from __future__ import annotations

from dataclasses import asdict

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting

__all__ = ["drop", "undrop", "vacuum", "verify"]


@click.command()
@options.dataset
@options.as_of
@click.option("--repair", is_flag=True, help="Mend a wrong storage class or a lost encryption; never deletes anything.")
@options.all_rows
@with_session
def verify(session: Session, dataset: str, *, as_of: str | None, repair: bool) -> ExitCode:
    """Check that all that is committed is there, and as it should be.

    It is encrypted, and in a class that the policy allows. A problem is a line, with what is wrong: a file that is
    `missing`, or has another `size`, `class` or `encryption`; or what no act of ours makes: `erased` rows that are
    back, rows that are live twice (`doubled`), a `held` partition whose files are gone, an object `hidden` by a delete
    marker of others.

    Exits 0 where there is none. Files that no commit names are counted: they are no error.
    """
    report = session.dataset(dataset).verify(as_of=as_of, repair=repair)
    session.out.emit({"ok": report.ok, **asdict(report)}, str(report))
    return ExitCode.DONE if report.ok else ExitCode.FAILED


@click.command()
@options.dataset
@options.dry_run
@options.yes
@with_session
def vacuum(session: Session, dataset: str, *, dry_run: bool, yes: bool) -> ExitCode:
    """Delete the files that no commit names. Expired and replaced ones after the grace, orphans after 24 hours.

    Of a dropped dataset whose grace is over and whose files are gone, it deletes the log, the journal and the
    description as well: the prefix can be created anew.
    """
    opened = session.dataset(dataset)
    preview = opened.vacuum(dry_run=True)
    extent = f"{formatting.files(preview.deleted)}, {formatting.size(preview.bytes)}"
    waiting = f"; {formatting.count(preview.kept)} wait for their grace or their age" if preview.kept else ""
    ending = " and the dataset itself (it was dropped, and its grace is over)" if preview.ends_dataset else ""
    if dry_run or not (preview.deleted or preview.ends_dataset):
        would = f"would delete {extent}{ending}" if preview.deleted or preview.ends_dataset else "nothing to delete"
        session.out.emit(preview, would + waiting)
        return ExitCode.DONE
    if not session.confirm(f"Delete {extent} of {opened.uri}{ending} for good?", yes=yes):
        session.out.note("nothing was changed")
        return ExitCode.FAILED
    result = opened.vacuum()
    end = "; the dataset is gone" if result.ends_dataset else waiting
    session.out.emit(result, f"deleted {formatting.files(result.deleted)}, {formatting.size(result.bytes)}{end}")
    return ExitCode.DONE


@click.command()
@options.dataset
@click.option("--reason", default="", help="Why; the history keeps it.")
@options.no_undo
@options.dry_run
@options.yes
@with_session
def drop(session: Session, dataset: str, *, reason: str, no_undo: bool, dry_run: bool, yes: bool) -> ExitCode:
    """Take a whole dataset away. `undrop` takes it back until the grace ends; then `vacuum` deletes all of it.

    Readers see an empty table, and nothing can be ingested. Refused while any partition is held or retained.
    """
    opened = session.dataset(dataset)
    preview = opened.drop(undo=not no_undo, dry_run=True)
    if dry_run or preview.is_done_already:
        session.out.emit(preview, str(preview))
        return ExitCode.DONE
    amount = f"{formatting.partitions(preview.partitions)}, {formatting.size(preview.bytes)}"
    if not session.confirm(f"Drop {opened.uri} ({amount}){' without undo' if no_undo else ''}?", yes=yes):
        session.out.note("nothing was changed")
        return ExitCode.FAILED
    result = opened.drop(reason=reason, undo=not no_undo)
    session.out.emit(result, str(result))
    return ExitCode.DONE


@click.command()
@options.dataset
@click.option("--reason", default="", help="Why; the history keeps it.")
@options.dry_run
@with_session
def undrop(session: Session, dataset: str, *, reason: str, dry_run: bool) -> ExitCode:
    """Take a dropped dataset back. All partitions that it had return; possible until its grace ends.

    Exits 3 where others have written to some of them meanwhile, so that these cannot come back.
    """
    result = session.dataset(dataset).undrop(reason=reason, dry_run=dry_run)
    session.out.emit(result, str(result))
    for error in result.refused.values():
        session.out.note(f"error: {error}")
    return ExitCode.PARTIAL if result.refused else ExitCode.DONE
