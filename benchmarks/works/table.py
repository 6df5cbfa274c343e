"""The same year as a Delta table that tierlake wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import clients, data
from benchmarks.model import DISTANT, Contender, Target, Work
from benchmarks.works import files, ingest

if TYPE_CHECKING:
    from benchmarks.model import Act, Options, Place

PREFIX = "table"


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """Ingest the year."""
    rows = data.flights(options)
    ingest.dataset(place, PREFIX, "delta").ingest(rows.drop_columns(["date"]))
    return {
        "path": f"{place.bucket}/{PREFIX}",
        "files": options.days,
        "bound": 256 << 20,
        "answer": files.answer(rows),
    }


def tierlake_read(place: Place) -> Act:
    """`Dataset.read`, of a dataset that is opened anew each time."""
    from tierlake import Dataset

    filesystem = clients.lake(place)

    def act(_: str) -> object:
        filesystem.invalidate_cache()
        return Dataset.open(f"lake://{place.facts['path']}", fs=filesystem).read()

    return act


def polars(place: Place) -> Act:
    """`scan_delta`."""
    import polars as pl

    url, options = f"s3://{place.facts['path']}", clients.object_store_options(place)
    return lambda _: pl.scan_delta(url, storage_options=options).collect()


def deltalake(place: Place) -> Act:
    """`DeltaTable.to_pyarrow_table`."""
    from deltalake import DeltaTable

    url, options = f"s3://{place.facts['path']}", clients.delta_options(place)
    return lambda _: DeltaTable(url, storage_options=options).to_pyarrow_table()


def daft(place: Place) -> Act:
    """`read_deltalake`."""
    import daft as package

    config, url = clients.daft_config(place), f"s3://{place.facts['path']}"
    return lambda _: package.read_deltalake(url, io_config=config).to_arrow()


WORK = Work(
    "table",
    "a Delta table of {files} partitions as one table",
    prepare,
    (
        Contender("tierlake", files.tierlake, ("tierlake",)),
        Contender("tierlake, pandas", files.tierlake_pandas, ("tierlake", "pandas")),
        Contender("tierlake, Dataset.read", tierlake_read, ("tierlake",)),
        Contender("s3fs", files.s3fs, ("s3fs",)),
        Contender("pyarrow", files.pyarrow, ("pyarrow",)),
        Contender("polars", polars, ("polars", "deltalake")),
        Contender("deltalake", deltalake, ("deltalake", "pyarrow")),
        Contender("daft", daft, ("daft", "deltalake")),
    ),
    (
        *files.TARGETS,
        Target(1.1, ("polars",), ours="tierlake, Dataset.read"),
        Target(0.25, ("polars",), link=DISTANT, ours="tierlake, Dataset.read"),
        Target(1, ("bound",), "above", ours="tierlake, Dataset.read"),
    ),
    answer=files.answer,
)
