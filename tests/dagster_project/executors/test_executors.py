"""The same job in process, in processes and on Dask; and what the page about executors says, held to their schemas."""

import importlib.util
import os
import re
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import yaml

from tests import ROOT
from tierlake.dagster_project.executors.configured import VARIABLE, chosen_executor
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.lake_asset import POOL
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines.errors import SpecError
from tierlake.pipelines.model.spec import DatasetSpec

# Dagster 1.13: single-run backfills are in beta
pytestmark = pytest.mark.filterwarnings("ignore:.* is currently in beta")

PAGE = ROOT / "docs" / "executors.md"
DAYS = time_windows("day", "UTC", "2013-01-01", "2013-01-05")
RANGE = {"dagster/asset_partition_range_start": "2013-01-01", "dagster/asset_partition_range_end": "2013-01-04"}
SPEC = DatasetSpec.from_yaml("""
uri: lake://any/events
partition: {time: {column: at, every: day, key: date}}
""")


def assets() -> list[dg.AssetsDefinition]:
    single = {"backfill_policy": dg.BackfillPolicy.single_run(), "partitions_def": DAYS, "pool": POOL}

    @dg.asset(metadata=spec_metadata(SPEC), **single)
    def events(context: dg.AssetExecutionContext) -> Any:
        import pyarrow as pa

        hours = [f"{day}T0{hour}:00:00" for day in context.partition_keys for hour in range(10)]
        context.log.info("process %d", os.getpid())
        return pa.table({"at": pa.array(hours).cast(pa.timestamp("us")), "n": range(len(hours))})

    @dg.asset(ins={"events": dg.AssetIn()}, **single)
    def seen(context: dg.AssetExecutionContext, events) -> None:
        context.log.info("process %d", os.getpid())
        assert (len(events), events["n"].sum()) == (40, 780)

    return [events, seen]


def chosen_job() -> dg.JobDefinition:
    """What a project defines: nothing in it knows the executor."""
    resources = {"io_manager": LakeParquetIOManager(lake=LakeResource())}
    defs = dg.Definitions(
        assets(), jobs=[dg.define_asset_job("all_of_it")], resources=resources, executor=chosen_executor()
    )
    return defs.resolve_job_def("all_of_it")


def in_process() -> dg.JobDefinition:
    return chosen_job()


def multiprocess() -> dg.JobDefinition:
    return chosen_job()


def dask() -> dg.JobDefinition:
    return chosen_job()


@pytest.mark.parametrize("said", [{}, {VARIABLE: ""}])
def test_without_a_choice_it_is_dagsters(said) -> None:
    assert chosen_executor(said) is None


def test_it_goes_by_name_by_place_or_by_file(tmp_path, monkeypatch) -> None:
    file = tmp_path / "executor.yaml"
    file.write_text("multiprocess: {max_concurrent: 2}")
    for said in ("multiprocess", "dagster.multiprocess_executor", str(file)):
        assert chosen_executor({VARIABLE: said}).name == "multiprocess"
    file.write_text("multiprocess: {max_concurent: 2}")
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(dg.DagsterInvalidConfigError, match="max_concurent"):
        dg.validate_run_config(chosen_job(), {})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("dusk", "there is no executor dusk.*one of in_process, multiprocess, dask"),
        ("os.getcwd", "os.getcwd is not an executor"),
        ("/nowhere/executor.yaml", "cannot be read"),
        ("{tmp_path}/two.yaml", "has to name one executor"),
        ("{tmp_path}/secret.yaml", "address must not hold a user name or password.*write address: {env: NAME}"),
    ],
)
def test_what_is_none_says_so(said, why, tmp_path) -> None:
    (tmp_path / "two.yaml").write_text("in_process: {}\nmultiprocess: {}")
    (tmp_path / "secret.yaml").write_text("dask: {cluster: {existing: {address: 'tcp://me:hush@scheduler:8786'}}}")
    with pytest.raises(SpecError, match=why) as refused:
        chosen_executor({VARIABLE: said.format(tmp_path=tmp_path)})
    assert "hush" not in str(refused.value)


def blocks(name: str) -> dict[str, str]:
    """The YAML files that the page shows, by what comes first in them."""
    found = re.findall(rf"^```yaml\n# {name}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return {next(iter(yaml.safe_load(text))): text for text in found}


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: `make test-slow` installs it")


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["multiprocess", "dask", "k8s", "celery"])
def test_the_pages_files_are_taken(executor, tmp_path, monkeypatch) -> None:
    if executor != "multiprocess":
        needs(f"dagster_{executor}")
    assert set(blocks("executor.yaml")) == {"multiprocess", "dask", "k8s", "celery"}
    monkeypatch.setenv("CELERY_BROKER", "redis://broker")
    monkeypatch.setenv("CELERY_BACKEND", "redis://backend")
    file = tmp_path / "executor.yaml"
    file.write_text(blocks("executor.yaml")[executor])
    monkeypatch.setenv(VARIABLE, str(file))
    job = chosen_job()
    assert job.executor_def.name == executor
    said = yaml.safe_load(file.read_text())[executor]
    taken = dg.validate_run_config(job, {})["execution"][executor]
    assert said.keys() <= taken.keys()
    if executor == "celery":
        assert (taken["broker"], taken["backend"]) == ("redis://broker", "redis://backend")


@pytest.mark.slow
def test_the_pages_instance_is_taken(dagster_home) -> None:
    needs("dagster_k8s")
    from dagster_k8s import K8sRunLauncher

    (text,) = blocks("dagster.yaml").values()
    said = yaml.safe_load(text)
    launcher = said.pop("run_launcher")
    assert (launcher["module"], launcher["class"]) == (K8sRunLauncher.__module__.partition(".")[0], "K8sRunLauncher")

    @dg.op(config_schema=K8sRunLauncher.config_type())
    def launches() -> None: ...

    @dg.job
    def launched() -> None:
        launches()

    dg.validate_run_config(launched, {"ops": {"launches": {"config": launcher["config"]}}})
    (dagster_home / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, **said}))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_settings("concurrency")["pools"] == {"granularity": "op", "default_limit": 50}
        assert instance.run_retries_enabled


def processes(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    said = [entry.user_message for entry in instance.all_logs(run_id)]
    return [text.removeprefix("process ") for text in said if text.startswith("process ")]


@pytest.fixture
def one_slot(instance) -> Iterator[dg.DagsterInstance]:
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    return instance


ON_DASK = """
dask: {cluster: {local: {n_workers: 2, processes: true, dashboard_address: "127.0.0.1:0"}}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize("job", [in_process, multiprocess, dask])  # Dagster knows a job by its function, and keeps it
def test_the_same_job_wherever_its_steps_run(job, one_slot, lake, tmp_path, monkeypatch) -> None:
    if job is dask:
        needs("dagster_dask")
    file = tmp_path / "executor.yaml"
    file.write_text(ON_DASK if job is dask else f"{job.__name__}: {{}}")
    monkeypatch.setenv(VARIABLE, str(file))
    with dg.execute_job(dg.reconstructable(job), one_slot, tags=RANGE) as result:
        assert result.success
    dataset = lake.dataset("events")
    assert len(dataset.read()) == 40
    assert len([entry for entry in dataset.history() if entry.operation == "ingest"]) == 1
    assert one_slot.get_materialized_partitions(dg.AssetKey("events")) == set(DAYS.get_partition_keys())
    ran = processes(one_slot, result.run_id)
    assert len(ran) == 2
    assert (str(os.getpid()) in ran) == (job is in_process)


@dg.op
def fails() -> None:
    raise ValueError("on purpose")


@dg.op(ins={"before": dg.In(dg.Nothing)}, pool=POOL)
def follows(context: dg.OpExecutionContext) -> None:
    context.log.info("process %d", os.getpid())


@dg.op(pool=POOL)
def stands_alone(context: dg.OpExecutionContext) -> None:
    context.log.info("process %d", os.getpid())


def some_fail() -> dg.JobDefinition:
    @dg.job(executor_def=chosen_executor())
    def some() -> None:
        follows.alias("last")(follows(fails()))
        stands_alone()

    return some


@pytest.mark.slow
def test_on_dask_nothing_follows_a_failure_and_no_run_takes_anothers_results(instance, tmp_path, monkeypatch) -> None:
    needs("dagster_dask")
    import distributed

    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster) as client,
    ):
        (tmp_path / "executor.yaml").write_text(
            f"dask: {{cluster: {{existing: {{address: '{cluster.scheduler_address}'}}}}}}"
        )
        monkeypatch.setenv(VARIABLE, str(tmp_path / "executor.yaml"))
        others = [client.submit(list, key=f"some.{name}") for name in ("fails", "stands_alone")]  # dagster-dask's names
        with dg.execute_job(dg.reconstructable(some_fail), instance) as result:
            assert not result.success
        assert [future.result() for future in others] == [[], []]
    steps = {event.step_key: event.event_type for event in result.all_events if event.is_step_event}
    assert steps.keys() == {"fails", "stands_alone"}
    assert steps["fails"] is dg.DagsterEventType.STEP_FAILURE
    assert len(processes(instance, result.run_id)) == 1
