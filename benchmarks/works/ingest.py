"""A year of flights in memory into 365 partitions, compressed by zstd.

The peers get the partition column; ours computes it from `time_hour` in the dataset's timezone, sets rejected rows
apart, encrypts, and commits the year at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import clients, data
from benchmarks.model import LOOPBACK, Contender, Target, Work
from benchmarks.works import files

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmarks.model import Act, Answer, Options, Place


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """A local file, which each contender reads before its act."""
    del place
    rows = data.flights(options)
    return {
        "file": str(data.flights_file(options)),
        "partitions": options.days,
        "rows": f"{rows.num_rows:,}",
        "answer": files.answer(rows),
    }


def written(place: Place, name: str) -> Answer:
    """The rows of all Parquet files under that name."""
    import pyarrow.dataset as pads

    dataset = pads.dataset(
        f"{place.bucket}/{name}", filesystem=clients.arrow(place), format="parquet", partitioning="hive"
    )
    return files.answer(dataset.to_table(columns=["flight", "distance"]))


def dataset(place: Place, prefix: str, format_: str) -> Any:
    """A dataset of flights, a partition a day in New York."""
    from tierlake import Dataset, DatasetSpec

    spec = DatasetSpec(
        uri=f"lake://{place.bucket}/{prefix}",
        format=format_,
        partition={"time": {"column": "time_hour", "every": "day", "timezone": data.ZONE, "key": "date"}},
    )
    return Dataset.create(spec, fs=clients.lake(place))


def _rows(place: Place) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(place.facts["file"])


def tierlake(place: Place) -> Act:
    """`Dataset.ingest` into a Delta table."""
    rows = _rows(place).drop_columns(["date"])
    return lambda name: dataset(place, name, "delta").ingest(rows)


def tierlake_plain(place: Place) -> Act:
    """`Dataset.ingest` into plain Parquet."""
    rows = _rows(place).drop_columns(["date"])
    return lambda name: dataset(place, name, "parquet").ingest(rows)


def deltalake(place: Place) -> Act:
    """`write_deltalake`, which partitions by itself."""
    from deltalake import WriterProperties, write_deltalake

    rows, options = _rows(place), clients.delta_options(place)
    properties = WriterProperties(compression="ZSTD")

    def act(name: str) -> None:
        url = f"s3://{place.bucket}/{name}"
        write_deltalake(url, rows, partition_by=["date"], storage_options=options, writer_properties=properties)

    return act


def pyarrow(place: Place) -> Act:
    """`write_dataset` on its own S3 client: no table, no commit."""
    return _write_dataset(place, clients.arrow(place))


def s3fs(place: Place) -> Act:
    """The `write_dataset` of pyarrow on s3fs."""
    return _write_dataset(place, clients.s3fs(place))


def _write_dataset(place: Place, filesystem: Any) -> Act:
    import pyarrow as pa
    import pyarrow.dataset as pads

    rows = _rows(place)
    partitioning = pads.partitioning(pa.schema([("date", pa.string())]), flavor="hive")
    options = pads.ParquetFileFormat().make_write_options(compression="zstd")

    def act(name: str) -> None:
        pads.write_dataset(
            rows,
            f"{place.bucket}/{name}",
            filesystem=filesystem,
            format="parquet",
            partitioning=partitioning,
            file_options=options,
            max_partitions=1000,
        )

    return act


def polars(place: Place) -> Act:
    """`write_delta`."""
    import polars as pl

    rows, options = pl.from_arrow(_rows(place)), clients.delta_options(place)

    def act(name: str) -> None:
        rows.write_delta(  # type: ignore[union-attr]
            f"s3://{place.bucket}/{name}", storage_options=options, delta_write_options={"partition_by": ["date"]}
        )

    return act


def daft(place: Place) -> Act:
    """`write_parquet` with partitions: no table, no commit."""
    import daft as package

    frame, config = package.from_arrow(_rows(place)), clients.daft_config(place)
    return lambda name: frame.write_parquet(
        f"s3://{place.bucket}/{name}", partition_cols=["date"], compression="zstd", io_config=config
    ).collect()


def awswrangler(place: Place) -> Act:
    """`to_parquet` of a pandas frame, with threads for partitions: no table, no commit."""
    package, session = clients.awswrangler(place)
    frame = _rows(place).to_pandas()

    def act(name: str) -> None:
        package.s3.to_parquet(
            frame,
            f"s3://{place.bucket}/{name}/",
            dataset=True,
            partition_cols=["date"],
            concurrent_partitioning=True,
            compression="zstd",
            boto3_session=session,
        )

    return act


WORK = Work(
    "ingest",
    "{rows} flights in memory into {partitions} partitions",
    prepare,
    (
        Contender("tierlake", tierlake, ("tierlake",)),
        Contender("tierlake, plain", tierlake_plain, ("tierlake",)),
        Contender("deltalake", deltalake, ("deltalake", "pyarrow")),
        Contender("pyarrow", pyarrow, ("pyarrow",)),
        Contender("s3fs", s3fs, ("s3fs", "pyarrow")),
        Contender("polars", polars, ("polars", "deltalake")),
        Contender("daft", daft, ("daft",)),
        Contender("awswrangler", awswrangler, ("awswrangler",)),
    ),
    (Target(1.1, ("deltalake",)), Target(0.2, ("awswrangler",))),
    links=(LOOPBACK,),
    written=written,
)
