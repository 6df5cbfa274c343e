from __future__ import annotations

import json
import os
import subprocess
import sys

import dagster as dg
import pytest

from tests.dagster_project.lake_assets import DATASETS
from tierlake.dagster_project.automation.config import run_config
from tierlake.dagster_project.demo import headless
from tierlake.dagster_project.demo.definitions import defs
from tierlake.dagster_project.io_manager import COLUMNS
from tierlake.dagster_project.partitions.lineage import downstreams_in
from tierlake.dagster_project.partitions.metadata import LINEAGE

HEAVY = ("aiobotocore", "botocore", "deltalake", "fsspec", "matplotlib", "pandas", "polars", "pyarrow", "s3fs")

LOAD = f"""
import json, sys, warnings
warnings.simplefilter("error")
from tierlake.dagster_project.automation.config import run_config
from tierlake.dagster_project.demo import headless
from tierlake.dagster_project.demo.definitions import defs
repository = defs.get_repository_def()
names = [key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()]
executor = defs.resolve_job_def("flights_tiering").executor_def.name
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps({{"assets": sorted(names), "executor": executor, "heavy": heavy}}))
"""


def run(*command: str, **environ: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environ, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_loading_needs_no_server_and_no_library_that_moves_data() -> None:
    nowhere = "http://127.0.0.1:1"
    said = {"TIERLAKE_ENDPOINT_URL": nowhere, "AWS_ENDPOINT_URL": nowhere, "TIERLAKE_EXECUTOR": "in_process"}
    found = json.loads(run(sys.executable, "-c", LOAD, **said))
    assert found == {"assets": sorted([*DATASETS, "monthly_report"]), "executor": "in_process", "heavy": []}


@pytest.mark.parametrize("name", sorted([*DATASETS, "monthly_report"]))
def test_assets_say_what_they_are(name: str) -> None:
    node = defs.resolve_asset_graph().get(dg.AssetKey(name))
    assert node.description
    assert node.owners == ["team:data-platform"]
    assert node.group_name == "nyc"
    assert node.tags["layer"]
    assert node.kinds & {"parquet", "deltalake", "matplotlib"}
    assert node.backfill_policy == dg.BackfillPolicy.single_run()
    assert node.automation_condition
    assert node.freshness_policy
    assert ("tierlake/spec" in node.metadata) == (name in DATASETS)


def test_retention_waits_for_assets_that_are_downstream() -> None:
    repository = defs.get_repository_def()
    for dataset in DATASETS.values():
        assert set(downstreams_in(repository, dataset)) == set(dataset.spec.retention.after)
    assert [name for name, dataset in DATASETS.items() if dataset.spec.retention.after] == ["flights", "departures"]


@pytest.mark.parametrize("name", ["departures", "monthly_summary"])
def test_column_lineage_names_columns_that_are_read(name: str) -> None:
    graph = defs.resolve_asset_graph()
    lineage = graph.get(dg.AssetKey(name)).metadata[LINEAGE].deps_by_column
    loaded = {
        (upstream.path[-1], column)
        for _, upstream in graph.get(dg.AssetKey(name)).assets_def.node_keys_by_input_name.items()
        for column in defs.resolve_assets_def(name).op.ins[upstream.path[-1]].metadata[COLUMNS]
    }
    assert {(dep.asset_key.path[-1], dep.column_name) for deps in lineage.values() for dep in deps} <= loaded


def test_jobs_schedules_and_sensors_describe_themselves() -> None:
    repository = defs.get_repository_def()
    jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
    tiered = ("flights", "weather", "departures")
    assert set(jobs) == {
        *(f"{name}_{verb}" for name in tiered for verb in ("job", "policy", "tiering", "expiry", "undo_expiry")),
        "monthly_summary_job",
        "monthly_summary_policy",
        "monthly_report_job",
    }
    assert all(job.description for job in jobs.values())
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert {name: schedule.job_name for name, schedule in schedules.items()} == {
        f"{name}_tiering_schedule": f"{name}_tiering" for name in tiered
    }
    assert {schedule.execution_timezone for schedule in schedules.values()} == {"America/New_York"}
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    retention = {f"{name}_retention": f"{name}_expiry" for name in tiered}
    assert set(sensors) == {"automation", "monthly_summary_reconciliation", *retention}
    assert {name: sensors[name].job_name for name in retention} == retention
    assert all(sensor.description for sensor in sensors.values())
    assert all(sensor.default_status is dg.DefaultSensorStatus.STOPPED for sensor in sensors.values())


def test_the_schedule_asks_for_a_run_without_configuration() -> None:
    schedule = defs.resolve_schedule_def("flights_tiering_schedule")
    from datetime import UTC, datetime

    context = dg.build_schedule_context(scheduled_execution_time=datetime(2014, 1, 1, 11, tzinfo=UTC))
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_config == {}
    assert dg.validate_run_config(defs.resolve_job_def("flights_tiering"), request.run_config)


def test_launchpad_config_is_validated() -> None:
    expiry = defs.resolve_job_def("flights_expiry")
    for config in ({}, {"partitions": ["2013-01-01"], "as_of": "2014-01-01"}):
        dg.validate_run_config(expiry, run_config(expiry.name, config))
    for wrong in ({"dataset": "flights"}, {"keys": ["2013-01-01"]}):
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(expiry, run_config(expiry.name, wrong))


def test_jobs_know_their_code_location() -> None:
    """By a private part of Dagster; 1.13.27 has it."""
    job = headless.ReconstructableRepository.for_module(headless.__name__, "defs").get_reconstructable_job(
        "flights_expiry"
    )
    assert job.get_definition().name == "flights_expiry"
    assert job.get_repository_definition().asset_graph.has(dg.AssetKey("departures"))


@pytest.mark.slow
def test_the_command_line_lists_everything() -> None:
    project = ("-m", "tierlake.dagster_project.demo.definitions")
    listed = run(sys.executable, "-m", "dagster", "asset", "list", *project)
    assert listed.split() == sorted([*DATASETS, "monthly_report"])
    jobs = run(sys.executable, "-m", "dagster", "job", "list", *project)
    assert "flights_undo_expiry" in jobs
