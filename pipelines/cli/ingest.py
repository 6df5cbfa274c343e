"""Making a dataset and filling it: init, create, ingest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tierlake.pipelines.cli import options
from tierlake.pipelines.cli.options import Session, with_session

if TYPE_CHECKING:
    from tierlake.pipelines.ingest.results import IngestResult
    from tierlake.pipelines.ingest.run import IngestMode

__all__ = ["create", "ingest", "init"]


@click.command()
@click.argument("sample")
@click.option("--uri", metavar="URI", help="Where it will be. [default: lake://warehouse/ and the file's name]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this new file.")
@options.text
@with_session
def init(session: Session, /, sample: str, uri: str | None, out: Path | None, **text: object) -> None:
    """Describe the dataset that the rows of a file would make.

    SAMPLE is a file as `ingest` takes it. The YAML is something to start from, with the reason for each guess: look it
    over, add tiers and retention, and `create` it.
    """
    from tierlake.pipelines.ingest.sample import describe_sample
    from tierlake.pipelines.model.text_options import TextOptions

    name = Path(sample).name.partition(".")[0] or "dataset"
    given = options.text_options(TextOptions(), **text)
    described = describe_sample(sample, uri or f"lake://warehouse/{name}", given if given != TextOptions() else None)
    spec = described.spec
    if out is None:
        session.out.emit(spec, described.to_yaml().rstrip("\n"))
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(described.to_yaml())
    except FileExistsError:
        message = f"{str(out)!r} is there already: name another file, or remove it first"
        raise click.UsageError(message, click.get_current_context()) from None
    session.out.emit(spec, f"wrote {out}: look it over, then `tierlake create {out}`")


@click.command()
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.dry_run
@with_session
def create(session: Session, spec: Path, *, dry_run: bool) -> None:
    """Create the dataset that a YAML file describes.

    Afterwards its URI is enough: the description is stored with it. The same SPEC again changes nothing.
    """
    from tierlake.pipelines.dataset import Dataset

    described = options.spec_in(spec)
    fs = session.filesystem()
    is_new = Dataset.check_new(described, fs=fs)
    document = {"uri": described.uri, "format": described.format, "created": is_new and not dry_run}
    if not dry_run:
        Dataset.create(described, fs=fs)
    if is_new:
        session.out.emit(document, f"{'would create' if dry_run else 'created'} {described.uri} ({described.format})")
    else:
        session.out.emit(document, f"{described.uri} is there already: nothing changed")


@click.command()
@options.dataset
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--append", is_flag=True, help="Add to the partitions that the rows fall in; else they are replaced.")
@click.option("--run-key", metavar="K", help="An identity: a second ingest with it changes nothing.")
@options.text
@options.dask
@options.all_rows
@options.dry_run
@with_session
def ingest(
    session: Session,
    /,
    dataset: str,
    sources: tuple[str, ...],
    *,
    append: bool,
    run_key: str | None,
    scheduler: str | None,
    dry_run: bool,
    **text: object,
) -> None:
    """Read files into the partitions of a dataset, as one commit.

    SOURCEs are CSV, JSON Lines, Parquet or Arrow: paths or URLs.
    """
    from tierlake.pipelines.ingest.dask_workers import connected

    if dry_run and scheduler:
        raise click.UsageError("--dry-run reads here: leave --dask out", click.get_current_context())
    opened = session.dataset(dataset)
    mode: IngestMode = "append" if append else "replace"
    written = options.text_options(opened.spec.text, **text)
    if dry_run:
        rehearsed = opened.rehearse(list(sources), mode, run_key, text=written)
        session.out.emit(rehearsed, str(rehearsed))
        return
    with connected(scheduler) as client:
        result = opened.ingest(
            list(sources),
            mode=mode,
            run_key=run_key,
            text=written,
            engine="dask" if client else "local",
            client=client,
        )
    session.out.emit(result, _said(result))


def _said(result: IngestResult) -> str:
    if not result.committed:
        return f"run key {result.run_key} is committed already: nothing changed"
    return f"{result}\nrun key {result.run_key}"
