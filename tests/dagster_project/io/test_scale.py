"""Thousands of partitions, and several first writers: what the IO manager asks for, and how its work grows."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from dagster._core.execution.context.metadata_logging import OutputMetadataAccumulator
from dagster._core.execution.context.system import StepExecutionContext

from tests.faults.proxy import Proxy
from tierlake.dagster_project.io_manager import ALLOW_MISSING, LakeParquetIOManager
from tierlake.dagster_project.partitions.keys import time_windows
from tierlake.dagster_project.partitions.metadata import spec_metadata
from tierlake.dagster_project.resources import steps
from tierlake.dagster_project.resources.lake import LakeResource
from tierlake.pipelines import Dataset
from tierlake.pipelines.errors import TableNotFound
from tierlake.pipelines.metastore import opening
from tierlake.pipelines.model.spec import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
one_server = pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)

CITIES = [f"c{number:02d}" for number in range(50)]
DAYS = time_windows("day", "UTC", "2013-01-01", "2014-01-01")
BOTH = dg.MultiPartitionsDefinition({"date": DAYS, "city": dg.StaticPartitionsDefinition(CITIES)})
BY_BOTH = DatasetSpec(uri="lake://elsewhere/visits", partition={"time": {"column": "at"}, "by": ["city"]})
HOURS = 240
OVER_HOURS = time_windows("hour", "UTC", "2013-01-01T00", "2013-01-11T00")
BY_HOUR = DatasetSpec(uri="lake://elsewhere/hourly", partition={"time": {"column": "at", "every": "hour"}})


def day(number: int) -> datetime:
    return datetime.fromordinal(datetime(2013, 1, 1, tzinfo=UTC).toordinal() + number).replace(hour=12, tzinfo=UTC)


def visits(days: int, cities: list[str]) -> pa.Table:
    found = [(day(number), city) for number in range(days) for city in cities]
    return pa.table({"at": [at for at, _ in found], "city": [city for _, city in found], "n": list(range(len(found)))})


@pytest.mark.slow
@one_server
def test_a_load_over_eighteen_thousand_keys_reads_those_that_are_there(lake: LakeResource) -> None:
    seen: list[pd.DataFrame] = []
    visited = dg.AssetSpec("visits", partitions_def=BOTH, metadata=spec_metadata(BY_BOTH))
    everything = dg.AssetIn(partition_mapping=dg.AllPartitionMapping(), metadata={ALLOW_MISSING: True})

    @dg.asset(ins={"visits": everything})
    def reads(visits: pd.DataFrame) -> None:
        seen.append(visits)

    reads_all: Any = reads
    Dataset.create(BY_BOTH.model_copy(update={"uri": lake.uri("visits")}), fs=lake.filesystem())
    lake.dataset("visits").ingest(visits(3, CITIES[::5]))
    resources = {"io_manager": LakeParquetIOManager(lake=lake)}
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(
            [reads_all, visited], selection=[reads_all], instance=instance, resources=resources
        ).success
    (frame,) = seen
    assert sorted(frame["n"]) == list(range(30))


@pytest.mark.slow
@one_server
def test_each_partition_of_a_long_run_has_its_own_facts(lake: LakeResource, monkeypatch: Any) -> None:
    """Without Dagster's own call, which is quadratic: a year of hours takes minutes."""
    calls: list[Any] = []
    monkeypatch.setattr(StepExecutionContext, "add_asset_metadata", lambda *given: calls.append(given))

    @dg.asset(
        name="hourly",
        partitions_def=OVER_HOURS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata=spec_metadata(BY_HOUR),
    )
    def hourly() -> Any:
        return pa.table({"at": [datetime(2013, 1, 1, 5, tzinfo=UTC)] * 3 + [datetime(2013, 1, 9, 5, tzinfo=UTC)]})

    keys = OVER_HOURS.get_partition_keys()
    assert len(keys) == HOURS
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    resources = {"io_manager": LakeParquetIOManager(lake=lake)}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([hourly], instance=instance, resources=resources, tags=tags)
    rows = {
        event.partition: event.step_materialization_data.materialization.metadata["dagster/partition_row_count"].value
        for event in result.get_asset_materialization_events()
    }
    assert len(rows) == HOURS
    assert {key: count for key, count in rows.items() if count} == {"2013-01-01T05": 3, "2013-01-09T05": 1}
    assert not calls, "Dagster's private part is not what it was: see steps"


def test_metadata_of_partitions_is_added_by_public_calls_where_the_private_part_is_unknown(monkeypatch: Any) -> None:
    class Step:
        _metadata_accumulator: Any = OutputMetadataAccumulator.empty()

        def __init__(self) -> None:
            self.added: dict[str, Mapping[str, Any]] = {}

        def add_asset_metadata(self, facts: Mapping[str, Any], _: dg.AssetKey, key: str) -> None:
            self.added[key] = facts

    facts = {"a": {"rows": 1}, "b": {"rows": 0}}
    known, other, strange = Step(), Step(), Step()
    steps.add_partition_metadata(known, dg.AssetKey("x"), facts)
    kept = known._metadata_accumulator
    assert {key: kept.get_asset_metadata(dg.AssetKey("x"), key) for key in facts} == facts
    assert known.added == {}
    strange._metadata_accumulator = {}
    steps.add_partition_metadata(strange, dg.AssetKey("x"), facts)
    monkeypatch.setattr(dg, "__version__", "1.14.0")
    steps.add_partition_metadata(other, dg.AssetKey("x"), facts)
    assert strange.added == other.added == facts


@one_server
def test_requests_grow_with_what_is_asked_for_not_with_the_table(server: Any, lake: LakeResource) -> None:
    seen: list[int] = []

    counts: dict[str, list[int]] = {"one of": [], "load": [], "store": []}
    with dg.DagsterInstance.ephemeral() as instance, Proxy(server.endpoint_url) as proxy:
        watched = LakeResource(endpoint_url=proxy.url)
        for number in (40, 80):
            name, city = f"visits{number}", ["c"]
            spec = DatasetSpec(uri=BY_BOTH.uri, partition={"time": {"column": "at"}})
            Dataset.create(spec.model_copy(update={"uri": lake.uri(name)}), fs=lake.filesystem())
            lake.dataset(name).ingest(visits(number, city))
            stored = dg.asset(name=name, partitions_def=DAYS, metadata=spec_metadata(spec))(_one_day)
            options: Any = {"backfill_policy": dg.BackfillPolicy.single_run()}
            loaded = dg.asset(name=f"of_{name}", partitions_def=DAYS, ins={"visits": dg.AssetIn(name)}, **options)(
                _reads_into(seen)
            )
            resources = {"io_manager": LakeParquetIOManager(lake=watched)}

            def requests(kind: str, selected: Any, **how: Any) -> None:
                before = len(proxy.requests)
                among = {"selection": [selected], "instance": instance, "resources": resources}  # noqa: B023
                assert dg.materialize([stored, loaded], **among, **how).success  # noqa: B023
                counts[kind].append(len(proxy.requests) - before)

            requests("one of", loaded, partition_key="2013-01-02")
            tags = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
            last = f"{day(number - 1):%Y-%m-%d}"
            requests("load", loaded, tags=dict(zip(tags, ("2013-01-01", last), strict=True)))
            requests("store", stored, partition_key="2013-01-02")
            root = lake.dataset(name).spec.root.partition("/")[2]
            whole = [
                one.target for one in proxy.requests if f"prefix={root}%2F&" in f"{one.target}&".replace("/", "%2F")
            ]
            assert not [target for target in whole if "list-type" in target and "max-keys" not in target]
    assert seen == [1, 40, 1, 80]
    assert counts["one of"][0] == counts["one of"][1]
    assert counts["store"][0] == counts["store"][1]
    assert counts["load"][1] - counts["load"][0] <= 2 * 40, "footer and rows of each further partition"


def _one_day() -> Any:
    return visits(2, ["c"]).slice(1)


def _reads_into(seen: list[int]) -> Callable[[Any], None]:
    def reads(visits: Any) -> None:
        seen.append(len(visits))

    reads.__annotations__ = {"visits": pd.DataFrame, "return": None}
    return reads


# -- first writers -----------------------------------------------------------------------------------------------------


@one_server
def test_a_dataset_that_is_made_while_it_is_opened_is_its_makers(lake: LakeResource, monkeypatch: Any) -> None:
    """Between the look for a description and that for a log: it was taken for a table that nobody described."""
    spec = BY_BOTH.model_copy(update={"uri": lake.uri("visits")})
    real = opening._undescribed_table

    def between(*given: Any) -> Any:
        monkeypatch.setattr(opening, "_undescribed_table", real)
        Dataset.create(spec, fs=lake.filesystem())
        return real(*given)

    monkeypatch.setattr(opening, "_undescribed_table", between)
    opened = lake.dataset("visits")
    assert (opened.is_described, opened.spec.partition) == (True, spec.partition)
    assert opened.ingest(visits(1, ["c"])).rows == 1


def _writes(number: int, environ: Mapping[str, str], barrier: Any, told: Any) -> None:
    os.environ.update(environ)
    spec = DatasetSpec(uri=BY_BOTH.uri, partition={"time": {"column": "at"}})

    @dg.asset(name="visits", partitions_def=DAYS, metadata=spec_metadata(spec))
    def written() -> Any:
        barrier.wait()
        return visits(number + 1, ["c"]).slice(number)

    resources = {"io_manager": LakeParquetIOManager(lake=LakeResource())}
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            key = f"{day(number):%Y-%m-%d}"
            told.put(dg.materialize([written], instance=instance, resources=resources, partition_key=key).success)
    except BaseException as error:
        told.put(repr(error))
        raise


@pytest.mark.slow
@one_server
def test_the_first_writers_of_a_new_dataset_all_succeed(lake: LakeResource) -> None:
    spec = DatasetSpec(uri=lake.uri("visits"), partition={"time": {"column": "at"}})
    barrier = threading.Barrier(4)

    def write(number: int) -> int:
        fs = lake.filesystem()
        barrier.wait()
        try:
            dataset = lake.dataset("visits")
        except TableNotFound:
            dataset = Dataset.create(spec, fs=fs)
        return dataset.ingest(visits(number + 1, ["c"]).slice(number), keys=[f"date={day(number):%Y-%m-%d}"]).rows

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(4))) == [1] * 4
    assert sorted(lake.dataset("visits").read()["n"].to_pylist()) == [0, 1, 2, 3]


@pytest.mark.slow
@one_server
def test_the_first_runs_of_a_new_asset_all_succeed(server: Any, lake: LakeResource) -> None:
    spawned = multiprocessing.get_context("spawn")
    barrier, told = spawned.Barrier(4), spawned.Queue()
    environ = {**server.environ(), "TIERLAKE_WAREHOUSE": lake.uri("").rstrip("/")}
    writers = [spawned.Process(target=_writes, args=(number, environ, barrier, told)) for number in range(4)]
    for writer in writers:
        writer.start()
    found: list[Any] = []
    for writer in writers:
        writer.join(120)
    while len(found) < len(writers):
        try:
            found.append(told.get(timeout=1))
        except queue.Empty:
            break
    assert found == [True] * 4
    assert sorted(lake.dataset("visits").read()["n"].to_pylist()) == [0, 1, 2, 3]
