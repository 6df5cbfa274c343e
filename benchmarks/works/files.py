"""A year of days, a small Parquet file each in Hive folders under a plain prefix, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import answers, clients, data
from benchmarks.model import DISTANT, Contender, Target, Work

if TYPE_CHECKING:
    from benchmarks.model import Act, Options, Place

PREFIX = "flights"

answer = answers.sums("flight", "distance")


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """Write the files by pyarrow."""
    import pyarrow as pa
    import pyarrow.dataset as pads

    rows = data.flights(options)
    pads.write_dataset(
        rows,
        f"{place.bucket}/{PREFIX}",
        filesystem=clients.arrow(place),
        format="parquet",
        partitioning=pads.partitioning(pa.schema([("date", pa.string())]), flavor="hive"),
        file_options=pads.ParquetFileFormat().make_write_options(compression="zstd"),
        max_partitions=options.days + 1,
        create_dir=False,  # its markers of folders are objects that others take for files
    )
    return {
        "path": f"{place.bucket}/{PREFIX}",
        "files": options.days,
        "bound": 256 << 20,
        "answer": answer(rows),
    }


def to_table(filesystem: Any, path: str) -> Act:
    """`ds.dataset(filesystem=...).to_table()`, which lists anew each time."""
    import pyarrow.dataset as pads

    def act(_: str) -> object:
        if hasattr(filesystem, "invalidate_cache"):
            filesystem.invalidate_cache()
        return pads.dataset(path, filesystem=filesystem, format="parquet", partitioning="hive").to_table()

    return act


def tierlake(place: Place) -> Act:
    """Behind `filesystem=`."""
    return to_table(clients.lake(place), place.facts["path"])


def tierlake_pandas(place: Place) -> Act:
    """`pd.read_parquet("lake://...")`."""
    import pandas as pd

    filesystem, options = clients.lake(place), clients.lake_options(place)

    def act(_: str) -> object:
        filesystem.invalidate_cache()
        return pd.read_parquet(f"lake://{place.facts['path']}", storage_options=options)

    return act


def s3fs(place: Place) -> Act:
    """Behind `filesystem=`."""
    return to_table(clients.s3fs(place), place.facts["path"])


def obstore(place: Place) -> Act:
    """Its fsspec filesystem behind `filesystem=`."""
    return to_table(clients.obstore_fsspec(place), place.facts["path"])


def pyarrow(place: Place) -> Act:
    """Its own S3 client."""
    return to_table(clients.arrow(place), place.facts["path"])


def pyarrow_pandas(place: Place) -> Act:
    """`pd.read_parquet` on its own S3 client."""
    import pandas as pd

    filesystem = clients.arrow(place)
    return lambda _: pd.read_parquet(place.facts["path"], filesystem=filesystem)


def polars(place: Place) -> Act:
    """A lazy scan of the prefix."""
    import polars as pl

    url, options = f"s3://{place.facts['path']}/", clients.object_store_options(place)
    return lambda _: pl.scan_parquet(url, storage_options=options, hive_partitioning=True).collect()


def duckdb(place: Place) -> Act:
    """SQL into an Arrow table."""
    connection = clients.duckdb(place)
    query = f"SELECT * FROM read_parquet('s3://{place.facts['path']}/*/*.parquet', hive_partitioning = true)"
    return lambda _: connection.execute(query).to_arrow_table()


def daft(place: Place) -> Act:
    """A lazy scan into an Arrow table."""
    import daft as package

    config, url = clients.daft_config(place), f"s3://{place.facts['path']}/**/*.parquet"
    return lambda _: package.read_parquet(url, io_config=config, hive_partitioning=True).to_arrow()


def awswrangler(place: Place) -> Act:
    """Into pandas."""
    package, session = clients.awswrangler(place)
    url = f"s3://{place.facts['path']}/"
    return lambda _: package.s3.read_parquet(url, dataset=True, boto3_session=session)


OURS = ("tierlake", "tierlake, pandas")

TARGETS = (
    *(Target(0.75, ("pyarrow",), ours=ours) for ours in OURS),
    *(Target(0.3, ("polars",), link=DISTANT, ours=ours) for ours in OURS),
    Target(1, ("bound",), "above"),
)

WORK = Work(
    "files",
    "{files} small files of a plain prefix as one table",
    prepare,
    (
        Contender("tierlake", tierlake, ("tierlake",)),
        Contender("tierlake, pandas", tierlake_pandas, ("tierlake", "pandas")),
        Contender("s3fs", s3fs, ("s3fs",)),
        Contender("obstore", obstore, ("obstore",)),
        Contender("pyarrow", pyarrow, ("pyarrow",)),
        Contender("pyarrow, pandas", pyarrow_pandas, ("pyarrow", "pandas")),
        Contender("polars", polars, ("polars",)),
        Contender("duckdb", duckdb, ("duckdb", "duckdb_extension_httpfs")),
        Contender("daft", daft, ("daft",)),
        Contender("awswrangler", awswrangler, ("awswrangler",)),
    ),
    TARGETS,
    answer=answer,
)
