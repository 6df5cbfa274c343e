"""Looking at the server: doctor."""

from __future__ import annotations

import dataclasses

import click

from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session

__all__ = ["doctor"]


@click.command()
@click.option("--bucket", metavar="NAME", help="Try below a temporary prefix of it. [default: in buckets of its own]")
@with_session
def doctor(session: Session, *, bucket: str | None) -> ExitCode:
    """Try what the server can do, and compare it with its profile.

    Nothing of it stays. Exits 1 where the server does not do what its profile says: those rows are marked.
    """
    from tierlake.connector.doctor.report import diagnose

    report = diagnose(session.filesystem(), bucket)
    session.out.emit({"agrees": report.agrees, **dataclasses.asdict(report)}, str(report))
    return ExitCode.DONE if report.agrees else ExitCode.FAILED
