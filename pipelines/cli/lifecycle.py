"""What policies ask for: plan it, look at it, apply it, or both in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.choices import Choice
from tierlake.pipelines.cli.failures import ExitCode, exit_code_of
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting

if TYPE_CHECKING:
    from tierlake.pipelines.dataset import Dataset
    from tierlake.pipelines.lifecycle.plan import ExpiryPlan, TieringPlan
    from tierlake.pipelines.lifecycle.results import ApplyResult
    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.model.spec import DatasetSpec

__all__ = ["apply", "diff", "expire", "plan", "tier"]


@click.command()
@click.argument("what", type=Choice(["tiering", "expiry"]))
@options.dataset
@options.partitions
@options.as_of
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan, for `tierlake apply`.")
@options.all_rows
@with_session
def plan(
    session: Session,
    what: str,
    dataset: str,
    *,
    chosen: Selection | None,
    as_of: str | None,
    out: Path | None,
) -> None:
    """Say what a policy would move or expire, and what that saves. Changes nothing.

    With KEY (a partition, a range, a pattern), only of those partitions.
    """
    opened = session.dataset(dataset)
    planning = opened.plan_tiering if what == "tiering" else opened.plan_expiry
    made = planning(as_of=as_of, keys=chosen)
    session.out.emit(made, made.__str__)
    if out is not None:
        out.write_text(made.to_json(), encoding="utf-8")
        session.out.note(f"saved; do it with: tierlake apply {out}")


@click.command()
@click.argument("spec", metavar="SPEC.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.as_of
@options.all_rows
@with_session
def diff(session: Session, spec: Path, *, as_of: str | None) -> ExitCode:
    """Say how a description differs from the stored one. Shows what it would do, and changes nothing.

    SPEC.yaml is the desired state: a field that it leaves out means the default, but for `format` and `partition`.
    Exits 0 where nothing differs, 1 where something does, as diff does.
    """
    described = options.spec_in(spec)
    difference = session.dataset(described.uri).diff(described, as_of=as_of)
    session.out.emit({"differs": difference.differs, **difference.model_dump(mode="json")}, str(difference))
    return ExitCode.FAILED if difference.differs else ExitCode.DONE


@click.command()
@click.argument("what", metavar="PLAN.json|SPEC.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reason", default="", help="Of a description: why it changes; the history keeps it.")
@options.no_undo
@options.all_rows
@options.dry_run
@options.yes
@with_session
def apply(session: Session, what: Path, *, reason: str, no_undo: bool, dry_run: bool, yes: bool) -> int:
    """Do what a saved plan says, or store a changed description.

    The two are told apart by what they are: a plan is what `tierlake plan ... --out` wrote, all else is a description.

    Of a plan, what is done already is skipped, and a partition that has changed since is left alone: the same plan
    again goes on where an interruption stopped it.

    Of a description, `tierlake diff` is shown first. URI, partitioning, format and the types of a table's columns
    never change. Nothing is moved or expired by it: the next `tier` or `expire` goes by what is stored then.
    """
    from tierlake.pipelines.lifecycle.plan import ExpiryPlan, is_plan, load_plan

    text = what.read_text(encoding="utf-8", errors="replace")
    made = load_plan(text) if is_plan(text) else None
    if no_undo and not isinstance(made, ExpiryPlan):
        raise click.UsageError("--no-undo is of a plan of expiry", click.get_current_context())
    if made is None:
        return _described(session, options.spec_in(what), reason, dry_run=dry_run, yes=yes)
    if reason:
        raise click.UsageError("--reason is of a description, and this is a plan", click.get_current_context())
    return _applied(session, session.dataset(made.uri), made, no_undo=no_undo, dry_run=dry_run, yes=yes)


def _described(session: Session, spec: DatasetSpec, reason: str, *, dry_run: bool, yes: bool) -> ExitCode:
    difference = session.dataset(spec.uri).diff(spec)
    if difference.refused:
        session.out.note(f"{difference}\n")
    difference.check()
    if dry_run or not difference.differs:
        session.out.emit({"changed": False, **difference.model_dump(mode="json")}, str(difference))
        return ExitCode.DONE
    if not yes:
        session.out.note(f"{difference}\n")
    if not session.confirm(f"Change the description of {difference.uri}?", yes=yes):
        session.out.note("nothing was changed")
        return ExitCode.FAILED
    change = difference.apply(reason=reason)
    session.out.emit(change, str(change))
    return ExitCode.DONE


@click.command()
@options.dataset
@options.partitions
@options.as_of
@options.all_rows
@options.dry_run
@options.yes
@with_session
def tier(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    as_of: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Move partitions to the tiers where they belong. Plan and apply in one.

    With KEY (a partition, a range, a pattern), only those partitions.
    """
    opened = session.dataset(dataset)
    return _applied(session, opened, opened.plan_tiering(as_of=as_of, keys=chosen), dry_run=dry_run, yes=yes)


@click.command()
@options.dataset
@options.partitions
@options.as_of
@options.no_undo
@options.all_rows
@options.dry_run
@options.yes
@with_session
def expire(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    as_of: str | None,
    no_undo: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Take partitions that are past retention out of the table. Plan and apply in one.

    With KEY (a partition, a range, a pattern), only those partitions, as far as they are past retention.
    Readers no longer see them. `undo` brings them back until the grace ends; then `vacuum` deletes the files.
    """
    opened = session.dataset(dataset)
    made = opened.plan_expiry(as_of=as_of, keys=chosen)
    return _applied(session, opened, made, no_undo=no_undo, dry_run=dry_run, yes=yes)


def _applied(
    session: Session,
    opened: Dataset,
    made: TieringPlan | ExpiryPlan,
    *,
    no_undo: bool = False,
    dry_run: bool,
    yes: bool,
) -> ExitCode:
    if not made.steps:
        session.out.emit(made, str(made))
        return ExitCode.DONE
    more = {"undo": False} if no_undo else {}
    if dry_run:
        rehearsed = opened.apply(made, dry_run=True, **more)
        document = {**made.model_dump(mode="json"), "rehearsed": rehearsed}
        session.out.emit(document, f"{made}\n\n{rehearsed}")
        return _emitted(session, rehearsed)
    if not yes:
        opened.apply(made, dry_run=True, **more)  # nobody is asked for what would be refused as a whole
        session.out.note(f"{made}\n")
    without = " without undo" if no_undo else ""
    if not session.confirm(f"Do this to {formatting.partitions(len(made.steps))}{without}?", yes=yes):
        session.out.note("nothing was changed")
        return ExitCode.FAILED
    result = opened.apply(made, **more)
    session.out.emit(result, str(result))
    return _emitted(session, result)


def _emitted(session: Session, result: ApplyResult) -> ExitCode:
    session.note_failures(result.failed)
    return exit_code_of(result.codes, done=len(result.done) + len(result.skipped))
