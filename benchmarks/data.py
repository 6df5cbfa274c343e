"""The data of the works: made once, by public generators, and kept in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from benchmarks.model import Options

ZONE = "America/New_York"
CSV_DAYS = 365
CSV_BATCH_ROWS = 100_000
CSV_COLUMNS = {
    "at": "timestamp[us, tz=UTC]",
    "carrier": "string",
    "flight": "int64",
    "delay": "double",
    "note": "string",
}


def cache_folder() -> Path:
    """Where generated files are kept by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tierlake" / "benchmarks"


def lineitem(options: Options) -> Path:
    """TPC-H's lineitem as one Parquet file with snappy, by tpchgen-cli: 476 MB and 12 M rows at scale 2.

    Raises:
        FileNotFoundError: tpchgen-cli is not installed.
    """

    def generate(file: Path) -> None:
        beside = str(Path(sys.executable).parent)
        program = shutil.which("tpchgen-cli", path=beside) or shutil.which("tpchgen-cli")
        if program is None:
            raise FileNotFoundError("tpchgen-cli is not installed: pip install 'tierlake[bench]'")
        folder = file.with_suffix(".folder")
        what = ["--scale-factor", f"{options.scale:g}", "--tables", "lineitem", "--format", "parquet"]
        subprocess.run([program, *what, "--output-dir", str(folder)], check=True)
        (folder / "lineitem.parquet").replace(file)
        folder.rmdir()

    return _kept(options, f"lineitem-{options.scale:g}.parquet", generate)


def flights(options: Options) -> pa.Table:
    """The flights that left New York in the first days of 2013, with the day there as a column of text, `date`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from tierlake.dagster_project.demo import source

    start = datetime(2013, 1, 1, 5, tzinfo=UTC)  # midnight in New York
    rows = source.flights(start, start + timedelta(days=options.days + 1))
    local = pc.local_timestamp(rows["time_hour"].cast(pa.timestamp("us", ZONE)))
    dated = rows.append_column("date", pc.strftime(local, "%Y-%m-%d"))
    end = (datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=options.days)).date().isoformat()
    return dated.filter(pc.less(dated["date"], end))


def flights_file(options: Options) -> Path:
    """The same as one Parquet file."""

    def generate(file: Path) -> None:
        import pyarrow.parquet as pq

        pq.write_table(flights(options), file)

    return _kept(options, f"flights-{options.days}.parquet", generate)


def csv(options: Options) -> Path:
    """CSV whose rows are spread over all days of a year, so that every block has some of each."""

    def generate(file: Path) -> None:
        import numpy as np
        import pyarrow as pa
        from pyarrow.csv import WriteOptions, write_csv

        random = np.random.default_rng(7)
        start = datetime(2013, 1, 1, tzinfo=UTC)
        days = np.array([f"{start + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}" for day in range(CSV_DAYS)])
        with file.open("wb") as sink:
            while sink.tell() < options.megabytes << 20:
                batch = pa.table(
                    {
                        "at": pa.array(days[random.integers(0, CSV_DAYS, CSV_BATCH_ROWS)]),
                        "carrier": pa.array(np.array(["AA", "B6", "DL", "UA"])[random.integers(0, 4, CSV_BATCH_ROWS)]),
                        "flight": random.integers(1, 6000, CSV_BATCH_ROWS),
                        "delay": random.normal(6, 30, CSV_BATCH_ROWS).round(1),
                        "note": pa.array([f"{number:024x}" for number in random.integers(0, 1 << 62, CSV_BATCH_ROWS)]),
                    }
                )
                write_csv(batch, sink, WriteOptions(include_header=sink.tell() == 0))

    return _kept(options, f"rows-{options.megabytes}.csv", generate)


def _kept(options: Options, name: str, generate: Callable[[Path], None]) -> Path:
    """The file of that name in the cache; generated where it is missing, and seen only when it is whole."""
    file = options.cache / name
    if not file.exists():
        options.cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{os.getpid()}-{name}")
        generate(partial)
        partial.replace(file)
    return file
