"""One partition against the policy: bring it back, hold it, keep it longer, make it readable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipelines.cli import options
from pipelines.cli.options import Session, with_session

if TYPE_CHECKING:
    from pipelines.archived import Speed
    from pipelines.dataset import Dataset

__all__ = ["hold", "release", "restore", "retain", "undo"]


@click.command()
@options.dataset
@options.key
@options.dry_run
@with_session
def undo(session: Session, dataset: str, key: str, *, dry_run: bool) -> None:
    """Bring an expired partition back; possible until its grace ends."""
    opened = session.dataset(dataset)
    if dry_run:
        _rehearse(session, opened, key, "bring back")
        return
    result = opened.undo_expiry(key)
    session.out.emit(result, str(result))


@click.command()
@options.dataset
@options.key
@click.option("--reason", required=True, help="Why; plans and explanations repeat it.")
@options.dry_run
@with_session
def hold(session: Session, dataset: str, key: str, *, reason: str, dry_run: bool) -> None:
    """Forbid that a partition expires or is deleted, whatever the policy says, until `release`."""
    opened = session.dataset(dataset)
    if dry_run:
        _rehearse(session, opened, key, "hold")
        return
    _tell(session, key, "held", changed=opened.hold(key, reason=reason))


@click.command()
@options.dataset
@options.key
@options.dry_run
@with_session
def release(session: Session, dataset: str, key: str, *, dry_run: bool) -> None:
    """End a hold."""
    opened = session.dataset(dataset)
    if dry_run:
        _rehearse(session, opened, key, "release")
        return
    _tell(session, key, "released", changed=opened.release(key))


@click.command()
@options.dataset
@options.key
@click.option("--until", type=options.DATE, required=True, help="The day or instant before which it stays.")
@options.dry_run
@with_session
def retain(session: Session, dataset: str, key: str, *, until: str, dry_run: bool) -> None:
    """Keep a partition longer than its dataset's policy says."""
    opened = session.dataset(dataset)
    if dry_run:
        _rehearse(session, opened, key, f"retain until {until}")
        return
    _tell(session, key, f"kept until {until}", changed=opened.retain(key, until=until))


@click.command()
@options.dataset
@options.key
@click.option("--days", type=click.IntRange(min=1), default=1, show_default=True, help="How long it stays readable.")
@click.option(
    "--speed",
    type=click.Choice(["bulk", "standard", "expedited"]),
    default="bulk",
    show_default=True,
    help="bulk is the cheapest and takes hours; expedited takes minutes, and does not reach DEEP_ARCHIVE.",
)
@options.dry_run
@with_session
def restore(session: Session, dataset: str, key: str, *, days: int, speed: Speed, dry_run: bool) -> None:
    """Ask for a partition in an archived class, so that it can be read; asking again changes nothing."""
    result = session.dataset(dataset).restore(key, days=days, speed=speed, dry_run=dry_run)
    session.out.emit(result, str(result))


def _rehearse(session: Session, opened: Dataset, key: str, verb: str) -> None:
    explanation = opened.explain(key)
    document = {"key": key, "would": verb, "now": explanation}
    session.out.emit(document, f"would {verb} {key}. As it stands: {explanation}")


def _tell(session: Session, key: str, state: str, *, changed: bool) -> None:
    document = {"key": key, "state": state, "changed": changed}
    session.out.emit(document, f"{key} is {state}" + ("" if changed else " already: nothing changed"))
