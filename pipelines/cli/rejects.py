"""Rows that could not be taken: rejects, and rejects retry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.options import Session, with_session
from tierlake.pipelines.runtime import formatting
from tierlake.pipelines.runtime.page import emphasised

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from tierlake.pipelines.dataset import Dataset
    from tierlake.pipelines.ingest.run import IngestMode

__all__ = ["rejects"]

_ALL = "*"


@click.command()
@click.argument("target", metavar="DATASET | retry FILE", nargs=-1, required=True)
@click.option("--show", metavar="FILE", is_flag=False, flag_value=_ALL, help="Print the rows, of one file or of all.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="With --show FILE: write its rows to a CSV to mend."
)
@click.option("--mended", metavar="PATH", help="With retry: take the rows of this file instead, mended.")
@click.option("--replace", is_flag=True, help="With retry: replace the partitions of these rows; else they are added.")
@options.text
@options.all_rows
@options.dry_run
@with_session
def rejects(
    session: Session,
    /,
    target: tuple[str, ...],
    *,
    show: str | None,
    out: Path | None,
    mended: str | None,
    replace: bool,
    dry_run: bool,
    **text: object,
) -> None:
    r"""List the rows that could not be taken, or take them again.

    \b
    tierlake rejects DATASET                     files, how many rows, and why
    tierlake rejects DATASET --show [FILE]       the rows: file, line, column, value, reason
    tierlake rejects retry FILE --mended PATH    take them, mended; without --mended as they are, for a changed spec

    The file is removed when its rows are committed; rows that are still bad are kept in a new one. --out writes as the
    dataset's text files are written; other files of mended rows are told by --delimiter and its like.
    """
    if target[0] == "retry":
        if len(target) != 2 or show or out:  # noqa: PLR2004 - retry and its file
            raise click.UsageError("write: tierlake rejects retry FILE [--mended PATH]", click.get_current_context())
        _retry(session, target[1], mended, text, replace=replace, dry_run=dry_run)
        return
    if len(target) != 1 or mended or replace or dry_run or any(text.values()) or (out and show in {None, _ALL}):
        raise click.UsageError("write: tierlake rejects DATASET [--show [FILE]]", click.get_current_context())
    opened = session.dataset(target[0])
    if show is None:
        _list(session, opened)
    else:
        _show(session, opened, show, out)


def _list(session: Session, opened: Dataset) -> None:
    waiting = opened.rejects()
    session.out.emit(waiting, str(waiting))


def _show(session: Session, opened: Dataset, show: str, out: Path | None) -> None:
    paths = [file.path for file in opened.rejects()] if show == _ALL else [show]
    if out is not None:
        content = opened.rejects_as_csv(paths[0])
        try:
            with out.open("xb") as file:
                file.write(content)
        except FileExistsError:
            message = f"{str(out)!r} is there already: name another file, or remove it first"
            raise click.UsageError(message, click.get_current_context()) from None
        count = opened.rejected_rows(paths[0]).num_rows
        session.out.emit({"out": str(out), "rows": count}, f"wrote {formatting.rows(count)} to {out}: mend them")
        return
    tables = [opened.rejected_rows(path) for path in paths]
    rows = [row for table in tables for row in _rows(table)]
    cells = ([_cell(row[name]) for name in _HEADS] for row in rows)
    summary = emphasised(f"{formatting.counted(len(rows), 'rejected row')} in {formatting.files(len(tables))}")
    text = formatting.table_text(list(_HEADS), cells, title=summary) if rows else "no rejected rows wait"
    session.out.emit(rows, text)


_HEADS = ("file", "line", "column", "value", "reason", "row")


def _rows(table: pa.Table) -> list[dict[str, object]]:
    from tierlake.pipelines.sources.row_origin import ALL

    documents = []
    for row in table.to_pylist():
        about = {head: row.pop(name, None) for head, name in zip(_HEADS, ALL, strict=False)}
        documents.append({**about, "row": row})
    return documents


def _cell(value: object) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{name}={item}" for name, item in value.items() if item is not None)
    return "" if value is None else str(value)


def _retry(
    session: Session, path: str, mended: str | None, text: Mapping[str, object], *, replace: bool, dry_run: bool
) -> None:
    name = path.removeprefix("lake://")
    root, folder, _ = name.partition("/_lake/rejects/")
    if not folder:
        message = f"{path} is no file of rejected rows: `tierlake rejects DATASET` lists them"
        raise click.UsageError(message, click.get_current_context())
    opened = session.dataset(f"lake://{root}")
    fix = None if mended is None else lambda _: mended
    mode: IngestMode = "replace" if replace else "append"
    written = options.text_options(opened.spec.text, **text)
    if dry_run:
        rehearsed = opened.rehearse_rejects(name, fix, mode=mode, text=written)
        session.out.emit(rehearsed, str(rehearsed))
        return
    result = opened.ingest_rejects(name, fix, mode=mode, text=written)
    session.out.emit(result, str(result))
