"""Rows that could not be taken: rejects."""

from __future__ import annotations

import click

from pipelines import units
from pipelines.cli import options
from pipelines.cli.options import Session, with_session

__all__ = ["rejects"]


@click.command()
@options.dataset
@with_session
def rejects(session: Session, dataset: str) -> None:
    """List the rows that could not be taken: where they are kept, how many, and why.

    Mend them in Python with Dataset.ingest_rejects(path, fix=...), which removes the file when its rows are committed.
    """
    found = session.dataset(dataset).rejects()
    rows = (
        (
            f"lake://{file.path}",
            units.count(file.rows),
            f"{file.at:%Y-%m-%d %H:%M}",
            ", ".join(f"{count:,} x {reason}" for reason, count in sorted(file.reasons.items())),
            file.source,
        )
        for file in found
    )
    said = units.table_text(["file", ">rows", "when", "why", "source"], rows) if found else "no rejected rows wait"
    session.out.emit(found, said)
