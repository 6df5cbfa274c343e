"""Jobs whose steps are traced: an asset stored by the IO manager, one that loads it, and an op of somebody's own."""

from typing import Any

import dagster as dg

from tierlake.dagster_project.executors.configured import chosen_executor
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.failures import dagster_failures
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.model.spec import DatasetSpec

SPEC = DatasetSpec.from_yaml("""
uri: lake://any/events
partition: {time: {column: at, every: day, key: date}}
""")


@dg.asset(metadata=spec_metadata(SPEC))
def events() -> Any:
    import pyarrow as pa

    hours = [f"2013-01-0{day}T0{hour}:00:00" for day in range(1, 5) for hour in range(5)]
    return pa.table({"at": pa.array(hours).cast(pa.timestamp("us")), "n": range(len(hours))})


@dg.asset
def counted(context: dg.AssetExecutionContext, events, lake: LakeResource) -> None:
    import pandas as pd

    context.log.info("%d rows", len(events))
    assert len(lake.dataset("events").read()) == len(events) == 20
    assert len(pd.read_parquet(lake.uri("events"))) == 20


@dg.op
def missing(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    with dagster_failures(context):
        lake.dataset("nothing/here")


@dg.op
def flaky(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    lake.filesystem().exists(lake.uri("nothing"))
    if not context.retry_number:
        raise dg.RetryRequested(max_retries=1) from OSError("a moment")


def all_of_it() -> dg.JobDefinition:
    lake = LakeResource()
    defs = dg.Definitions(
        [events, counted],
        jobs=[dg.define_asset_job("all_of_it")],
        resources={"io_manager": LakeParquetIOManager(lake=lake), "lake": lake},
        executor=chosen_executor(),
    )
    return defs.resolve_job_def("all_of_it")


@dg.job(resource_defs={"lake": LakeResource()})
def failing() -> None:
    missing()


@dg.job(resource_defs={"lake": LakeResource()})
def retried() -> None:
    flaky()
