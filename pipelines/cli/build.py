"""Making a dataset and filling it: init, create, ingest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines import units
from pipelines.cli import options
from pipelines.cli.options import Session, with_session

if TYPE_CHECKING:
    from connector.filesystem import LakeFileSystem
    from pipelines.ingest import IngestResult
    from pipelines.spec import DatasetSpec

__all__ = ["create", "ingest", "init"]


@click.command()
@click.argument("sample")
@click.option("--uri", metavar="URI", help="Where it will be. [default: lake://warehouse/ and the file's name]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this new file.")
@with_session
def init(session: Session, sample: str, uri: str | None, out: Path | None) -> None:
    """Describe the dataset that the rows of SAMPLE (a file as `ingest` takes it) would make.

    The YAML is something to start from: look it over, add tiers and retention, and `create` it.
    """
    from pipelines.sample import spec_from_sample

    name = Path(sample).name.partition(".")[0] or "dataset"
    spec = spec_from_sample(sample, uri or f"lake://warehouse/{name}")
    if out is None:
        session.out.emit(spec, spec.to_yaml().rstrip())
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(spec.to_yaml())
    except FileExistsError:
        message = f"{str(out)!r} is there already: name another file, or remove it first"
        raise click.UsageError(message, click.get_current_context()) from None
    session.out.emit(spec, f"wrote {out}: look it over, then `tierlake create {out}`")


@click.command()
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.dry_run
@with_session
def create(session: Session, spec: Path, *, dry_run: bool) -> None:
    """Create the dataset that SPEC (a YAML file) describes.

    Afterwards its URI is enough: the description is stored with it. The same SPEC again changes nothing.
    """
    from pipelines.dataset import Dataset

    described = options.spec_in(spec)
    fs = session.filesystem()
    is_new = not _is_there(described, fs)
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
@options.dask
@options.dry_run
@with_session
def ingest(
    session: Session,
    dataset: str,
    sources: tuple[str, ...],
    *,
    append: bool,
    run_key: str | None,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Read SOURCEs (CSV, JSON Lines, Parquet, Arrow; paths or URLs) into the partitions of DATASET, as one commit."""
    from pipelines.workers import connected

    if dry_run and scheduler:
        raise click.UsageError("--dry-run reads here: leave --dask out", click.get_current_context())
    opened = session.dataset(dataset)
    if dry_run:
        rehearsed = opened.rehearse(list(sources))
        session.out.emit(rehearsed, str(rehearsed))
        return
    with connected(scheduler) as client:
        result = opened.ingest(
            list(sources),
            mode="append" if append else "replace",
            run_key=run_key,
            engine="dask" if client else "local",
            client=client,
            progress=session.out.shows_progress,
        )
    session.out.emit(result, _said(result))


def _is_there(spec: DatasetSpec, fs: LakeFileSystem) -> bool:
    from pipelines.dataset import Dataset

    try:
        Dataset.open(spec.uri, fs=fs)
    except FileNotFoundError:
        return False
    return True


def _said(result: IngestResult) -> str:
    if not result.committed:
        return f"run key {result.run_key} is committed already: nothing changed"
    written = f"{result.rows:,} rows in {len(result.partitions):,} partitions, {units.size(result.bytes)}"
    lines = [f"{written} (version {result.version}, run key {result.run_key})"]
    if result.rejected:
        lines.append(f"{result.rejected:,} rows were rejected, and are kept in lake://{result.rejects_path}")
    return "\n".join(lines)
