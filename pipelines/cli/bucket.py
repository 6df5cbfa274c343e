"""Buckets as they should be: bucket plan, bucket apply."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.failures import ExitCode
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import emphasised

if TYPE_CHECKING:
    from tierlake.connector.bucket import BucketPlan

__all__ = ["bucket"]

_YAML = (".yaml", ".yml")


@click.group()
def bucket() -> None:
    """A bucket as it should be: encrypted, closed, owned, cleaned up.

    SPEC.yaml describes it, with what moves objects to tiers; a BUCKET's name alone stands for the defaults. Both take
    --json, --endpoint-url and --profile after their names.
    """


@bucket.command("plan")
@click.argument("described", metavar="SPEC.yaml|BUCKET")
@options.all_rows
@with_session
def plan(session: Session, described: str) -> None:
    """Say what differs from the spec, and what this server lacks. Changes nothing.

    Needs an administrator's rights, for reading too.
    """
    made = _planned(session, described)
    session.out.emit(made.to_dict(), _text(made))


@bucket.command("apply")
@click.argument("described", metavar="SPEC.yaml|BUCKET")
@options.all_rows
@options.dry_run
@options.yes
@with_session
def apply(session: Session, described: str, *, dry_run: bool, yes: bool) -> ExitCode:
    """Make the bucket as the spec says; a bucket that is missing is created.

    Rules and statements of others are left alone. What this server lacks is said on stderr, with what it offers
    instead, and is no failure: the exit code is 0 when all that the server can do is done, 3 when a request failed
    after others had succeeded.
    """
    made = _planned(session, described)
    if dry_run:
        session.out.emit(made.to_dict(), _text(made))
        return ExitCode.DONE
    if made.todo and not yes:
        session.out.note(f"{_text(made)}\n")
    extent = formatting.counted(len(made.todo), "respect")
    if made.todo and not session.confirm(f"Change {made.bucket} in {extent}?", yes=yes):
        session.out.note("nothing was changed")
        return ExitCode.FAILED
    result = made.apply()
    session.out.emit({"bucket": result.bucket, "done": result.done, "lacking": result.lacking}, str(result))
    for item in result.lacking:
        session.out.note(f"lacking: {item.aspect}: {item.note}")
    return ExitCode.DONE


def _text(made: BucketPlan) -> str:
    rows = [(one.aspect, one.current or "-", one.wanted or "-", one.action, one.note or "") for one in made.items]
    summary = f"bucket {made.bucket} on {made.server}: {len(made.todo)} to do, {len(made.lacking)} lacking"
    return formatting.table_text(["", "now", "wanted", "action", "note"], rows, title=emphasised(summary))


def _planned(session: Session, described: str) -> BucketPlan:
    from tierlake.connector.bucket import BucketSpec, plan_bucket

    path = Path(described)
    if path.suffix in _YAML and not path.is_file():
        message = f"{described!r} is no file"
        raise click.UsageError(message, click.get_current_context())
    spec = BucketSpec.from_yaml(path) if path.suffix in _YAML else BucketSpec(bucket=described)
    return plan_bucket(session.filesystem(), spec)
