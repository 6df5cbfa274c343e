"""Ingest: a year of NYC flights into 365 partitions, beside what else people would use for it.

    python benchmarks/bench_ingest.py [--rounds 5] [--endpoint-url URL]

All writers get the same Arrow table in memory and write zstd Parquet to the same server, in turns within one run: what
a noisy machine does to one it does to all. Times are medians of the rounds; each ratio is ours to the peer's (below 1:
we are faster). Every result is read back and its rows are counted.

The peers are given the partition column; ours computes it from `time_hour` in the dataset's timezone, sets rejected
rows apart, encrypts, and commits the year at once.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import s3fs
from deltalake import DeltaTable, WriterProperties, write_deltalake

from tierlake import Dataset, DatasetSpec
from tierlake.connector import LakeFileSystem
from tierlake.connector.local_server.servers import EmbeddedServer
from tierlake.dagster_project.demo import source

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET = f"bench-{uuid.uuid4().hex[:8]}"
ZONE = "America/New_York"


def year() -> pa.Table:
    """The flights, with an instant in `time_hour`."""
    return source.flights(datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 2, tzinfo=UTC))


def with_date(rows: pa.Table) -> pa.Table:
    """What the peers get: the day in New York as a column of text."""
    local = pc.local_timestamp(rows["time_hour"].cast(pa.timestamp("us", ZONE)))
    return rows.append_column("date", pc.strftime(local, "%Y-%m-%d"))


def ours(format_: str, rows: pa.Table, fs: LakeFileSystem) -> Callable[[str], int]:
    """Our ingest, in one of the two formats."""

    def write(prefix: str) -> int:
        spec = DatasetSpec(
            uri=f"lake://{BUCKET}/{prefix}",
            format=format_,
            partition={"time": {"column": "time_hour", "every": "day", "timezone": ZONE, "key": "date"}},
        )
        return Dataset.create(spec, fs=fs).ingest(rows).rows

    return write


def deltas_own_writer(rows: pa.Table, options: dict[str, str]) -> Callable[[str], int]:
    """`deltalake.write_deltalake`, which partitions by itself."""
    dated = with_date(rows)

    def write(prefix: str) -> int:
        write_deltalake(
            f"s3://{BUCKET}/{prefix}",
            dated,
            partition_by=["date"],
            storage_options=options,
            writer_properties=WriterProperties(compression="ZSTD"),
        )
        actions = pa.table(DeltaTable(f"s3://{BUCKET}/{prefix}", storage_options=options).get_add_actions())
        return int(pc.sum(actions["num_records"]).as_py())

    return write


def pyarrow_over_s3fs(rows: pa.Table, fs: s3fs.S3FileSystem) -> Callable[[str], int]:
    """`pyarrow.dataset.write_dataset` on s3fs: no table, no commit."""
    dated = with_date(rows)

    def write(prefix: str) -> int:
        pads.write_dataset(
            dated,
            f"{BUCKET}/{prefix}",
            format="parquet",
            filesystem=fs,
            partitioning=pads.partitioning(pa.schema([("date", pa.string())]), flavor="hive"),
            file_options=pads.ParquetFileFormat().make_write_options(compression="zstd"),
            max_partitions=1000,
        )
        return pads.dataset(f"{BUCKET}/{prefix}", filesystem=fs, partitioning="hive").count_rows()

    return write


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--endpoint-url", help="a running server, with credentials in the environment")
    options = parser.parse_args()
    with ExitStack() as stack:
        endpoint_url = options.endpoint_url
        if endpoint_url is None:
            data = stack.enter_context(tempfile.TemporaryDirectory())
            server = stack.enter_context(EmbeddedServer(data))
            os.environ.update(server.environ())
            endpoint_url = server.endpoint_url
        fs = LakeFileSystem(endpoint_url=endpoint_url)
        fs.mkdir(BUCKET)
        rows = year()
        plain = s3fs.S3FileSystem(endpoint_url=endpoint_url, skip_instance_cache=True)
        # around lake://, which refuses to delete below a table
        stack.callback(plain.rm, BUCKET, recursive=True)
        writers = {
            "tierlake, delta": ours("delta", rows, fs),
            "tierlake, plain parquet": ours("parquet", rows, fs),
            "deltalake's own writer": deltas_own_writer(rows, fs.delta_options()),
            "pyarrow + s3fs": pyarrow_over_s3fs(rows, plain),
        }
        print(f"{rows.num_rows:,} rows, {rows.nbytes / 1e6:.0f} MB in memory, 365 partitions, {os.cpu_count()} cores")
        tell(measured(writers, rows.num_rows, options.rounds))


def measured(writers: dict[str, Callable[[str], int]], expected: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, after one that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in writers}
    for number in range(rounds + 1):
        for name, write in writers.items():
            gc.collect()
            started = time.perf_counter()
            written = write(f"{number}-{name.replace(' ', '-').strip(',')}".replace(",", "").replace("'", ""))
            seconds = time.perf_counter() - started
            assert written == expected, f"{name}: {written:,} rows of {expected:,}"
            if number:
                taken[name].append(seconds)
    return taken


def tell(taken: dict[str, list[float]]) -> None:
    """Medians, spread and ratios."""
    peers = [name for name in taken if not name.startswith("tierlake")]
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    print(f"{'':26}{'median':>9}{'min':>9}{'max':>9}" + "".join(f"   / {peer}" for peer in peers))
    for name, seconds in taken.items():
        ratios = "".join(f"{medians[name] / medians[peer]:>{len(peer) + 5}.2f}" for peer in peers)
        print(f"{name:26}{medians[name]:8.2f}s{min(seconds):8.2f}s{max(seconds):8.2f}s{ratios}")


if __name__ == "__main__":
    main()
