"""Looking at the server: doctor."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import emphasised

if TYPE_CHECKING:
    from tierlake.connector.doctor.report import Report

__all__ = ["doctor"]


@click.command()
@click.option("--bucket", metavar="NAME", help="Try below a temporary prefix of it. [default: in buckets of its own]")
@options.all_rows
@with_session
def doctor(session: Session, *, bucket: str | None) -> ExitCode:
    """Try what the server can do, and compare it with its profile.

    Nothing of it stays. Exits 1 where the server does not do what its profile says: those rows are marked.
    """
    from tierlake.connector.doctor.report import diagnose

    report = diagnose(session.filesystem(), bucket)
    session.out.emit({"agrees": report.agrees, **dataclasses.asdict(report)}, _text(report))
    return ExitCode.DONE if report.agrees else ExitCode.FAILED


def _text(report: Report) -> str:
    number = len(report.disagreements)
    differ = f"{formatting.counted(number, 'row')} {'differs' if number == 1 else 'differ'} from the profile"
    summary = differ if number else "the server does what the profile says"
    rows = [("!" if row.agree is False else "", row.what, row.profile or "-", row.server) for row in report.rows]
    title = emphasised(f"{summary}: {report.endpoint}, profile {report.profile}")
    return formatting.table_text(["", "", "profile", "server"], rows, title=title)
