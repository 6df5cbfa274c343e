"""A real Spark with Delta beside us, as `make spark` has fetched it: one JVM, driven through a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

WORKER = Path(__file__).with_name("spark_worker.py")
CONFIGURATION = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "2g",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # docs/engines.md: without it Spark refuses files of other writers with dates before 1582, or instants before 1900
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    # a VACUUM below the table's retention, by force
    "spark.databricks.delta.retentionDurationCheck.enabled": "false",
}


class SparkError(AssertionError):
    """What Spark says of a command that failed."""


def spark_folder() -> Path:
    """Where `make spark` puts it."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tierlake" / "spark"


class Spark:
    """The worker's commands; paths are `s3a://bucket/prefix`."""

    def __init__(self, requests: IO[str], answers: IO[str], folder: Path) -> None:
        self._requests, self._answers, self._folder = requests, answers, folder
        self._files = 0

    def send(self, request: Mapping[str, Any]) -> Any:
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        answer = self._answers.readline()
        if not answer:
            raise SparkError("the worker is gone: see spark.log")
        said = json.loads(answer)
        if "error" in said:
            raise SparkError(said["error"])
        return said["ok"]

    def sql(self, text: str) -> list[list[str]]:
        return self.send({"do": "sql", "text": text})

    def matching(self, path: str, filters: Sequence[str]) -> list[list[int]]:
        """The ids that each filter keeps, in order."""
        return self.send({"do": "matching", "path": path, "filters": list(filters)})

    def scanned(self, path: str, condition: str) -> int:
        """How many files Spark looks into for a filter."""
        return self.send({"do": "scanned", "path": path, "condition": condition})

    def read(self, path: str) -> pa.Table:
        """All rows, as Spark reads them."""
        to = self._new_name()
        self.send({"do": "dump", "path": path, "to": to.as_uri()})
        return pa.concat_tables([pq.read_table(file) for file in sorted(to.glob("*.parquet"))])

    def write(self, rows: pa.Table, path: str, by: Sequence[str], **options: str) -> None:
        """Append rows, with Spark's own files, folders and statistics."""
        self.send({"do": "write", "source": self._local(rows), "path": path, "by": list(by), "options": options})

    def merge(self, rows: pa.Table, path: str) -> None:
        """Rows take the place of those with their `id`, or join them."""
        self.send({"do": "merge", "source": self._local(rows), "path": path})

    def _new_name(self) -> Path:
        self._files += 1
        return self._folder / f"{self._files}"

    def _local(self, rows: pa.Table) -> str:
        file = self._new_name().with_suffix(".parquet")
        pq.write_table(rows, file)
        return file.as_uri()


@contextmanager
def spark_session(settings: Mapping[str, str], folder: Path) -> Iterator[Spark]:
    """A session that reaches a server by `settings`, as `fs.spark_conf()` gives them."""
    home = spark_folder()
    python = home / "venv" / "bin" / "python"
    if not (home / ".versions").exists() or not python.exists():
        pytest.skip(f"no Spark in {home}: `make spark` gets it")
    jars = ",".join(str(jar) for jar in sorted((home / "jars").glob("*.jar")))
    places = {"spark.local.dir": str(folder / "spark"), "spark.sql.warehouse.dir": str(folder / "warehouse")}
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPARK_", "PYTHON"))}
    with (folder / "spark.log").open("wb") as log:
        process = subprocess.Popen(
            [python, WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            cwd=folder,
            env=environ,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        spark = Spark(process.stdin, process.stdout, folder)
        try:
            spark.send({**CONFIGURATION, **places, **settings, "spark.jars": jars})
            yield spark
        finally:
            process.stdin.close()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
