"""How much memory an ingest of CSV takes, and how long, beside pyarrow and deltalake's own writer.

    python benchmarks/bench_memory.py [--megabytes 10000] [--only ours]

Each contender is a process of its own on the embedded server; the peak is what Linux counts for it (VmHWM). Rows are
spread over 365 days all through the file; ours has its default budget (192 MiB of rows that wait).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from tierlake.connector.local_server.servers import EmbeddedServer, client_environ

if TYPE_CHECKING:
    from collections.abc import Iterator

DAYS = 365
BATCH_ROWS = 100_000
COLUMNS = {"at": "timestamp[us, tz=UTC]", "carrier": "string", "flight": "int64", "delay": "double", "note": "string"}


def write_csv(path: Path, megabytes: int) -> int:
    """Rows spread over all days, so that every block has some of each.

    Returns:
        How many.
    """
    random = np.random.default_rng(7)
    start = datetime(2013, 1, 1, tzinfo=UTC)
    days = np.array([(start + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ") for day in range(DAYS)])
    rows = 0
    with path.open("wb") as file:
        while file.tell() < megabytes << 20:
            batch = pa.table(
                {
                    "at": pa.array(days[random.integers(0, DAYS, BATCH_ROWS)]),
                    "carrier": pa.array(np.array(["AA", "B6", "DL", "UA"])[random.integers(0, 4, BATCH_ROWS)]),
                    "flight": random.integers(1, 6000, BATCH_ROWS),
                    "delay": random.normal(6, 30, BATCH_ROWS).round(1),
                    "note": pa.array([f"{number:024x}" for number in random.integers(0, 1 << 62, BATCH_ROWS)]),
                }
            )
            pacsv.write_csv(batch, file, pacsv.WriteOptions(include_header=rows == 0))
            rows += BATCH_ROWS
    return rows


def ours(source: str) -> None:
    """`Dataset.ingest`, with the default limits."""
    from tierlake import Dataset, DatasetSpec

    spec = DatasetSpec(uri="lake://bench/ours", partition={"time": {"column": "at"}}, columns=COLUMNS)
    Dataset.create(spec).ingest(source)


def _batches(source: str) -> pa.RecordBatchReader:
    """The CSV with the partition column, as pyarrow streams it."""
    types = {"at": pa.timestamp("us", "UTC"), "carrier": pa.string(), "flight": pa.int64(), "delay": pa.float64()}
    reader = pacsv.open_csv(source, convert_options=pacsv.ConvertOptions(column_types=types))
    schema = reader.schema.append(pa.field("date", pa.string()))

    def dated() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            days = pa.array(np.datetime_as_string(batch.column("at").to_numpy(zero_copy_only=False), unit="D"))
            yield pa.RecordBatch.from_arrays([*batch.columns, days], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, dated())


def arrow(source: str) -> None:
    """`pyarrow.csv` and `write_dataset`, through Arrow's own S3 client."""
    import pyarrow.dataset as pads

    from tierlake import LakeFileSystem

    fs = LakeFileSystem()
    partitioning = pads.partitioning(pa.schema([pa.field("date", pa.string())]), flavor="hive")
    options = pads.ParquetFileFormat().make_write_options(compression="zstd")
    pads.write_dataset(
        _batches(source),
        "bench/arrow",
        format="parquet",
        filesystem=fs.arrow_filesystem(),
        partitioning=partitioning,
        file_options=options,
        max_open_files=DAYS + 1,
        max_partitions=DAYS + 1,
    )


def delta(source: str) -> None:
    """The writer of the package deltalake."""
    from deltalake import write_deltalake

    from tierlake import LakeFileSystem

    write_deltalake(
        "s3://bench/delta", _batches(source), partition_by=["date"], storage_options=LakeFileSystem().delta_options()
    )


CONTENDERS = {"ours": ours, "arrow": arrow, "delta": delta}


def measured(name: str, source: str) -> None:
    """In the child: do it, and say what it took."""
    began = time.monotonic()
    CONTENDERS[name](source)
    seconds = time.monotonic() - began
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    print(json.dumps({"seconds": round(seconds, 1), "peak_mib": int(status["VmHWM"].split()[0]) >> 10}))


def run(names: list[str], megabytes: int, folder: Path) -> dict[str, dict[str, float]]:
    """Measure contenders on one file.

    Returns:
        Seconds and the peak in MiB, by name.
    """
    source = folder / "rows.csv"
    write_csv(source, megabytes)
    found = {}
    with EmbeddedServer(folder / "server") as server:
        environ = os.environ | client_environ("seaweedfs", server.endpoint_url, server.key, server.secret)
        environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
        make = "import fsspec; fsspec.filesystem('lake').mkdir('bench')"
        subprocess.run([sys.executable, "-c", make], env=environ, check=True)  # noqa: S603 - ourselves
        for name in names:
            call = [sys.executable, __file__, "--child", name, str(source)]
            child = subprocess.run(call, env=environ, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
            found[name] = json.loads(child.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200, help="of CSV [default: 200]")
    parser.add_argument("--only", choices=CONTENDERS, help="one contender alone")
    parser.add_argument("--child", nargs=2, metavar=("NAME", "SOURCE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        measured(*asked.child)
        return
    names = [asked.only] if asked.only else list(CONTENDERS)
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        for name, took in run(names, asked.megabytes, Path(folder)).items():
            rate = asked.megabytes / took["seconds"]
            print(f"{name:6} {took['seconds']:7.1f} s  {rate:5.1f} MB/s  peak {took['peak_mib']:5,.0f} MiB")


if __name__ == "__main__":
    main()
