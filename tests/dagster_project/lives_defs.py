"""A code location whose assets live through a lot: days of two formats, a rollup that must see them, all expiring.

What the source has is in a file that a test changes, so that an execution anew sees new rows.
"""

import json
import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa

from tierlake.dagster_project.automation.jobs import expiry_job, tiering_job, undo_job
from tierlake.dagster_project.automation.sensors import dataset_sensor
from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.io_manager import ALLOW_MISSING, LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import LakeAsset
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.model.spec import DatasetSpec

SOURCE = "LIVES_SOURCE"
"""Environment variable: the file with the source's rows by day, and with the steps that fail."""

PAUSE = "LIVES_PAUSE"
"""Environment variable: how the paths of the switches of `lives_paused` begin."""

DAYS = ("2013-01-30", "2013-01-31", "2013-02-01", "2013-02-02")
COLUMN = {"days": "date", "plain": "date", "months": "month"}
MONTHS = ("2013-01", "2013-02")
START, END = DAYS[0], "2013-02-03"
RETENTION = {"expire_after": "30d", "grace": "7d"}
TIERS = [{"after": "10d", "tier": "warm"}]

rollups: list[Callable[[str, dict[str, dict[str, list[int]]]], int]] = []
"""Who hears of a rollup at work: its run, what it read of each dataset by day. Answers with the id of its row."""


class SourceFailed(RuntimeError):
    """What the source gives cannot be used."""


def switch(point: str) -> Path:
    """The file that makes a commit pause while it is there."""
    return Path(f"{os.environ[PAUSE]}.{point}")


def source() -> dict[str, dict[str, list[int]]]:
    return json.loads(Path(os.environ[SOURCE]).read_text())


def rows_of(ids: dict[str, list[int]]) -> pa.Table:
    """Each id once, at noon of its day."""
    pairs = [(day, number) for day, numbers in ids.items() for number in numbers]
    at = [datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=UTC) for day, _ in pairs]
    return pa.table(
        {
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "id": pa.array([number for _, number in pairs], pa.int64()),
        }
    )


def by_day(table: pa.Table) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in table.select(["at", "id"]).to_pylist():
        found.setdefault(f"{row['at']:%Y-%m-%d}", []).append(row["id"])
    return found


def _check(step: str) -> None:
    if step in source()["failing"]:
        raise SourceFailed(step)


def read_days(context: dg.AssetExecutionContext) -> pa.Table:
    _check("days")
    there = source()["rows"]
    return rows_of({day: there.get(day, []) for day in context.partition_keys})


days = LakeDataset(
    key="days",
    source=f"{__name__}.read_days",
    start=START,
    end=END,
    partition={"time": {"column": "at", "key": "date"}},
    tiers=TIERS,
    retention={**RETENTION, "after": ["months"]},
    io_manager="io_manager",
)
PLAIN = LakeAsset(
    DatasetSpec(
        uri="lake://any/plain",
        format="parquet",
        partition={"time": {"column": "at", "key": "date"}},
        tiers=TIERS,
        retention={**RETENTION, "after": ["months"]},
    ),
    time_windows("day", "UTC", START, END),
)
ROLLUP = LakeAsset(
    DatasetSpec(
        uri="lake://any/months",
        partition={"time": {"column": "at", "every": "month", "key": "month"}},
        retention=RETENTION,
    ),
    time_windows("month", "UTC", MONTHS[0], "2013-03"),
)
ASSETS = {asset.name: asset for asset in (days.lake_asset(), PLAIN, ROLLUP)}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # 1.13 has had both for long, in beta
    OVER = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    make_plain = dg.asset(
        partitions_def=PLAIN.partitions_def,
        metadata=spec_metadata(PLAIN.spec),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )


@make_plain
def plain(days: pa.Table) -> pa.Table:
    """The same rows as the days."""
    _check("plain")
    return days.select(["at", "id"])


@dg.asset(
    partitions_def=ROLLUP.partitions_def,
    metadata=spec_metadata(ROLLUP.spec),
    ins={
        "days": dg.AssetIn(partition_mapping=OVER),
        "plain": dg.AssetIn(partition_mapping=OVER, metadata={ALLOW_MISSING: True}),
    },
)
def months(context: dg.AssetExecutionContext, days: pa.Table, plain: pa.Table) -> pa.Table:
    """One row a month."""
    read = {"days": by_day(days), "plain": by_day(plain)}
    number = sum(map(len, read["days"].values()))
    for rollup in rollups:
        number = rollup(context.run_id, read)
    _check("months")
    return rows_of({f"{context.partition_key}-01": [number]})


def _jobs_of(asset: LakeAsset) -> tuple[list[dg.JobDefinition], dg.SensorDefinition]:
    expiry = expiry_job(asset)
    jobs = [expiry, undo_job(asset), *([tiering_job(asset)] if asset.spec.tiers else [])]
    return jobs, dataset_sensor(asset)


_of_plain, _of_months = _jobs_of(PLAIN), _jobs_of(ROLLUP)
daily = dg.define_asset_job("daily", dg.AssetSelection.assets("days", "plain").without_checks())
monthly = dg.define_asset_job("monthly", dg.AssetSelection.assets("months"))
lake = LakeResource()
defs = dg.Definitions.merge(
    days.build_defs(None),
    dg.Definitions(
        assets=[plain, months],
        jobs=[*_of_plain[0], *_of_months[0], daily, monthly],
        sensors=[_of_plain[1], _of_months[1]],
        resources={"lake": lake, "io_manager": LakeParquetIOManager(lake=lake)},
        executor=dg.in_process_executor,
    ),
)
