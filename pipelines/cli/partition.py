"""Partitions against the policy: bring them back, hold them, keep them longer, make them readable.

A command that names one partition prints what it did to that one; one that may name several (ranges, patterns, several
keys, a span of time) prints a summary, and its document lists all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.failures import ExitCode, exit_code_of
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierlake.pipelines.dataset import Dataset
    from tierlake.pipelines.lifecycle.results import KeyChanges, UndoSummary
    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.query.restore import RestoreResult, Speed

__all__ = ["hold", "release", "restore", "retain", "undo"]


@click.command()
@options.dataset
@options.partitions
@click.option("--run", metavar="RUN_KEY", help="All that the ingest with this run key replaced.")
@options.all_rows
@options.dry_run
@with_session
def undo(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    run: str | None,
    dry_run: bool,
) -> ExitCode:
    """Bring back what was expired or replaced. Possible until its grace ends.

    KEY is a partition, a range (date=2013-01-01..2013-02-28) or a pattern ('date=2013-01*'); several add up. They are
    matched against what can be undone: `tierlake ls --expired DATASET` shows it, and until when.

    A partition that cannot come back does not keep the others: it is listed, and the exit code is 3. With --run, all
    that the ingest replaced comes back, or nothing does.

    One exact KEY is answered with that partition's result, all else with a summary (with --json, one document of all).
    """
    if (chosen is None) == (run is None):
        raise click.UsageError("name partitions (KEY), or an ingest (--run RUN_KEY)", click.get_current_context())
    opened = session.dataset(dataset)
    if chosen is None:
        results = opened.undo(run=run, dry_run=dry_run)
        session.out.emit(list(results), "\n".join(listed([str(one) for one in results], len(results))))
        return ExitCode.DONE
    if _names_one(opened, chosen):
        (result,) = opened.undo(chosen, dry_run=dry_run)
        session.out.emit(result, str(result))
        return ExitCode.DONE
    summary = opened.undo_many(chosen, dry_run=dry_run)
    session.out.emit(summary, str(summary))
    return _ended(session, summary, done=len(summary.results))


@click.command()
@options.dataset
@options.partitions
@click.option("--reason", required=True, help="Why; plans and explanations repeat it.")
@options.dry_run
@with_session
def hold(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    reason: str,
    dry_run: bool,
) -> ExitCode:
    """Forbid that a partition expires or is deleted. It holds until `release`, whatever the policy says.

    KEY is a partition, a range (date=2013-01-01..2013-02-28) or a pattern ('date=2013-01*'); several add up. Expired
    partitions count as long as they can be undone. One change holds all of them; one whose grace ends just then is
    listed, and the exit code is 3.

    One exact KEY is answered with that partition's state, all else with a summary (with --json, one document of all).
    """
    keys, opened = options.named(chosen), session.dataset(dataset)
    changes = opened.hold_many(keys, reason=reason, dry_run=dry_run)
    return _tell(session, opened, keys, changes, "hold", "held")


@click.command()
@options.dataset
@options.partitions
@click.option("--reason", default="", help="Why; the history keeps it.")
@options.dry_run
@with_session
def release(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    reason: str,
    dry_run: bool,
) -> ExitCode:
    """End a hold. KEY is a partition, a range or a pattern; several add up."""
    keys, opened = options.named(chosen), session.dataset(dataset)
    changes = opened.release_many(keys, reason=reason, dry_run=dry_run)
    return _tell(session, opened, keys, changes, "release", "released")


@click.command()
@options.dataset
@options.keys
@click.option("--until", type=options.DATE, required=True, help="The day or instant before which it stays.")
@click.option("--shorten", is_flag=True, help="Also where it is kept longer already.")
@click.option("--reason", default="", help="Why; the history keeps it.")
@options.dry_run
@with_session
def retain(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    until: str,
    shorten: bool,
    reason: str,
    dry_run: bool,
) -> ExitCode:
    """Keep a partition longer than the policy says. One that has expired, once `undo` has brought it back.

    KEY is a partition, a range (date=2013-01-01..2013-02-28) or a pattern ('date=2013-01*'); several add up. Only a
    hold keeps the files of what has expired.
    """
    keys, opened = options.named(chosen), session.dataset(dataset)
    changes = opened.retain_many(keys, until=until, shorten=shorten, reason=reason, dry_run=dry_run)
    code = _tell(session, opened, keys, changes, f"retain until {until}", f"kept until {until}")
    one = keys.exact(opened.spec) or ()
    if not dry_run and len(one) == 1 and (gone := opened.explain(one[0])).undo_until is not None:
        session.out.note(f"once it is back: {gone}")
    return code


@click.command()
@options.dataset
@options.partitions
@click.option("--days", type=click.IntRange(min=1), default=1, show_default=True, help="How long it stays readable.")
@click.option(
    "--speed",
    type=Choice(["bulk", "standard", "expedited"]),
    default="bulk",
    show_default=True,
    help="bulk is the cheapest and takes hours; expedited takes minutes, and does not reach DEEP_ARCHIVE.",
)
@options.all_rows
@options.dry_run
@with_session
def restore(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    days: int,
    speed: Speed,
    dry_run: bool,
) -> None:
    """Make a partition in an archived class readable. It takes a while; asking again changes nothing.

    KEY is a partition, a range (date=2013-01-01..2013-02-28) or a pattern ('date=2013-01*'); several add up.
    """
    keys, opened = options.named(chosen), session.dataset(dataset)
    results = opened.restore_many(keys, days=days, speed=speed, dry_run=dry_run)
    if _names_one(opened, keys):
        session.out.emit(results[0], str(results[0]))
        return
    lines = listed([f"  {one}" for one in results], len(results))
    session.out.emit(list(results), "\n".join([_restored(results), *lines]))


def _names_one(opened: Dataset, chosen: Selection) -> bool:
    """Whether it can name but one partition, so that the answer is about that one."""
    return len(chosen.exact(opened.spec) or ()) == 1


def _restored(results: Sequence[RestoreResult]) -> str:
    archived = [one for one in results if one.archived]
    did = "would ask for" if results[0].dry_run else "asked for"
    files, size = sum(one.archived for one in archived), sum(one.bytes for one in archived)
    in_progress = sum(one.in_progress > 0 for one in results)
    return (
        f"{did} {formatting.files(files)} of {formatting.partitions(len(archived))} ({formatting.size(size)}); of "
        f"{formatting.partitions(len(results))} {in_progress:,} are in progress"
    )


def _tell(session: Session, opened: Dataset, chosen: Selection, changes: KeyChanges, verb: str, state: str) -> ExitCode:
    if not _names_one(opened, chosen):
        session.out.emit(changes, str(changes))
        return _ended(session, changes, done=len(changes.changed) + len(changes.unchanged))
    changes.raise_failures()
    (key,) = (*changes.changed, *changes.unchanged)
    if changes.dry_run and changes.changed:
        explanation = opened.explain(key)
        document: dict[str, object] = {"key": key, "would": verb, "changed": False, "now": explanation}
        session.out.emit(document, f"would {verb} {key}. As it stands: {explanation}")
        return ExitCode.DONE
    document = {"key": key, "state": state, "changed": bool(changes.changed)}
    session.out.emit(document, f"{key} is {state}" + ("" if changes.changed else " already: nothing changed"))
    return ExitCode.DONE


def _ended(session: Session, result: KeyChanges | UndoSummary, *, done: int) -> ExitCode:
    session.note_failures(result.failed)
    return exit_code_of(result.codes, done=done)
