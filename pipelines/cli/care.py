"""Looking after a dataset: verify, vacuum."""

from __future__ import annotations

from dataclasses import asdict

import click

from pipelines import units
from pipelines.cli import options
from pipelines.cli.failures import ExitCode
from pipelines.cli.options import Session, with_session

__all__ = ["vacuum", "verify"]


@click.command()
@options.dataset
@options.as_of
@click.option("--repair", is_flag=True, help="Mend a wrong storage class or a lost encryption; never deletes anything.")
@with_session
def verify(session: Session, dataset: str, *, as_of: str | None, repair: bool) -> ExitCode:
    """Check that all that is committed is there, encrypted, and in a class that the policy allows.

    Exits 0 where it is. Files that no commit names are counted: they are no error.
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
    """Delete the files that no commit names: expired and replaced ones after the grace, orphans after 24 hours."""
    opened = session.dataset(dataset)
    found = opened.vacuum(dry_run=True)
    said = f"{units.files(found.deleted)}, {units.size(found.bytes)}"
    waiting = f"; {units.count(found.kept)} wait for their grace or their age" if found.kept else ""
    if dry_run or not found.deleted:
        session.out.emit(found, (f"would delete {said}" if found.deleted else "nothing to delete") + waiting)
        return ExitCode.DONE
    if not session.confirm(f"Delete {said} of {opened.uri} for good?", yes=yes):
        session.out.note("nothing was changed")
        return ExitCode.FAILED
    result = opened.vacuum()
    session.out.emit(result, f"deleted {units.files(result.deleted)}, {units.size(result.bytes)}{waiting}")
    return ExitCode.DONE
