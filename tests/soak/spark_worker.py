"""A Spark session that takes commands: run by the Python of `make spark`, which has pyspark and nothing of ours.

One JSON document a line on stdin, one a line on stdout in answer: `{"ok": ...}` or `{"error": ...}`. The first is
Spark's configuration, the others `{"do": NAME, ...}`. Tables go through Parquet files on the local disk.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pyspark.sql import DataFrame, SparkSession

# What the JVM prints goes to stderr; stdout is for answers.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def sql(spark: SparkSession, text: str) -> list[list[str]]:
    """Run a statement; what it returns, as text."""
    return [[str(value) for value in row] for row in spark.sql(text).collect()]


def matching(spark: SparkSession, path: str, filters: list[str]) -> list[list[int]]:
    """The ids of the rows that each filter keeps: one query, in which each filter is a scan with its own skipping."""
    scans = [f"SELECT {n} AS n, id FROM delta.`{path}` WHERE {text}" for n, text in enumerate(filters)]  # noqa: S608
    kept: list[list[int]] = [[] for _ in filters]
    for number, row_id in spark.sql(" UNION ALL ".join(scans)).collect():
        kept[number].append(row_id)
    return [sorted(ids) for ids in kept]


def scanned(spark: SparkSession, path: str, condition: str) -> int:
    """How many files Delta's skipping leaves for a filter."""
    rows = spark.sql(f"SELECT id FROM delta.`{path}` WHERE {condition}")  # noqa: S608
    return len(rows.inputFiles())


def dump(spark: SparkSession, path: str, to: str) -> None:
    """All rows of a table, as Spark reads them, into a local folder of Parquet."""
    spark.read.format("delta").load(path).coalesce(1).write.parquet(to)


def write(spark: SparkSession, source: str, path: str, by: list[str], options: dict[str, str]) -> None:
    """Append a local Parquet file to a table, which is made if it is missing."""
    rows = spark.read.parquet(source).coalesce(1)
    rows.write.format("delta").mode("append").options(**options).partitionBy(*by).save(path)


def merge(spark: SparkSession, source: str, path: str) -> None:
    """Rows of a local Parquet file take the place of those with their id, or join them."""
    view: DataFrame = spark.read.parquet(source)
    view.createOrReplaceTempView("newer")
    spark.sql(
        f"MERGE INTO delta.`{path}` AS t USING newer AS s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )


COMMANDS = {command.__name__: command for command in (sql, matching, scanned, dump, write, merge)}


def say(**answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> None:
    builder = SparkSession.builder
    for name, value in json.loads(sys.stdin.readline()).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    say(ok=spark.version)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            say(ok=COMMANDS[command.pop("do")](spark, **command))
        except Exception as error:  # noqa: BLE001 - whatever Spark says goes to the test
            say(error=str(error))
    spark.stop()


main()
