"""Three of sixteen columns of one large Parquet file, into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import answers, clients, data
from benchmarks.model import DISTANT, Contender, Target, Work

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.model import Act, Options, Place

COLUMNS = ["l_orderkey", "l_extendedprice", "l_shipdate"]
KEY = "lineitem.parquet"
BOUND = 256 << 20
"""Of what is fetched ahead: the default of the setting `read_memory_bytes`."""
DECODED = 64 << 20
"""What decoding a few row groups takes besides, in any reader."""

answer = answers.sums("l_orderkey", "l_extendedprice")


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """Put the file there."""
    return put(place, data.lineitem(options))


def put(place: Place, file: Path) -> dict[str, Any]:
    """Put a Parquet file with these columns there.

    Returns:
        The facts; what a reader needs of it among them.
    """
    import pyarrow.parquet as pq

    clients.boto3(place).upload_file(str(file), place.bucket, KEY)
    footer = pq.read_metadata(file)
    chunks = [
        column
        for group in map(footer.row_group, range(footer.num_row_groups))
        for column in map(group.column, range(group.num_columns))
        if column.path_in_schema in COLUMNS
    ]
    return {
        "path": f"{place.bucket}/{KEY}",
        "columns and footer": sum(chunk.total_compressed_size for chunk in chunks) + footer.serialized_size + 8,
        "bound": BOUND + DECODED,
        "megabytes": round(file.stat().st_size / 1e6),
        "answer": answer(pq.read_table(file, columns=COLUMNS)),
    }


def read_table(filesystem: Any, path: str) -> Act:
    """`pq.read_table` on a filesystem."""
    import pyarrow.parquet as pq

    return lambda _: pq.read_table(path, filesystem=filesystem, columns=COLUMNS)


def tierlake(place: Place) -> Act:
    """Behind `filesystem=`."""
    return read_table(clients.lake(place), place.facts["path"])


def s3fs(place: Place) -> Act:
    """Behind `filesystem=`."""
    return read_table(clients.s3fs(place), place.facts["path"])


def obstore(place: Place) -> Act:
    """Its fsspec filesystem behind `filesystem=`."""
    return read_table(clients.obstore_fsspec(place), place.facts["path"])


def pyarrow(place: Place) -> Act:
    """Its own S3 client."""
    return read_table(clients.arrow(place), place.facts["path"])


def polars(place: Place) -> Act:
    """A lazy scan."""
    import polars as pl

    url, options = f"s3://{place.facts['path']}", clients.object_store_options(place)
    return lambda _: pl.scan_parquet(url, storage_options=options).select(COLUMNS).collect()


def duckdb(place: Place) -> Act:
    """SQL into an Arrow table."""
    connection = clients.duckdb(place)
    query = f"SELECT {', '.join(COLUMNS)} FROM read_parquet('s3://{place.facts['path']}')"
    return lambda _: connection.execute(query).to_arrow_table()


def daft(place: Place) -> Act:
    """A lazy scan into an Arrow table."""
    import daft as package

    config = clients.daft_config(place)
    url = f"s3://{place.facts['path']}"
    return lambda _: package.read_parquet(url, io_config=config).select(*COLUMNS).to_arrow()


def awswrangler(place: Place) -> Act:
    """Into pandas, with Arrow's types, which spares it an object for each value."""
    package, session = clients.awswrangler(place)
    url = f"s3://{place.facts['path']}"
    return lambda _: package.s3.read_parquet(url, columns=COLUMNS, dtype_backend="pyarrow", boto3_session=session)


WORK = Work(
    "columns",
    "3 of the 16 columns of lineitem ({megabytes} MB) into memory",
    prepare,
    (
        Contender("tierlake", tierlake, ("tierlake",)),
        Contender("s3fs", s3fs, ("s3fs",)),
        Contender("obstore", obstore, ("obstore",)),
        Contender("pyarrow", pyarrow, ("pyarrow",)),
        Contender("polars", polars, ("polars",)),
        Contender("duckdb", duckdb, ("duckdb", "duckdb_extension_httpfs")),
        Contender("daft", daft, ("daft",)),
        Contender("awswrangler", awswrangler, ("awswrangler",)),
    ),
    (
        Target(0.95, ("pyarrow",)),
        Target(0.2, ("s3fs",)),
        Target(0.5, ("pyarrow",), link=DISTANT),
        Target(0.95, ("polars",), link=DISTANT),
        Target(0.1, ("s3fs",), link=DISTANT),
        Target(1.05, ("columns and footer",), "down"),
        Target(1, ("bound",), "above"),
    ),
    answer=answer,
)
