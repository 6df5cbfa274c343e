"""What killed writers leave: uploads abort."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import emphasised

if TYPE_CHECKING:
    from datetime import datetime

    from tierlake.connector.objects.multipart import IncompleteUpload

__all__ = ["uploads"]


@click.group()
def uploads() -> None:
    """Multipart uploads that were begun and not completed. They are in no listing, and paid for.

    abort takes --json, --profile and --endpoint-url after its name.
    """


@uploads.command("abort")
@click.argument("place", metavar="BUCKET[/PREFIX]")
@click.option("--older-than", default="1d", show_default=True, help="Only those begun before that age: 12h, 1d, 2w.")
@options.all_rows
@options.dry_run
@options.yes
@with_session
def abort(session: Session, place: str, *, older_than: str, dry_run: bool, yes: bool) -> ExitCode:
    """Abort old incomplete uploads; their parts are deleted.

    Ages go by the server's clock. An upload that is still written fails when it is aborted: leave it time.
    """
    fs = session.filesystem()
    incomplete = fs.abort_incomplete_uploads(place, older_than=older_than, dry_run=True)
    now = fs.server_time(place)
    if dry_run or not incomplete:
        document = {"aborted": [], "would_abort": _rows(incomplete, now)}
        session.out.emit(document, _text("would abort", incomplete, now))
        return ExitCode.DONE
    if not yes:
        session.out.note(f"{_text('would abort', incomplete, now)}\n")
    if not session.confirm(f"Abort {formatting.counted(len(incomplete), 'upload')}?", yes=yes):
        session.out.note("nothing was aborted")
        return ExitCode.FAILED
    fs.abort_uploads(incomplete)  # these, and none that came of age meanwhile
    document = {"aborted": _rows(incomplete, now), "would_abort": []}
    session.out.emit(document, _text("aborted", incomplete, now))
    return ExitCode.DONE


def _rows(incomplete: list[IncompleteUpload], now: datetime) -> list[dict[str, object]]:
    return [
        {
            "path": upload.path,
            "upload_id": upload.upload_id,
            "initiated": upload.initiated,
            "age_seconds": int((now - upload.initiated).total_seconds()),
        }
        for upload in incomplete
    ]


def _text(did: str, incomplete: list[IncompleteUpload], now: datetime) -> str:
    if not incomplete:
        return "no such uploads"
    rows = [(upload.path, upload.upload_id, formatting.age(now - upload.initiated)) for upload in incomplete]
    summary = emphasised(f"{did} {formatting.counted(len(rows), 'incomplete upload')}")
    return formatting.table_text(("key", "upload", ">age"), rows, title=summary)
