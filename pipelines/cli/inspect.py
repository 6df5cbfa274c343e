"""Looking at a dataset: ls, show, explain, history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.errors import ArchivedError
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import emphasised

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from tierlake.pipelines.dataset import Dataset
    from tierlake.pipelines.model.selection import Selection
    from tierlake.pipelines.model.spec import DatasetSpec
    from tierlake.pipelines.query.catalog import PartitionInfo

__all__ = ["explain", "history", "ls", "show"]


@click.command()
@options.dataset
@options.partitions
@click.option("--expired", is_flag=True, help="What was expired or replaced and can be undone instead, and until when.")
@options.as_of
@options.all_rows
@with_session
def ls(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    expired: bool,
    as_of: str | None,
) -> None:
    """List the partitions: rows, files, size, class, tier, age, cost. With KEY, only those that match.

    With KEY only some of them: a partition, a range (date=2013-01-01..2013-02-28) or a pattern ('date=2013-01*'). A
    column that KEY leaves out may have any value, and several KEYs add up. Where no partition matches, that is an
    error.
    """
    opened = session.dataset(dataset)
    if expired:
        if as_of is not None:
            raise click.UsageError("graces go by the server's clock: --expired takes no --as-of")
        _list_undoable(session, opened, chosen)
        return
    catalog = opened.partitions(as_of=as_of, keys=None if chosen is None else opened.select(chosen))
    document = {"as_of": catalog.as_of, "partitions": list(catalog), "total": catalog.total}
    if not list(catalog):
        _note_drop(session, opened)
    session.out.emit(document, catalog.render)


def _note_drop(session: Session, opened: Dataset) -> None:
    if (dropped := opened.dropped) is not None:
        session.out.note(f"{opened.uri} was dropped on {dropped.at:%Y-%m-%d}: {dropped.way_out(opened.uri)}")


def _list_undoable(session: Session, opened: Dataset, chosen: Selection | None) -> None:
    waiting = opened.undoable(chosen, classes=True)
    _note_drop(session, opened)
    total = {"partitions": len(waiting), "files": waiting.files, "bytes": waiting.bytes}
    session.out.emit({"undoable": list(waiting), "total": total}, waiting.__str__)


@click.command()
@options.dataset
@options.all_rows
@with_session
def show(session: Session, dataset: str) -> None:
    """Show a dataset's description, columns and totals."""
    opened = session.dataset(dataset)
    total = opened.partitions().total
    try:
        columns = {field.name: str(field.type) for field in opened.schema}
    except ArchivedError as error:  # a table without a schema of its own, all of whose files are archived
        columns, untold = {}, str(error)
    else:
        untold = ""
    state = {
        "version": opened.version,
        "columns": columns,
        "total": total,
        "spec": opened.spec,
        "dropped_at": opened.dropped_at,
    }
    amount = f"{formatting.partitions(total.partitions)}, {formatting.rows(total.rows)}, {formatting.size(total.bytes)}"
    summary = emphasised(f"{opened.uri}: {amount}, {formatting.monthly(total.monthly_cost)}")
    facts = [
        ("table", f"{opened.format}, version {opened.version}"),
        ("partitions", formatting.count(total.partitions)),
        ("rows", formatting.count(total.rows)),
        ("files", formatting.count(total.files)),
        ("size", formatting.size(total.bytes)),
        ("storage", f"{formatting.money(total.monthly_cost)} a month"),
    ]
    if (dropped := opened.dropped) is not None:
        facts.append(("dropped", f"{dropped.at:%Y-%m-%d %H:%M}; {dropped.way_out(opened.uri)}"))
    parts = [
        summary,
        formatting.table_text(["", ""], facts),
        untold or formatting.table_text(["column", "type"], columns.items()),
        opened.spec.to_yaml(),
    ]
    session.out.emit(
        {"uri": opened.uri, "format": opened.format, **state}, "\n\n".join(part.strip("\n") for part in parts)
    )


@click.command()
@options.dataset
@options.partitions
@options.as_of
@options.all_rows
@with_session
def explain(
    session: Session,
    dataset: str,
    *,
    chosen: Selection | None,
    as_of: str | None,
) -> None:
    """Say why a partition is where it is, and what happens next.

    With a range, a pattern or several KEYs: a sentence for each partition. Without KEY: what comes next for each
    partition, as a table.
    """
    opened = session.dataset(dataset)
    if chosen is not None:
        one = chosen.exact(opened.spec)
        if one is not None and len(one) == 1:
            explanation = opened.explain(one[0], as_of=as_of)
            session.out.emit(explanation, str(explanation))
            return
        explanations = opened.explain_many(chosen, as_of=as_of)
        session.out.emit(list(explanations), "\n".join(map(str, explanations)))
        return
    outlooks = [_Outlook.of(opened.spec, part) for part in opened.partitions(as_of=as_of)]
    rows = (
        (
            each.key,
            formatting.age(each.age),
            each.storage_class,
            each.tier or "-",
            each.belongs or "-",
            each.next or "-",
            formatting.day(each.next_at),
            each.held or "",
        )
        for each in outlooks
    )
    headings = ["key", ">age", "class", "tier", "belongs in", "next", "on", "held"]
    session.out.emit(outlooks, lambda: formatting.table_text(headings, rows))


@click.command()
@options.dataset
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most this many, newest first.")
@options.all_rows
@with_session
def history(session: Session, dataset: str, *, limit: int) -> None:
    """Say what happened to a dataset: when, why, and by whom.

    Ingests, moves, expiries, undos, holds and deletions, newest first.
    """
    entries = session.dataset(dataset).history(limit)
    session.out.emit(entries, entries.__str__)


@dataclass(frozen=True, slots=True)
class _Outlook:
    """One partition's way through the policy."""

    key: str
    storage_class: str
    tier: str | None
    age: timedelta | None
    belongs: str | None
    next: str | None
    next_at: datetime | None
    held: str | None

    @classmethod
    def of(cls, spec: DatasetSpec, part: PartitionInfo) -> Self:
        from tierlake.pipelines.model.age import NextStep, is_past_retention, next_step, tier_at

        belongs = step = None
        if part.age is not None:
            belongs, step = tier_at(spec, part.age), next_step(spec, part.age)
            expire_after = spec.retention.expire_after
            if expire_after is not None and is_past_retention(spec, part.age):
                step = NextStep("expire", expire_after)
        return cls(
            key=str(part.key),
            storage_class=part.storage_class,
            tier=part.tier,
            age=part.age,
            belongs=belongs,
            next=step.what if step else None,
            next_at=step.at(part.window) if step and part.window else None,
            held=part.held,
        )
