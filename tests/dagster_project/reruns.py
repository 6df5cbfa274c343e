"""A job of three steps that Dagster can load anew, as a re-execution does; the environment says what happens in it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.model.spec import DatasetSpec

VALUE, FAILS = "RERUNS_VALUE", "RERUNS_FAILS"
DAYS = time_windows("day", "UTC", "2013-01-01", "2013-01-11")
SPEC = DatasetSpec(uri="lake://elsewhere/source", partition={"time": {"column": "at"}})
DAY = "2013-01-02"


def rows(value: int, day: int = 2) -> pa.Table:
    at = pa.array([datetime(2013, 1, day, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    return pa.table({"at": at, "value": [value]})


def job() -> dg.JobDefinition:
    """`source` holds what the environment says, `copied` the same, and `checked` fails where that says so."""

    @dg.asset(partitions_def=DAYS, metadata=spec_metadata(SPEC))
    def source() -> Any:
        return rows(int(os.environ[VALUE]))

    @dg.asset(partitions_def=DAYS, metadata=spec_metadata(SPEC))
    def copied(source: pa.Table) -> Any:
        return source.select(["at", "value"])

    @dg.asset(partitions_def=DAYS, deps=[copied], retry_policy=dg.RetryPolicy(max_retries=0))
    def checked() -> None:
        if os.environ.get(FAILS):
            raise ValueError("as the environment says")

    return dg.Definitions(
        assets=[source, copied, checked],
        jobs=[dg.define_asset_job("reruns")],
        resources={"io_manager": LakeParquetIOManager(lake=LakeResource())},
        executor=dg.in_process_executor,
    ).resolve_job_def("reruns")
