"""Ticks of the sensors over many partitions: retention with nothing and with much to do, and observation.

    python benchmarks/bench_ticks.py [--partitions 2000] [--rounds 5]

Each partition is an hour, one small file, and one materialization in Dagster's SQLite storage. A tick opens the dataset
anew, as a daemon does, reads its log, lists the store where it reports storage classes, and compares what it finds
with Dagster's books. Dagster gives a sensor 60 seconds; retention is to take less than 2 at 10,000 partitions.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
from deltalake import write_deltalake

from tierlake import Dataset, DatasetSpec
from tierlake.connector import LakeFileSystem
from tierlake.connector.local_server.servers import EmbeddedServer
from tierlake.dagster_project.automation.config import op_config
from tierlake.dagster_project.automation.observe import observation_sensor
from tierlake.dagster_project.automation.run_requests import KEYS_PER_RUN
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.resources.lake import LakeResource

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2013, 1, 1, tzinfo=UTC)
KEPT = timedelta(days=30)
DUE = 1000


def hour(number: int) -> str:
    """The key of an hour, counted from the first on."""
    return f"{START + timedelta(hours=number):%Y-%m-%dT%H}"


def fill(asset: LakeAsset, lake: LakeResource, instance: dg.DagsterInstance, hours: list[str]) -> None:
    """A row an hour in the table, and an event an hour in Dagster."""
    dataset = Dataset.create(asset.spec_in(lake), fs=lake.filesystem())
    rows = pa.table({"hour": hours, "n": pa.array(range(len(hours)), "int64")})
    options = lake.filesystem().delta_options()
    write_deltalake(dataset.uri.replace("lake://", "s3://"), rows, mode="append", storage_options=options)
    instance.report_runless_asset_event(dg.AssetMaterialization(asset.asset_key, partition=hours[0]))
    (index,) = Path(instance.root_directory).glob("**/index.db")
    with sqlite3.connect(index) as connection:  # as if each had been materialized; one by one takes minutes
        copied = "run_id, event, dagster_event_type, timestamp, step_key, asset_key"
        copy = f"INSERT INTO event_logs ({copied}, partition) SELECT {copied}, ? FROM event_logs WHERE id = 1"
        connection.executemany(copy, [(key,) for key in hours[1:]])
    connection.close()


def main() -> None:
    """Fill, tick, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partitions", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=5)
    said = options.parse_args()
    hours = [hour(number) for number in range(said.partitions)]
    spec = DatasetSpec(
        uri="lake://any/hours",
        partition={"time": {"every": "hour", "key": "hour"}},
        columns={"hour": "string", "n": "int64"},
        retention={"expire_after": KEPT},
    )
    asset = LakeAsset(spec, time_windows("hour", "UTC", hours[0], hour(said.partitions)))
    retention, observation = dataset_sensor(asset), observation_sensor(asset)

    with tempfile.TemporaryDirectory() as home, EmbeddedServer(Path(home) / "lake") as server:
        os.environ.update(server.environ())
        LakeFileSystem().mkdir("ticks")

        for name in ("dagster", "empty"):
            Path(home, name).mkdir()
        with (
            dg.DagsterInstance.local_temp(str(Path(home) / "dagster")) as instance,
            dg.DagsterInstance.local_temp(str(Path(home) / "empty")) as empty,  # which has been told of nothing
        ):
            cursors: dict[str, str | None] = {}

            def tick(
                sensor: dg.SensorDefinition, days: int, instance: dg.DagsterInstance = instance, kept: str = ""
            ) -> tuple[float, float, int]:
                """Seconds, seconds of CPU, and how many partitions it named; today is so many days from the start."""
                today = (START + timedelta(days=days)).date().isoformat()
                lake = LakeResource(warehouse="lake://ticks", as_of=today)
                cursor = cursors.get(kept)
                with dg.build_sensor_context(instance=instance, resources={"lake": lake}, cursor=cursor) as context:
                    began, busy = time.perf_counter(), time.process_time()
                    found = sensor.evaluate_tick(context)
                    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
                cursors.update({kept: found.cursor} if kept else {})
                asked = [
                    op_config("hours_expiry", request.run_config)["partitions"] for request in found.run_requests or []
                ]
                return seconds, cpu, sum(map(len, asked)) + len(found.asset_events)

            fill(asset, LakeResource(warehouse="lake://ticks"), instance, hours)
            due_day = KEPT.days + DUE // 24 + 1
            cases: dict[str, tuple[Callable[[], tuple[float, float, int]], int]] = {
                "retention, all compared anew": (lambda: tick(retention, 1), 0),
                "retention, nothing due": (lambda: tick(retention, 1, kept="retention"), 0),
                f"retention, {(due_day - KEPT.days) * 24} due": (
                    lambda: tick(retention, due_day, kept="retention"),
                    (due_day - KEPT.days) * 24,
                ),
                "observation, nothing to report": (lambda: tick(observation, 1, kept="observation"), 0),
                "observation, 1,000 to report": (lambda: tick(observation, 1, empty), 1000),
            }
            print(f"{said.partitions:,} partitions; at most {KEYS_PER_RUN} a run")
            print(f"{'seconds a tick':32}{'median':>8}{'min':>8}{'max':>8}{'CPU':>8}")
            for name, (once, expected) in cases.items():
                rounds = [once() for _ in range(said.rounds)]
                assert {named for *_, named in rounds} == {expected}, rounds
                times = [seconds for seconds, *_ in rounds]
                cpu = min(cpu for _, cpu, _ in rounds)
                print(f"{name:32}{statistics.median(times):8.2f}{min(times):8.2f}{max(times):8.2f}{cpu:8.2f}")


if __name__ == "__main__":
    main()
