"""`LakeDataset` in projects that are not ours."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster.components.testing.utils import component_defs, create_defs_folder_sandbox

from tests import ROOT
from tests.dagster_project.ticks import Ticks
from tierlake.dagster_project.component import LakeDataset
from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.metadata import spec_of
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import SpecError

if TYPE_CHECKING:
    from tierlake.dagster_project.partitions.lake_asset import LakeAsset

# Dagster 1.13 reads YAML with what pydantic has deprecated, and links to the file with what is in beta
pytestmark = pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated", "ignore:.* is currently in beta")

HEAVY = ("aiobotocore", "botocore", "deltalake", "fsspec", "pandas", "polars", "pyarrow", "s3fs")
ENVIRON = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}

PROJECT = {
    "pyproject.toml": """
[project]
name = "somebodys"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "somebodys"
""",
    "src/somebodys/__init__.py": "",
    "src/somebodys/definitions.py": """
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
    "src/somebodys/defs/resources.py": """
import dagster as dg

from tierlake.dagster_project.io_manager import LakeParquetIOManager
from tierlake.dagster_project.resources.lake import LakeResource


@dg.definitions
def resources():
    lake = LakeResource()
    return dg.Definitions(resources={"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)})
""",
    "src/somebodys/defs/rollup.py": """
import dagster as dg


@dg.asset(deps=[dg.AssetKey(["raw", "flights"])])
def rollup() -> None: ...
""",
}

FLIGHTS = """
key: raw/flights
source: tests.dagster_project.test_component.two_rows_a_day
start: "2013-01-01"
end: "2013-01-05"
partition: {time: {column: at, every: day, timezone: America/New_York}}
tiers: [{after: 30d, tier: warm}]
retention: {expire_after: 300d, after: [rollup]}
owners: ["team:flights"]
"""
VISITS = """
key: visits
start: "2013-01-01"
partition: {time: {every: day}, by: [city]}
values: {city: dynamic}
"""


def two_rows_a_day(context: dg.AssetExecutionContext) -> Any:
    import pyarrow as pa

    starts = [
        context.assets_def.partitions_def.time_window_for_partition_key(key).start for key in context.partition_keys
    ] * 2
    return pa.table({"at": pa.array(starts, pa.timestamp("us", tz="UTC"))})


@dg.asset(partitions_def=time_windows("day", "UTC", "2013-01-01"), owners=["team:own"], description="Written by hand.")
def own(upstream: Any) -> Any:
    return upstream


OWN = "key: own\nsource: tests.dagster_project.test_component.own\nstart: '2013-01-01'\npartition: {time: {}}\n"


def component(text: str) -> LakeDataset:
    return LakeDataset.resolve_from_yaml(text)


def definitions(lake: LakeResource, text: str, *more: Any) -> dg.Definitions:
    resources = {"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)}
    made = component_defs(component=component(text), resources=resources)
    return dg.Definitions.merge(made, dg.Definitions(assets=list(more)))


def test_what_one_file_makes() -> None:
    defs = definitions(LakeResource(), FLIGHTS)
    repository = defs.get_repository_def()
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert jobs == {
        "raw__flights_job",
        "raw__flights_policy",
        "raw__flights_tiering",
        "raw__flights_expiry",
        "raw__flights_undo_expiry",
    }
    assert [schedule.job_name for schedule in repository.schedule_defs] == ["raw__flights_tiering"]
    assert [sensor.name for sensor in repository.sensor_defs] == ["raw__flights_retention"]
    node = defs.resolve_asset_graph().get(dg.AssetKey(["raw", "flights"]))
    assert node.partitions_def.get_partition_keys()[0] == "2013-01-01"
    assert (node.kinds, node.owners) == ({"deltalake", "parquet", "s3"}, ["team:flights"])
    assert {key.name for key in node.check_keys} == {"table_and_store_agree", "described_as_stored"}


def test_an_asset_of_ones_own_is_its_source() -> None:
    defs = definitions(LakeResource(), OWN + "retention: {expire_after: 300d}\nalert: lake", dg.AssetSpec("upstream"))
    node = defs.resolve_asset_graph().get(dg.AssetKey("own"))
    assert (node.description, node.owners) == ("Written by hand.", ["team:own"])
    assert [key.path for key in node.parent_keys] == [["upstream"]]
    assert spec_of(node.metadata).retention.expire_after == timedelta(days=300)
    assert {hook.name for hook in defs.resolve_assets_def("own").hook_defs} == {"alert_on_failure"}
    jobs = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert jobs == {"own_job", "own_policy", "own_expiry", "own_undo_expiry"}


def test_dagster_finds_it_by_its_name_and_loads_no_library_that_moves_data() -> None:
    look = (
        "import sys, tierlake\n"
        "from dagster.components.core.package_entry import get_package_objects_in_module as objects\n"
        f"print([n for n, _ in objects(tierlake)], [n for n in {HEAVY} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, env=ENVIRON)
    assert done.stdout == "['LakeDataset'] []\n"


def test_the_readmes_file_loads() -> None:
    readme = (ROOT / "README.md").read_text()
    (shown,) = re.findall(
        r"^type: tierlake.LakeDataset\nattributes:\n(.*?)^```",
        readme,
        re.MULTILINE | re.DOTALL,
    )
    said = textwrap.dedent(shown).replace("my_project.flights.read", f"{__name__}.two_rows_a_day")
    defs = definitions(LakeResource(), said)
    assert defs.resolve_asset_graph().has(dg.AssetKey("flights"))


def test_without_a_source_it_is_observed() -> None:
    defs = definitions(LakeResource(), VISITS)
    node = defs.resolve_asset_graph().get(dg.AssetKey("visits"))
    assert node.is_external
    assert [sensor.name for sensor in defs.get_repository_def().sensor_defs] == ["visits_observation"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("key: a\nstart: '2013'\npartition: {}", "not partitioned by time"),
        ("key: a\nstart: '2013-01-01'\npartition: {time: {}, by: [city]}", "values: {city: "),
        ("key: a\nstart: '2013-01-01'\npartition: {time: {}}\nvalues: {city: [Oslo]}", "leave `values` out"),
        ("key: a\nstart: '2013-01-01'\npartition: {time: {}}\nsource: json.nothing", "there is no source json.nothing"),
        ("key: a\nstart: '2013-01-01'\npartition: {time: {}}\nsource: sys.path", "is not a function"),
        (OWN.replace("key: own", "key: mine"), "the source is the asset own"),
        (OWN.replace("2013-01-01", "2013-01-02"), "give both the same windows"),
        (OWN + "deps: [a]\nowners: ['team:a']", "which has its own deps, owners"),
        (
            "key: a\nstart: '2013'\npartition: {time: {}}\ntiers: [{after: 9d, tier: cold}, {after: 3d, tier: warm}]",
            "tiers contradict each other",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(said: str, why: str) -> None:
    with pytest.raises(SpecError) as refused:
        component_defs(component=component(said))
    assert why in f"{refused.value} {refused.value.hint}"


def test_it_is_scaffolded_and_loaded_from_a_project() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=LakeDataset, defs_path="visits")
        with sandbox.load_component_and_build_defs(defs_path=path) as (loaded, defs):
            assert isinstance(loaded, LakeDataset)
            lake = LakeResource()
            made = defs.with_resources({"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)})
            assert {job.name for job in made.resolve_all_job_defs() if not job.name.startswith("__")} == {
                "visits_job",
                "visits_policy",
                "visits_tiering",
                "visits_expiry",
                "visits_undo_expiry",
            }


@pytest.fixture
def asset() -> LakeAsset:
    return component(VISITS).lake_asset()


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_what_others_write_is_seen(instance: dg.DagsterInstance, lake: LakeResource, asset: LakeAsset) -> None:
    import pyarrow as pa

    defs = definitions(lake, VISITS)
    sensor = defs.resolve_sensor_def("visits_observation")

    tick = Ticks(sensor, instance, lake, defs)

    def available() -> set[str]:
        return {str(key) for key in instance.get_materialized_partitions(asset.asset_key)}

    assert tick().skip_message == f"{lake.uri('visits')} does not exist yet"
    dataset = Dataset.create(asset.spec_in(lake), fs=lake.filesystem())
    dataset.ingest(pa.table({"date": ["2013-01-01", "2013-01-02"], "city": ["Oslo", "Kyiv"], "n": [1, 2]}))
    tick()
    assert available() == {"Oslo|2013-01-01", "Kyiv|2013-01-02"}
    assert tick().skip_message == "all 2 partitions are as they were"

    dataset.ingest(pa.table({"date": ["2013-01-01"] * 2, "city": ["Oslo"] * 2, "n": [1, 2]}))
    (event,) = tick().asset_events
    assert (event.partition, event.metadata["dagster/partition_row_count"].value) == ("Oslo|2013-01-01", 2)

    nothing = pa.table(
        {"date": pa.array([], pa.string()), "city": pa.array([], pa.string()), "n": pa.array([], "int64")}
    )
    dataset.ingest(nothing, keys=[asset.keys.to_lake("Kyiv|2013-01-02")])
    tick()
    assert available() == {"Oslo|2013-01-01"}


@pytest.fixture
def project(tmp_path: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's project, laid out as `create-dagster project` does it."""
    root = tmp_path / "somebodys"
    for name, text in PROJECT.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root / "src"), str(ROOT / "src"), str(ROOT)]))
    return root


def dg_says(project: Path, *words: str) -> str:
    command = [sys.executable, "-m", "dagster_dg_cli.cli", *words]
    wide = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(command, cwd=project, env=wide, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_dg_lists_scaffolds_and_checks_it(project: Path) -> None:
    assert "tierlake.LakeDataset" in dg_says(project, "list", "components")
    dg_says(project, "scaffold", "defs", "tierlake.LakeDataset", "visits", "--source", "none")
    assert "All definitions loaded successfully" in dg_says(project, "check", "defs")
    listed = dg_says(project, "list", "defs")
    for name in ("visits_tiering", "visits_expiry", "visits_undo_expiry", "visits_retention", "visits_observation"):
        assert name in listed
    load = f"import sys, somebodys.definitions as d; d.defs(); print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True, cwd=project)
    assert done.stdout == "[]\n"

    written = project / "src/somebodys/defs/visits/defs.yaml"
    written.write_text(written.read_text().replace("tiers:", "tires:"))
    with pytest.raises(AssertionError, match="tires"):
        dg_says(project, "check", "yaml")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_its_runs_write_wait_for_what_is_downstream_and_expire(lake: LakeResource, project: Path) -> None:
    folder = project / "src/somebodys/defs/flights"
    folder.mkdir()
    indented = FLIGHTS.strip().replace("\n", "\n  ")
    (folder / "defs.yaml").write_text(f"type: tierlake.LakeDataset\nattributes:\n  {indented}\n")

    def days() -> list[str]:
        return [part.key.as_dict()["date"] for part in lake.dataset("raw/flights").partitions()]

    flights = ("launch", "--assets", "raw/flights")
    dg_says(project, *flights, "--partition-range", "2013-01-01...2013-01-04")
    assert days() == ["2013-01-01", "2013-01-02", "2013-01-03", "2013-01-04"]
    dg_says(project, "launch", "--job", "raw__flights_expiry")
    assert len(days()) == 4  # rollup has not seen them
    dg_says(project, "launch", "--assets", "rollup")
    dg_says(project, "launch", "--job", "raw__flights_expiry")
    assert days() == []


@pytest.mark.parametrize(("said", "at_once"), [("", None), ("partitions_per_run: 100", 100)])
def test_a_backfill_is_one_run_or_as_many_as_are_said(said: str, at_once: int | None) -> None:
    node = definitions(LakeResource(), FLIGHTS + said).resolve_asset_graph().get(dg.AssetKey(["raw", "flights"]))
    assert node.backfill_policy.max_partitions_per_run == at_once


def test_runs_of_several_partitions_are_those_of_windows_of_time_alone() -> None:
    with pytest.raises(SpecError, match="each of its partitions is a run of its own"):
        LakeDataset(
            key="visits",
            source=f"{__name__}.two_rows_a_day",
            start="2013-01-01",
            partition={"time": {"column": "at", "every": "day"}, "by": ["city"]},
            values={"city": ["Oslo"]},
            partitions_per_run=3,
        ).definitions()


@pytest.mark.parametrize(("said", "pool"), [("", "tierlake"), ("pool: lake_eu", "lake_eu"), ("pool: null", None)])
def test_all_that_works_on_the_store_takes_slots_of_one_pool(said: str, pool: str | None) -> None:
    repository = definitions(LakeResource(), FLIGHTS + said).get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if job.name.startswith("raw__flights")]
    pools = {job.name: {op.pool for op in job.all_node_defs if isinstance(op, dg.OpDefinition)} for job in jobs}
    assert pools == {f"raw__flights_{name}": {pool} for name in ("job", "policy", "tiering", "expiry", "undo_expiry")}


def described(text: str) -> str | None:
    node = definitions(LakeResource(), text).resolve_asset_graph().get(dg.AssetKey(["raw", "flights"]))
    return node.description


def documented(context: dg.AssetExecutionContext) -> Any:
    """Flights that left New York City.

    One row a flight.
    """


in_part = functools.partial(documented)


def test_the_sources_docstring_is_the_assets_description() -> None:
    assert described(FLIGHTS) is None
    documentation = "Flights that left New York City.\n\nOne row a flight."
    for name in ("documented", "in_part"):
        text = FLIGHTS.replace("two_rows_a_day", name)
        assert described(text) == documentation
        assert described(text + "description: Mine.") == "Mine."


@pytest.mark.parametrize("status", ["stopped", "running"])
def test_sensors_and_schedule_are_off_unless_the_file_says_otherwise(status: str) -> None:
    said = "" if status == "stopped" else "sensor_status: running\nschedule_status: running\n"
    repository = definitions(LakeResource(), FLIGHTS + said + "restores: true").get_repository_def()
    every = [*repository.sensor_defs, *repository.schedule_defs]
    assert {each.name for each in every} == {
        "raw__flights_retention",
        "raw__flights_restores",
        "raw__flights_tiering_schedule",
    }
    for each in every:
        assert each.default_status.value == status.upper()
        assert ("Off until somebody switches it on" in each.description) == (status == "stopped")
    (observed,) = definitions(LakeResource(), VISITS + "sensor_status: running").get_repository_def().sensor_defs
    assert (observed.name, observed.default_status) == ("visits_observation", dg.DefaultSensorStatus.RUNNING)


@pytest.mark.parametrize(
    ("text", "given", "missing"),
    [
        (FLIGHTS, [], "the resources `lake` and `lake_io_manager`"),
        (FLIGHTS, ["lake"], "the resource `lake_io_manager`"),
        (FLIGHTS, ["lake_io_manager"], "the resource `lake`"),
        (FLIGHTS + "io_manager: mine", ["lake"], "the resource `mine`"),
        (VISITS, [], "the resource `lake`"),
        (OWN + "retention: {expire_after: 9d}", [], "the resource `lake`"),
    ],
)
def test_a_missing_resource_says_what_to_type(text: str, given: list[str], missing: str) -> None:
    lake = LakeResource()
    resources = {"lake": lake, "lake_io_manager": LakeParquetIOManager(lake=lake)}
    own = [dg.AssetSpec("upstream")] if text.startswith(OWN) else []
    made = dg.Definitions.merge(
        component(text).definitions(),
        dg.Definitions(assets=own, resources={name: resources[name] for name in given}),
    )
    with pytest.raises(dg.DagsterInvalidDefinitionError) as refused:
        made.get_repository_def()
    assert missing in str(refused.value).splitlines()[0]
    io_manager = "mine" if "mine" in text else "lake_io_manager"
    assert f'resources={{"lake": lake, "{io_manager}": LakeParquetIOManager(lake=lake)}}' in str(refused.value)
