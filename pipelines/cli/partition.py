"""One partition against the policy: bring it back, hold it, keep it longer, make it readable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.options import Session, with_session

if TYPE_CHECKING:
    from tierlake.pipelines.dataset import Dataset
    from tierlake.pipelines.query.restore import Speed

__all__ = ["hold", "release", "restore", "retain", "undo"]


@click.command()
@options.dataset
@click.argument("key", required=False)
@click.option("--run", metavar="RUN_KEY", help="All that the ingest with this run key replaced.")
@options.dry_run
@with_session
def undo(session: Session, dataset: str, key: str | None, run: str | None, *, dry_run: bool) -> None:
    """Bring back what was expired or replaced. Possible until its grace ends.

    `tierlake history DATASET` shows what can be undone, and until when.
    """
    if (key is None) == (run is None):
        raise click.UsageError("name a partition (KEY), or an ingest (--run RUN_KEY)")
    results = session.dataset(dataset).undo(key, run=run, dry_run=dry_run)
    session.out.emit(list(results) if run is not None else results[0], "\n".join(map(str, results)))


@click.command()
@options.dataset
@options.key
@click.option("--reason", required=True, help="Why; plans and explanations repeat it.")
@options.dry_run
@with_session
def hold(session: Session, dataset: str, key: str, *, reason: str, dry_run: bool) -> None:
    """Forbid that a partition expires or is deleted. It holds until `release`, whatever the policy says."""
    opened = session.dataset(dataset)
    changed = opened.hold(key, reason=reason, dry_run=dry_run)
    _tell(session, opened, key, "hold", "held", changed=changed, dry_run=dry_run)


@click.command()
@options.dataset
@options.key
@click.option("--reason", default="", help="Why; the history keeps it.")
@options.dry_run
@with_session
def release(session: Session, dataset: str, key: str, *, reason: str, dry_run: bool) -> None:
    """End a hold."""
    opened = session.dataset(dataset)
    changed = opened.release(key, reason=reason, dry_run=dry_run)
    _tell(session, opened, key, "release", "released", changed=changed, dry_run=dry_run)


@click.command()
@options.dataset
@options.key
@click.option("--until", type=options.DATE, required=True, help="The day or instant before which it stays.")
@click.option("--shorten", is_flag=True, help="Also where it is kept longer already.")
@click.option("--reason", default="", help="Why; the history keeps it.")
@options.dry_run
@with_session
def retain(session: Session, dataset: str, key: str, *, until: str, shorten: bool, reason: str, dry_run: bool) -> None:
    """Keep a partition longer than the policy says. One that has expired, once `undo` has brought it back.

    Only a hold keeps the files of what has expired.
    """
    opened = session.dataset(dataset)
    changed = opened.retain(key, until=until, shorten=shorten, reason=reason, dry_run=dry_run)
    _tell(session, opened, key, f"retain until {until}", f"kept until {until}", changed=changed, dry_run=dry_run)
    if not dry_run and (gone := opened.explain(key)).undo_until is not None:
        session.out.note(f"once it is back: {gone}")


@click.command()
@options.dataset
@options.key
@click.option("--days", type=click.IntRange(min=1), default=1, show_default=True, help="How long it stays readable.")
@click.option(
    "--speed",
    type=Choice(["bulk", "standard", "expedited"]),
    default="bulk",
    show_default=True,
    help="bulk is the cheapest and takes hours; expedited takes minutes, and does not reach DEEP_ARCHIVE.",
)
@options.dry_run
@with_session
def restore(session: Session, dataset: str, key: str, *, days: int, speed: Speed, dry_run: bool) -> None:
    """Make a partition in an archived class readable. It takes a while; asking again changes nothing."""
    result = session.dataset(dataset).restore(key, days=days, speed=speed, dry_run=dry_run)
    session.out.emit(result, str(result))


def _tell(session: Session, opened: Dataset, key: str, verb: str, state: str, *, changed: bool, dry_run: bool) -> None:
    if dry_run and changed:
        explanation = opened.explain(key)
        document = {"key": key, "would": verb, "changed": False, "now": explanation}
        session.out.emit(document, f"would {verb} {key}. As it stands: {explanation}")
        return
    document = {"key": key, "state": state, "changed": changed}
    session.out.emit(document, f"{key} is {state}" + ("" if changed else " already: nothing changed"))
