"""A large CSV file, whose rows are spread over all days of a year, into 365 partitions.

Ours has its default limits and computes the day; the peers get it as a column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import answers, clients, data
from benchmarks.model import LOOPBACK, Contender, Target, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from benchmarks.model import Act, Answer, Options, Place

_answer = answers.sums("flight")


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """The local file."""
    from pyarrow.csv import ConvertOptions, open_csv

    del place
    file = data.csv(options)
    rows, total = 0, 0
    for batch in open_csv(file, convert_options=ConvertOptions(include_columns=["flight"])):
        rows, total = rows + batch.num_rows, total + sum(batch["flight"].to_numpy().tolist())
    return {"file": str(file), "megabytes": options.megabytes, "answer": {"rows": rows, "flight": f"{total:.2f}"}}


def written(place: Place, name: str) -> Answer:
    """The rows of all Parquet files under that name."""
    import pyarrow.dataset as pads

    dataset = pads.dataset(
        f"{place.bucket}/{name}", filesystem=clients.arrow(place), format="parquet", partitioning="hive"
    )
    return _answer(dataset.to_table(columns=["flight"]))


def tierlake(place: Place) -> Act:
    """`Dataset.ingest` of the file, with the default limits."""
    from tierlake import Dataset, DatasetSpec

    filesystem = clients.lake(place)

    def act(name: str) -> object:
        spec = DatasetSpec(
            uri=f"lake://{place.bucket}/{name}", partition={"time": {"column": "at"}}, columns=data.CSV_COLUMNS
        )
        return Dataset.create(spec, fs=filesystem).ingest(place.facts["file"])

    return act


def _batches(source: str) -> pa.RecordBatchReader:
    """The CSV with the partition column, as pyarrow streams it."""
    import numpy as np
    import pyarrow as pa
    from pyarrow.csv import ConvertOptions, open_csv

    types = {"at": pa.timestamp("us", "UTC"), "carrier": pa.string(), "flight": pa.int64(), "delay": pa.float64()}
    reader = open_csv(source, convert_options=ConvertOptions(column_types=types))
    schema = reader.schema.append(pa.field("date", pa.string()))

    def dated() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            days = pa.array(np.datetime_as_string(batch.column("at").to_numpy(zero_copy_only=False), unit="D"))
            yield pa.RecordBatch.from_arrays([*batch.columns, days], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, dated())


def deltalake(place: Place) -> Act:
    """`write_deltalake` of what pyarrow.csv streams."""
    from deltalake import WriterProperties, write_deltalake

    options, properties = clients.delta_options(place), WriterProperties(compression="ZSTD")

    def act(name: str) -> None:
        url, rows = f"s3://{place.bucket}/{name}", _batches(place.facts["file"])
        write_deltalake(url, rows, partition_by=["date"], storage_options=options, writer_properties=properties)

    return act


def pyarrow(place: Place) -> Act:
    """`write_dataset` of what pyarrow.csv streams, on its own S3 client."""
    import pyarrow as pa
    import pyarrow.dataset as pads

    filesystem = clients.arrow(place)
    partitioning = pads.partitioning(pa.schema([pa.field("date", pa.string())]), flavor="hive")
    options = pads.ParquetFileFormat().make_write_options(compression="zstd")

    def act(name: str) -> None:
        pads.write_dataset(
            _batches(place.facts["file"]),
            f"{place.bucket}/{name}",
            filesystem=filesystem,
            format="parquet",
            partitioning=partitioning,
            file_options=options,
            max_open_files=data.CSV_DAYS + 1,
            max_partitions=data.CSV_DAYS + 1,
        )

    return act


WORK = Work(
    "csv",
    "{megabytes} MB of CSV into 365 partitions",
    prepare,
    (
        Contender("tierlake", tierlake, ("tierlake",)),
        Contender("deltalake", deltalake, ("deltalake", "pyarrow")),
        Contender("pyarrow", pyarrow, ("pyarrow",)),
    ),
    (Target(0.8, ("deltalake",)), Target(0.5, ("deltalake",), "peak")),
    links=(LOOPBACK,),
    written=written,
)
